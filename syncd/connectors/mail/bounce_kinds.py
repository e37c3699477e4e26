"""Hard or soft: what an enhanced status code and the words of a mail server say about a failed delivery.

Pure data and one decision, `hardness`. Hard: the address is bad. Soft: this mail was not taken, the address may be good.
Sources: RFC 3463 and the IANA registry "SMTP Enhanced Status Codes" for codes, RFC 5321 section 4.2 for replies, the texts
that mail servers write for words. Words come before codes, since a server's code is often the nearest generic one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Kind = Literal["hard", "soft"]

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,2})\.(\d{1,3})(?![\d]|\.\d)")
_REPLY = re.compile(r"(?<![\d.\-/:#])([45][0-5]\d)(?=[ \-:#\]),]|$)")
_URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"<[^<>\s]{1,320}>|[^\s<>()\[\]\"':;,]{1,128}@[^\s<>()\[\]\"':;,]{1,255}")

_INNER_DOT = re.compile(r"\.(?=\w)")
_CATEGORY = re.compile(r"\d\.\d\.\d - [A-Za-z /]{4,40} (?=\d{3}-')")  # Cisco's guess before the reply that it quotes

_TEXT_CAP = 4000
"""Characters of a diagnostic that are searched; a server's reply is shorter (RFC 5321 4.5.3.1.5: 512 a line)."""


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Names of hosts that tell the reason: lists of blocked senders, and Google Groups, where members may write. They stand in
# links, which are otherwise left out.
_TELLING_HOSTS = _words(
    r"groups\.google\.com",
    r"spamhaus",
    r"spamcop",
    r"barracudacentral",
    r"sorbs\.net",
    r"uceprotect",
    r"\brbl\b",
    r"dnsbl",
    r"surbl",
)

# The sender was refused (RFC 3463 X.1.7, X.1.8 and what servers write with other codes): nothing about the recipient.
_SENDER = _words(
    r"\b(?:after|in reply to|response to) (?:the )?mail from\b",
    r"\bsender(?:'s)?(?: \S+){0,4} (?:rejected|refused|denied|invalid|blocked|blacklisted|unknown"
    r"|not (?:accepted|allowed|verified|exist))",
    r"\bdomain of (?:the )?sender\b",
    r"\bsender (?:verif|callout)",
    r"\bverification failed for\b",
    r"\bsending domain\b",
    r"\binvalid (?:sender|return[- ]?path|envelope from|mail from)\b",
    r"\bnot allowed to send\b",
    r"\byou are sending (?:to/)?from an address\b",
    r"\bfrom: (?:domain|address) is invalid\b",
    r"\bmail from: <<< 5\d\d",  # a transcript: what was answered to this command
    r"\bhelo\b.{0,40}(?:rejected|invalid|not)",
    r"\bmy name was rejected\b",
)

