"""Failed recipients in the prose of a mail server, for reports without the fields of RFC 3464. `bounces` calls it.

Pure and linear in its bounded input. Servers differ in their sentences, hardly in their layout: a recipient begins a line
or follows a label, the reason follows it, and the mail that was sent comes last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from syncd.connectors.mail.bounce_kinds import explains
from syncd.connectors.text import clean, one_line
from syncd.signals import normal_email

SAID_CAP = 40_000
"""Characters of a report's own words that are searched."""

DIAGNOSTIC_CAP = 1000

_LINES_CAP = 600
_RECIPIENTS_CAP = 500
_REASON_LINES = 14
_HEADERS_CAP = 300

_WARNING = re.compile(
    # Not given up: the server tries again by itself.
    r"\b(?:will|shall) (?:be retried|keep trying|continue (?:to|trying)|retry|try again)\b"
    r"|\bhas been (?:delayed|postponed)\b|\bis delayed\b|\bnot yet been delivered\b|\bhas not been delivered yet\b"
    r"|\b(?:only )?a? ?temporary failure report\b"
    r"|\bdelivery (?:attempts )?(?:will continue|incomplete)\b"
    r"|\bstill (?:undelivered|being (?:attempted|retried)|trying)\b|\bnot yet received your message\b"
    r"|\bdelay(?:ed)? (?:notification|notice)\b|\bdelivery (?:is |has been |status )?delay"
    r"|\bdelay in (?:the )?delivery|\bjust a warning\b|\badvisory-only\b"
    r"|\bthis is (?:only )?a warning\b|\bwird (?:weiter|erneut) versucht|\bverzögert|\bverzögerung der zustellung"
    r"|\bremise (?:est )?retard|\ba été retardé"
    r"|\bretrasad[oa]|\bse ha retrasado|\bentrega (?:foi )?atrasad|\bvertraagd|\bconsegna (?:è stata )?ritardat"
    r"|\bfördröj|\bforsinket|\bopóźni|\bzpožd"
    r"|отложен|задержан|повторн(?:ые|ая|ую) попытк|延迟|延遲|遅延|配信が遅れ|지연",
    re.IGNORECASE,
)
_SURE_WARNING = re.compile(
    # The same, where the text may name fatal errors all the same (Zoho, sendmail).
    r"\bwarning (?:message )?only\b|\bdo(?:es)? not need to re-?send\b|\bno need to re-?send\b"
    r"|\bnot yet been delivered\b|\bonly a temporary failure\b"
    r"|\b(?:message|delivery) (?:will be|is) retried\b|\bmessage still undelivered after\b",
    re.IGNORECASE,
)
_GIVEN_UP = re.compile(
    # Final, whatever else the text says about trying.
    r"\b(?:permanent|fatal) (?:error|failure)|\bgiven? up\b|\bgiving up\b|\bnot going to try again\b"
    r"|\bwill be deleted from queue|\bhas been removed from|\bfailed permanently",
    re.IGNORECASE,
)
_FATAL_SECTION = re.compile(
    r"^[-\s]*the following addresses had (?:permanent |delivery )?(?:fatal )?errors", re.I | re.M
)
_TRANSIENT_SECTION = re.compile(
    r"^[-\s]*(?:the following addresses had transient|the following addresses (?:were|had) (?:delivered|successful)"
    r"|the following (?:recipients|addresses) (?:have received|were successfully))",
    re.IGNORECASE | re.MULTILINE,
)

