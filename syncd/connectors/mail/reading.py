"""A mail's bytes to its signals, or to the reason why it is not one. `imap` and `maildir` call `read_mail`.

Pure and total. Ids are of family "mail" and are the same by every transport, folder and account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from syncd.connector import FormerId, SignalSpec
from syncd.connectors.mail.addresses import mailto, unique
from syncd.connectors.mail.automatic import form_sender, is_automatic, speaks_for_person
from syncd.connectors.mail.bounces import BounceReport, read_report
from syncd.connectors.mail.html_quotes import marked_html
from syncd.connectors.mail.message import HEAD_BYTES, TEXT_CAP, Mail, parse
from syncd.connectors.mail.reply import latest_reply
from syncd.connectors.mail.settings import DropBoxSettings
from syncd.connectors.text import shorten
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

FAMILY = "mail"
RECEIVED = "email.received"
BOUNCED = "email.bounced"

SIGNALS = (
    SignalSpec(
        RECEIVED,
        "poll, backfill: Message-ID, From, Reply-To, Date, Subject; without the first a hash of Date, From, To, Subject, body",
        backfill=True,
    ),
    SignalSpec(BOUNCED, "poll, backfill: the same of the report, and the recipient", backfill=True),
)

_LIST_HEADERS = frozenset(
    {"list-id", "mailing-list", "x-mlserver", "x-ml-name"}
)  # RFC 2919; ezmlm; fml and other managers
_BULK = frozenset({"bulk", "list", "junk"})


@dataclass(frozen=True)
class Rules:
    """What a mailbox wants: `source` is its YAML name, `own` the addresses it sends from (lower case),
    `region` the company's country, by which names are ordered; `dropbox`: the address by which mail is filed, if it has one."""

    source: str
    own: frozenset[str] = frozenset()
    lists: bool = False
    auto_replies: bool = False
    headers_only: bool = False
    region: str | None = None
    dropbox: DropBoxSettings | None = None


@dataclass(frozen=True)
class Envelope:
    """What the transport knows of a mail: when it arrived (UTC), its whole size, whether it was read in the mailbox,
    whether `raw` is only its head."""

    arrived_at: datetime
    size: int
    seen: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class MailReading:
    """Signals, or none and why: own, list, auto_reply, delivery_report. `formerly`: see `syncd.connector.Batch`."""

    signals: tuple[Signal, ...] = ()
    dropped: str = ""
    formerly: Mapping[UUID, FormerId] = field(default_factory=dict)


@dataclass
class Readings:
    """What several mails came to."""

    signals: list[Signal] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    formerly: dict[UUID, FormerId] = field(default_factory=dict)

    def add(self, reading: MailReading) -> None:
        self.signals += reading.signals
        self.dropped.update([reading.dropped] if reading.dropped else [])
        self.formerly.update(reading.formerly)


def read_mail(raw: bytes, envelope: Envelope, rules: Rules, now: datetime, route: Route) -> MailReading:
    """What this mail means. Bounces come first: they look like automatic mail."""
    mail = parse(
        raw[:HEAD_BYTES] if envelope.truncated else raw,
        size=envelope.size,
        truncated=envelope.truncated,
        region=rules.region,
    )
    return read_parsed(mail, envelope, rules, now, route)


def read_parsed(mail: Mail, envelope: Envelope, rules: Rules, now: datetime, route: Route) -> MailReading:
    """`read_mail` of a mail that was parsed already."""
    report = read_report(mail, rules.own)
    if report.is_report:
        bounced = _bounced(mail, report, envelope, rules, now, route)
        return _read(bounced, mail) if bounced else MailReading((), "delivery_report")
    reason = unwanted(mail, rules)
    return MailReading((), reason) if reason else _read((received(mail, envelope, rules, now, route),), mail)


def _read(signals: tuple[Signal, ...], mail: Mail) -> MailReading:
    """With the ids from when a mail was known by its Message-ID alone."""
    if not mail.message_id:
        return MailReading(signals)
    dated = mail.date is not None
    return MailReading(
        signals,
        formerly={
            signal.id: FormerId(
                derive_id(FAMILY, "", signal.type, _native(signal.type, mail.key, signal.person.email)),
                signal.occurred_at if dated and signal.occurred_at == mail.date else None,
            )
            for signal in signals
        },
    )