# The mailbox does not exist or never will take mail again (RFC 3463 X.1.1, X.1.6, X.2.1).
_UNKNOWN_USER = _words(
    r"\b(?:unknown|illegal|invalid|no such|non-?exist[ae]nt|undeliverable|unresolvable|bad) "
    r"(?:\S+ ){0,2}(?:user|recipient|mail ?box|account|alias|e-?mail|local[- ]?part|login|person|rcpt"
    r"|destination (?:mailbox )?address)",
    r"\b(?:invalid|unknown) address\b",
    r"\bno (?:such )?(?:valid )?(?:person|user|recipient|mailbox|account|one)(?: here)?(?: by that name"
    r"|\b.{0,20}\bhere)",
    r"\bno mailbox\b",
    r"\b(?:user|recipient|mailbox|account|addres+(?:see)?|alias|e-?mail|person|inbox"
    r"|local[- ]?part)s?\b[^.;\n]{0,60}?"
    r"(?:\bis |\bwas |\bhas been |wasn.t |\bcould )?(?:unknown"
    r"|(?:not|(?:could|can|was|is)n.t) (?:be )?(?:found|known|recogni[sz]ed|listed|exist|local|valid|a valid|hosted)"
    r"|does(?: not|n.t) exist|do(?: not|n.t) exist|did not exist|invalid|inactive|non-?exist"
    r"|no longer (?:exists?|valid|active|available|in use|on server))",
    r"\bisn.t (?:a valid|among|in) (?:\S+ ){0,5}(?:user|recipient|mailbox|account|list)",
    r"\bnot (?:a )?(?:valid|known|local|existing) (?:user|recipient|mailbox|account|e-?mail|address)",
    r"\bdoes(?: not|n.t) have (?:an?|any) (?:\S+ ){0,3}(?:account|mailbox)",
    r"\bnot (?:listed|found) in (?:\S+ ){0,4}(?:directory|address book|database|table|list)",
    r"\b(?:account|mailbox|user|recipient)\b[^.;\n]{0,60}?(?:disabled|deactivated|closed|terminated|deleted"
    r"|discontinued|cancell?ed)",
    r"\bno account by that name\b",
    r"\b(?:account|cuenta|casilla|conta|compte)\b[^.;\n]{0,40}\bexpir",
    r"\b(?:resolver.adr.\S*notfound|recipient ?not ?found|recipnotfound|user ?unknown|unknown ?user|nosuchuser"
    r"|mailbox_?not_?found)",
    r"\brecipient name is not recogni[sz]ed\b",
    r"\buser\b[^.;\n]{0,40}\bhas moved\b",
    r"\bno longer (?:works|employed|employee)\b",
    # Exchange Online: not in the directory
    r"\b(?:5.4.1|550) [^\n]{0,20}recipient address rejected: access denied",
    r"\bmailbox (?:unavailable|not available)\b",
    r"\bbecause the domain is not reachable\b",  # Hotmail's words for a domain without address
    r"\b(?:unbekannter?|ungültiger?) (?:benutzer|empfänger|adressat|teilnehmer)",
    r"\b(?:benutzer|empfänger|adresse|postfach|mailbox)[^.;\n]{0,40}(?:unbekannt|nicht gefunden|existiert nicht"
    r"|nicht vorhanden|ungültig)",
    r"\b(?:utilisateur|destinataire|adresse|compte|bo[iî]te)\b[^.;\n]{0,50}(?:inconnue?|n.existe pas|inexistante?"
    r"|introuvable|non recens|invalide)",
    r"\badresse d.au moins un destinataire invalide",
    r"\b(?:usuario|destinatario|direcci[oó]n|cuenta|buz[oó]n)\b[^.;\n]{0,50}(?:desconocid|no existe|inexistente"
    r"|no se (?:ha )?encontr|inv[aá]lid)",
    r"\b(?:utente|destinatario|indirizzo|casella|account)\b[^.;\n]{0,50}(?:sconosciut|inesistente|non esiste"
    r"|non trovat|non valid)",
    r"\b(?:usu[aá]rio|destinat[aá]rio|endere[cç]o|conta|caixa)\b[^.;\n]{0,50}(?:desconhecid|inexistente"
    r"|n[aã]o (?:existe|encontrad)|inv[aá]lid)",
    r"\b(?:gebruiker|ontvanger|geadresseerde|adres|postvak)\b[^.;\n]{0,40}(?:onbekend|niet gevonden|bestaat niet"
    r"|ongeldig)",
    r"\bonbekende (?:gebruiker|ontvanger)",
    r"\b(?:okänd|finns inte|hittades inte|ukendt|ukjent|findes ikke|finnes ikke|tuntematon|ei löydy)\b",
    r"\b(?:nieznany|nie istnieje|nie znaleziono|neexistuje|neznámý|nenalezen|bulunamadı|mevcut değil"
    r"|geçersiz alıcı|không tồn tại|không tìm thấy)",
    r"(?:пользовател|адрес|ящик|получател|абонент)[^.;\n]{0,50}(?:не найден|не существует|неизвест"
    r"|не зарегистрирован|отключ|заблокирован|удал)",
    r"(?:користувач|скриньк|одержувач)[^.;\n]{0,50}(?:не знайден|не існує|невідом)",
    r"(?:用户|用戶|使用者|收件人|收信人|邮箱|郵箱|信箱|地址|帐号|帳號|账号|账户)[^。\n]{0,16}(?:不存在|不正确"
    r"|不正確|未找到|找不到|无效|無效|被禁用|已停用|被锁定|已注销)",
    r"(?:不存在|找不到|查无|查無|无此|無此|无效|無效)(?:的|该|此|收件人|用户|用戶|使用者|邮箱|郵箱|信箱|帐号|帳號"
    r"|地址)",
    r"宛先不明|ユーザー?(?:名)?(?:が|は)?(?:見つかりません|存在しません|不明)"
    r"|(?:あて先|宛先|アドレス)[^。\n]{0,12}(?:見つかりません|存在しません|不明|誤)",
    r"ディレクトリのリストにありません|(?:メールボックス|アカウント)[^。\n]{0,8}(?:存在しません|ありません)",
    r"존재하지 않|찾을 수 없|없는 (?:사용자|계정|메일)|알 수 없는 (?:사용자|수신자)",
)