FAILURE_SUBJECT = re.compile(
    r"undeliver(?:able|ed)"
    r"|delivery (?:status|failure|failed|problem|error|report|has failed|unsuccessful|notification)"
    r"|failure (?:notice|notification)|non[- ]?delivery"
    r"|returned (?:mail|e-?mail|to sender|message)|returning message|mail(?: system)? (?:delivery|error)"
    r"|mail failure|not (?:be )?delivered|could not be (?:sent|delivered)"
    r"|message (?:delivery|not delivered|status|undeliver)|delivery to .{1,80} failed"
    r"|failed (?:mail|delivery|to deliver)|nondeliverable|rejected mail|error sending"
    r"|unzustellbar|nicht zugestellt|unzustellbarkeit|zustellung|nicht zustellbar|fehlgeschlagen|non remis"
    r"|non distribu|échec de (?:la )?(?:remise|distribution)|retour de courrier"
    r"|utilisateur non recens|no (?:se )?(?:puede|pudo|ha podido) (?:entregar|ser entregado)|no entregad"
    r"|mensaje devuelto|error de entrega|mancato recapito|mancata consegna"
    r"|non (?:recapitabile|consegnat)|impossibile recapitare|n[ãa]o (?:foi |é possível )?(?:entregue|entregável|entregar)"
    r"|falha (?:na|de) entrega|mensagem devolvida|onbestelbaar|niet (?:afgeleverd|bezorgd)"
    r"|mislukt|olevererbar|kunde inte levereras|kunne ikke leveres|kan ikke leveres|ei voitu toimittaa"
    r"|toimittaminen epäonnistui|niedostarczon|nie można dostarczyć|nedoručiteln|nedoručen"
    r"|недоставлен|не (?:доставлен|может быть доставлен)|невозможно доставить|не удалось доставить|возвращ[её]нн"
    r"|teslim edilemedi|iletilemedi|không (?:gửi|thể gửi|phát) được|chưa gửi được"
    r"|kézbesíthetetlen|nelivrabil|nedoručiteľn|nije (?:moguće )?isporučiv|недоставимо|не вдається доставити|αδύνατη η παράδοση"
    r"|无法投递|無法投遞|无法送达|无法传[送递]|無法傳[送遞]|未送達|未能送达|退信|投递失败|传送失败|傳遞失敗|系统退信|配信不能"
    r"|配信エラー|配信できません|送信エラー|メールエラー|届かなかった|送信できません|エラーメール"
    r"|배달 (?:실패|못)|전송 실패|발송 실패|반송|전달되지",
    re.IGNORECASE,
)
_FAILURE_WORDS = re.compile(
    r"(?:could|can|was|were|has|have|is|are)(?: ?not|n.t)(?: \S+){0,4} (?:delivered|sent|reached?|deliverable)"
    r"|undeliver(?:able|ed)|unable to deliver|wasn.t able to deliver|not able to be|could not deliver"
    r"|delivery (?:\S+ ){0,8}(?:failed|aborted|unsuccessful)|failed to deliver|failed recipient"
    r"|did ?n.t? ?o?t? reach|did not reach|not delivered to"
    r"|error (?:delivering|while trying|has occurred while attempting|occurred)"
    r"|there was an error delivering|(?:had|have) (?:permanent )?(?:fatal|delivery) errors"
    r"|permanent(?:ly)? (?:error|failure|fatal)|returned permanent errors|trouble delivering"
    r"|rejected by (?:a|the) (?:remote|recipient)"
    r"|failure reasons?|transcript of session|mailbox exceeds|delivery failed|returned mail|error message below"
    r"|non-delivery|didn.t reach|invalid user address|was automatically rejected|has been rejected"
    r"|nicht zugestellt|unzustellbar|nicht (?:aus)?geliefert|konnte nicht|n.a (?:pas )?pu [êe]tre|n.ont pas"
    r"|échec de la remise|non remis|no (?:se )?(?:pudo|puede|ha podido) (?:ser )?entreg|no ha sido entregado"
    r"|non (?:è|e'|ha) (?:stato|potuto|possibile)|impossibile (?:recapitare|consegnare)"
    r"|n[ãa]o (?:p[ôo]de|foi poss[íi]vel|foi) (?:ser )?entreg|kon(?:den)? niet worden (?:bezorgd|afgeleverd)"
    r"|kunde inte levereras"
    r"|kunne ikke leveres|ei voitu|nie (?:można|mogła|została?) |nelze doručit|nebyl[ao]? doruč"
    r"|не (?:может|могло|удалось|было) (?:быть )?достав|не доставлен|teslim edileme"
    r"|không (?:thể )?(?:gửi|phát|chuyển)"
    r"|无法(?:将邮件)?(?:投递|送达|发送|传递)|無法(?:將郵件)?(?:投遞|送達|傳送|傳遞)|未能(?:投递|送达)|退信|被退回|送信できませんでした|送信に失敗"
    r"|配信できません|届けることができません|배달(?:하지|되지)|전송(?:하지|되지) 못",
    re.IGNORECASE,
)

