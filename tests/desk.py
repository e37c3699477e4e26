"""An intake as small as can be around a Zoho Desk source, and what its tests put into the twin."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.connector import (
    Batch,
    Context,
    Hint,
    NotYet,
    Request,
)
from syncd.connectors.desk.zoho import CONNECTOR, ZohoDesk
from syncd.connectors.desk.zoho_receiver import ZohoDeskSettings
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.twins.zoho_desk.twin import ZohoDeskTwin

ORG = "927523540"
NOW = datetime.now(UTC).replace(microsecond=0)


def at(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class House:
    """What the daemon does around a source, in memory: commits batches, keeps hints until they are due."""

    def __init__(self, twin: ZohoDeskTwin, **keys: Any) -> None:
        self.now = NOW
        self.memory: dict[str, str] = {}
        self.hints: dict[str, Hint] = {}
        self.signals: dict[Any, Signal] = {}
        self.dropped: dict[str, int] = {}
        auth = {"client_id": "id", "client_secret": "s3cret", "refresh_token": f"r{id(self)}"}
        named = {"org_id": ORG, "base_url": twin.url, "accounts_url": twin.url, "auth": auth, **keys}
        context = Context(
            name="desk",
            tokens=MemoryTokens(lambda: self.now),
            region="VN",
            clock=lambda: self.now,
            recall=lambda names: {name: self.memory[name] for name in names if name in self.memory},
        )
        made = CONNECTOR.build(ZohoDeskSettings.model_validate(named), context)
        assert isinstance(made, ZohoDesk)
        self.source, self.state = made, b""

    def commit(self, batch: Batch) -> list[Signal]:
        fresh = [one for one in batch.signals if one.id not in self.signals]
        self.signals |= {one.id: one for one in fresh}
        self.hints |= {hint.key: hint for hint in batch.hints}
        for name, value in batch.remember.items():
            self.memory.pop(name, None)
            self.memory |= {name: value} if value is not None else {}
        for reason, count in batch.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.state = batch.state or self.state
        return fresh

    def start(self, **ago: float) -> None:
        """As if the source had begun then."""
        moment = at(**ago)
        self.state = json.dumps({"since": moment, "floor": moment, "began": moment}).encode()

    def poll(self) -> list[Signal]:
        return [one for batch in self.source.poll(self.state, self.now) for one in self.commit(batch)]

    def work(self) -> list[Signal]:
        """Fetches every hint that is due, until none is."""
        made: list[Signal] = []
        for _ in range(20):
            due = [hint for hint in self.hints.values() if (hint.not_before or self.now) <= self.now]
            if not due:
                return made
            for hint in due:
                del self.hints[hint.key]
                found = self.source.fetch(hint, self.now)
                if isinstance(found, NotYet):
                    self.hints[hint.key] = Hint(key=hint.key, data=hint.data, not_before=found.at)
                else:
                    made += self.commit(found)
        raise AssertionError("hints without end")

    def round(self) -> list[Signal]:
        return [*self.poll(), *self.work()]

    def deliver(self, headers: dict[str, str], body: bytes) -> list[Signal]:
        request = post(headers, body)
        self.source.verifier()(request, datetime.now(UTC))  # the twin signs by the wall clock
        self.commit(self.source.parse(request))
        return self.work()


def post(headers: dict[str, str], body: bytes, method: str = "POST") -> Request:
    lowered = {name.lower(): value for name, value in headers.items()}
    url = "https://syncd.example.com/webhooks/desk"
    return Request(method=method, url=url, headers=lowered, body=body, received_at=NOW)


def types(signals: Iterable[Signal]) -> list[str]:
    return sorted(one.type for one in signals)


def ticket(twin: ZohoDeskTwin, contact: str, minutes_ago: float = 30, **more: Any) -> str:
    fields = {"subject": "It is broken", "contactId": contact, "createdTime": at(minutes=minutes_ago), **more}
    fields.setdefault("modifiedTime", fields["createdTime"])
    return twin.add("tickets", **fields)


def reply(twin: ZohoDeskTwin, ticket_id: str, minutes_ago: float = 5, **more: Any) -> str:
    fields = {"content": "<p>Still <b>broken</b></p>", "contentType": "text/html", **more}
    return twin.add("threads", ticketId=ticket_id, createdTime=at(minutes=minutes_ago), **fields)


def comment(twin: ZohoDeskTwin, ticket_id: str, minutes_ago: float = 5, kind: str = "END_USER") -> str:
    commenter = {"type": kind, "name": "Jane Doe", "email": "jane@x.example"}
    when = at(minutes=minutes_ago)
    return twin.add(
        "comments", ticketId=ticket_id, commentedTime=when, content="Any news?", isPublic=True, commenter=commenter
    )
