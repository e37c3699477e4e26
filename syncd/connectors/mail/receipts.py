"""Receipts, recalls and statistics that programs send as ordinary mails: no word of a customer. `bounces` asks.

Pure. A subject alone decides only where no person writes it; else the text must say the same in the program's own words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from syncd.connectors.mail.message import Mail

_SHORT = 1500
"""Characters of the text at most; a person who adds to a receipt writes below a whole mail."""


class _Form(NamedTuple):
    subject: re.Pattern[str]
    text: re.Pattern[str]


def _form(subject: str, text: str) -> _Form:
    return _Form(
        re.compile(rf"\s*(?:{subject})\s*(?:[:：]|-\s)", re.IGNORECASE), re.compile(text, re.IGNORECASE | re.DOTALL)
    )


# What Outlook, Exchange, Notes and Thunderbird write, one row a language: the subject's prefix, and words of the text.
_FORMS = (
    _form(
        r"read|not read|return receipt(?: \(displayed\))?|read receipt|receipt",
        r"your (?:message|mail|e-?mail|document)\b.{0,600}?\b(?:was|has been) (?:read|displayed|opened"
        r"|deleted without being read)"
        r"|this is a (?:return|read) receipt|return receipt\b.{0,200}your document",
    ),
    _form(
        r"gelesen|nicht gelesen|ungelesen(?: gelöscht)?|lesebestätigung|empfangsbestätigung(?: \(angezeigt\))?",
        r"ihre nachricht\b.{0,600}?\b(?:gelesen|angezeigt|gelöscht)\b|dies ist eine (?:empfangs|lese)bestätigung",
    ),
    _form(
        r"lu|non lu|accusé de (?:lecture|réception)(?: \(affiché\))?",
        r"votre message\b.{0,600}?\ba été (?:lu|affiché|supprimé)|ceci est un accusé de (?:lecture|réception)",
    ),
    _form(
        r"le[ií]do|no le[ií]do|confirmación de lectura|acuse de recibo",
        r"(?:el|su) mensaje\b.{0,600}?\b(?:fue|se ha|ha sido|se) (?:le[ií]do|ley[óo]|eliminado|mostrado)",
    ),
    _form(
        r"letto|non letto|conferma di lettura|ricevuta di ritorno",
        r"(?:il|il tuo|il suo) messaggio\b.{0,600}?\b(?:è stato|stato) (?:letto|visualizzato|eliminato)",
    ),
    _form(
        r"lid[ao]|n[ãa]o lid[ao]|confirma[çc][ãa]o de leitura",
        r"(?:a sua|sua|a) mensagem\b.{0,600}?\bfoi (?:lida|exibida|exclu[íi]da|eliminada)",
    ),
    _form(
        r"gelezen|niet gelezen|leesbevestiging", r"(?:uw|het|je) bericht\b.{0,600}?\b(?:gelezen|weergegeven|verwijderd)"
    ),
    _form(
        r"przeczytane|nieprzeczytane|potwierdzenie przeczytania",
        r"(?:twoja |państwa )?wiadomość\b.{0,600}?\b(?:przeczytan|odczytan|usunięt)",
    ),
    _form(
        r"прочтено|прочитано|не прочтено|не прочитано|уведомление о прочтении",
        r"(?:ваше )?сообщение\b.{0,600}?\b(?:прочтено|прочитано|удалено)",
    ),
    _form(
        r"(?:đã|chưa) đọc|xác nhận đã đọc|biên nhận đã đọc",
        r"(?:thư|tin nhắn|email)\b.{0,600}?(?:đã được đọc|đã đọc|bị xóa)",
    ),
    _form(
        r"已读|已讀|未读|未讀|已读回执|讀取回條",
        r"(?:您的|你的)?(?:邮件|郵件|消息|訊息).{0,600}?(?:阅读|閱讀|已读|已讀|讀取|删除|刪除)",
    ),
    _form(r"開封済み?|開封確認|未開封", r"メッセージ.{0,600}?(?:開封|閲覧|削除)されま"),
    _form(r"읽음|읽지 않음|수신 확인", r"메시지.{0,600}?(?:읽었|읽음|읽혔|삭제)"),
    _form(
        r"recall|message recall (?:report|success|failure)",
        r"would like to recall the message|recall (?:was|has) (?:successful|succeeded|failed)|message recall report",
    ),
    _form(r"rückruf|nachrichtenrückruf", r"möchte die nachricht\b.{0,400}zurückrufen"),
    _form(r"rappel(?: de message)?", r"(?:souhaite|voudrait|souhaiterait) rappeler le message"),
    _form(r"recuperar|recuperación", r"(?:desea|quiere|quisiera) recuperar el mensaje"),
    _form(r"richiamo|richiamare", r"(?:desidera|vuole|vorrebbe) richiamare il messaggio"),
    _form(
        r"recolher|cancelar|recuperar",
        r"(?:gostaria de|deseja) (?:recolher|cancelar|recuperar|chamar de volta) a mensagem",
    ),
    _form(r"intrekken|terughalen", r"wil (?:het|dit) bericht\b.{0,400}(?:intrekken|terughalen)"),
    _form(r"odwołanie|wycofanie", r"(?:chce|chciał\w*) (?:odwołać|wycofać) wiadomość"),
    _form(r"отзыв|отозвать", r"хочет отозвать (?:сообщение|письмо)|(?:хотел|хотела) бы отозвать"),
    _form(r"thu hồi", r"muốn thu hồi (?:thư|tin nhắn|email)"),
    _form(
        r"撤回|召回|收回",
        r"(?:撤回|召回|收回)(?:此|該|该)?(?:邮件|郵件|消息|訊息)|(?:邮件|郵件|訊息).{0,200}(?:撤回|召回|收回)",
    ),
    _form(r"取り?消し", r"メッセージ.{0,300}取り?消し"),
    _form(r"회수", r"메시지.{0,300}회수"),
)
_STATISTICS_SUBJECT = re.compile(
    r".{0,60}\breport[ _-]?domain\s*:.{0,300}\b(?:submitter|report-?id)\b", re.IGNORECASE | re.DOTALL
)
"""RFC 7489 7.2.1.1 (DMARC), RFC 8460 5.3 (TLS); some receivers put words before it."""
_STATISTICS_FILE = re.compile(
    r"[^!\s]+![^!\s]+!\d{9,}!\d{9,}(?:![\w.-]+)?\.(?:xml|json|zip|gz|tgz|xml\.gz|json\.gz)", re.IGNORECASE
)
"""The file name of RFC 7489 and RFC 8460: receiver!domain!begin!end."""
_STATISTICS_SENDER = re.compile(
    r"(?:.*[-_.+])?(?:dmarc|tlsrpt)(?:[-_.]?(?:reports?|support|noreply|aggregate|rua))?$|.*dmarc[-_.]?report",
    re.IGNORECASE,
)
_PACKED = re.compile(r".+\.(?:xml|zip|gz|tgz|json)", re.IGNORECASE)


def is_receipt_or_recall(mail: Mail) -> bool:
    """Whether an ordinary mail is a program's note that a mail was read, or that a receipt is requested."""
    if len(mail.text) > _SHORT:
        return False
    return any(form.subject.match(mail.subject) and form.text.search(mail.text) for form in _FORMS)


def is_statistics(mail: Mail) -> bool:
    """Whether a receiver reports what it saw of our domain (DMARC, TLS)."""
    names = [str(one.get("name", "")) for one in mail.attachments]
    if _STATISTICS_SUBJECT.match(mail.subject) or any(_STATISTICS_FILE.fullmatch(name) for name in names):
        return True
    local = mail.sender.email.partition("@")[0]
    return _STATISTICS_SENDER.fullmatch(local) is not None and any(_PACKED.fullmatch(name) for name in names)
