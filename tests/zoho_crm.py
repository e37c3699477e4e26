"""What tests of the Zoho destination share: a connection to a twin, and short words for people and writes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

from syncd.connector import Context, Lookup, MatchField, PersonQuery, Write
from syncd.connectors.crm.zoho import Zoho, ZohoSettings
from syncd.errors import Failure
from syncd.http.oauth import MemoryTokens
from syncd.twins.zoho.twin import ZohoTwin

KEY = "Syncd_Key"
SECRETS = {"client_secret": "hush-hush", "refresh_token": "1000.top.secret"}
AUTH = {"client_id": "1000.APP", **SECRETS}
Connect = Callable[..., Zoho]


def connecting(twin: ZohoTwin) -> Iterator[Connect]:
    """A function that connects to this twin, and closes what it made."""
    made: list[Zoho] = []

    def build(
        region: str | None = "VN", clock: Callable[[], datetime] = lambda: datetime.now(UTC), **keys: Any
    ) -> Zoho:
        settings = ZohoSettings.model_validate({"accounts_url": twin.url, "auth": AUTH, **keys})
        made.append(Zoho(settings, Context(name="crm", tokens=MemoryTokens(clock), region=region, clock=clock)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def person(email: str = "", phone: str = "", objects: tuple[str, ...] = ("Contacts", "Leads")) -> PersonQuery:
    terms = ((MatchField("Email", email),) if email else ()) + (
        (MatchField("Phone", phone, phone=True),) if phone else ()
    )
    return PersonQuery(email or phone, tuple(Lookup(o, terms) for o in objects))


def key(text: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(text)))


def task(name: object, **more: Any) -> Write:
    fields = {"Subject": f"Signal {name}", "Due_Date": date(2026, 11, 1), **more.pop("fields", {})}
    return Write(key=key(name), object="Tasks", key_field=KEY, fields=fields, **more)


def lead(name: object, **more: Any) -> Write:
    fields = {"Last_Name": f"L{name}", "Company": "[not provided]", "Email": f"lead{name}@example.com"}
    return Write(key=key(f"lead {name}"), object="Leads", key_field=KEY, fields=fields | more.pop("fields", {}), **more)


def push(crm: Zoho, *writes: Write) -> list[Any]:
    """Plans and sends; the outcomes in the order of the writes."""
    outcomes: dict[str, Any] = {}
    for call in crm.plan(writes):
        outcomes |= {w.key: o for w, o in zip(call.writes, crm.send(call), strict=True)}
    return [outcomes[w.key] for w in writes]


def operations(twin: ZohoTwin) -> list[str]:
    """What the twin was asked for, in order, tokens excluded."""
    return [call["operation"] for call in twin.calls if call["operation"] != "token"]


def answers(crm: Zoho, *writes: Write) -> list[Any]:
    """Outcomes, a raised failure as that of every write."""
    try:
        return push(crm, *writes)
    except Failure as failed:
        return [failed] * len(writes)
