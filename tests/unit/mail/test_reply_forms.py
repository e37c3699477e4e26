"""Quotations as mail programs write them in many languages, and texts of customers that resemble them."""

# ruff: noqa: E501 - each form as a program writes it, on one line

from __future__ import annotations

import pytest

from syncd.connectors.mail.message import parse
from syncd.connectors.mail.reading import newest_text
from syncd.connectors.mail.reply import latest_reply
from tests.mails import mail

A = "<tom@ourcompany.example>"

INTRODUCTIONS = [
    f"On Tue, Nov 3, 2026 at 10:12 AM Tom Sales {A} wrote:",
    f"On Tue, Nov 3, 2026, 10:12 Tom Sales\n{A} wrote:",
    "On 03/11/2026 10:12, Tom Sales wrote:",
    f"On Nov 3, 2026, at 10:12 AM, Tom Sales {A} wrote:",
    "On 2026/11/03 10:12, Tom wrote:",
    f'At 2026-11-03 10:12:00, "Tom" {A} wrote:',
    f"Am Di., 3. Nov. 2026 um 10:12 Uhr schrieb Tom Verkauf {A}:",
    "Am 03.11.26 um 10:12 schrieb Tom Verkauf:",
    f"Tom Verkauf {A} schrieb am Di., 3. Nov. 2026, 10:12:",
    f"Le mar. 3 nov. 2026 à 10:12, Tom Ventes {A} a écrit :",
    "Le 03/11/2026 à 10:12, Tom Ventes a écrit :",
    f"El mar, 3 nov 2026 a las 10:12, Tom Ventas ({A}) escribió:",
    "El 3/11/26 a las 10:12, Tom Ventas escribió:",
    f"Il giorno mar 3 nov 2026 alle ore 10:12 Tom Vendite {A} ha\nscritto:",
    "Il 03/11/2026 10:12, Tom Vendite ha scritto:",
    f"Op di 3 nov 2026 om 10:12 schreef Tom Verkoop {A}:",
    "Op 3-11-2026 om 10:12 schreef Tom Verkoop:",
    f"Em ter., 3 de nov. de 2026 às 10:12, Tom Vendas {A}\nescreveu:",
    "Em 03/11/2026 10:12, Tom Vendas escreveu:",
    f"wt., 3 lis 2026 o 10:12 Tom Sprzedaż {A} napisał(a):",
    "W dniu 3.11.2026 o 10:12, Tom Sprzedaż pisze:",
    f"Dnia 3 listopada 2026 10:12 Tom Sprzedaż {A} napisał(a):",
    f"Den tis 3 nov. 2026 kl 10:12 skrev Tom {A}:",
    f"ti 3. marrask. 2026 klo 10.12 Tom ({A}) kirjoitti:",
    f"út 3. 11. 2026 v 10:12 odesílatel Tom {A} napsal:",
    f"Tom Satış {A}, 3 Kas 2026 Sal, 10:12 tarihinde şunu yazdı:",
    f"Tom {A} ezt írta (időpont: 2026. nov. 3., K, 10:12):",
    f"În mar., 3 nov. 2026 la 10:12, Tom {A} a scris:",
    f"Στις Τρί 3 Νοε 2026 στις 10:12 π.μ., ο χρήστης Tom {A} έγραψε:",
    f"вт, 3 нояб. 2026 г. в 10:12, Том Продажи {A}:",
    f"вт, 3 нояб. 2026 г. в 10:12, Том Продажи\n{A}:",
    f'03.11.2026, 10:12, "Том Продажи" {A}:',
    f"Вторник, 3 ноября 2026, 10:12 +03:00 от Том Продажи {A}:",
    "03.11.2026 10:12, Том Продажи пишет:",
    f"3 ноября 2026 г., в 10:12, Том Продажи {A} написал(а):",
    f"вт, 3 лист. 2026 р. о 10:12 Том {A} пише:",
    f"Vào Th 3, 3 thg 11, 2026 vào lúc 10:12 Tom Bán {A} đã viết:",
    f"Vào lúc 10:12 Th 3, 3 thg 11, 2026 Tom Bán\n{A} đã viết:",
    "Vào 3/11/2026 10:12, Tom Bán đã viết:",
    f"Pada tanggal Sel, 3 Nov 2026 pukul 10.12 Tom {A} menulis:",
    f"Tom Sales {A} 于2026年11月3日周二 10:12写道：",
    f"Tom Sales {A} 于2026年11月3日周二\n10:12写道：",
    f"在 2026年11月3日，10:12，销售 {A} 写道：",
    f'在 2026-11-03 10:12:00，"Tom" {A} 写道：',
    f"Tom Sales {A} 於 2026年11月3日 週二 上午10:12寫道：",
    f"2026年11月3日(火) 10:12 Tom Sales {A}:",
    f"2026/11/03 10:12、Tom Sales {A}のメール:",
    f"2026年11月3日(火) 10:12、Tom Sales さん（{A}）のメッセージ:",
    f"2026년 11월 3일 (화) 오전 10:12, Tom Sales {A}님이 작성:",
    f"2026. 11. 3. 오전 10:12, Tom Sales {A}님이\n작성:",
    f"เมื่อ อ. 3 พ.ย. 2026 เวลา 10:12 Tom {A} เขียนว่า:",
]


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("introduction", INTRODUCTIONS)
def test_an_introduction_goes_with_the_marked_lines_below(introduction: str, answer: bool) -> None:
    for gap in ("", "\n"):
        text = f"We need 12.\nYes please.\n\n{introduction}\n{gap}> thank you for\n>\n> your interest.\n"
        assert latest_reply(text, answer=answer) == "We need 12.\nYes please."
        below = f"{introduction}\n{gap}> thank you for\n> your interest.\n\nYes please.\nTomorrow?"
        assert latest_reply(below, answer=answer) == "Yes please.\nTomorrow?"
    inside = "\n".join(f"> {line}" for line in introduction.split("\n"))
    assert latest_reply(f"Yes please.\n\n{inside}\n>\n> thank you") == "Yes please."


