"""A mail that the company sent to its signals, `email.sent`: one for each recipient who is not of the company. Pure and total.

Sources that see a sent folder call `read_sent`. Ids are of family "mail": the mail's identity as in `reading`, and the recipient.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from syncd.connector import SignalSpec
from syncd.connectors.mail.addresses import MailAddress
from syncd.connectors.mail.automatic import is_automatic
from syncd.connectors.mail.message import HEAD_BYTES, Mail, parse
from syncd.connectors.mail.reading import FAMILY, SIGNALS, Envelope, MailReading, Rules, newest_text
from syncd.connectors.mail.settings import MailSettings
from syncd.connectors.text import shorten
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

SENT = "email.sent"
SENT_SIGNAL = SignalSpec(
    SENT, "poll, backfill: as email.received, and the recipient; one for each recipient", backfill=True
)
MOST_RECIPIENTS = 50
"""A mail to more is a circular: what it says is not said to a person."""


def read_sent(raw: bytes, envelope: Envelope, rules: Rules, now: datetime, route: Route) -> MailReading:
    """What this mail of the sent folder means; none and why: auto_reply, circular, no recipient."""
    mail = parse(
        raw[:HEAD_BYTES] if envelope.truncated else raw,
        size=envelope.size,
        truncated=envelope.truncated,
        region=rules.region,
    )
    if is_automatic(mail) and not rules.auto_replies:
        return MailReading((), "auto_reply")
    to = [one for one in (*mail.to, *mail.cc) if one.email and one.email not in rules.own]
    signals = sent_signals(mail, to, envelope, rules, now, route)
    return MailReading(signals, "" if signals else "circular" if to else "no recipient")


def sent_signals(
    mail: Mail, recipients: Iterable[MailAddress], envelope: Envelope, rules: Rules, now: datetime, route: Route
) -> tuple[Signal, ...]:
    """One for each of these recipients; none of a circular."""
    to: dict[str, MailAddress] = {}
    for one in recipients:
        to.setdefault(one.email, one)
    if len(to) > MOST_RECIPIENTS:
        return ()
    text = "" if rules.headers_only else newest_text(mail)
    title = {"title": shorten(mail.subject, 998)} if mail.subject else titled("mail.no_subject")
    data = {
        "from": mail.sender.email,
        "to": [one.email for one in mail.to if one.email],
        "cc": [one.email for one in mail.cc if one.email],
        "message_id": mail.message_id,
        "in_reply_to": mail.in_reply_to,
        "attachments": [] if rules.headers_only else list(mail.attachments),
    }
    return tuple(
        Signal(
            id=derive_id(FAMILY, "", SENT, frame(mail.identity, one.email)),
            type=SENT,
            source=rules.source,
            occurred_at=mail.occurred_at(envelope.arrived_at),
            received_at=now,
            **title,
            text=text,
            person=make_person(name=one.name, email=one.email, region=rules.region),
            data=data,
            thread=f"mail:{mail.thread_root}",
            route=route,
        )
        for one in to.values()
    )


def types_of(settings: MailSettings) -> tuple[str, ...]:
    """The types that a mail source makes by these settings, whose kind of source may have a key `sent`."""
    out = getattr(settings, "sent", False) or settings.dropbox is not None
    return (*(one.type for one in SIGNALS), *((SENT,) if out else ()))