def _native(signal_type: str, mail: str, recipient: str) -> str:
    """The mail's own part of an id: a report makes a signal of each recipient."""
    return mail if signal_type == RECEIVED else frame(mail, recipient)


def unwanted(mail: Mail, rules: Rules) -> str:
    """Why a mail is not a customer's message, ``""`` when it may be one."""
    if mail.sender.email in rules.own and not form_sender(mail, rules.own):
        return "own"
    if speaks_for_person(mail, rules.own):
        return ""
    if not rules.lists and (not _LIST_HEADERS.isdisjoint(mail.headers) or mail.header("precedence").lower() in _BULK):
        return "list"
    return "auto_reply" if not rules.auto_replies and is_automatic(mail) else ""


def newest_text(mail: Mail) -> str:
    """What the person newly wrote: the whole text, unless a quotation or a signature was left out."""
    newest = latest_reply(mail.written, answer=mail.answers)
    if newest != mail.text and newest.split() != mail.text.split():
        return newest
    if mail.html:  # the plain text shows no quotation; the HTML beside it may
        marked = latest_reply(marked_html(mail.html), answer=mail.answers)
        if marked and set(marked.split()) <= set(mail.text.split()):
            return marked
    return mail.text


def received(mail: Mail, envelope: Envelope, rules: Rules, now: datetime, route: Route) -> Signal:
    """The signal of a mail that a person wrote to us."""
    form = form_sender(mail, rules.own)
    sender = form or mail.sender
    text = "" if rules.headers_only else newest_text(mail)
    answer_to = unique(mail.reply_to or (sender,), without={*rules.own, ""})
    copies = unique((*mail.to, *mail.cc), without={*rules.own, *answer_to, ""})
    data: dict[str, Any] = {
        "to": unique(mail.to),
        "cc": unique(mail.cc),
        "message_id": mail.message_id,
        "in_reply_to": mail.in_reply_to,
        "references": list(mail.references[:50]),
        "seen": envelope.seen,
        "attachments": [] if rules.headers_only else list(mail.attachments),
        "size": mail.size,
        "reply_only": not rules.headers_only and text != mail.text,
    }
    if rules.headers_only:
        data["capture"] = "headers"
    if data["reply_only"]:
        data["full_text"] = mail.text
    if mail.reply_to:
        data["reply_to"] = unique(mail.reply_to)
    if mail.note and not rules.headers_only:
        data["note"] = mail.note
    if mail.truncated:
        data["note"] = f"Only the first {HEAD_BYTES // 1024} KiB of this mail of {mail.size} bytes were read."
    return Signal(
        id=derive_id(FAMILY, "", RECEIVED, mail.identity),
        type=RECEIVED,
        source=rules.source,
        occurred_at=mail.occurred_at(envelope.arrived_at),
        received_at=now,
        **({"title": shorten(mail.subject, 998)} if mail.subject else titled("mail.no_subject")),
        text=text,
        reply=mailto(answer_to, copies, mail.subject, mail.message_id),
        person=make_person(name=sender.name, email=sender.email, region=rules.region),
        data=data,
        thread=f"mail:{mail.thread_root}",
        route=route,
    )


def _bounced(
    mail: Mail, report: BounceReport, envelope: Envelope, rules: Rules, now: datetime, route: Route
) -> tuple[Signal, ...]:
    what = shorten(report.original_subject or mail.subject, 983)
    title = titled("mail.not_delivered", subject=what) if what else titled("mail.not_delivered.bare")
    return tuple(
        Signal(
            id=derive_id(FAMILY, "", BOUNCED, _native(BOUNCED, mail.identity, bounce.recipient)),
            type=BOUNCED,
            source=rules.source,
            occurred_at=mail.occurred_at(envelope.arrived_at),
            received_at=now,
            **title,
            text=shorten(bounce.diagnostic or ("" if rules.headers_only else mail.text), TEXT_CAP // 10),
            person=make_person(email=bounce.recipient),
            data={
                "kind": bounce.kind,
                "status": bounce.status,
                "diagnostic": bounce.diagnostic,
                "final_recipient": bounce.final_recipient,
                "original_message_id": report.original_id,
                "original_subject": report.original_subject,
                "message_id": mail.message_id,
            },
            thread=f"mail:{report.original_root or mail.thread_root}",
            route=route,
        )
        for bounce in report.bounces
    )
