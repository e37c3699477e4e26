"""Which recipients a delivery report says were not reached. `reading` calls it.

Pure, never raises. Three ways, the first that names a recipient counts: the fields of RFC 3464 and 6533, wherever they stand;
the prose of the server; flufl.bounce's detectors. Only a failure is a bounce; delayed, delivered, relayed and expanded
recipients, receipts and complaints are not bounces, and such a report is never anybody's mail either.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from email import policy
from email.parser import HeaderParser

from syncd.connectors.mail.addresses import SHARED_DOMAINS, parse_addresses
from syncd.connectors.mail.automatic import Robot, auto_submitted, return_path, robot, speaks_for_person
from syncd.connectors.mail.bounce_fields import STATUS_TYPES, Group, read_groups, status_text
from syncd.connectors.mail.bounce_kinds import Kind, explains, find_status, hardness, is_undefined
from syncd.connectors.mail.bounce_notices import Notice, read_notice
from syncd.connectors.mail.bounce_prose import (
    DIAGNOSTIC_CAP,
    FAILURE_SUBJECT,
    FailedRecipient,
    Prose,
    find_failures,
    only_address,
    plain_failures,
    quoted_headers,
    read_prose,
    reasons_for,
)
from syncd.connectors.mail.message import (
    Mail,
    RawMessage,
    children,
    headers_of,
    leaves,
    message_ids,
    parameter,
    part_text,
)
from syncd.connectors.mail.personal import is_signed_by_person
from syncd.connectors.mail.receipts import is_receipt_or_recall, is_statistics
from syncd.connectors.text import MIME_FAULTS, decode_header, html_to_text
from syncd.signals import normal_email

RECIPIENTS_CAP = 500

HEURISTIC_BYTES = 2_000_000
"""Larger mails are not searched for the wordings of old mail servers, which quote little."""

_RETURNED_TYPES = frozenset(
    {"text/rfc822-headers", "message/rfc822", "message/global-headers", "message/global", "text/rfc822"}
)
_RECEIPT_TYPES = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_DAMAGED_TEXT = re.compile(r"text/plain\s")  # a parameter without its semicolon
_DETAILS = re.compile(r"text/plain\b|application/octet-stream|text/x-")  # attached fields under another name
_FIELDS_IN_TEXT = re.compile(r"^\s{0,3}final-recipient\s?:", re.IGNORECASE | re.MULTILINE)
_RECEIVED_FOR = re.compile(r"\bfor <?([^\s<>;]{1,320}@[^\s<>;]{1,255})")
_REJECTED_RECEIPT = re.compile(r"\bautomatically rejected\b", re.IGNORECASE)  # Dovecot and Sieve reject with a receipt
_COMPLAINT_SUBJECT = re.compile(
    r"complaint about message from|(?:e-?mail )?(?:feedback|abuse) report(?: for ip)?\b"
    r"|report domain: .{0,200}submitter:",
    re.IGNORECASE,
)
_COMPLAINT_HEADER = "x-hmxmroriginalrecipient"  # Microsoft's Junk Mail Reporting Program
_ANSWER = re.compile(
    r"\s*(?:re|aw|sv|antw|odp|ответ|回复|回覆|答复|fwd?|wg|tr|i|rv|enc|doorst|vs|vb|pd|转发"
    r"|轉寄)\s*(?:\[\d+\])?[:：]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Bounce:
    """One recipient that was not reached. `kind` is "hard" (the address is bad) or "soft" (this mail was not taken)."""

    recipient: str
    kind: Kind
    status: str = ""
    diagnostic: str = ""
    final_recipient: str = ""


@dataclass(frozen=True)
class BounceReport:
    """What a mail reports. `is_report`: it reports on other mails, so it is never `email.received`. `bounces` may be
    empty (a delay, a receipt). `original_*`: of the mail that was sent, as far as the report quotes it."""

    is_report: bool = False
    bounces: tuple[Bounce, ...] = ()
    original_id: str = ""
    original_subject: str = ""
    original_root: str = ""


def read_report(mail: Mail, own: Collection[str] = frozenset()) -> BounceReport:
    """The report in a mail, `BounceReport()` for an ordinary mail. Addresses in `own` are never reported as failed; what prose
    says of another address of their domains is not believed."""
    parts = list(leaves(mail.part))
    kinds = {part.get_content_type() for part in parts}
    sender = robot(mail)
    if _is_complaint(mail, parts, kinds) or is_statistics(mail) or is_receipt_or_recall(mail):
        return BounceReport(is_report=True)
    if sender and (notice := read_notice(mail.text)):
        return _with_original(notice.original, _by_notice(notice, own))
    declared = mail.part.get_content_type() == "multipart/report"
    structured = declared or not kinds.isdisjoint(STATUS_TYPES)
    if not structured and not _about_delivery(mail, sender, own):
        return BounceReport()
    if not declared and _by_person(mail, sender):
        return BounceReport()
    prose = read_prose(_report_text(mail, parts))
    original = _original(parts) or prose.original
    if _is_receipt(mail, kinds) and not _REJECTED_RECEIPT.search(prose.said):
        return BounceReport(is_report=True)
    groups = _groups(mail, parts, rejected=_is_receipt(mail, kinds))
    certain = declared or bool(groups) or sender == "daemon" or return_path(mail) == "" or _surely(mail, sender, prose)
    never = _never_failed(mail, own)
    if groups and any(group.recipient for group in groups):
        bounces = _by_fields(groups, prose, own)
        if bounces or not any(group.failed and not group.recipient for group in groups):
            return _with_original(original, bounces)
    if prose.warns:
        return BounceReport(is_report=certain or bool(plain_failures(prose, never)))
    bounces = _by_prose(mail, prose, original, never, own, certain)
    return _with_original(original, bounces) if bounces or certain else BounceReport()


def _by_notice(notice: Notice, own: Collection[str]) -> tuple[Bounce, ...]:
    failures = notice.failures[:RECIPIENTS_CAP]
    return tuple(Bounce(who, kind, status, said) for who, kind, status, said in failures if who not in own)


def _surely(mail: Mail, sender: Robot, prose: Prose) -> bool:
    """Whether a postmaster reports rather than writes: the subject is that of a report, or a reason begins the text."""
    return sender == "postmaster" and (bool(FAILURE_SUBJECT.search(mail.subject)) or explains(prose.said[:400]))


def _by_person(mail: Mail, sender: Robot) -> bool:
    """Whether a person forwards a report, or answers one: nothing marks a program, and the subject is not that of a report."""
    if sender or return_path(mail) == "" or auto_submitted(mail):
        return False
    return _ANSWER.match(mail.subject) is not None or not FAILURE_SUBJECT.search(mail.subject)


def _about_delivery(mail: Mail, sender: Robot, own: Collection[str]) -> bool:
    """Whether a mail without the structure of a report is one: a daemon's always, a postmaster's or one with the null
    return path if its subject or its words tell of a failure, another program's if both do. A contact form's never."""
    if sender == "daemon":
        return True
    if speaks_for_person(mail, own):
        return False
    null = return_path(mail) == "" or "x-failed-recipients" in mail.headers
    if not (null or sender or auto_submitted(mail)):  # most mails: their text, which takes long, need not be searched
        return False
    prose = read_prose(mail.text)
    subject = FAILURE_SUBJECT.search(mail.subject) is not None
    fields = _FIELDS_IN_TEXT.search(prose.said) is not None
    words = prose.tells_failure or fields
    if sender == "postmaster":
        if is_signed_by_person(mail):
            return False
        answers = _ANSWER.match(mail.subject) is not None
        return (subject and not answers) or (words and (not answers or explains(prose.said[:400])))
    if null:
        return subject or fields or (words and sender != "")
    return (sender == "service" or auto_submitted(mail)) and words and (subject or fields or "@" in prose.said)


def _is_complaint(mail: Mail, parts: list[RawMessage], kinds: set[str]) -> bool:
    """A feedback report: RFC 5965, or as Microsoft and AOL sent them before."""
    report_type = parameter(mail.part, "content-type", "report-type").lower()
    if report_type == "feedback-report" or "message/feedback-report" in kinds:
        return True
    returned = [headers_of(inner) for part in parts for inner in children(part)]
    if any(_COMPLAINT_HEADER in headers for headers in (mail.headers, *returned)):
        return True
    return bool(_COMPLAINT_SUBJECT.match(mail.subject)) and not kinds.isdisjoint(_RETURNED_TYPES)


def _is_receipt(mail: Mail, kinds: set[str]) -> bool:
    """A read receipt (RFC 8098)."""
    report_type = parameter(mail.part, "content-type", "report-type").lower()
    return report_type == "disposition-notification" or not kinds.isdisjoint(_RECEIPT_TYPES)


def _report_text(mail: Mail, parts: list[RawMessage]) -> str:
    """Everything a report says: its text, its HTML where that is all, text whose type is damaged, the prose in its status
    parts."""
    damaged = [part_text(part) for part in parts if _DAMAGED_TEXT.match(part.get_content_type())]
    texts = [*damaged, mail.text]
    if not mail.text.strip():
        texts += [html_to_text(part_text(part)) for part in parts if part.get_content_type() == "text/html"]
    texts += [
        text
        for part in parts
        if part.get_content_type() in STATUS_TYPES
        if not read_groups([text := status_text(part)])
    ]
    return "\n".join(texts)


def _groups(mail: Mail, parts: list[RawMessage], *, rejected: bool) -> list[Group]:
    """The field groups: of every status part, else of the text, where a server or a broken boundary put them."""
    groups = read_groups(status_text(part) for part in parts if part.get_content_type() in STATUS_TYPES)
    if groups:
        return groups
    if rejected:
        texts = [status_text(part) for part in parts if part.get_content_type() in _RECEIPT_TYPES]
        for group in (found := read_groups(texts)):
            group.fields["action"] = "failed"
        return found
    texts = [mail.text, *(part_text(part) for part in parts if _DETAILS.match(part.get_content_type()))]
    return read_groups(text for text in texts if _FIELDS_IN_TEXT.search(text))


def _by_fields(groups: list[Group], prose: Prose, own: Collection[str]) -> tuple[Bounce, ...]:
    failed: dict[str, Group] = {}
    for group in groups:
        if group.failed and group.recipient and group.recipient not in own and len(failed) < RECIPIENTS_CAP:
            failed.setdefault(group.recipient, group)
    told = reasons_for(
        prose, {address for group in groups[: RECIPIENTS_CAP * 2] for address in (group.final, group.recipient)}
    )
    if len(failed) == 1 and not any(explains(reason) for reason in told.values()):
        told = reasons_for(prose, [*failed])
    return tuple(_of_group(recipient, group, told) for recipient, group in failed.items())


def _of_group(recipient: str, group: Group, told: dict[str, str]) -> Bounce:
    diagnostic = reason = group.diagnostic
    if not explains(diagnostic) or (is_undefined(find_status(group.status)) and not find_status(diagnostic)):
        prose = told.get(group.final) or told.get(recipient) or ""
        if explains(prose) or not explains(diagnostic):
            reason = f"{diagnostic} {prose}".strip()
    status = find_status(group.status)
    better = find_status(reason)
    if is_undefined(status) and better and not (status and is_undefined(better)):
        status = better
    shown = (diagnostic or reason)[:DIAGNOSTIC_CAP]
    return Bounce(recipient, hardness(status, reason), status, shown, group.final)


def _by_prose(
    mail: Mail,
    prose: Prose,
    original: dict[str, list[str]],
    never: Collection[str],
    own: Collection[str],
    certain: bool,
) -> tuple[Bounce, ...]:
    sent_to = _addresses(original, "to", "cc", "x-failed-recipients")
    skip = {*never, *(_addresses(original, "from", "return-path", "sender", "reply-to") - sent_to)}
    named = _addresses(mail.headers, "x-failed-recipients") - {*own}
    if named:
        failures = [FailedRecipient(address, "") for address in sorted(named)]
    else:
        failures = find_failures(prose, skip, sent_to) if certain else plain_failures(prose, skip)
    if not failures and certain:
        failures = [FailedRecipient(address, "") for address in _guessed(mail, prose, original, skip, sent_to)]
        failures = failures or find_failures(prose, own, sent_to)
    if not named:
        ours = {domain for address in own if (domain := address.rpartition("@")[2]) not in SHARED_DOMAINS}
        failures = [failure for failure in failures if failure.recipient.rpartition("@")[2] not in ours]
    failures = failures[:RECIPIENTS_CAP]
    told = reasons_for(prose, [failure.recipient for failure in failures])
    return tuple(_of_prose(failure, told[failure.recipient]) for failure in failures)


def _of_prose(failure: FailedRecipient, told: str) -> Bounce:
    reason = failure.reason if explains(failure.reason) else told or failure.reason
    status = find_status(reason)
    return Bounce(failure.recipient, hardness(status, reason), status, reason[:DIAGNOSTIC_CAP])


def _guessed(
    mail: Mail, prose: Prose, original: dict[str, list[str]], skip: Collection[str], sent_to: set[str]
) -> list[str]:
    """Who failed where the layout does not say it: by the old detectors, by the mail that comes back, by being alone."""
    sources = (_detected(mail), _envelope_recipient(original), list(sent_to) if len(sent_to) == 1 else [])
    for addresses in sources:
        if left := [address for address in addresses if address not in skip]:
            return left
    return only_address(prose, skip)


def _addresses(headers: dict[str, list[str]], *names: str) -> set[str]:
    return {address.email for name in names for value in headers.get(name, ()) for address in parse_addresses(value)}


def _envelope_recipient(original: dict[str, list[str]]) -> list[str]:
    """Whom the server that reports accepted the mail for: its Received field comes first (RFC 5321 section 4.4)."""
    found = _RECEIVED_FOR.search((original.get("received") or [""])[0])
    return [normal_email(found[1])] if found and normal_email(found[1]) else []


def _never_failed(mail: Mail, own: Collection[str]) -> set[str]:
    """Ourselves, and the two ends of the report: who sends it, and whoever the failed mail came from."""
    return {*own, mail.sender.email, *(address.email for address in (*mail.to, *mail.reply_to))}


def _with_original(original: dict[str, list[str]], bounces: tuple[Bounce, ...]) -> BounceReport:
    def first(name: str) -> str:
        return (original.get(name) or [""])[0]

    message_id = (message_ids(first("message-id"), loose=True) or ("",))[0]
    roots = (*message_ids(first("references")), *message_ids(first("in-reply-to")), message_id)
    return BounceReport(
        is_report=True,
        bounces=bounces,
        original_id=message_id,
        original_subject=decode_header(first("subject")),
        original_root=roots[0] if roots else "",
    )


def _original(parts: list[RawMessage]) -> dict[str, list[str]]:
    """Headers of the mail that was sent, from the part that returns it."""
    for part in parts:
        if part.get_content_type() not in _RETURNED_TYPES:
            continue
        if returned := children(part):
            return headers_of(returned[0])
        text = part_text(part).lstrip()
        return headers_of(HeaderParser(policy=policy.compat32).parsestr(text)) or quoted_headers(text)
    return {}


def _detected(mail: Mail) -> list[str]:
    """What flufl.bounce's detectors find, for formats of old servers."""
    from flufl.bounce import all_failures

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it logs a traceback before raising what we expect
    try:
        permanent = all_failures(mail.part)[1] if mail.size <= HEURISTIC_BYTES else frozenset()
    except MIME_FAULTS:
        permanent = frozenset()
    decoded = (decode_header(found.decode("utf-8", "surrogateescape")) for found in permanent)
    return sorted({normal_email(recipient) for recipient in decoded} - {""})
