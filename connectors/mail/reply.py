"""What a person newly wrote in a mail: the text above the quoted mail, without the signature.

Pure, line by line and linear in the text. `message` calls it. It prefers keeping too much to losing words: text in which no
quotation is recognised comes back whole.
"""

from __future__ import annotations

import re

from connectors.mail.text import tidy

_LINE_CAP = 300

# "On 3 May, Ann wrote:" in the languages of the big mail programs. A line (or up to three joined) with one of these,
# a date or an address, and a colon at the end introduces a quotation.
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|schreef|skrev|kirjoitti|escribi[óo]|escreveu|napsal(?:a|\(a\))?|napisał\(?a?\)?|pisze"
    r"|ha scritto|a écrit|a ecrit|đã viết|viết|yazdı|írta|пишет|писал\(?а?\)?|написал\(?а?\)?)\b"
    r"|写道|寫道|のメール|書きました|님이 작성|작성:",
    re.IGNORECASE,
)
_DATE_OR_ADDRESS = re.compile(r"\d|@")
_STARTS = re.compile(r"(?:on|am|le|el|il|op|em|den|dne|dnia|w dniu|vào|\d|\w{2,3}[.,])", re.IGNORECASE)
_ORIGINAL = re.compile(
    r"[-_=]{2,}\s*(?:original message|originalnachricht|ursprüngliche nachricht|message d'origine|messaggio originale"
    r"|mensaje original|mensagem original|oorspronkelijk bericht|original(?:t)? meddelande|oprindelig meddelelse"
    r"|původní zpráva|oryginalna wiadomość|forwarded message|thư gốc|tin nhắn gốc|исходное сообщение|原始邮件|原始郵件"
    r"|元のメッセージ|원본 메시지)\s*[-_=]{2,}",
    re.IGNORECASE,
)
_FROM = re.compile(
    r"(?:from|von|de|da|od|fra|van|från|lähettäjä|từ|от|kimden|发件人|寄件者|差出人|보낸 사람)\s*[:：]", re.IGNORECASE
)
_OTHER = re.compile(
    r"(?:to|sent|date|subject|cc|an|gesendet|datum|betreff|à|envoyé|objet|a|para|enviado|fecha|asunto|assunto|data|inviato"
    r"|oggetto|aan|verzonden|onderwerp|til|sendt|emne|dato|till|skickat|ämne|komu|odesláno|předmět|do|wysłano|temat|đến|gửi"
    r"|ngày|chủ đề|кому|дата|тема|отправлено|收件人|发送时间|主题|日期|宛先|送信日時|件名|받는 사람|보낸 날짜|제목)\s*[:：]",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"(?:sent from (?:my|outlook|mail|yahoo)|get outlook for|von meinem \S+ gesendet|gesendet von|envoyé de mon"
    r"|enviado desde mi|enviado do meu|inviato da|verzonden (?:vanaf|met)|sendt fra min|skickat från|gửi từ)\b",
    re.IGNORECASE,
)


def latest_reply(text: str) -> str:
    """The newest part of `text`, tidied. Answers written between quoted lines are all kept; a mail that is nothing but a
    quotation or a forward comes back whole."""
    lines = tidy(text).split("\n")
    start, after = _boundary(lines)
    own = _unquoted(lines[:start])
    if not own:
        own = _unquoted(lines[after:]) if any(line.startswith(">") for line in lines[after:]) else ""
    elif start < len(lines) and (interleaved := _interleaved(lines[after:])):
        own = f"{own}\n{interleaved}"
    return _unsigned(own) or own or "\n".join(lines)


def _boundary(lines: list[str]) -> tuple[int, int]:
    """(line where the quoted mail's introduction begins, line from which own words may stand between quoted ones); the
    number of lines where there is none."""
    for index, line in enumerate(lines):
        bare = line.strip("*_ \t>")[:_LINE_CAP]
        if not bare:
            continue
        if _ORIGINAL.match(line.strip("* \t")[:_LINE_CAP]):
            return index, len(lines)
        if _FROM.match(bare) and _header_block(lines, index):
            above = index and re.fullmatch(r"[_\-]{5,}", lines[index - 1].strip())
            return index - 1 if above else index, len(lines)
        for joined in (1, 2, 3):
            if _introduces(lines, index, joined):
                return index, index + joined
    return len(lines), len(lines)


def _header_block(lines: list[str], index: int) -> bool:
    following = [line.strip("* \t>")[:_LINE_CAP] for line in lines[index + 1 : index + 7]]
    return sum(1 for line in following if _OTHER.match(line.lstrip("*"))) >= 2


def _introduces(lines: list[str], index: int, joined: int) -> bool:
    part = lines[index : index + joined]
    if len(part) < joined or any(not line.strip() or line.startswith(">") for line in part):
        return False
    text = " ".join(part).strip()
    if joined > 1 and not _STARTS.match(text):
        return False
    if len(text) > _LINE_CAP or not text.endswith((":", "：")) or not _WROTE.search(text):
        return False
    following = next((line for line in lines[index + joined : index + joined + 3] if line.strip()), "")
    return bool(_DATE_OR_ADDRESS.search(text)) or following.startswith(">")


def _unquoted(lines: list[str]) -> str:
    return tidy("\n".join(line for line in lines if not line.startswith(">")))


def _interleaved(lines: list[str]) -> str:
    """Own words below quoted ones, only when the quotation is marked line by line."""
    first = next((line for line in lines if line.strip()), "")
    return _unquoted(lines) if first.startswith(">") else ""


def _unsigned(text: str) -> str:
    """Text up to the signature mark (`-- `) or the advertisement of a mail program."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if line.rstrip() in {"--", "—"} or _SENT_FROM.match(line.strip()[:_LINE_CAP]):
            return tidy("\n".join(lines[:index]))
    return text
