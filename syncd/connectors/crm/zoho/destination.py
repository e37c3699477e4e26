"""The Zoho CRM destination: resolve, plan, send and find on the thin client. Built by `syncd` for `type: zoho`.

People and other records are upserted under a unique key; activities, which Zoho cannot upsert, are inserted under one, and
being refused as a duplicate of it means that they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from syncd.capabilities import Finding, SignIn
from syncd.connector import Call, Connector, Context, Idempotency, Outcome, Write, WriteKind, Written
from syncd.connectors.crm.packing import Bundle
from syncd.connectors.crm.portions import portions
from syncd.connectors.crm.queried import QueriedCrm
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.sending import Answered, Settled
from syncd.connectors.crm.settling import LookUp, name_written, narrow_rights, written_or
from syncd.connectors.crm.zoho import conversion, coql, describe, notifications, observers, pack, scopes
from syncd.connectors.crm.zoho.client import AT_ONCE, ZohoClient
from syncd.connectors.crm.zoho.errors import DUPLICATE, failure, parts
from syncd.connectors.crm.zoho.people import PEOPLE, deals
from syncd.connectors.crm.zoho.settings import ZohoSettings
from syncd.connectors.crm.zoho.setup import ZohoFieldMaker
from syncd.errors import Ambiguous, Misconfigured, Rejected, Scope, StaleReference, Transient
from syncd.http.error_table import VendorError, dig

TABS: Mapping[str, str] = {name: name for name in ("Leads", "Contacts", "Accounts", "Tasks", "Calls", "Events")} | {
    "Deals": "Potentials"
}
"""Module -> its tab in the web pages, for those whose tab is known."""

LINKS: Mapping[str, tuple[str, ...]] = {"Contact_Name": ("Contacts",), "Who_Id": ("Contacts", "Leads")}
"""Standard link field -> the modules it takes. Who_Id takes a lead too: it is then sent as What_Id."""

CHECK_FIELDS = "duplicate_check_fields"
USERS_A_CALL, USERS_A_PAGE = 100, 200
"""Ids in one question about users (zoho_more.md, Owners)."""


class Zoho(QueriedCrm):
    """One account. `doubt`: Zoho tells no timeout of its own, the contract's ten minutes stand. `search_lag`: COQL reads records,
    not the search index; how soon it sees a new one is not documented."""

    capacity: ClassVar[int] = 10 * pack.ROWS
    concurrency: ClassVar[int] = AT_ONCE
    search_lag: ClassVar[float] = 15.0
    people = PEOPLE
    owner_field = "Owner"
    teams = ("role",)
    editors = ("Created_By", "Modified_By")
    links = LINKS
    staged = True
    conversion_packer = conversion.PACKER
    observer_packer = observers.PACKER
    conversions = conversion.NAMES
    held_together = staticmethod(pack.held_together)

    def __init__(self, settings: ZohoSettings, context: Context) -> None:
        self._client = ZohoClient(settings, context)
        super().__init__(self._client, coql.Coql(), pack.PACKER, deals(settings.closed_stages), context.region)
        self._settings = settings
        self._called = context.name
        self._version = settings.api_version

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        return self._settings.sign_in(self._settings.scopes, kind="zoho", name=self._called)

    def keying(self, object: str, key_field: str) -> Idempotency:
        """Upsert by the unique key; activities are inserted under it. Notes have no custom fields, and what has no key can
        never be found again. Where an activity's key is not unique, the configuration says `findable`."""
        if not key_field or object == "Notes":
            return Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)
        return Idempotency(WriteKind.UNIQUE if object in pack.ACTIVITIES else WriteKind.UPSERT)

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        records = [write for write in writes if not write.notification]
        return [*super().plan(records), *notifications.PACKER.pack([one for one in writes if one.notification])]

    def _perform(self, call: Call, bundles: Sequence[Bundle]) -> Iterator[Answered]:
        """Records that are there already under our key are looked up when Zoho does not tell their id."""
        if call.writes[0].conversion is not None:
            yield from (
                (conversion.perform(self._client, bundle, call.writes, self._version), ()) for bundle in bundles
            )
            return
        if call.writes[0].observation is not None:
            trigger = self._settings.trigger
            yield from ((observers.perform(self._client, bundle, call.writes, trigger), ()) for bundle in bundles)
            return
        if call.writes[0].notification:
            yield from notifications.perform(self._client, bundles)
            return
        for bundle in bundles:
            rows = zip(bundle.rows, self._write(bundle, call.cost), strict=True)
            settled: Settled = {place: outcome(bundle.target, call.writes[place], row) for place, row in rows}
            narrow_rights(bundle.target, settled, scopes.NO_RIGHT)
            name_written(bundle.target, call.writes, settled, self.find, code=DUPLICATE)
            yield settled, ()

    def _write(self, bundle: Bundle, cost: float) -> list[Any]:
        target = bundle.target
        method, path = pack.request_of(target)
        try:
            return self._client.write(method, path, self._body(bundle), cost)
        except Misconfigured as wrong:
            if wrong.scope is not Scope.RULE:
                raise
            field, text = wrong.field, f"{target.object}: {wrong.message}"
            if field == CHECK_FIELDS:
                field = target.key_field
                text = f'{field} must be a field of {target.object} with "Do not allow duplicate values"'
            raise Misconfigured(text, code=wrong.code, scope=Scope.RULE, field=field) from None

    def _body(self, bundle: Bundle) -> dict[str, Any]:
        new_leads = bundle.target.object == "Leads" and bundle.target.method is not Method.UPDATE
        body = {
            "data": bundle.records,
            CHECK_FIELDS: pack.check_fields(bundle) or None,
            "trigger": None if self._settings.trigger is None else list(self._settings.trigger),
            "lar_id": (self._settings.lar_id or None) if new_leads else None,
        }
        return {name: value for name, value in body.items() if value is not None}

    def owner(self, user: Any) -> Any:
        """A user is named by an object with their id."""
        return {"id": str(user)}

    def users(self, ids: Sequence[str]) -> dict[str, bool]:
        """A call for a hundred users; it needs a scope of its own. One who is not there is not active."""
        active: set[str] = set()
        for some in portions(ids, USERS_A_CALL):
            rows = self._client.read(f"/users?ids={','.join(some)}&per_page=200", "users")
            active |= {str(row.get("id")) for row in rows if row.get("status") == "active"}
        return {id: id in active for id in ids}

    def members(self, team: str, name: str) -> list[str]:
        """Of the role with this name or id: a call for 200 users of the account."""
        found: list[str] = []
        page = 1
        while True:
            rows = self._client.read(f"/users?type=ActiveConfirmedUsers&page={page}&per_page={USERS_A_PAGE}", "users")
            found += [
                str(row["id"])
                for row in rows
                if name in (dig(row, "role.name"), dig(row, "role.id")) and row.get("status") == "active"
            ]
            if len(rows) < USERS_A_PAGE:
                return sorted(found)
            page += 1

    def observable(self, field: str, *, chat: bool) -> str:
        """A field of the account's own holds them, or the record's tags."""
        if not field:
            return f"has no observers of its own: name a multi-user field, or {observers.TAGS}, as field:"
        return "has no chat of a record" if chat else ""

    def observed_by_users(self, field: str) -> bool:
        return field != observers.TAGS

    def may_observe(self, objects: Sequence[str], field: str, *, chat: bool) -> Iterator[Finding]:
        """One call a module."""
        return observers.may_observe(self._client, objects, field)

    def converted_statuses(self) -> None:
        """Zoho keeps the status of a lead that is converted."""
        return

    def may_convert(self) -> Iterator[Finding]:
        """One call."""
        return conversion.may_convert(self._client)

    def check_online(self) -> Iterator[Finding]:
        """Three calls at most, and one for each module described."""
        return describe.check(self._client, self._settings)

    def _fields(self) -> ZohoFieldMaker:
        return ZohoFieldMaker(self._client)

    def notifications(self) -> list[str] | None:
        """The namespaces of SalesSignals: one call."""
        return notifications.kinds(self._client)

    def url(self, object: str, id: str) -> str:
        """The record in the web pages; "" for modules whose tab is not known, and for a stand-in."""
        if object not in TABS or self._settings.accounts_url or self._settings.base_url:
            return ""
        return f"{self._settings.centre.app('crm')}/crm/tab/{TABS[object]}/{id}"


