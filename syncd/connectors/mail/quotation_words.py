"""The words by which mail programs introduce a quotation, in the languages they speak. `reply` decides by them.

Sources: the programs' own translations (Outlook, Gmail, Apple Mail, Thunderbird, Yahoo, GMX, Zimbra, Foxmail, NetEase, QQ, Naver,
Daum, Yandex, Mail.ru), as they appear in mails. A new language is its words in each table.
"""

from __future__ import annotations

import re
import unicodedata

LABELS: dict[str, str] = {
    "from": "from|von|de|da|od|fra|van|från|lähettäjä|de la|feladó|kimden|gönderen|expéditeur|remitente|mittente"
    "|afzender|από|від"
    "|от|от кого|dari|từ|người gửi|จาก|من|מאת|发件人|寄件者|寄件人|發件人|差出人|送信者|보낸 사람|보낸사람|발신",
    "to": "to|an|à|a|para|per|aan|til|till|komu|do|vastaanottaja|către|címzett|kime|alıcı|destinataire"
    "|destinatario|προς|кому"
    "|kepada|đến|tới|gửi đến|người nhận|ถึง|إلى|אל|收件人|收件者|宛先|받는 사람|받는사람|수신",
    "sent": "sent|gesendet|envoyé|envoyé le|enviado|enviado el|enviada em|enviado em|inviato|verzonden|sendt"
    "|skickat|odesláno|wysłano"
    "|wysłane|lähetetty|trimis|elküldve|gönderildi|gönderme tarihi|gönderim tarihi|στάλθηκε|отправлено"
    "|надіслано|dikirim"
    "|đã gửi|gửi|ngày gửi|thời gian gửi|ส่ง|تاريخ الإرسال|נשלח|发送时间|發送時間|发件日期|寄件日期"
    "|傳送時間|送信日時|送信日|보낸 날짜|보낸날짜",
    "date": "date|datum|data|fecha|dato|päiväys|dată|dátum|tarih|ημερομηνία|дата|tanggal|ngày|วันที่|التاريخ"
    "|תאריך|日期|时间|時間|日付|日時"
    "|날짜|일시",
    "subject": "subject|betreff|objet|asunto|assunto|oggetto|onderwerp|emne|ämne|předmět|temat|aihe|subiect|tárgy"
    "|konu|θέμα|тема"
    "|perihal|subjek|chủ đề|tiêu đề|เรื่อง|الموضوع|נושא|主题|主旨|主題|件名|제목",
    "cc": "cc|kopie|copie|copie à|copia|cópia|kopia|kopio|másolat|bilgi|копия|копія|đồng gửi|抄送|副本|참조",
}
"""Role -> the words before the colon in a quoted header block."""

WROTE = (
    "wrote|writes|schrieb|schreef|skrev|kirjoitti|escribi[óo]|escreveu|napsala?|napsal\\(a\\)"
    "|napisał(?:a|\\(a\\))?|pisze|ha scritto"
    "|scrisse|a écrit|a ecrit|đã viết|viết|yazdı|írta|a scris|έγραψε|пишет|писала?|писал\\(а\\)"
    "|написала?|написал\\(а\\)|пише"
    "|menulis|เขียนว่า|كتب|כתב(?:ה)?"
)
"""Verbs of an introduction such as "On Tuesday, Ann wrote:", as parts of a regular expression."""

WROTE_WITHOUT_BLANKS = "写道|寫道|写了|のメール|書きました|님이 작성|님께서 작성|작성:"

MYSELF = "i|we|ich|wir|je|j'ai|nous|yo|eu|io|ik|wij|jag|jeg|ja|я|мы|tôi|chúng tôi|mình|ben"
"""Whoever introduces their own words so quotes nobody: "on 3 May I wrote:"."""

MYSELF_WITHOUT_BLANKS = "我|私|저는|제가"