# The mailbox is full (RFC 3463 X.2.2).
_FULL = _words(
    r"\b(?:mail ?box|account|user|inbox|folder|maildir|mailfolder|recipient|disk|storage"
    r"|partition)\b[^.;\n]{0,50}\b(?:is |are |too )?full\b",
    r"\bover ?quota\b|\bover (?:its |his |the )?(?:\S+ )?(?:quota|limit)\b",
    r"\bquota\b[^.;\n]{0,40}(?:exceed|violat|full|reached|limit)"
    r"|\bexceed(?:s|ed|ing)?\b[^.;\n]{0,60}\b(?:quota|storage|mailbox|allowed size|disk|space|allocat)",
    r"\b(?:insufficient|not enough|no more|out of|no) (?:\S+ )?(?:disk |storage |mailbox )?(?:space|storage)\b"
    r"|\bno space left\b",
    r"\btoo (?:much|many) (?:mail|messages|mails) (?:data )?(?:in|for)\b"
    r"|\bstorage (?:limit|allocation|exceeded|allotment)",
    r"\bmailbox (?:size|(?:has )?exceed)|\ballowed message count\b|\bmailboxfull\b",
    r"\bpostfach[^.;\n]{0,40}\bvoll|speicherplatz"
    r"|\bquota[^.;\n]{0,20}(?:überschritten|dépassé|superat|excedid|превыш|překročen)",
    r"\b(?:bo[iî]te|messagerie)\b[^.;\n]{0,60}\bpleine|\bbuz[oó]n\b[^.;\n]{0,40}\blleno"
    r"|\bcasella\b[^.;\n]{0,40}\bpiena|\bcaixa\b[^.;\n]{0,40}\bcheia",
    r"\bpostvak\b[^.;\n]{0,30}\bvol\b|\bskrzynka\b[^.;\n]{0,40}\b(?:pełna|przepełniona)|schránka[^.;\n]{0,30}plná"
    r"|kutusu[^.;\n]{0,20}dolu|hộp thư[^.;\n]{0,30}đầy",
    r"переполнен|превышен[аоы]? (?:квот|лимит|размер)|недостаточно места",
    r"(?:邮箱|郵箱|信箱|空间|空間|容量)[^。\n]{0,10}(?:已满|已滿|满了|滿了|不足|超出|超过|超過)",
    r"(?:メールボックス|受信箱|容量)[^。\n]{0,16}(?:一杯|いっぱい|満杯|超過|超え|オーバー)",
    r"(?:메일함|사서함|용량|편지함)[^.\n]{0,10}(?:초과|가득|부족)",
)

# Refused for what it is, where it comes from, how much came: even where the code says "bad address".
_REFUSED = _words(
    r"\bspam\b|\bspam(?:ming|mer|score|signature)|unsolicited|\bjunk (?:mail|e-?mail)\b|\bvirus\b|\bmalware\b"
    r"|\bphishing\b",
    r"\b(?:black|block|deny|reject)[- ]?list|\bblacklist|\bblocked\b|\bblock list\b|\bbanned\b|\breputation\b"
    r"|\bip=\d",
    r"\bgr[ae]y-?list",
    r"\b(?:rate|frequency|connection|sending|daily|hourly) limit|frequency limited|\bthrottl"
    r"|\bat a rate\b|\btoo quickly\b|\bunwanted (?:e?mail|messages)\b|\bmismatch"
    r"|\btoo many (?:recipients|messages|connections|e-?mails|sessions|errors)",
    r"\b(?:spf|dkim|dmarc|rdns|ptr)\b|\breverse (?:dns|lookup)|\bunauthenticated\b|\bsmtp auth"
    r"|\bauthenticat\w+ (?:required|checks?|failed|is required)",
    r"\brelay(?:ing)?\b[^.;\n]{0,30}(?:denied|prohibited|not (?:allowed|permitted)|disallowed|access)"
    r"|\bunable to relay\b|\bnot permitted to relay|\brelay access denied",
    r"\bnot (?:authori[sz]ed|permitted|allowed|accepted) (?:to|for|from)\b|\bpermission to post\b",
    r"垃圾|拒收|频率|頻率|黑名单|黑名單|спам|迷惑メール|스팸",
)

