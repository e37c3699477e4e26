"""What a portal's objects look like, and what its webhook may do: for `check --online`, `prepare` and each first write.

Facts: Bitrix24's pages of crm.item.fields and crm.status.list; bitrix24.md, Which entity API: unknown fields are dropped without
a word, and a portal in simple mode has no leads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.capabilities import FieldDescription, Finding, Level
from syncd.connectors.answers import listed, mappings
from syncd.connectors.crm.bitrix24 import objects
from syncd.connectors.crm.bitrix24.client import Bitrix24Client
from syncd.connectors.crm.bitrix24.commands import command
from syncd.connectors.crm.bitrix24.objects import BESIDE, COMMENT, PSEUDO, REF, TO_DO, type_id
from syncd.connectors.crm.bitrix24.settings import SCOPES
from syncd.errors import Misconfigured, Scope, StaleReference
from syncd.http.error_table import dig

SIMPLE = 2
"""The mode without leads (crm.enum.settings.mode)."""
READ_AGAIN = timedelta(minutes=1)
"""A field that is not known is asked for again after this: it may have been made since."""
STATUSES = "crm_status"
POINTS: Mapping[str, tuple[str, ...]] = {
    "crm_contact": ("Contact",),
    "crm_company": ("Company",),
    "crm_lead": ("Lead",),
}
"""Type of a field -> the objects that a link in it may point at."""
WRITABLE = frozenset({"fm", objects.KEY, objects.ORIGINATOR, "contactIds", "observers"})
"""Known whatever the description says."""
_OWNERS = (*objects.TYPES,)
OF_TEXTS: Mapping[str, tuple[FieldDescription, ...]] = {
    COMMENT: (
        FieldDescription(name=REF, length=36),
        FieldDescription(name="ENTITY_ID", type="link", required=True, references=_OWNERS, updatable=False),
        FieldDescription(name="COMMENT", type="text"),
    ),
    TO_DO: (
        FieldDescription(name=REF, length=36),
        FieldDescription(name="ownerId", type="link", required=True, references=_OWNERS),
        FieldDescription(name="deadline", type="datetime", required=True),
        FieldDescription(name="title", type="string"),
        FieldDescription(name="description", type="text"),
        FieldDescription(name="responsibleId", type="user"),
        FieldDescription(name="pingOffsets", type="list"),
        FieldDescription(name="colorId", type="string"),
    ),
}
"""What syncd writes of a comment and a to-do; Bitrix24 describes neither."""


def _fields_of(object_: str) -> str:
    return command("crm.item.fields", {"entityTypeId": type_id(object_)})


def described(client: Bitrix24Client, wanted: Sequence[str]) -> dict[str, tuple[FieldDescription, ...]]:
    """The fields of these objects as our user sees them, without objects that do not exist: two requests."""
    found = {name: OF_TEXTS[name] for name in wanted if name in BESIDE}
    asked = [name for name in wanted if type_id(name) is not None]
    rows: dict[str, Mapping[str, Any]] = {}
    for name, reply in zip(asked, client.batch([_fields_of(name) for name in asked], write=False), strict=True):
        if reply.failure is None:
            rows[name] = _as_map(dig(reply.value, "fields"))
        elif not isinstance(reply.failure, StaleReference) and not _of_rule(reply.failure):
            raise reply.failure
    lists = {str(row["statusType"]) for fields in rows.values() for row in fields.values() if row.get("statusType")}
    values = _statuses(client, sorted(lists))
    for name, fields in rows.items():
        own = tuple(_field(key, row, values) for key, row in fields.items() if key not in ("fm", *PSEUDO))
        found[name] = (*own, *(_communication(key) for key in PSEUDO if name in objects.FINDS))
    return found


def _of_rule(failure: Exception) -> bool:
    return isinstance(failure, Misconfigured) and failure.scope is Scope.RULE


def _as_map(value: Any) -> dict[str, Mapping[str, Any]]:
    return {name: row for name, row in value.items() if isinstance(row, Mapping)} if isinstance(value, Mapping) else {}


def _statuses(client: Bitrix24Client, lists: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """List of statuses -> its values, of those that our user may read."""
    texts = [command("crm.status.list", {"filter": {"ENTITY_ID": one}, "order": {"SORT": "ASC"}}) for one in lists]
    found: dict[str, tuple[str, ...]] = {}
    for one, reply in zip(lists, client.batch(texts, write=False) if texts else (), strict=True):
        ids = tuple(str(row["STATUS_ID"]) for row in mappings(reply.value) if row.get("STATUS_ID"))
        if reply.failure is None and ids and reply.next is None:
            found[one] = ids
    return found


def _field(name: str, row: Mapping[str, Any], statuses: Mapping[str, tuple[str, ...]]) -> FieldDescription:
    """Bitrix24 gives standard fields defaults: only a custom one can be lacking in a new record."""
    kind, read_only = str(row.get("type") or ""), bool(row.get("isReadOnly"))
    items = tuple(str(one["ID"]) for one in mappings(row, "items") if one.get("ID"))
    return FieldDescription(
        name=name,
        type=kind,
        values=statuses.get(str(row.get("statusType") or "")) or items or None,
        restricted=bool(items),
        required=bool(row.get("isRequired") and row.get("isDynamic")),
        creatable=not read_only,
        updatable=not (read_only or row.get("isImmutable")),
        references=POINTS.get(kind, ()),
    )


def _communication(name: str) -> FieldDescription:
    return FieldDescription(name=name, type={"email": "email", "web": "url"}.get(name, "phone"))


class Portal:
    """What must be known before records are written, asked once: the fields of an object, and whether there are leads."""

    def __init__(self, client: Bitrix24Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._fields: dict[str, tuple[datetime, frozenset[str]]] = {}
        self._mode: int | None = None

    def unknown(self, object_: str, fields: Iterable[str]) -> list[str]:
        """The fields that the object does not have. Raises a Failure where it cannot be asked."""
        named = [name for name in fields if name not in WRITABLE]
        read = self._fields.get(object_)
        missing = [name for name in named if read is None or name not in read[1]]
        if missing and (read is None or self._clock() - read[0] >= READ_AGAIN):
            known = self._read(object_)
            missing = [name for name in named if name not in known]
        return missing

    def has_no_leads(self) -> bool:
        """Whether the portal is in simple CRM mode."""
        if self._mode is None:
            self._read("Lead")
        return self._mode == SIMPLE

    def _read(self, object_: str) -> Collection[str]:
        """The fields of an object, and the mode, in one request."""
        mode, fields = self._client.batch([command("crm.settings.mode.get", {}), _fields_of(object_)], write=False)
        for reply in (mode, fields):
            if reply.failure is not None:
                raise reply.failure
        self._mode = mode.value if isinstance(mode.value, int) else 0
        known = frozenset(_as_map(dig(fields.value, "fields")))
        self._fields[object_] = (self._clock(), known)
        return known


def check(client: Bitrix24Client, portal: Portal) -> Iterator[Finding]:
    """The sign-in with its scopes, and whether the portal has leads."""
    scopes, mode = client.batch([command("scope", {}), command("crm.settings.mode.get", {})], write=False)
    if mode.failure is not None:
        raise mode.failure
    yield Finding(Level.OK, "sign-in", "signed in; the CRM may be read")
    given = {str(one) for one in listed(scopes.value)}
    for scope, why in SCOPES.items():
        if (
            given
            and not any(one == scope or one.startswith(f"{scope.partition('_')[0]}_") for one in given)
            and (scope.partition("_")[0] not in given)
        ):
            remedy = "tick it in the webhook or application, if a rule needs it"
            yield Finding(Level.WARNING, f"scope {scope}", f"is not given: it is there {why}", remedy)
    if mode.value == SIMPLE:
        text = "this portal has no leads (simple CRM mode)"
        yield Finding(
            Level.WARNING, "leads", text, "write object: Contact in people.create, and leave Lead out of match"
        )
    else:
        yield Finding(Level.OK, "leads", "the portal has leads")
