"""Which recipients a delivery report says were not reached: RFC 3464 first, flufl.bounce for the rest. `reading` calls it.

Pure, never raises. Only `Action: failed` is a bounce; delayed, delivered, relayed and expanded recipients are not.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from email import policy
from email.parser import HeaderParser

from connectors.mail.addresses import parse_addresses
from connectors.mail.message import Mail, RawMessage, children, headers_of, leaves, message_ids, parameter, part_text
from connectors.mail.text import MIME_FAULTS, decode, decode_header, one_line, unbase64
from syncd.signals import normal_email

RECIPIENTS_CAP = 500

HEURISTIC_BYTES = 2_000_000
"""Larger mails are not searched for the wordings of old mail servers, which quote little."""

_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_ROBOT = re.compile(r"(?:mailer-daemon|postmaster|mail-daemon|bounce|mdaemon|double-bounce)\b", re.IGNORECASE)
_SUBJECT = re.compile(
    r"undeliver|delivery (?:status|failure|failed|report|has failed)|failure notice|returned mail|mail delivery|not delivered"
    r"|non remis|unzustellbar|no se puede entregar|mancato recapito",
    re.IGNORECASE,
)
# Failures that end by themselves or by somebody clearing up (RFC 3463): the address is good, this mail was not taken.
_SOFT = {"5.2.2", "5.2.0", "5.3.1", "5.3.2", "5.4.5", "5.2.3", "5.3.4", "5.7.1", "5.7.0"}


@dataclass(frozen=True)
class Bounce:
    """One recipient that was not reached. `kind` is "hard" (the address is bad) or "soft" (this mail was not taken)."""

    recipient: str
    kind: str
    status: str = ""
    diagnostic: str = ""
    final_recipient: str = ""


@dataclass(frozen=True)
class Report:
    """What a mail reports. `is_report`: it speaks of other mails' fate, so it is never `email.received`. `bounces` may be
    empty (a delay, a receipt). `original_*`: of the mail that was sent, as far as the report quotes it."""

    is_report: bool = False
    bounces: tuple[Bounce, ...] = ()
    original_id: str = ""
    original_subject: str = ""
    original_root: str = ""


def read_report(mail: Mail) -> Report:
    """The report in a mail, `Report()` for an ordinary mail."""
    parts = list(leaves(mail.part))
    status = next((part for part in parts if part.get_content_type() == "message/delivery-status"), None)
    kind = parameter(mail.part, "content-type", "report-type").lower()
    report = mail.part.get_content_type() == "multipart/report"
    original = _original(parts, mail)
    if status is not None:
        return _with_original(original, _per_recipient(status))
    if report and kind in {"disposition-notification", "feedback-report"}:
        return Report(is_report=True)
    if report or _looks_like_report(mail):
        found = _heuristic(mail)
        if found or report:
            return _with_original(original, found)
    return Report()


def _with_original(original: dict[str, list[str]], bounces: tuple[Bounce, ...]) -> Report:
    def first(name: str) -> str:
        return (original.get(name) or [""])[0]

    message_id = (message_ids(first("message-id"), loose=True) or ("",))[0]
    roots = (*message_ids(first("references")), *message_ids(first("in-reply-to")), message_id)
    return Report(
        is_report=True,
        bounces=bounces,
        original_id=message_id,
        original_subject=decode_header(first("subject")),
        original_root=roots[0] if roots else "",
    )


def _per_recipient(status: RawMessage) -> tuple[Bounce, ...]:
    """RFC 3464 section 2.3: groups of fields, the first of which speaks of the whole message."""
    bounces: dict[str, Bounce] = {}
    for group in _groups(status):
        fields = headers_of(group)

        def value(name: str, fields: dict[str, list[str]] = fields) -> str:
            return decode_header((fields.get(name) or [""])[0])

        if value("action").partition(" ")[0].strip(";").lower() != "failed":
            continue
        final = _typed_address(value("final-recipient"))
        recipient = _typed_address(value("original-recipient")) or final
        if not recipient or len(bounces) >= RECIPIENTS_CAP:
            continue
        diagnostic = value("diagnostic-code")
        code = _status(value("status")) or _status(diagnostic)
        bounces[recipient] = Bounce(recipient, hardness(code), code, diagnostic[:1000], final)
    return tuple(bounces.values())


def _groups(status: RawMessage) -> list[RawMessage]:
    """The field groups. The parser makes them sub-messages; where it could not (base64, truncated), the text is split."""
    groups = children(status)
    if groups:
        if any("action" in headers_of(group) for group in groups):
            return groups
        text = "\n\n".join(part_text(group) for group in groups)
        if "base64" in str(status.get("content-transfer-encoding", "")).lower():
            text = decode(unbase64(text.encode("ascii", "ignore")))
    else:
        text = part_text(status)
    parser = HeaderParser(policy=policy.compat32)
    return [
        parser.parsestr(group.strip()) for group in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")) if group.strip()
    ]


def _typed_address(value: str) -> str:
    """`rfc822; Ann@Example.com` -> `ann@example.com`; also x.400-free forms without a type."""
    _, semicolon, address = value.partition(";")
    address = address if semicolon else value
    found = parse_addresses(address)
    return found[0].email if found else normal_email(address)


def _status(value: str) -> str:
    found = _STATUS.search(value)
    return ".".join(found.groups()) if found else ""


def hardness(status: str) -> str:
    """ "hard" or "soft" by the enhanced status code (RFC 3463): 4.x.x, a full mailbox, policy and system trouble are soft."""
    return "soft" if status.startswith("4.") or status in _SOFT else "hard"


def _original(parts: list[RawMessage], mail: Mail) -> dict[str, list[str]]:
    """Headers of the mail that was sent, from the report's last part, or from its text."""
    for part in parts:
        kind = part.get_content_type()
        if kind == "message/rfc822" and (returned := children(part)):
            return headers_of(returned[0])
        if kind in {"text/rfc822-headers", "message/rfc822", "message/global-headers", "text/rfc822"}:
            return headers_of(HeaderParser(policy=policy.compat32).parsestr(part_text(part).lstrip()))
    quoted = re.search(r"^(?:> ?)?message-id:\s*(<[^<>\s]{1,400}>)", mail.text, re.IGNORECASE | re.MULTILINE)
    return {"message-id": [quoted[1]]} if quoted else {}


def _looks_like_report(mail: Mail) -> bool:
    returned = mail.headers.get("return-path")
    empty_path = bool(returned) and returned is not None and returned[0].strip() in {"<>", ""}
    robot = _ROBOT.match(mail.sender.email) is not None
    return (robot or empty_path) and (robot or _SUBJECT.search(mail.subject) is not None)


def _heuristic(mail: Mail) -> tuple[Bounce, ...]:
    """flufl.bounce's detectors (Exim, qmail, Exchange, ... from before RFC 3464), and the X-Failed-Recipients header."""
    from flufl.bounce import all_failures

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)  # it logs a traceback before raising what we expect
    try:
        permanent = all_failures(mail.part)[1] if mail.size <= HEURISTIC_BYTES else frozenset()
    except MIME_FAULTS:
        permanent = frozenset()
    recipients = {decode_header(found.decode("utf-8", "surrogateescape")): "" for found in permanent}
    recipients |= {address.email: "" for address in parse_addresses(mail.header("x-failed-recipients"))}
    code = _status(one_line(mail.text[:20_000]))
    addresses = sorted({normal_email(recipient) for recipient in recipients} - {""})
    return tuple(Bounce(address, hardness(code), code) for address in addresses[:RECIPIENTS_CAP])