def outcome(target: Target, write: Write, row: Any) -> Outcome:
    """What one `data[i]` means. Written without an id: the record is there under our key, and has to be looked up."""
    if not isinstance(row, Mapping):
        return Ambiguous("a record was answered with something that is not an object", code="rows")
    if row.get("status") == "success":
        new, told = target.method.creates, {"insert": True, "update": False}.get(str(row.get("action")))
        id_ = str(dig(row, "details.id") or "")
        created = told if new is None else new
        return Written(id_, created) if id_ else Ambiguous("a success without an id", code="rows")
    return written_or([_meaning(target, write, one) for one in parts(row)])


def _meaning(target: Target, write: Write, one: VendorError) -> Outcome:
    """What one error of a row means."""
    if write.id and one.code.startswith("ALREADY_"):
        return Written(write.id, created=False)
    if one.code == DUPLICATE:
        return _duplicate(target, write, one)
    if one.code == "INVALID_DATA" and _link_of(write, one.field):
        return StaleReference(one.message, code=one.code, field=_link_of(write, one.field))
    if one.code == "INVALID_DATA" and not one.field and (write.id or any(link.id for link in write.links.values())):
        # Zoho names the field of a wrong value; without a field it is the id of the record or of its link that is refused.
        text = f"{one.message} (Zoho names no field: the id of the record or of its link)"
        return StaleReference(text, code=one.code)
    return failure(one)


