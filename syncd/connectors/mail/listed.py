"""Mails that an API lists, each read as it came: what `graph_mail` and `zoho_mail` share.

The source turns a row into a `Listed` and fetches its bytes. Promise: a row without an id becomes a misfit alone; a draft and a
mail that is gone are counted; a mail of the sent folder makes `email.sent`; every other mail is read as by IMAP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from syncd.connector import Batch, Request, UnparsedItem
from syncd.connectors.mail.dropbox import read_incoming
from syncd.connectors.mail.invitations import CalendarMail, Invitations
from syncd.connectors.mail.message import HEAD_BYTES
from syncd.connectors.mail.reading import Envelope, Readings, Rules
from syncd.connectors.mail.sent import read_sent
from syncd.connectors.mail.settings import MailSettings
from syncd.signals import Route, normal_email

PAGE = 25
"""Mails that are read for one batch, each by a call of its own."""


class Listed(NamedTuple):
    """A mail of a list. `id`: "" for one that has none. `link` opens it in the vendor's pages."""

    id: str
    row: Mapping[str, Any]
    received: datetime | None
    seen: bool = False
    draft: bool = False
    link: str = ""


def rules_of(settings: MailSettings, mailbox: str, source: str, region: str | None) -> Rules:
    own = {*settings.own_addresses, normal_email(mailbox)} - {""}
    headers_only = settings.capture == "headers"
    return Rules(source, frozenset(own), settings.lists, settings.auto_replies, headers_only, region, settings.dropbox)


class MailReader:
    """Reads listed mails by `fetch`: the bytes of a mail by its id, None if it is gone."""

    def __init__(
        self, fetch: Callable[[Listed], bytes | None], rules: Rules, max_size: int, invitations: Invitations
    ) -> None:
        self._fetch, self._rules, self._max_size, self._invitations = fetch, rules, max_size, invitations

    def batch(
        self,
        mails: Iterable[Listed],
        now: datetime,
        route: Route,
        state: bytes,
        *,
        sent: bool = False,
        wanted: Callable[[datetime], bool] = lambda at: True,
    ) -> Batch:
        """`sent`: the mails are of the sent folder. `wanted`: by when a mail happened."""
        readings, misfits, signals, told = Readings(), [], [], list[CalendarMail]()
        for mail in mails:
            if not mail.id:
                kept = Request("POST", "", {}, json.dumps({"value": [mail.row]}).encode(), now)
                misfits.append(UnparsedItem(kept, "a mail of the list has no id"))
                continue
            if mail.draft:
                readings.dropped["draft"] += 1
                continue
            raw = self._fetch(mail)
            if raw is None:
                readings.dropped["a mail that is gone"] += 1
                continue
            large, before = len(raw) > self._max_size, len(readings.signals)
            envelope = Envelope((mail.received or now).astimezone(UTC), len(raw), mail.seen, large)
            reads = read_sent if sent else read_incoming
            reading = reads(raw[:HEAD_BYTES] if large else raw, envelope, self._rules, now, route)
            readings.add(reading)
            told += self._invitations.read(raw, reading.dropped) if route is Route.POLL else []
            signals += [msgspec.structs.replace(one, url=mail.link) for one in readings.signals[before:]]
        signals = [one for one in signals if wanted(one.occurred_at)]
        batch = Batch(signals, state=state, dropped=readings.dropped, misfits=misfits, formerly=readings.formerly)
        return self._invitations.joined(batch, told)