# Given up, broken on the way, or refused for its form: the address itself was not judged.
_NOT_TAKEN = _words(
    r"\bpolic(?:y|ies)\b|\bsecurity (?:polic|violation|reason|restriction|check|error)|\baccess denied\b"
    r"|\bdenied\b|\bprohibited\b|\brestrict(?:ed|ion)"
    r"|\bnot (?:accepted|authori[sz]ed|permitted|allowed)\b",
    r"\bnot accepting (?:connections|messages|mail|network)|\bmoderat"
    r"|\bcontent (?:rejected|filter|restriction|not)|\bheaders?\b",
    r"\b(?:message|mail|e-?mail|size|attachment|file)\b[^.;\n]{0,40}(?:too (?:large|big|long)|exceed|limit)"
    r"|\btoo (?:large|big)\b|\bsize limit|\bmaximum (?:\S+ ){0,3}size",
    r"\btimed?[- ]?out\b|\btimeout\b|\bexpired\b|\bretry\b|\bretries\b|\btry again\b|\btemporar|\bdeferred\b"
    r"|\bqueue (?:too long|period|time)|in the queue too long",
    r"\bdelivery (?:time|attempts?)\b|\bgiving up\b|\bfailing for a long time|\bfor a long time\b"
    r"|\bfailed \d+ attempts|\b(?:not|could not be) delivered (?:within|for) \d",
    r"\bconnection (?:refused|reset|lost|dropped|closed|failed|timed|was|to)\b|\bnetwork\b|\bno route\b"
    r"|\bunreachable\b|\bnot (?:reachable|responding)\b|\bsocket error",
    r"\b(?:unable|failed|not able|wasn.t able|could not|couldn.t|cannot|can.t)(?: to)? (?:connect|contact"
    r"|establish|reach|open)\b"
    r"|\bno answer\b|\bnot answer",
    r"\bloop|\b(?:hop count|too many hops|maximum hop)|\bdns (?:query|error|fail|server|lookup)"
    r"|\bname (?:service|server) error|\bno valid hosts\b|\btls\b|\bcertificate",
    r"\b(?:system|internal|server|local|configuration|protocol|syntax|software|i/o|transcript|processing) (?:error"
    r"|violation"
    r"|failure|problem|fault)",
    r"\bservice (?:is )?(?:currently )?(?:unavailable|not available)|\btransaction failed\b|\bsequence of commands"
    r"|\binsufficient (?:system|permission)|\boperating system|\bmedia error",
    r"\bmisconfigur|\bcapability\b|\blanguage\b|\bconversion\b|\b(?:8bit|smtputf8)|\bdeleted without"
    r"|\bautomatically rejected\b",
    r"\bafter \d[\d·]* (?:hour|day|minute)",
    r"délai|expir|temporaire|überschritten|vorübergehend|tempor|агентств|истек|время ожидания|超时|超時"
    r"|タイムアウト|시간 초과",
)

# The domain takes no mail (RFC 3463 X.1.2, X.1.10; RFC 7505 null MX; Exchange Online 5.4.310).
_UNKNOWN_HOST = _words(
    r"\b(?:host|domain|domain name|host or domain name|server|system)\b[^.:;\n]{0,50}(?:unknown|not found"
    r"|does(?: not|n.t) exist|not exist|invalid|not resolve)",
    r"\b(?:unknown|no such|bad destination|illegal|invalid|non-?existent|couldn.t find any) (?:\S+ )?(?:host"
    r"|domain|system)",
    r"\bunroute?able\b|\bnxdomain\b|\bname or service not known"
    r"|\bno (?:mx|a|valid mx)\b[^.;\n]{0,20}\b(?:record|host)|\bnull ?mx\b|\bdoes not accept (?:mail|e-?mail)",
    r"\bdns domain\b[^.;\n]{0,60}\bnot exist|\bcould ?n.t find (?:a|any) (?:host|domain)"
    r"|\bunable to (?:find|resolve|lookup)\b",
    r"домен[^.;\n]{0,30}не (?:найден|существует)|域名[^。\n]{0,8}(?:不存在|无效|错误)"
    r"|ドメイン[^。\n]{0,8}(?:存在しません|見つかりません)",
)

_MAY_RECOVER = _words(r"\btry again\b|\btemporar|\btimed? ?out\b|\bquery failed|\bserver failure|\bservfail")

_BARE_REFUSAL = _words(
    r"\breject(?:ed|s)?\b|\brefused?\b|\brejet[eé]|\babgelehnt|\brechazad|\brifiutat|\brecusad|отклон|отказ|拒绝"
    r"|拒絕|拒否|거부"
)
_RECIPIENT_REFUSED = _words(r"\b(?:recipient|rcpt|user|mailbox|address)\b[^.;\n]{0,40}\b(?:rejected|refused)")

