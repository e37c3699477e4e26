"""Signs that a person wrote a mail from an address that mostly programs use, such as postmaster@. `bounces` asks.

Pure. Programs greet, too ("Dear user"), and sign as what they are ("The Postmaster Team"); a person greets nobody so, and signs
with the name in From, or below a formula of courtesy.
"""

from __future__ import annotations

import re

from syncd.connectors.mail.automatic import auto_submitted, return_path
from syncd.connectors.mail.message import Mail
from syncd.connectors.mail.reply import latest_reply

_GREETING = re.compile(
    r"(?:hello|hi|hey|dear|good (?:morning|afternoon|evening|day)|hallo|guten (?:tag|morgen|abend)|moin"
    r"|sehr geehrte\w*|liebe\w*"
    r"|bonjour|bonsoir|cher|chère|madame|monsieur|hola|buen[oa]s (?:días|tardes)|estimad[oa]\w*|ciao"
    r"|buongiorno|gentile|salve|egregi\w*"
    r"|ol[áa]|bom dia|boa tarde|prezad[oa]\w*|beste|geachte|hej|hei|god (?:dag|morgen)|dzień dobry|witam"
    r"|szanown\w+|dobrý den"
    r"|ahoj|здравствуйте|добрый день|доброе утро|уважаем\w+|привет|вітаю|добрий день|merhaba|sayın|selamat"
    r"|(?:kính )?chào|kính gửi"
    r"|xin chào)\b|您好|你好|尊敬的|こんにちは|お世話|안녕하세요",
    re.IGNORECASE,
)
_TO_ANYBODY = re.compile(
    r"[^\n]{0,40}(?:@|\b(?:user|sender|customer|client|recipient|subscriber|member|nutzer|absender|kunde"
    r"|utilisateur|usuario"
    r"|remitente|utente|mittente|usuário|remetente|gebruiker|afzender|пользователь|отправитель)\b|用户|用戶|寄件|发件)",
    re.IGNORECASE,
)
_PROGRAM_NAME = re.compile(
    r"post ?master|mailer|daemon|deliver|system|admin|server|service|support|team|mail\b|e-?mail|gateway"
    r"|security|filter|robot|auto"
    r"|no-?reply|exchange|outlook|microsoft|google",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:(?:best|kind|warm|with (?:best|kind)) )?regards|best(?: wishes)?|sincerely(?: yours)?"
    r"|yours (?:sincerely|truly|faithfully)"
    r"|thanks(?: (?:a lot|and .{0,30}))?|many thanks|thank you|cheers|(?:mit )?(?:freundlich|best|herzlich"
    r"|viel|schön)\w* (?:gr[üu](?:ß|ss)\w*|dank)"
    r"|mfg|vg|lg|(?:bien )?cordialement|(?:meilleures )?salutations|un saludo|saludos(?: cordiales)?"
    r"|atentamente|cordiali saluti"
    r"|(?:distinti )?saluti|atenciosamente|(?:com os )?(?:melhores )?cumprimentos|abraços"
    r"|(?:met )?vriendelijke groet\w*|groeten"
    r"|(?:med )?vänlig\w* hälsning\w*|(?:med )?venlig hilsen|mvh|pozdrawiam|z poważaniem|s pozdravem"
    r"|с уважением|з повагою"
    r"|saygılarımla|trân trọng|thân mến|此致|敬礼|祝好|よろしくお願い\w*|敬具|감사합니다",
    re.IGNORECASE,
)
_REPLY_CODE = re.compile(
    r"(?<![\d.])[45]\d\d[ -](?:#?[45]\.\d{1,3}\.\d{1,3})?|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])"
)


def is_signed_by_person(mail: Mail) -> bool:
    """Whether the text begins or ends as a person's does, and nothing marks a program."""
    if return_path(mail) == "" or auto_submitted(mail) or "x-failed-recipients" in mail.headers:
        return False
    lines = [line.strip() for line in latest_reply(mail.text, answer=mail.answers).split("\n") if line.strip()]
    if not lines:
        return False
    greets = _GREETING.match(lines[0]) is not None and not _TO_ANYBODY.match(lines[0].partition(",")[0])
    closing = any(_CLOSING.fullmatch(line.strip(" ,.!;:-–")) for line in lines[-6:])
    if _signs(mail.sender.name, lines) or (greets and closing):
        return True
    return greets and bool(return_path(mail)) and not _REPLY_CODE.search(mail.text)


def _signs(name: str, lines: list[str]) -> bool:
    """Whether one of the last lines, but for the first, is the sender's name or begins with a word of it."""
    words = [word for word in re.findall(r"[^\W\d_]{2,}", name) if word[0] != word[0].lower() or not word.isascii()]
    if not words or _PROGRAM_NAME.search(name):
        return False
    last = [line.strip(" ,.-–") for line in lines[1:][-6:]]
    return any(
        len(line) <= 60 and line.casefold().startswith(words[0].casefold()) and len(line.split()) <= 4 for line in last
    )