@pytest.mark.parametrize("introduction", [one for one in INTRODUCTIONS if "@" in one])
def test_without_marked_lines_an_address_and_a_day_introduce(introduction: str) -> None:
    assert latest_reply(f"Yes please.\n\n{introduction}\n\nthank you for your interest.") == "Yes please."


BLOCKS = {
    "Outlook en": "From: Tom Sales <t@o.example>\nSent: Tuesday, November 3, 2026 10:12 AM\nTo: Ann <a@c.example>\nSubject: Pumps",
    "Outlook without address": "From: Tom Sales\nSent: Tuesday, November 3, 2026 10:12\nTo: Ann\nCc: Bob; Cid\nSubject: Pumps",
    "Outlook de": "Von: Tom Verkauf <t@o.example>\nGesendet: Dienstag, 3. November 2026 10:12\nAn: Ann <a@c.example>\nBetreff: Pumpen",
    "GMX": 'Gesendet: Dienstag, 3. November 2026 um 10:12 Uhr\nVon: "Tom" <t@o.example>\nAn: a@c.example\nBetreff: Pumpen',
    "mail.com": 'Sent: Tuesday, November 3, 2026 at 10:12 AM\nFrom: "Tom" <t@o.example>\nTo: a@c.example\nSubject: Pumps',
    "Outlook fr": "De : Tom Ventes <t@o.example>\nEnvoyé : mardi 3 novembre 2026 10:12\nÀ : Ann <a@c.example>\nObjet : Pompes",
    "Orange": "envoyé : 3 novembre 2026 à 10:12\nde : Tom Ventes <t@o.example>\nà : Ann <a@c.example>\nobjet : Pompes",
    "Outlook es": "De: Tom Ventas <t@o.example>\nEnviado el: martes, 3 de noviembre de 2026 10:12\nPara: Ann\nAsunto: Bombas",
    "Outlook it": "Da: Tom Vendite <t@o.example>\nInviato: martedì 3 novembre 2026 10:12\nA: Ann\nOggetto: Pompe",
    "Outlook nl": "Van: Tom Verkoop <t@o.example>\nVerzonden: dinsdag 3 november 2026 10:12\nAan: Ann\nOnderwerp: Pompen",
    "Outlook pt": "De: Tom Vendas <t@o.example>\nEnviada em: terça-feira, 3 de novembro de 2026 10:12\nPara: Ann\nAssunto: Bombas",
    "Outlook pl": "Od: Tom Sprzedaż <t@o.example>\nWysłano: wtorek, 3 listopada 2026 10:12\nDo: Ann\nTemat: Pompy",
    "Outlook cs": "Od: Tom <t@o.example>\nOdesláno: úterý 3. listopadu 2026 10:12\nKomu: Ann\nPředmět: Čerpadla",
    "Outlook sv": "Från: Tom <t@o.example>\nSkickat: den 3 november 2026 10:12\nTill: Ann\nÄmne: Pumpar",
    "Outlook tr": "Kimden: Tom <t@o.example>\nGönderildi: 3 Kasım 2026 Salı 10:12\nKime: Ann\nKonu: Pompa",
    "Outlook ru": "От: Том <t@o.example>\nОтправлено: 3 ноября 2026 г. 10:12\nКому: Анна\nТема: Насосы",
    "Outlook vi": "Từ: Tom Bán <t@o.example>\nĐã gửi: Thứ Ba, 3 tháng 11, 2026 10:12\nĐến: Anh\nChủ đề: Máy bơm",
    "Outlook vi 2": "Người gửi: Tom <t@o.example>\nThời gian gửi: 3/11/2026 10:12\nTới: Anh <a@c.example>\nTiêu đề: Máy bơm",
    "Outlook zh-TW": "寄件者: 業務 <t@o.example>\n寄件日期: 2026年11月3日 上午 10:12\n收件者: 陳 <a@c.example>\n主旨: 水泵",
    "Outlook zh-CN": "发件人: 销售 <t@o.example>\n发送时间: 2026年11月3日 10:12\n收件人: 陈 <a@c.example>\n主题: 水泵",
    "Foxmail": "发件人： 销售\n发送时间： 2026-11-03 10:12\n收件人： chen\n抄送： li\n主题： Re: 水泵",
    "Outlook ja": "差出人: 営業 <t@o.example>\n送信日時: 2026年11月3日 10:12\n宛先: 田中 <a@c.example>\n件名: ポンプ",
    "Outlook ko": "보낸 사람: 영업 <t@o.example>\n보낸 날짜: 2026년 11월 3일 화요일 오전 10:12\n받는 사람: 김 <a@c.example>\n제목: 펌프",
    "bold": "*From:* Tom\n*Sent:* Tuesday\n*To:* Ann",
    "long list of recipients": "From: Tom <t@o.example>\nSent: 3 Nov\nTo: Ann <a@c.example>; Bob <b@c.example>;\nCid <c@c.example>\nSubject: x",
    "in the quotation": "> De : Tom <t@o.example>\n> A : a@c.example\n> Envoyé : 3 novembre\n> Objet : Pompes\n>\n> merci",
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_header_block_goes_with_what_is_below(name: str) -> None:
    for above in ("", "________________________________\n", "-----Original Message-----\n"):
        text = f"Thursday suits me.\n\n{above}{BLOCKS[name]}\n\nthank you for your interest.\n"
        expected = "Thursday suits me."
        if name == "in the quotation":
            expected += "" if above.startswith("-") else "\nthank you for your interest."
        assert latest_reply(text) == expected


SEPARATORS = [
    "-----Original Message-----", "-------- Original Message --------", "-----Ursprüngliche Nachricht-----",
    "-------- Original-Nachricht --------", "----- Mail original -----", "----- Message d'origine -----",
    "-----Messaggio originale-----", "----Messaggio originale----", "-----Mensaje original-----", "-----Mensagem original-----",
    "-----Oorspronkelijk bericht-----", "-----Oryginalna wiadomość-----", "-----Původní zpráva-----", "-----Исходное сообщение-----",
    "-----Thư gốc-----", "----- Tin nhắn gốc -----", "------------------ 原始邮件 ------------------",
    "------------------&nbsp;原始邮件&nbsp;------------------", "-----邮件原件-----", "-----原始郵件-----", "---- 回复的原邮件 ----",
    "------------------ Original ------------------", "----- 元のメッセージ -----", "-----원본 메시지-----", "--------- 원본 메일 ---------",
    "---------- Forwarded message ---------", "-------- Weitergeleitete Nachricht --------",
    "---- On Tue, 03 Nov 2026 10:12:00 +0100 Tom <tom@ourcompany.example> wrote ----",
    "---- 在 2026-11-03 10:12:00 Tom <tom@ourcompany.example> 写道 ----", "##- Please type your reply above this line -##",
    "Begin forwarded message:",
]  # fmt: skip


@pytest.mark.parametrize("separator", SEPARATORS)
def test_the_line_that_begins_a_quotation_goes_with_it(separator: str) -> None:
    assert latest_reply(f"Jeudi me convient.\n\n{separator}\nmerci\n") == "Jeudi me convient."


AUTOMATIC = """
Sent from my iPhone
Sent from my iPad
Sent from my Samsung Galaxy smartphone.
Sent from Outlook for iOS
Sent from Outlook for iOS<https://aka.ms/o0ukef>
Get Outlook for Android<https://aka.ms/AAb9ysg>
Sent from my Galaxy S21 5G
Sent from Mail for Windows 10
Sent from Yahoo Mail on Android
Sent with Proton Mail secure email.
Sent from my Verizon, Samsung Galaxy smartphone
Von meinem iPhone gesendet
Gesendet von Mail für Windows
Von meinem Samsung Galaxy Smartphone gesendet.
Gesendet von Outlook für Android
Diese Nachricht wurde von meinem Android-Gerät mit GMX Mail gesendet.
Holen Sie sich Outlook für iOS
Envoyé de mon iPhone
Envoyé depuis mon appareil Samsung
Envoyé à partir de Outlook pour Android
Télécharger Outlook pour iOS
Obtenir Outlook pour iOS
Enviado desde mi iPhone
Enviado desde Outlook para Android
Obtener Outlook para iOS
Enviado desde Correo para Windows
Inviato da iPhone
Inviato dal mio iPhone
Inviato da Outlook per Android
Ottieni Outlook per iOS
Verstuurd vanaf mijn iPhone
Verzonden met Outlook voor Android
Verzonden vanaf mijn Samsung Galaxy-smartphone
Enviado do meu iPhone
Enviado a partir do meu iPhone
Enviado do Outlook para Android
Obter o Outlook para iOS
Wysłane z iPhone'a
Wysłano z iPhone’a
Wysłane z mojego iPhone'a
Pobierz aplikację Outlook dla systemu iOS
Отправлено с iPhone
Отправлено с моего iPhone
Отправлено из мобильной Яндекс Почты
Отправлено из Outlook для Android
Отправлено из Почты для Windows
Отправлено из Mail.ru для Android
Đã gửi từ iPhone của tôi
Gửi từ iPhone của tôi
Được gửi từ iPhone của tôi
Gửi từ Outlook cho Android
Tải Outlook cho iOS
Gửi từ Thư cho Windows
Gửi từ Yahoo Mail trên Android
发自我的iPhone
发自我的 iPhone
从我的 iPhone 发送
從我的 iPhone 傳送
傳送自我的 iPhone
发自我的小米手机
发自我的华为手机
发自网易邮箱大师
获取适用于 iOS 的 Outlook
取得 iOS 版 Outlook
发送自 Windows 版邮件应用
从 Windows 版邮件发送
iPhoneから送信
私のiPhoneから送信
iOS 版 Outlook を入手
Android 用 Outlook を入手
Windows 版のメールから送信
スマートフォンから送信
나의 iPhone에서 보냄
내 iPhone에서 보냄
iOS용 Outlook 다운로드
iOS용 Outlook 받기
나의 갤럭시 스마트폰에서 보냈습니다.
Windows용 메일에서 보냄
Skickat från min iPhone
Sendt fra min iPhone
Hent Outlook til iOS
Lähetetty iPhonesta
Odesláno z iPhonu
Odesláno z mého iPhonu
iPhone'umdan gönderildi
Trimis de pe iPhone-ul meu
Надіслано з iPhone
Dikirim dari iPhone saya
ส่งจาก iPhone ของฉัน
נשלח מה-iPhone שלי
""".strip().split("\n")


@pytest.mark.parametrize("line", AUTOMATIC)
def test_the_line_of_a_phone_goes_at_the_end_only(line: str) -> None:
    assert latest_reply(f"Thursday suits me.\n\n{line}\n") == "Thursday suits me."
    assert latest_reply(f"Thursday.\n\n{line}\n\nOn 3 Nov 2026, Tom {A} wrote:\n> x\n") == "Thursday."
    kept = f"Thursday.\n{line}\nThat is what your server adds.\nCan you stop it?"
    assert latest_reply(kept) == kept


CUSTOMERS = {
    "a route": "please quote:\n\nFrom: Hamburg\nTo: Haiphong\nDate: 12 December 2026\nGoods: 3 pallets\n\nBy Friday.",
    "a route in German": "Bitte anbieten:\n\nVon: Hamburg\nNach: Wien\nAn: Lager 3\nDatum: 12.12.2026\n\nBis Freitag.",
    "a route in Spanish": "Necesito un viaje:\n\nDe: Madrid\nA: Lima\nFecha: 3 de mayo de 2026\nPersonas: 3\n\nGracias.",
    "a route in Italian": "Vorrei un viaggio:\n\nDa: Roma\nA: Milano\nData: 3 maggio\n\nGrazie.",
    "a route in Vietnamese": "Báo giá giúp tôi:\n\nTừ: Hà Nội\nĐến: Đà Nẵng\nNgày: 3/5/2026\n\nCảm ơn.",
    "a route in Russian": "Прошу цену:\n\nОт: Москва\nКому: Склад 3\nДата: 3 мая\n\nСпасибо.",
    "a route in Chinese": "请报价：\n\n发件人：上海仓\n收件人：河内仓\n日期：12月3日\n货物：3托\n\n谢谢。",
    "a shipment": "Where is it?\n\nFrom: Hamburg\nTo: Haiphong\nSent: 3 May\nWeight: 12 kg\n\nThank you.",
    "own words again": "Hello,\non 3 May I wrote:\nThe pump leaks.\nNobody answered. Please call.",
    "own words again, dated": "On 3 May 2026 at 10:12 I wrote:\nThe pump leaks.\nPlease call.",
    "own words in German": "Am 3. Mai 2026 schrieb ich:\nDie Pumpe leckt.\nBitte rufen Sie an.",
    "own words in Russian": "3 мая 2026 я писал:\nНасос течёт.\nПозвоните.",
    "own words in Chinese": "2026年5月3日我写道：\n水泵漏水。\n请回电。",
    "words of a colleague": "On 3 May 2026 your colleague Tom wrote:\nWe will come on Friday.\nNobody came.",
    "words of a colleague with address": "As Tom <tom@ourcompany.example> wrote:\nit leaks.\nWhat now?",
    "more than": "We need\n\n>500 units of P-40\n>200 units of P-60\n\nby May.",
    "more than, with a blank": "We need\n\n> 500 units\n>= 200 others\n\nby May.",
    "a lone dash line": "First: the price?\n\n--\n\nSecond: when?\nThird: who?",
    "a signature mark, but questions": "First: the price?\n-- \nSecond: when can you deliver?",
    "a signature mark, but a long text": "One.\n-- \n" + "\n".join(f"Line {n} of what we need." for n in range(30)),
    "sent from a place": "Sent from my warehouse in Hamburg were 20 boxes.\nSent from my warehouse were 12.",
    "sent from a phone, a sentence": "Hello,\nSent from my iPhone order 4711 is missing.",
    "from our house": "Hello,\nGesendet von unserem Lager in Hamburg.",
    "sent in Vietnamese": "Chào,\nGửi từ kho Hà Nội 20 thùng hàng.",
    "sent in Chinese": "你好，\n发自我的仓库",
    "sent in Russian": "Здравствуйте,\nОтправлено с нашего склада 20 коробок.",
    "get a program": "Hello,\nGet Outlook to work with your server, please.",
    "rows of dashes": "Item one\n-----\nItem two\n=====\nItem three",
    "original parts": "--- Original parts only ---\nplease.",
    "answers to a list": "A: yes\nB: no\nTo: be seen",
    "a colon": "What we need on 3 May 2026:\n12 pumps\n3 hoses",
    "a contact": "Please write to Ann <ann@customer.example> from 3 May 2026:\nshe decides.",
    "a forwarded from": "We ship\n>From Hamburg to Bonn\nevery day.",
}  # fmt: skip


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("name", CUSTOMERS)
def test_the_words_of_customers_stay(name: str, answer: bool) -> None:
    text = CUSTOMERS[name].replace("\n>From", "\nFrom") if "forwarded from" in name else CUSTOMERS[name]
    assert latest_reply(CUSTOMERS[name], answer=answer) == text.replace("-- \n", "--\n")


IN_NO_ANSWER = {
    "quoted lines": "Your site says:\n> free delivery\nIs that so?",
    "a form's header": "New enquiry:\n\nFrom: Ann <ann@customer.example>\nTo: Sales\nDate: 3 May\nSubject: Pumps\n\nTwelve please.",
    "a log": "The server said\n>From: x\n> 550 no",
    "full-width signs": "必要な数\n＞５００個\n以上です",
    "original message": "-----Original Message-----\nis what we read on the screen.",
    "an address and a day": f"Please see:\n\nOn 3 May 2026, 10:12, Tom {A} wrote:\nwe come.\n\nNobody came.",
}


@pytest.mark.parametrize("name", IN_NO_ANSWER)
def test_a_mail_that_answers_none_is_kept(name: str) -> None:
    assert latest_reply(IN_NO_ANSWER[name], answer=False) == IN_NO_ANSWER[name]


def _html(body: str, subject: str = "Re: Pumps", in_reply_to: str | None = None) -> str:
    whole = f"<html><body>{body}</body></html>"
    return _reply(mail(body=whole, content_type="text/html; charset=utf-8", subject=subject, in_reply_to=in_reply_to))


def _reply(raw: bytes) -> str:
    read = parse(raw)
    return newest_text(read)


OLD = "<p>thank you for your interest.</p>"
HTML = {
    "Gmail": f'<div dir="ltr">Yes.</div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Tue, Nov 3, 2026 at 10:12 AM Tom &lt;<a href="mailto:t@o.example">t@o.example</a>&gt; wrote:<br></div><blockquote class="gmail_quote" style="x">{OLD}</blockquote></div>',
    "Yahoo": f'<div>Yes.</div><div id="yahoo_quoted_1" class="yahoo_quoted"><div>On Thursday, Tom &lt;t@o.example&gt; wrote:</div><div>{OLD}</div></div>',
    "Yahoo in Outlook": f'<div>Yes.</div><div id="x_yahoo_quoted_1" class="x_yahoo_quoted"><div>Am Donnerstag</div>{OLD}</div>',
    "Thunderbird": f'Yes.<br><div class="moz-cite-prefix">På 03/11/2026 10:12, sagde Tom:<br></div><blockquote type="cite">{OLD}</blockquote>',
    "Apple": f'Yes.<br><div><blockquote type="cite"><div>On 3 Nov 2026, at 10:12, Tom wrote:</div><br>{OLD}</blockquote></div>',
    "Outlook web": f'<div>Yes.</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>Dari:</b> Tom<br><b>X:</b> y</div><div>{OLD}</div>',
    "Outlook web, nested": f'<div><div>Yes.</div><div><div id="x_divRplyFwdMsg">Y: z</div></div></div><div>{OLD}</div><p>{OLD}</p>',
    "Outlook desktop": f'<p>Yes.</p><div style="border-top:solid #E1E1E1"><p><b>From:</b> Tom &lt;t@o.example&gt;<br><b>Sent:</b> Tue<br><b>To:</b> Ann<br><b>Subject:</b> x</p></div>{OLD}',
    "Outlook mobile": f'<div>Yes.</div><div id="ms-outlook-mobile-signature">Get <a href="https://aka.ms/o">Outlook for iOS</a></div><hr><div id="mail-editor-reference-message-container"><div>Z: tom</div>{OLD}</div>',
    "GMX": f'<div>Yes.</div><div name="quote" style="border-left:2px"><div><b>Gesendet:</b> Di</div><div name="quoted-content">{OLD}</div></div>',
    "Proton": f'<div>Yes.</div><div class="protonmail_quote">On Tuesday, November 3rd, 2026 at 10:12 AM, Tom &lt;t@o.example&gt; wrote:<br><blockquote class="protonmail_quote" type="cite">{OLD}</blockquote></div>',
    "163": f'<div>Yes.</div><div>在 2026-11-03 10:12:00，"Tom" &lt;t@o.example&gt; 写道：</div><blockquote id="isReplyContent">{OLD}</blockquote>',
    "QQ": f'<div>Yes.</div><div>------------------&nbsp;原始邮件&nbsp;------------------</div><div>发件人: "Tom"</div>{OLD}',
    "Yandex": f'<div>Yes.</div><div> </div><div>03.11.2026, 10:12, "Том" &lt;t@o.example&gt;:</div><blockquote>{OLD}</blockquote>',
    "Zimbra": f'<div>Yes.</div><hr id="zwchr"><div><b>De: </b>Tom</div>{OLD}',
    "Zoho": f'<div>Yes.</div><div class="zmail_extra_hr"></div><div class="zmail_extra">---- On Tue wrote ----{OLD}</div>',
    "Thai Gmail": f'<div>Yes.</div><div class="gmail_quote"><div class="gmail_attr">ใน 3 พ.ย. 2026 10:12 Tom &lt;t@o.example&gt; :</div><blockquote class="gmail_quote">{OLD}</blockquote></div>',
}  # fmt: skip


@pytest.mark.parametrize("name", HTML)
def test_quotations_of_html_go(name: str) -> None:
    assert _html(HTML[name]) == "Yes."


def test_answers_in_and_below_the_quotations_of_html_stay() -> None:
    inside = (
        '<div class="gmail_quote"><div class="gmail_attr">On 3 Nov 2026, Tom &lt;t@o.example&gt; wrote:</div>'
        '<blockquote class="gmail_quote">How many?</blockquote><div>Three.</div>'
        '<blockquote class="gmail_quote">When?</blockquote><div>Monday.</div></div>'
    )
    assert [line for line in _html(inside, in_reply_to="<x@y>").split("\n") if line] == ["Three.", "Monday."]
    below = '<div class="moz-cite-prefix">On 3 Nov, Tom wrote:</div><blockquote type="cite">How many?</blockquote><p>Three.</p>'
    assert _html(below) == "Three."


def test_what_customers_indent_stays() -> None:
    indented = "<p>We need:</p><blockquote>12 pumps</blockquote><p>by May.</p>"
    assert "12 pumps" in _html(indented, subject="Order")
    assert _html(indented, subject="Order").startswith("We need:")
    assert "12 pumps" in _html('<blockquote type="cite">12 pumps</blockquote>', subject="Re: x")


@pytest.mark.parametrize(
    "style",
    [
        "margin:0 0 0 40px;border:none;padding:0px",
        "margin: 0px 0px 0px 40px; border: none; padding: 0px;",
        "margin-left:40px",
        "margin-top:0;margin-bottom:0",
        "margin-right: 0px",
        "border: 0; margin: 0 0 0 40px",
    ],
)
def test_what_an_editor_indents_in_an_answer_stays(style: str) -> None:
    body = f'<p>Please send:</p><blockquote style="{style}"><p>12 pumps</p></blockquote><p>Ann</p>'
    assert "12 pumps" in _html(body, in_reply_to="<o@ourcompany.example>")
    twice = f'<p>Please send:</p><blockquote style="{style}"><blockquote style="{style}"><p>12 pumps</p></blockquote></blockquote>'
    assert "12 pumps" in _html(twice, in_reply_to="<o@ourcompany.example>")
    quoted = body + HTML["Gmail"].partition("<br>")[2]
    answer = _html(quoted, in_reply_to="<o@ourcompany.example>")
    assert "12 pumps" in answer
    assert "interest" not in answer


@pytest.mark.parametrize(
    "style",
    [
        "margin:0 0 0 .8ex;border-left:1px #ccc solid;padding-left:1ex",
        "border:none;border-left:solid #CCCCCC 1.0pt;padding:0cm",
        "BORDER-LEFT: #000000 2px solid; MARGIN-RIGHT: 0px",
    ],
)
def test_a_blockquote_with_a_line_at_its_side_goes(style: str) -> None:
    body = f'<p>Yes.</p><blockquote style="{style}">{OLD}</blockquote>'
    assert _html(body, in_reply_to="<o@ourcompany.example>") == "Yes."


def test_an_indent_below_an_introduction_is_a_quotation() -> None:
    body = f'<p>Yes.</p><div>Tom wrote:</div><blockquote style="margin:0 0 0 40px;border:none">{OLD}</blockquote>'
    assert "interest" not in _html(body, in_reply_to="<o@ourcompany.example>")


def test_signatures_of_html() -> None:
    assert _html("<p>Yes.</p><div>-- <br></div><div>Ann Buyer<br>+1 555</div>") == "Yes."
    assert _html("<p>Yes.</p>--&nbsp;<br>Ann Buyer") == "Yes."
    assert "Second" in _html("<p>First.</p><p>--</p><p>Second: what?</p>")


@pytest.mark.parametrize(
    "subject",
    [
        "Re: x",
        "RE: x",
        "AW: x",
        "回复：x",
        "回覆: x",
        "返信: x",
        "Re[2]: x",
        "RE^2: x",
        "[list] Re: x",
        "Trả lời: x",
        "TR : x",
        "Отв: x",
    ],
)
def test_subjects_of_answers(subject: str) -> None:
    assert parse(mail(subject=subject)).answers


@pytest.mark.parametrize(
    "subject", ["Ref: 4711", "Report: x", "Reply to: x", "A: b", "Order", "Repair: pump", "Are you there: x"]
)
def test_subjects_of_no_answers(subject: str) -> None:
    assert not parse(mail(subject=subject)).answers


def test_the_quotation_of_the_html_shows_where_the_plain_text_has_no_mark() -> None:
    plain = "Yes.\r\n\r\nDen tirsdag sagde Tom:\r\nthank you for your interest.\r\n"
    html = '<p>Yes.</p><div class="moz-cite-prefix">Den tirsdag sagde Tom:</div><blockquote type="cite">thank you for your interest.</blockquote>'
    body = f"--b\r\nContent-Type: text/plain\r\n\r\n{plain}--b\r\nContent-Type: text/html\r\n\r\n{html}\r\n--b--\r\n"
    raw = mail(body=body, content_type="multipart/alternative; boundary=b", subject="Re: x")
    assert _reply(raw) == "Yes."
    assert _reply(raw.replace(b"<p>Yes.</p>", b"<p>Something else.</p>")) == parse(raw).text


@pytest.mark.parametrize(
    "line",
    [
        "Von meinem/meiner Galaxy gesendet",
        "Sent with Proton Mail secure email.",
        "Sent with [Proton Mail](https://proton.me/) secure email.",
        "Sent via Superhuman iOS",
        "Sent via Superhuman ( https://sprh.example/?vip=x )",
        "Yahoo Mail: Search, Organize, Conquer",
        "Gesendet von Yahoo Mail auf Android",
    ],
)
def test_more_lines_that_programs_append(line: str) -> None:
    assert latest_reply(f"Monday is fine.\n\n{line}\n") == "Monday is fine."


@pytest.mark.parametrize("line", ["Sent from my warehouse", "Von meiner Firma gesendet", "Search, organize, conquer"])
def test_lines_of_persons_stay(line: str) -> None:
    assert line in latest_reply(f"Monday is fine.\n\n{line}\n")


@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\u3000\u3000"])
def test_a_header_block_with_spread_labels(blank: str) -> None:
    block = f"发件人：Tom <tom@ourcompany.example>\n日{blank}期：2026年11月26日 15:04\n收件人：ann\n主{blank}题：报价\n\n感谢您"
    assert latest_reply(f"可以。\n\n{block}") == "可以。"


def test_a_form_between_rules_is_the_persons() -> None:
    rule = "_" * 32
    form = f"Order:\n\n{rule}\nFrom: Lager 3\nSent: yes\nTo: Lager 5\nSubject: pallets\n{rule}\n\nIs this form right?"
    assert latest_reply(form, answer=False) == form
    quoted = f"Yes.\n\n{rule}\nFrom: Tom\nSent: 26.11.2026 15:04\nTo: Ann\nSubject: Offer\n\nDear Ann"
    assert latest_reply(quoted, answer=False) == "Yes."