_BY_CODE: dict[tuple[int, int], Kind] = {
    # (subject, detail) of RFC 3463 where the detail differs from its subject below; the class (4, 5) is looked at before.
    (1, 7): "soft",  # bad sender's mailbox address syntax
    (1, 8): "soft",  # bad sender's system address
    (1, 9): "soft",  # message relayed to a mailer that does not comply
    (2, 1): "hard",  # mailbox disabled
    (4, 310): "hard",  # Exchange Online: DNS domain does not exist
}
_BY_SUBJECT: dict[int, Kind] = {
    1: "hard",  # addressing
    2: "soft",  # mailbox: full, too long for it
    3: "soft",  # mail system
    4: "soft",  # network and routing
    5: "soft",  # mail delivery protocol
    6: "soft",  # content
    7: "soft",  # security or policy
}
_BAD_ADDRESS_CODES = frozenset({(1, 1), (1, 2), (1, 3), (1, 4), (1, 6), (1, 10), (2, 1), (4, 310)})
_CERTAINLY_SOFT = frozenset({(1, 7), (1, 8), (2, 2)})  # a refused sender, a full mailbox: whatever the words say
_BY_REPLY: dict[str, Kind] = {"550": "hard", "551": "hard", "553": "hard", "521": "hard", "556": "hard"}


def find_status(text: str) -> str:
    """The first enhanced status code of a failure (``5.1.1``) in a text, preferring one whose detail says something."""
    codes = [".".join(found.groups()) for found in _STATUS.finditer(text[:_TEXT_CAP]) if found[1] != "2"]
    return next((code for code in codes if not is_undefined(code)), codes[0] if codes else "")


def is_undefined(status: str) -> bool:
    """Whether a code names no detail: X.0.0 and every X.Y.0, "other or undefined" in RFC 3463."""
    return not status or status.endswith(".0")


def explains(text: str) -> bool:
    """Whether a text holds a code, an SMTP reply or words that tell why a delivery failed."""
    text = text[:_TEXT_CAP]
    return bool(find_status(text) or _REPLY.search(text)) or _by_words(text) is not None


def hardness(status: str, diagnostic: str = "") -> Kind:
    """ "hard" when the address is bad, "soft" when only this mail was not taken. The order of what decides:

    a code for a refused sender or a full mailbox; words for a refused sender, an unknown user, a full mailbox, other
    refusals, an unknown host; the enhanced status code; bare words of refusal; the SMTP reply code. A failure that nothing
    explains is hard.
    """
    text = diagnostic[:_TEXT_CAP]
    code = _parts(status)
    if code and code[1:] in _CERTAINLY_SOFT:
        return "soft"
    said = _by_words(text, bad_address=code is not None and code[1:] in _BAD_ADDRESS_CODES)
    if said is not None:
        return said
    if code and (code[0] == 4 or not (is_undefined(status) and code[1] in {0, 5})):
        return "soft" if code[0] == 4 else _BY_CODE.get(code[1:], _BY_SUBJECT.get(code[1], "hard"))
    reply = _REPLY.search(_plain(text))
    if reply and reply[1] in _BY_REPLY and (_RECIPIENT_REFUSED.search(text) or not _BARE_REFUSAL.search(_plain(text))):
        return _BY_REPLY[reply[1]]
    return "soft" if reply or _BARE_REFUSAL.search(_plain(text)) else "hard"


@lru_cache(maxsize=256)  # a reason is looked at when it is found and when it is judged
def _by_words(text: str, *, bad_address: bool = False) -> Kind | None:
    """What the words say, None when they say nothing. With `bad_address` only words that outweigh such a code count."""
    plain = _plain(text)
    table: tuple[tuple[re.Pattern[str], str, Kind], ...] = (
        (_SENDER, plain, "soft"),
        (_UNKNOWN_USER, plain, "hard"),
        (_FULL, plain, "soft"),
        (_TELLING_HOSTS, text, "soft"),
        (_REFUSED, plain, "soft"),
    )
    if not bad_address:
        lasting: Kind = "soft" if _MAY_RECOVER.search(plain) else "hard"
        table += ((_UNKNOWN_HOST, plain, lasting), (_NOT_TAKEN, plain, "soft"))
    return next((kind for pattern, where, kind in table if pattern.search(where)), None)


def _plain(text: str) -> str:
    """The words alone: links and addresses say "spam" or "blocked" about something else. The dots inside of names of hosts
    end no sentence."""
    text = _CATEGORY.sub(" ", _ADDRESS.sub(" ", _URL.sub(" ", text)))
    return " ".join(_INNER_DOT.sub("·", text).split())


def _parts(status: str) -> tuple[int, int, int] | None:
    found = _STATUS.fullmatch(status)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