def _duplicate(target: Target, write: Write, one: VendorError) -> Outcome:
    """A value is taken. Our own key, by an insert: done before. By an upsert: Zoho found the record and will not update it, since
    it was converted meanwhile (or changed at this very moment): the person has another record now."""
    inserted = target.method is Method.CREATE
    ours = write.key_field and one.field.lower() == write.key_field.lower()
    if ours and inserted:
        return Written(one.existing[0][1] if one.existing else "", created=False)
    if ours and target.object == "Leads":
        return StaleReference(f"{one.message}: a lead with this key was converted or deleted", code=one.code)
    if ours:
        return Transient(one.message, code=one.code)
    if inserted and write.key_field and not one.field:
        return LookUp(one.message, code=one.code, otherwise=failure(one))
    if not one.existing:
        return failure(one)
    # An account may keep email addresses unique across Leads and Contacts: the record may be in another module.
    holders = tuple((module or target.object, id_) for module, id_ in one.existing)
    named = ", ".join(f"{module} {id_}" for module, id_ in holders)
    text = f"{one.message}: {named} has this {one.field}"
    return Rejected(text, code=one.code, field=one.field, existing=holders)


def _link_of(write: Write, field: str) -> str:
    """The link of the mapping that a field of Zoho's stands for, "" if none."""
    if field in write.links:
        return field
    either = pack.LINKS_OF_ACTIVITIES if field in pack.LINKS_OF_ACTIVITIES else ()
    return next((name for name in either if name in write.links), "")


CONNECTOR = Connector(
    name="zoho",
    contract=2,
    role="destination",
    summary="Zoho CRM: people by COQL, records upserted and activities inserted by a unique key, 100 records a call",
    settings=ZohoSettings,
    build=Zoho,
    secrets_note="auth.client_secret and auth.refresh_token are secrets",
)