_COPY_MARK = re.compile(
    # The line after which the mail that was sent is quoted.
    r"^[ \t>]*(?:[-=*_#]{2,}[ \t]*)?(?:below this line is a copy|enclosed is a copy"
    r"|this is a copy of (?:the|your) (?:message|headers)|the header(?:s)? (?:and|of) "
    r"|included is a copy of the message"
    r"|original (?:message|mail)(?: headers?)?(?: follows?)?|unsent message follows|returned (?:message|mail)\b"
    r"|message headers follow|message header follows|the original message (?:was|follows)[^\n]{0,20}follow"
    r"|below is a copy of the original|original mail as follows|the first \d+ lines of|your original message"
    r"|undelivered message follows|message follows|your message follows|text of (?:the )?message"
    r"|the (?:message|mail) (?:you sent|that was sent|which)[^\n]{0,30}follow|returned content"
    r"|message contents? follows?|old message|copy of your message|here is a copy"
    r"|start of (?:the )?returned"
    r"|nachricht wurde|kopie der nachricht|copie du message|copia del (?:messaggio|mensaje)|原始邮件|原始郵件|原文"
    r"|元のメール|送信されたメール)[^\n]{0,60}$",
    re.IGNORECASE | re.MULTILINE,
)
_ENDING = r":[^\n]*(?:\n[ \t]+[^\n]*)*\n"
_TRACE = r"(?:Received|Return-Path|Message-I[Dd]|DKIM-Signature|Delivered-To|MIME-Version|X-[A-Za-z-]+)"
_ANY_HEADER = (
    r"(?:Received|Return-Path|Message-I[Dd]|From|To|Cc|Date|Subject|MIME-Version|Content-Type|Sender|Reply-To)"
)
_HEADER_BLOCK = re.compile(
    # Headers of a mail in a row, at the margin: the quotation begins without a mark.
    rf"^(?:(?:{_TRACE}{_ENDING}){{2}}|(?:{_ANY_HEADER}{_ENDING}){{3}})",
    re.MULTILINE,
)
_HEADER_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]?:[ \t]*(.*)")

_ADDRESS = re.compile(
    r"[^\s<>()\[\]{}\"',;:|\\：，；、。（）＜＞「」『』【】《》“”‘’]{1,128}@(?:[^\W_][\w-]*\.)*[^\W_][\w-]*(?:\.)?"
)
_LEADS = re.compile(
    r"^[\s>*•・\-–|=#\[\"'<(]*(?:\d{1,3}[.)][\s<]+"
    r"|(?:5\d\d|4\d\d)[ \-](?:[45]\.\d{1,2}\.\d{1,3} )?[\s<\"]*)?(?:[\"'][^\"'\n]{0,80}[\"'] ?<)?$"
)
_LABEL = re.compile(
    r"(?:rcpt(?: to)?|recipients?\b[^:：\n]{0,60}"
    r"|(?:failed |final |original |intended )?recipients?(?: address(?:es)?)?|failed address|addressee|mailbox"
    r"|address(?:es)?|delivered to|deliver(?:y|ing)? (?:of )?(?:your |the |this |a )?"
    r"(?:mail |message |e-?mail )?to(?: the following \S+| this address)?"
    r"|(?:message|mail|e-?mail) to(?: recipient)?|delivered(?: it)? to|undeliverable to|allowed size|attempts"
    r"|bounced|user|for"
    r"|destinataire|destinatario|destinatário|empfänger(?:adresse)?|ontvanger|получател[ья]\w*|(?:收件人|收信人|收件者|退信|失败|失敗)(?:的?(?:邮箱|郵箱|邮件|郵件|电子邮件|地址|信箱)){0,3}"
    r"|あて先|宛先|받는 사람|odbiorc\w*|příjemce|mottagare|modtager)[\s:：=<\"'(\[]{1,6}$",
    re.IGNORECASE,
)
_NOT_FAILED = re.compile(
    # What stands before the address of another person: the sender, whoever helps, a message id.
    r"(?:mail from|from|sender|envelope-from|reply-to|return-path|sent by|by|message-id|identifier|reference"
    r"|in-reply-to|generated from|expanded from|contact|e?mail us at|write to|postmaster at|"
    r"report(?:ed)? to|please|help|assistance|support|questions?|forward(?:ed)? to|ご連絡|お問い合わせ|von"
    r"|an sender|de|hello|hallo|dear|вітаємо|dobrý den|您好)[\s:：=<\"'(,]{0,6}$",
    re.IGNORECASE,
)
_HELP = re.compile(
    r"\b(?:contact|assistance|help ?desk|questions?|support|please (?:reply|forward|send|include|write|e-?mail))\b"
    r"|お問い合わせ|連絡",
    re.IGNORECASE,
)
_ABOUT_MAIL = re.compile(
    r"\b(?:your|the|this|a|returned|of) (?:e-?mail|mail|message)\b|\brecipients?\b|\bsmtp\b|\brcpt\b|\bmailbox\b"
    r"|メール|邮件|郵件|메일"
    r"|\b(?:nachricht|votre message|su mensaje|il messaggio|sua mensagem|uw bericht)\b|письмо|сообщени",
    re.IGNORECASE,
)
_HELPERS = re.compile(
    r"(?:support|help(?:desk)?|info|contact|kontakt|service|sales|office|orders?|hello|team|care)@", re.I
)
_ROBOTS = re.compile(r"(?:mailer-daemon|postmaster|mail-?daemon|double-bounce|abuse|noreply|no-reply)@", re.IGNORECASE)