ORIGINAL = (
    "original message|original|original e?-?mail|reply message|originalnachricht|original-nachricht"
    "|ursprüngliche nachricht"
    "|message d'origine|message d’origine|message original|mail original|messaggio originale"
    "|mensaje original|correo original"
    "|mensagem original|oorspronkelijk bericht|originele bericht|originalmeddelande"
    "|ursprungligt meddelande|original meddelelse"
    "|oprindelig meddelelse|opprinnelig melding|alkuperäinen viesti|původní zpráva|původní e-mail"
    "|oryginalna wiadomość"
    "|wiadomość oryginalna|mesaj original|mesajul original|eredeti üzenet|orijinal mesaj|orjinal mesaj|αρχικό μήνυμα"
    "|исходное сообщение|оригинальное сообщение|исходное письмо|вихідне повідомлення|pesan asli"
    "|pesan asal|thư gốc|tin nhắn gốc"
    "|thư ban đầu|email gốc|原始邮件|原始郵件|原始信件|邮件原件|郵件原件|原邮件|回复的原邮件|回复的邮件"
    "|原始訊息|原件|元のメッセージ|元のメール|オリジナルメッセージ"
    "|원본 메시지|원본 메일|원본메일|원본 이메일|원래 메시지|ข้อความต้นฉบับ|الرسالة الأصلية|הודעה מקורית"
)
FORWARDED = (
    "forwarded message|forwarded e?-?mail|weitergeleitete nachricht|message transféré|message transmis"
    "|messaggio inoltrato"
    "|mensaje reenviado|mensagem encaminhada|mensagem reencaminhada|doorgestuurd bericht|vidarebefordrat meddelande"
    "|vidarebefordrat mejl|videresendt besked|videresendt meddelelse|videresendt melding|edelleenlähetetty viesti"
    "|přeposlaná zpráva|wiadomość przekazana dalej|treść przekazanej wiadomości|mesaj redirecționat"
    "|továbbított üzenet|iletilen mesaj"
    "|пересылаемое сообщение|пересылаемое письмо|перенаправленное сообщение|переслане повідомлення|pesan terusan"
    "|tin nhắn được chuyển tiếp|thư đã chuyển tiếp|tin nhắn đã chuyển tiếp|转发邮件|轉寄郵件|转发的邮件"
    "|轉寄的郵件|转发邮件信息|轉寄信件"
    "|転送されたメッセージ|転送メッセージ|전달된 메시지|전달된 메일"
)
"""What stands between two rows of dashes above a quoted or forwarded mail."""

APPLE_FORWARD = (
    "begin forwarded message|anfang der weitergeleiteten nachricht|début du message transféré"
    "|début du message réexpédié"
    "|inizio messaggio inoltrato|inicio del mensaje reenviado|início da mensagem reencaminhada"
    "|início da mensagem encaminhada"
    "|begin doorgestuurd bericht|początek przekazywanej wiadomości|начало переадресованного сообщения"
    "|开始转发的邮件|下面是被转发的邮件"
    "|開始轉寄訊息|轉寄訊息|転送されたメッセージ|전달된 메시지|bắt đầu thư được chuyển tiếp"
)

ABOVE_THIS_LINE = (
    r"(?:please )?(?:type|write|enter)?\s?(?:your )?reply above this line|reply above this line"
    r"|(?:bitte )?antworten sie (?:bitte )?(?:über|oberhalb) dieser zeile|répondez au-dessus de cette ligne"
    r"|responda (?:por encima de|acima d)esta l[ií](?:ne|nh)a|請在此行上方回覆|请在此行上方回复|この行より上に返信"
)
"""Written by help desks above what they sent."""

ANSWERS = (
    "re|aw|antw|antwort|antwoord|sv|vs|res|rif|r|odp|ynt|cevap|yan|vá|atb|bls|απ|ответ|отв|на|відп|tl"
    "|trả lời|hồi âm|phản hồi"
    "|回复|回覆|答复|答覆|返信|회신|답장|답변|fw|fwd|wg|tr|rv|enc|i|pd|vb|vl|vidarebefordra|videresend"
    "|továbbítás|ilt|σχετ|пересл"
    "|переслано|chuyển tiếp|转发|轉寄|轉發|転送|전달"
)
"""Prefixes of the subject of an answer or a forward."""

_EACH = {role: set(words.split("|")) for role, words in LABELS.items()}
_ROLES = {word: role for role, words in _EACH.items() for word in words}
_LABEL = re.compile(r"([^\W\d_][^\d:：<>@]{0,24}?)\s*[:：]")
_ANSWER = re.compile(
    rf"\s*(?:\[[^\[\]]{{1,60}}\]\s*)?(?:{ANSWERS})\s*(?:[\[(]\s?\d{{1,3}}\s?[\])]|\d{{1,2}}|\^\d{{1,2}})?\s*[:：]",
    re.IGNORECASE,
)


def role_of(line: str) -> str:
    """The role of a line such as `Von: Ann` in a header block (a key of LABELS), ``""`` for any other line. Chinese programs
    spread a label with a wide blank (`日　期`)."""
    found = _LABEL.match(line)
    if not found:
        return ""
    words = unicodedata.normalize("NFC", found[1].lower()).split()
    return _ROLES.get(" ".join(words), "") or ("" if words[0].isascii() else _ROLES.get("".join(words), ""))


def is_answer(subject: str) -> bool:
    """Whether a subject begins as that of an answer or a forward does (`Re:`, `AW:`, `回复：`)."""
    return _ANSWER.match(unicodedata.normalize("NFC", subject)) is not None


def without_answer(subject: str) -> str:
    """A subject without its first prefix of an answer or a forward."""
    subject = unicodedata.normalize("NFC", subject)
    return subject[found.end() :].strip() if (found := _ANSWER.match(subject)) else subject
