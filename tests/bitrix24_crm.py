"""What tests of the Bitrix24 destination share: a connection to a twin, and short words for people and writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

from syncd.connector import Context, Link, Lookup, MatchField, PersonQuery, Write
from syncd.connectors.crm.bitrix24 import Bitrix24, Bitrix24Settings
from syncd.errors import Failure
from syncd.http.oauth import MemoryTokens
from syncd.twins.bitrix24.twin import Bitrix24Twin

Connect = Callable[..., Bitrix24]


def connecting(twin: Bitrix24Twin) -> Iterator[Connect]:
    """A function that connects to this twin by its webhook, and closes what it made."""
    made: list[Bitrix24] = []

    def build(
        region: str | None = "VN", clock: Callable[[], datetime] = lambda: datetime.now(UTC), **keys: Any
    ) -> Bitrix24:
        given = {"base_url": twin.credentials()["base_url"], "requests_per_second": 50, **keys}
        settings = Bitrix24Settings.model_validate(given)
        made.append(Bitrix24(settings, Context(name="crm", tokens=MemoryTokens(clock), region=region, clock=clock)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def person(email: str = "", phone: str = "", objects: tuple[str, ...] = ("Contact", "Lead")) -> PersonQuery:
    terms = ((MatchField("email", email),) if email else ()) + (
        (MatchField("phone", phone, phone=True),) if phone else ()
    )
    return PersonQuery(email or phone, tuple(Lookup(o, terms) for o in objects), email)


def key(text: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(text)))


def lead(name: object, **more: Any) -> Write:
    fields = {"title": f"L{name}", "lastName": f"L{name}", "email": f"lead{name}@example.com"}
    return Write(
        key=key(f"lead {name}"), object="Lead", key_field="originId", fields=fields | more.pop("fields", {}), **more
    )


def comment(name: object, on: Link, **more: Any) -> Write:
    fields = {"COMMENT": f"Signal {name}", **more.pop("fields", {})}
    return Write(key=key(name), object="Comment", key_field="ref", fields=fields, links={"ENTITY_ID": on}, **more)


def todo(name: object, on: Link, **more: Any) -> Write:
    fields = {"title": f"Do {name}", "deadline": date(2026, 11, 1), **more.pop("fields", {})}
    return Write(key=key(f"todo {name}"), object="Todo", key_field="ref", fields=fields, links={"ownerId": on}, **more)


def push(crm: Bitrix24, *writes: Write) -> list[Any]:
    """Plans and sends; the outcomes in the order of the writes."""
    outcomes: dict[str, Any] = {}
    for call in crm.plan(writes):
        outcomes |= {w.key: o for w, o in zip(call.writes, crm.send(call), strict=True)}
    return [outcomes[w.key] for w in writes]


def answers(crm: Bitrix24, *writes: Write) -> list[Any]:
    """Outcomes, a raised failure as that of every write."""
    try:
        return push(crm, *writes)
    except Failure as failed:
        return [failed] * len(writes)