@dataclass(frozen=True)
class FailedRecipient:
    """A recipient that prose names, and what it says about it (one line, ``""`` when nothing)."""

    recipient: str
    reason: str


class _Place(NamedTuple):
    """Where an address stands: its line, its end in that line. `strong`: such a place says that it failed."""

    line: int
    address: str
    end: int
    strong: bool


@dataclass(frozen=True)
class Prose:
    """A report's own words and the headers of the mail that it quotes below them."""

    said: str
    original: dict[str, list[str]]

    @property
    def warns(self) -> bool:
        """Whether it only announces that delivery takes longer."""
        if _SURE_WARNING.search(self.said):
            return True
        return _WARNING.search(self.said) is not None and _GIVEN_UP.search(self.said) is None

    @property
    def tells_failure(self) -> bool:
        """Whether its own words speak of a mail that was not delivered."""
        return _FAILURE_WORDS.search(self.said) is not None


def read_prose(text: str) -> Prose:
    """A report's text, cut where the mail that was sent begins."""
    text = clean(text)
    mark = _COPY_MARK.search(text)
    block = _HEADER_BLOCK.search(text)
    starts = [found.start() for found in (mark, block) if found and _anything(text[: found.start()])]
    cut = min(starts, default=len(text))
    return Prose(text[:cut][:SAID_CAP], quoted_headers(text[cut : cut + SAID_CAP]))


def quoted_headers(text: str) -> dict[str, list[str]]:
    """The headers of a mail quoted in a text, which may be indented or marked with `>`; the first block of them."""
    headers: dict[str, list[str]] = {}
    last = ""
    for line in text.split("\n")[:_HEADERS_CAP]:
        bare = line.lstrip("> \t")
        found = _HEADER_LINE.match(bare)
        if not bare:
            if headers and {"from", "to", "message-id"} & headers.keys():
                break
        elif found and (not last or len(line) - len(bare) < 5 or line[:1] == ">"):
            last = found[1].lower()
            headers.setdefault(last, []).append(found[2].strip())
        elif last and line[:1] in " \t>":
            headers[last][-1] = f"{headers[last][-1]} {bare}"[:4000]
    return headers


def find_failures(prose: Prose, skip: Collection[str], sent_to: Collection[str]) -> list[FailedRecipient]:
    """The recipients that prose names as failed. `skip` never failed (ourselves, who sent the mail); `sent_to` are the
    recipients of the quoted mail, who also count when they stand in the middle of a line."""
    lines = _lines(prose)
    found = [
        place
        for place in _places(lines)
        if place.address not in skip and (place.address in sent_to or not _ROBOTS.match(place.address))
    ]
    chosen = [place for place in found if place.strong] or [place for place in found if place.address in sent_to]
    return _with_reasons(lines, chosen)


