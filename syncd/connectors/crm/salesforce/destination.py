"""The Salesforce destination: resolve, plan, send and find on the thin client. Built by `syncd` for `type: salesforce`.

Records are upserted by external id in collections, five of them to a composite call: 1,000 writes are one API call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from syncd.capabilities import FieldDescription, Finding, MissingField, PrepareResult, SignIn
from syncd.connector import (
    Allowance,
    Call,
    Connector,
    Context,
    DestinationDefaults,
    Idempotency,
    Link,
    Outcome,
    PersonMatch,
    PersonQuery,
    Usage,
    Write,
    WriteKind,
    Written,
)
from syncd.connectors.crm.directory import everybody, with_deals
from syncd.connectors.crm.packing import Bundle, Packed
from syncd.connectors.crm.record import Method
from syncd.connectors.crm.salesforce import describe, pack, soql
from syncd.connectors.crm.salesforce.auth import is_pem, sign_in_of
from syncd.connectors.crm.salesforce.client import HEAVY, SalesforceClient, Subrequest, Subresponse
from syncd.connectors.crm.salesforce.errors import WHOLE, answer_failure, failure
from syncd.connectors.crm.salesforce.people import SalesforceDirectory, ask, ask_deals, ask_named, open_deals
from syncd.connectors.crm.salesforce.settings import SalesforceSettings
from syncd.connectors.crm.salesforce.setup import Setup
from syncd.errors import Ambiguous, Failure, Misconfigured, QuotaExhausted, RateLimited, Rejected, Scope

log = logging.getLogger(__name__)

ACTIVITIES = frozenset({"Task", "Event"})
"""Their custom fields live on Activity, where "Unique" is believed unavailable [M]: an upsert there is not enforced."""
EVENT_SUFFIX = "__e"
LINKS: Mapping[str, tuple[str, ...]] = {"ContactId": ("Contact",), "LeadId": ("Lead",), "WhoId": ("Contact", "Lead")}
"""Standard link field -> the objects it takes (Salesforce's object reference)."""


class Salesforce(DestinationDefaults):
    """One org. `doubt` is Salesforce's own call timeout; SOQL reads after write, so nothing lags."""

    capacity: ClassVar[int] = pack.ROWS * HEAVY
    doubt: ClassVar[float] = 600.0
    folds_case = True
    widens = False
    account_object = "Account"

    def __init__(self, settings: SalesforceSettings, context: Context) -> None:
        self._client = SalesforceClient(settings, context)
        self._settings = settings
        self._name = context.name
        self._region = context.region
        self._composite = settings.composite
        self._packer = pack.packer(composite=settings.composite)
        self._headers = _headers(settings)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        return sign_in_of(self._settings, self._name)

    def keying(self, object: str, key_field: str) -> Idempotency:
        """Upsert by external id; on Task and Event Salesforce does not refuse a second record with the key. Without a key,
        and for platform events, nothing can be found again."""
        if not key_field or object.endswith(EVENT_SUFFIX):
            return Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)
        return Idempotency(WriteKind.UPSERT, enforced=object not in ACTIVITIES)

    def resolve(self, people: Sequence[PersonQuery], *, deals: bool = False) -> list[PersonMatch | None]:
        """One call for a thousand people (objects x (e-mail, phone) queries, five to a call); `deals` costs one more."""
        asked = ask(people, get=not self._composite)
        answers = self._ask_people(asked.statements)
        directory = SalesforceDirectory(asked.objects, answers, self._region)
        found = [directory.find(person) for person in people]
        return self._with_deals(found) if deals else found

    def recognise(self, people: Sequence[PersonQuery], among: Sequence[Sequence[Link]]) -> list[PersonMatch | None]:
        """By SOQL, all named records of one object at once."""
        asked = ask_named(people, among, get=not self._composite)
        directory = SalesforceDirectory(asked.objects, self._ask_people(asked.statements), self._region)
        return [directory.named(one, links) for one, links in zip(people, among, strict=True)]

    def _ask_people(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        try:
            return self._client.query(statements)
        except Misconfigured as wrong:
            if wrong.scope is Scope.DESTINATION:  # the sign-in, the API, the address: no fault of the look-ups
                raise
            # Nobody can be found with a wrong look-up: that concerns every rule, not one.
            raise Misconfigured(
                f"people.match: {_one_line(wrong.message)}", code=wrong.code, scope=Scope.DESTINATION, field=wrong.field
            ) from None

    def _with_deals(self, found: list[PersonMatch | None]) -> list[PersonMatch | None]:
        statements = ask_deals(everybody(found), get=not self._composite)
        held = open_deals(self._client.query(statements)) if statements else frozenset()
        return with_deals(found, lambda f: f.id[:15] in held or (f.account[:15] or "-") in held)

    def link_takes(self, object: str, field: str) -> tuple[str, ...]:
        """Of the standard fields that people are linked by."""
        return LINKS.get(field, ())

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        return self._packer.pack(writes)

    def send(self, call: Call) -> list[Outcome]:
        """Performs the call. A collection that is refused as a whole because of some of its records is sent again without
        them (a few extra calls), so that a bad row harms only itself."""
        packed: Packed = call.payload
        outcomes: dict[int, Outcome] = dict(packed.refused)
        if packed.bundles:
            answers = self._client.send([_part(c, self._headers) for c in packed.bundles])
            suspects: list[Bundle] = []
            for collection, answer in zip(packed.bundles, answers, strict=True):
                outcomes.update(_outcomes(collection, answer, suspects))
            while suspects:
                outcomes.update(self._again(suspects))
        _raise_if_all(outcomes)
        return [outcomes[place] for place in range(len(call.writes))]

    def _again(self, suspects: list[Bundle]) -> dict[int, Outcome]:
        """Sends as many suspects as a call takes, taking them off the list and putting smaller ones on it."""
        size = HEAVY if self._composite else 1
        now = suspects[:size]
        del suspects[:size]
        outcomes: dict[int, Outcome] = {}
        try:
            answers = self._client.send([_part(c, self._headers) for c in now])
        except Failure as failed:  # what the first call settled stays settled: this concerns these rows alone
            failed.about_call()
            return {row: failed for c in now for row in c.rows}
        for collection, answer in zip(now, answers, strict=True):
            outcomes.update(_outcomes(collection, answer, suspects))
        return outcomes

    def find(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        """By SOQL, thousands of keys a call. Of several records with one key (possible on activities) the oldest counts."""
        return {key: ids[0] for key, ids in self.find_all(object, key_field, keys).items()}

    def find_all(self, object: str, key_field: str, keys: Sequence[str]) -> dict[str, list[str]]:
        """`find` with every record of each key, the oldest first."""
        archived = object in ACTIVITIES
        tail = " AND IsDeleted = false" if archived else ""
        if not (soql.is_name(object) and soql.is_name(key_field)):
            raise Misconfigured(
                f"{object}.{key_field} is not a field name", code="key", scope=Scope.RULE, field=key_field
            )
        head = soql.select(("Id", key_field), object)
        statements = list(soql.selects(head, key_field, keys, tail, get=not self._composite))
        held: dict[str, list[str]] = {}
        for rows in self._client.query(statements, archived=archived):
            for row in sorted((r for r in rows if r.get("Id")), key=lambda r: str(r["Id"])):
                key, id_ = str(row.get(key_field, "")).lower(), str(row["Id"])
                ids = held.setdefault(key, [])
                if ids:
                    log.warning("two %s records share the key %s: %s and %s", object, key, ids[0], id_)
                ids.append(id_)
        return {key: held[key.lower()] for key in keys if key.lower() in held}

    def check_online(self) -> Iterator[Finding]:
        """Two calls, and one for each 25 objects described."""
        return describe.check(self._client, self._settings)

    def describe(self, objects: Sequence[str]) -> Mapping[str, Sequence[FieldDescription]]:
        return describe.describe(self._client, objects, composite=self._composite)

    def prepare(self, needs: Sequence[MissingField], *, dry: bool = False) -> Iterator[PrepareResult]:
        """A few calls a field; six at most for a first one."""
        return Setup(self._client, self._composite).prepare(needs, dry=dry)

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By SOQL, thousands of records a call."""
        _need_names(object, fields)
        statements = soql.selects(soql.select(("Id", *fields), object), "Id", ids, get=not self._composite)
        found = [row for rows in self._client.query(list(statements)) for row in rows if row.get("Id")]
        rows = {str(row["Id"])[:15]: row for row in found}
        return {id_: {name: rows[id_[:15]].get(name) for name in fields} for id_ in ids if id_[:15] in rows}

    def allowance(self) -> Allowance | None:
        return self._client.allowance()

    def spend(self) -> Usage:
        return self._client.spend()

    def url(self, object: str, id: str) -> str:
        return f"{self._client.home}/lightning/r/{object}/{id}/view"

    def close(self) -> None:
        self._client.close()


def _need_names(object_: str, fields: Sequence[str]) -> None:
    for name in (object_, *fields):
        if not soql.is_name(name):
            raise Misconfigured(f"{name} is not a field name", code="fill", scope=Scope.RULE, field=name)


def _headers(settings: SalesforceSettings) -> dict[str, str]:
    assign = settings.auto_assign
    allow = "true" if settings.duplicate_rules == "allow_save" else "false"
    return {
        "Sforce-Duplicate-Rule-Header": f"allowSave={allow}; includeRecordDetails=false; runAsCurrentUser=true",
        "Sforce-Auto-Assign": str(assign).upper() if isinstance(assign, bool) else assign,
    }


def _part(bundle: Bundle, headers: Mapping[str, str]) -> Subrequest:
    path = "/composite/sobjects"
    if bundle.target.method is Method.UPSERT:
        path += f"/{bundle.target.object}/{bundle.target.key_field}"
    method = "POST" if bundle.target.method is Method.CREATE else "PATCH"
    return Subrequest(method, path, {"allOrNone": False, "records": bundle.records}, headers)


def _outcomes(collection: Bundle, answer: Subresponse, suspects: list[Bundle]) -> dict[int, Outcome]:
    """What an answer means for each record; records to send again, in smaller collections, go to `suspects`."""
    if not answer.ok:
        return _refused(collection, answer, suspects)
    rows = answer.body
    if not isinstance(rows, list) or len(rows) != len(collection.rows):
        lost = Ambiguous(
            f"{len(collection.rows)} {collection.target.object} records were answered with other than so many rows"
        ).about_call()
        return dict.fromkeys(collection.rows, lost)
    return {place: _row(collection, row) for place, row in zip(collection.rows, rows, strict=True)}


def _row(collection: Bundle, row: Any) -> Outcome:
    if not isinstance(row, Mapping):
        return Ambiguous("a row was answered with something that is not an object", code="row")
    if row.get("success") is True and row.get("id"):
        known = {Method.CREATE: True, Method.UPDATE: False}.get(collection.target.method)
        created = row.get("created")
        return Written(str(row["id"]), created if isinstance(created, bool) else known)
    if row.get("errors"):
        return failure(row["errors"], key_field=collection.target.key_field)
    return Ambiguous("a row was answered without an id and without an error", code="row")


def _refused(collection: Bundle, answer: Subresponse, suspects: list[Bundle]) -> dict[int, Outcome]:
    """A collection refused as a whole wrote nothing. Where records can be to blame, those that have the field named are
    blamed and the others sent again; where no field is named, halves are tried."""
    meant = answer_failure(answer.status, answer.body, write=True, key_field=collection.target.key_field)
    blameable = isinstance(meant, Rejected | Misconfigured) and getattr(meant, "scope", Scope.RULE) is Scope.RULE
    if not blameable or len(collection.rows) == 1:
        return dict.fromkeys(collection.rows, meant)
    name = str(getattr(meant, "field", ""))
    if name and name.lower() != collection.target.key_field.lower():
        having = [any(k.lower() == name.lower() for k in record) for record in collection.records]
        if any(having):
            rest = [place for place, has in enumerate(having) if not has]
            if rest:
                suspects.append(collection.only(rest))
            return {collection.rows[place]: meant for place, has in enumerate(having) if has}
    if isinstance(meant, Misconfigured):
        return _by_shape(collection, _with_place(collection, meant), suspects)
    step = -(-len(collection.rows) // HEAVY)
    for start in range(0, len(collection.rows), step):
        suspects.append(collection.only(range(start, min(start + step, len(collection.rows)))))
    return {}


def _with_place(collection: Bundle, meant: Misconfigured) -> Misconfigured:
    """The failure with what only we know of it: which object and key field the address of the call names."""
    if meant.code not in WHOLE or not collection.target.key_field:
        return meant
    place = f"{collection.target.object}.{collection.target.key_field}"
    text = f"{meant.message} (is {place} there, an External ID, and visible to syncd's user?)"
    return Misconfigured(text, code=meant.code, scope=meant.scope, field=collection.target.key_field)


def _by_shape(collection: Bundle, meant: Misconfigured, suspects: list[Bundle]) -> dict[int, Outcome]:
    """A fault of a rule whose field is not named: records of other rules have other fields, so those with the same fields are
    tried together. One set of fields alone is to blame."""
    shapes: dict[frozenset[str], list[int]] = {}
    for place, record in enumerate(collection.records):
        shapes.setdefault(frozenset(record), []).append(place)
    if len(shapes) == 1 or meant.code in WHOLE:
        return dict.fromkeys(collection.rows, meant)
    suspects.extend(collection.only(places) for places in shapes.values())
    return {}


def _raise_if_all(outcomes: Mapping[int, Outcome]) -> None:
    """A limit that struck every row concerns the whole call."""
    kinds = {type(outcome) for outcome in outcomes.values()}
    if len(kinds) == 1 and kinds <= {RateLimited, QuotaExhausted}:
        worst = next(iter(outcomes.values()))
        if isinstance(worst, Failure):
            raise worst


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _build(settings: SalesforceSettings, context: Context) -> Salesforce:
    key = settings.auth.private_key
    if key is not None and not is_pem(key.get_secret_value()):
        path = SecretStr(str(context.beside(Path(key.get_secret_value()))))
        settings = settings.model_copy(update={"auth": settings.auth.model_copy(update={"private_key": path})})
    return Salesforce(settings, context)


CONNECTOR = Connector(
    name="salesforce",
    summary="Salesforce: people by SOQL, every record upserted by external id, up to 1,000 records a call",
    settings=SalesforceSettings,
    build=_build,
    secrets_note="auth.client_secret, auth.private_key and auth.refresh_token are secrets",
)
