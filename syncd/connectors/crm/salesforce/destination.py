"""The Salesforce destination: resolve, plan, send and find on the thin client. Built by `syncd` for `type: salesforce`.

Records are upserted by external id in collections, five of them to a composite call: 1,000 writes are one API call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from syncd.capabilities import Finding, SignIn
from syncd.connector import Call, Connector, Context, Idempotency, Outcome, WriteKind, Written
from syncd.connectors.accounts.salesforce import sign_in_of
from syncd.connectors.answers import listed
from syncd.connectors.crm.packing import Bundle
from syncd.connectors.crm.queried import QueriedCrm
from syncd.connectors.crm.record import Method
from syncd.connectors.crm.salesforce import conversion, describe, observers, pack, soql
from syncd.connectors.crm.salesforce.client import HEAVY, SalesforceClient, Subresponse
from syncd.connectors.crm.salesforce.errors import ABSENT, answer_failure, failure
from syncd.connectors.crm.salesforce.people import DEALS, PEOPLE
from syncd.connectors.crm.salesforce.settings import SalesforceSettings
from syncd.connectors.crm.salesforce.setup import SalesforceFieldMaker
from syncd.connectors.crm.sending import Answered, Settled, blame
from syncd.errors import Ambiguous, Failure, Misconfigured, Scope

ACTIVITIES = frozenset({"Task", "Event"})
"""Their custom fields live on Activity, where "Unique" is believed unavailable [M]: an upsert there is not enforced."""
EVENT_SUFFIX = "__e"
USER_PREFIX, QUEUE_PREFIX = "005", "00G"
"""How ids of users and of queues begin; `OwnerId` takes both (salesforce_more.md, Owners)."""
LINKS: Mapping[str, tuple[str, ...]] = {"ContactId": ("Contact",), "LeadId": ("Lead",), "WhoId": ("Contact", "Lead")}
"""Standard link field -> the objects it takes (Salesforce's object reference)."""


class Salesforce(QueriedCrm):
    """One org. `doubt` is Salesforce's own call timeout; SOQL reads after write, so nothing lags."""

    capacity: ClassVar[int] = pack.ROWS * HEAVY
    doubt: ClassVar[float] = 600.0
    people = PEOPLE
    owner_field = "OwnerId"
    teams = ("role",)
    editors = ("CreatedById", "LastModifiedById")
    links = LINKS
    staged = False
    conversion_packer = conversion.PACKER
    observer_packer = observers.PACKER
    conversions = conversion.NAMES
    held_together = staticmethod(pack.held_together)

    def __init__(self, settings: SalesforceSettings, context: Context) -> None:
        self._client = SalesforceClient(settings, context)
        language, packer = soql.Soql(get=not settings.composite), pack.packer(composite=settings.composite)
        super().__init__(self._client, language, packer, DEALS, context.region)
        self._settings = settings
        self._name = context.name
        self._headers = _headers(settings)
        self._converted_status = ""

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        return sign_in_of(self._settings, self._name)

    def keying(self, object: str, key_field: str) -> Idempotency:
        """Upsert by external id; on Task and Event Salesforce does not refuse a second record with the key. Without a key,
        and for platform events, nothing can be found again."""
        if not key_field or object.endswith(EVENT_SUFFIX):
            return Idempotency(WriteKind.AT_MOST_ONCE, enforced=False)
        return Idempotency(WriteKind.UPSERT, enforced=object not in ACTIVITIES)

    def _short(self, id: str) -> str:
        return id[:15]

    def _with_key(self, object: str, key_field: str, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Of activities also those that Salesforce has put away. Several may have one key there."""
        if object not in ACTIVITIES:
            return super()._with_key(object, key_field, keys)
        statements = self._language.equal(object, ("Id", key_field), key_field, keys, also="IsDeleted = false")
        return self._client.query(list(statements), resource="queryAll")

    def _perform(self, call: Call, bundles: Sequence[Bundle]) -> list[Answered]:
        if bundles[0].target.method is Method.CONVERT:
            return [(self._convert(call, bundle), ()) for bundle in bundles]
        if bundles[0].target.method is Method.OBSERVE:
            return [(observers.perform(self._client, bundle, call.writes), ()) for bundle in bundles]
        answers = self._client.send([pack.collection(bundle, self._headers) for bundle in bundles])
        return [_answered(bundle, answer) for bundle, answer in zip(bundles, answers, strict=True)]

    def _convert(self, call: Call, bundle: Bundle) -> Settled:
        needed = any(not (one.conversion and one.conversion.status) for one in call.writes)
        if needed and not self._converted_status:
            self._converted_status = next(iter(self.converted_statuses()), "")
            if not self._converted_status:
                text = "the org has no status of converted leads (Setup, Lead Status)"
                raise Misconfigured(text, code="INVALID_STATUS", scope=Scope.RULE)
        return conversion.ConversionBatch(self._client, bundle, call.writes, self._converted_status).perform()

    def converted_statuses(self) -> list[str]:
        """The statuses that a converted lead may get, the org's default first: one call."""
        return conversion.statuses(self._client)

    def may_convert(self) -> Iterator[Finding]:
        """One call."""
        return conversion.may_convert(self._client)

    def observable(self, field: str, *, chat: bool) -> str:
        """Followers are the org's own: no field holds them, and there is no chat of a record."""
        if field:
            return "keeps followers itself; leave field: out"
        return "has no chat of a record" if chat else ""

    def observed_by_users(self, field: str) -> bool:
        return True

    def may_observe(self, objects: Sequence[str], field: str, *, chat: bool) -> Iterator[Finding]:
        """Two calls."""
        return observers.may_follow(self._client, objects)

    def users(self, ids: Sequence[str]) -> dict[str, bool]:
        """By SOQL. A user who is not there is not active; queues are left out. What is neither's id (a name) is nobody's."""
        asked = [id for id in ids if id.startswith(USER_PREFIX)]
        rows = self.values("User", asked, ("IsActive",)) if asked else {}
        known = {id: rows.get(id, {}).get("IsActive") is True for id in asked}
        return dict.fromkeys((id for id in ids if not id.startswith((USER_PREFIX, QUEUE_PREFIX))), False) | known

    def members(self, team: str, name: str) -> list[str]:
        """Of the role with this API name (`UserRole.DeveloperName`): one call."""
        where = f"WHERE UserRole.DeveloperName = {soql.literal(name)} AND IsActive = true AND UserType = 'Standard'"
        (rows,) = self._client.query([f"{soql.select(('Id',), 'User')} {where} ORDER BY Id"])
        return [str(row["Id"]) for row in rows if row.get("Id")]

    def check_online(self) -> Iterator[Finding]:
        """Two calls, and one for each 25 objects described."""
        return describe.check(self._client, self._settings)

    def _fields(self) -> SalesforceFieldMaker:
        return SalesforceFieldMaker(self._client)

    def url(self, object: str, id: str) -> str:
        return f"{self._client.home}/lightning/r/{object}/{id}/view"


def _headers(settings: SalesforceSettings) -> dict[str, str]:
    assign = settings.auto_assign
    allow = "true" if settings.duplicate_rules == "allow_save" else "false"
    return {
        "Sforce-Duplicate-Rule-Header": f"allowSave={allow}; includeRecordDetails=false; runAsCurrentUser=true",
        "Sforce-Auto-Assign": str(assign).upper() if isinstance(assign, bool) else assign,
    }


def _answered(bundle: Bundle, answer: Subresponse) -> Answered:
    """What an answer means for each record of a collection, and what of it is to be sent again."""
    if not answer.ok:
        meant = answer_failure(answer.status, answer.body, write=True, key_field=bundle.target.key_field)
        absent = meant.code == ABSENT
        return blame(bundle, _with_place(bundle, meant) if absent else meant, parts=HEAVY, sure=absent)
    rows = listed(answer.body)
    if len(rows) != len(bundle.rows):
        text = f"{len(bundle.rows)} {bundle.target.object} records were answered with other than so many rows"
        return dict.fromkeys(bundle.rows, Ambiguous(text).about_call()), ()
    return {place: _row(bundle, row) for place, row in zip(bundle.rows, rows, strict=True)}, ()


def _row(bundle: Bundle, row: Any) -> Outcome:
    if not isinstance(row, Mapping):
        return Ambiguous("a row was answered with something that is not an object", code="row")
    if row.get("success") is True and row.get("id"):
        created = row.get("created")
        return Written(str(row["id"]), created if isinstance(created, bool) else bundle.target.method.creates)
    if row.get("errors"):
        return failure(row["errors"], key_field=bundle.target.key_field)
    return Ambiguous("a row was answered without an id and without an error", code="row")


def _with_place(bundle: Bundle, meant: Failure) -> Failure:
    """The failure with what only we know of it: which object and key field the address of the call names."""
    if not isinstance(meant, Misconfigured) or not bundle.target.key_field:
        return meant
    place = f"{bundle.target.object}.{bundle.target.key_field}"
    text = f"{meant.message} (is {place} there, an External ID, and visible to syncd's user?)"
    return Misconfigured(text, code=meant.code, scope=meant.scope, field=bundle.target.key_field)


CONNECTOR = Connector(
    name="salesforce",
    contract=2,
    role="destination",
    summary="Salesforce: people by SOQL, every record upserted by external id, up to 1,000 records a call",
    settings=SalesforceSettings,
    build=Salesforce,
    secrets_note="auth.client_secret, auth.private_key and auth.refresh_token are secrets",
)