def plain_failures(prose: Prose, skip: Collection[str]) -> list[FailedRecipient]:
    """As `find_failures`, for a sender who also writes about other things, such as parcels: the text mentions mail, and
    right before each address, of a failure."""
    lines = _lines(prose)
    if not _ABOUT_MAIL.search(prose.said):
        return []
    places = [
        place
        for place in _places(lines)
        if place.strong
        and place.address not in skip
        and not _HELPERS.match(place.address)
        and not _ROBOTS.match(place.address)
        if _FAILURE_WORDS.search(" ".join(lines[max(place.line - 4, 0) : place.line + 1]))
    ]
    return _with_reasons(lines, places)


def only_address(prose: Prose, skip: Collection[str]) -> list[str]:
    """The one address that prose names outside `skip`, wherever it stands; nothing when there are several."""
    found = {place.address for place in _places(_lines(prose)) if not _ROBOTS.match(place.address)} - {*skip}
    return list(found) if len(found) == 1 else []


def reasons_for(prose: Prose, recipients: Collection[str]) -> dict[str, str]:
    """What prose says about each of these recipients; of a single one about whom it says nothing, what explains the failure
    anywhere in the prose."""
    lines = _lines(prose)
    failures = _with_reasons(lines, [place for place in _places(lines) if place.address in recipients])
    reasons = dict.fromkeys(recipients, "") | {failure.recipient: failure.reason for failure in failures}
    if len(reasons) == 1:
        (recipient, said), *_ = reasons.items()
        if not explains(said):
            telling = [line.strip() for line in lines if explains(line)]
            reasons[recipient] = one_line(" ".join(telling[:6]))[:DIAGNOSTIC_CAP] or said
    return reasons


def _lines(prose: Prose) -> list[str]:
    return _fatal_part(prose.said).split("\n")[:_LINES_CAP]


def _with_reasons(lines: list[str], places: list[_Place]) -> list[FailedRecipient]:
    failures: dict[str, FailedRecipient] = {}
    following, last = [len(lines)] * len(places), len(lines)
    for position in range(len(places) - 2, -1, -1):  # the line of the next other address
        last = places[position + 1].line if places[position + 1].address != places[position].address else last
        following[position] = last
    for place, end in zip(places, following, strict=True):
        if (known := failures.get(place.address)) and (explains(known.reason) or len(failures) >= _RECIPIENTS_CAP):
            continue
        reason = _reason(lines, place, end)
        if not known or explains(reason):
            failures[place.address] = FailedRecipient(place.address, reason)
    return list(failures.values())


def _anything(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _fatal_part(said: str) -> str:
    """Without the recipients that a server lists as still being tried (sendmail has a section for each)."""
    transient = _TRANSIENT_SECTION.search(said)
    if not transient:
        return said
    fatal = _FATAL_SECTION.search(said)
    if not fatal:
        return said[: transient.start()]
    return said[fatal.start() : transient.start()] if fatal.start() < transient.start() else said[fatal.start() :]


def _places(lines: list[str]) -> Iterator[_Place]:
    for number, line in enumerate(lines):
        if "@" not in line:
            continue
        line = line[:1000]
        for found in _ADDRESS.finditer(line):
            before = line[: found.start()]
            address = normal_email(found[0].strip(".-"))
            if not address or before.lower().endswith("mailto:"):
                continue
            leads = _LEADS.match(before) is not None
            labelled = _LABEL.search(before[-80:]) is not None
            if not leads and not labelled and _NOT_FAILED.search(before[-40:]):
                continue
            yield _Place(number, address, found.end(), leads or (labelled and not _HELP.search(before)))


def _reason(lines: list[str], place: _Place, following: int) -> str:
    """What stands behind an address on its line and below it, up to the next recipient."""
    rest = lines[place.line][place.end :].lstrip(">)]\"':;,. \t-")
    below = lines[place.line + 1 : following]
    if explains(rest):  # the reason is on this line; what is indented below continues it
        below = list(takewhile(lambda line: line[:1] in {" ", "\t"}, below))
    kept = [line.strip() for line in (rest, *below) if line.strip()]
    return one_line(" ".join(kept[:_REASON_LINES]))[:DIAGNOSTIC_CAP]
