"""The drop box: a secret address to which the company's own people copy or forward mail that is to be filed in the CRM. Pure.

What one of them sends with the address in Bcc is `email.sent` to the people in To and Cc; what they forward to it is the mail
that was forwarded. Ids are those of the mail itself, so that a copy in a sent folder or an inbox is the same signal. Mail of
anybody else to the address is dropped and counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec

from syncd.connectors.mail.addresses import SHARED_DOMAINS
from syncd.connectors.mail.forwarded import PastedMail, attached_mail, pasted_mail
from syncd.connectors.mail.message import HEAD_BYTES, Mail, parse
from syncd.connectors.mail.quotation_words import without_answer
from syncd.connectors.mail.reading import FAMILY, RECEIVED, Envelope, MailReading, Rules, read_parsed, received
from syncd.connectors.mail.sent import sent_signals
from syncd.connectors.mail.settings import DropBoxSettings
from syncd.connectors.text import shorten
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

NOT_ALLOWED, FORGED, NOBODY = "drop box: sender", "drop box: not authentic", "drop box: nobody to file it on"
"""Why a mail to the drop box is dropped."""
ADDRESSED = (
    *("to", "cc", "bcc", "delivered-to", "x-original-to", "x-delivered-to", "envelope-to", "x-envelope-to"),
    *("x-forwarded-to", "x-rcpt-to", "apparently-to", "resent-to", "received"),
)
"""Headers in which servers and programs leave the address to which a mail was delivered; Bcc itself is not in the mail."""
_CHECK = re.compile(r"\b(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.IGNORECASE)


def read_incoming(raw: bytes, envelope: Envelope, rules: Rules, now: datetime, route: Route) -> MailReading:
    """What a mail means that came to a mailbox with (or without) a drop box."""
    cut = raw[:HEAD_BYTES] if envelope.truncated else raw
    mail = parse(cut, size=envelope.size, truncated=envelope.truncated, region=rules.region)
    box = rules.dropbox
    if box is None or not is_addressed(mail, box.address):
        return read_parsed(mail, envelope, rules, now, route)
    if not is_allowed(mail.sender.email, box.senders):
        return MailReading((), NOT_ALLOWED)
    checks = authentication(mail)
    if checks.get("dmarc") == "fail":
        return MailReading((), FORGED)
    signals = _filed(mail, envelope, rules, box, now, route)
    about: dict[str, Any] = {"filed_by": mail.sender.email, **({"authentication": checks} if checks else {})}
    filed = tuple(msgspec.structs.replace(one, data={**one.data, **about}) for one in signals)
    return MailReading(filed, "" if filed else NOBODY)


def is_addressed(mail: Mail, address: str) -> bool:
    """Whether a mail was sent to this address, as far as its headers tell."""
    whole = re.compile(rf"(?<![\w.+=-]){re.escape(address)}(?![\w.-])", re.IGNORECASE)
    return any(whole.search(value) for name in ADDRESSED for value in mail.headers.get(name, ()))


def is_allowed(sender: str, senders: Iterable[str]) -> bool:
    """Whether an address is one of those listed: whole, or `@domain`."""
    return bool(sender) and any(sender.endswith(one) if one.startswith("@") else sender == one for one in senders)


def authentication(mail: Mail) -> dict[str, str]:
    """What the server that received the mail found out about its sender (RFC 8601): spf, dkim, dmarc. The topmost header is its
    own; those below came with the mail and may say anything."""
    first = (mail.headers.get("authentication-results") or [""])[0]
    found: dict[str, str] = {}
    for check, result in _CHECK.findall(first):
        name = check.lower()
        if found.get(name) != "pass":  # of several signatures one that holds is enough
            found[name] = result.lower()
    return found


def _filed(
    mail: Mail, envelope: Envelope, rules: Rules, box: DropBoxSettings, now: datetime, route: Route
) -> tuple[Signal, ...]:
    to = [one for one in (*mail.to, *mail.cc) if _is_theirs(one.email, rules, box)]
    if to:
        return sent_signals(mail, to, envelope, rules, now, route)
    inner = attached_mail(mail, rules.region)
    if inner is not None:
        if _is_theirs(inner.sender.email, rules, box):
            return (received(inner, envelope, rules, now, route),)
        people = [one for one in (*inner.to, *inner.cc) if _is_theirs(one.email, rules, box)]
        return sent_signals(inner, people, envelope, rules, now, route) if people else ()
    pasted = pasted_mail(mail.written) or pasted_mail(mail.text)
    if pasted is None or not _is_theirs(pasted.sender.email, rules, box):
        return ()
    return (_received_before(mail, pasted, envelope, rules, now, route),)


def _is_theirs(email: str, rules: Rules, box: DropBoxSettings) -> bool:
    """Whether an address is a customer's: not ours, not the drop box, not of a domain of those who may use it."""
    domain = email.rpartition("@")[2]
    return bool(email) and email != box.address and email not in rules.own and domain not in own_domains(box.senders)


def own_domains(senders: Iterable[str]) -> Collection[str]:
    """The domains of the company's people, without those that give addresses to everybody."""
    return {one.rpartition("@")[2] for one in senders} - SHARED_DOMAINS


def _received_before(
    mail: Mail, pasted: PastedMail, envelope: Envelope, rules: Rules, now: datetime, route: Route
) -> Signal:
    """The mail that was pasted into this one. It happened before; only the forwarder's time is certain."""
    subject = pasted.subject or without_answer(mail.subject)
    sender = pasted.sender
    return Signal(
        id=derive_id(FAMILY, "", RECEIVED, frame("forwarded", mail.identity, sender.email)),
        type=RECEIVED,
        source=rules.source,
        occurred_at=mail.occurred_at(envelope.arrived_at),
        received_at=now,
        **({"title": shorten(subject, 998)} if subject else titled("mail.no_subject")),
        text="" if rules.headers_only else pasted.text,
        person=make_person(name=sender.name, email=sender.email, region=rules.region),
        data={
            "to": [one.email for one in pasted.to if one.email],
            "cc": [one.email for one in pasted.cc if one.email],
            "message_id": mail.message_id,
            "forwarded": True,
        },
        thread=f"mail:{mail.thread_root}",
        route=route,
    )
