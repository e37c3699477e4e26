"""The Bitrix24 destination: resolve, plan, send and find on the thin client. Built by `syncd` for `type: bitrix24`.

Bitrix24 has no upsert and refuses no second record with a key: everything is findable. Leads, contacts, companies, deals and
smart processes are found by originatorId and originId, comments and to-dos by a line in their text, beside their record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from syncd.capabilities import Finding, Pipeline, SignIn
from syncd.connector import Call, Connector, Context, Idempotency, Outcome, Write, WriteKind, Written
from syncd.connectors.answers import listed
from syncd.connectors.crm.bitrix24 import commands, conversion, describe, objects, observers, pack
from syncd.connectors.crm.bitrix24.client import Bitrix24Client, CommandReply
from syncd.connectors.crm.bitrix24.errors import NO_RIGHT, SCOPE_MISSING
from syncd.connectors.crm.bitrix24.objects import BESIDE, COMMENT, KEY, PSEUDO, type_id
from syncd.connectors.crm.bitrix24.pipelines import Pipelines
from syncd.connectors.crm.bitrix24.settings import Bitrix24Settings, sign_in_of
from syncd.connectors.crm.bitrix24.setup import Bitrix24FieldMaker
from syncd.connectors.crm.packing import Bundle
from syncd.connectors.crm.portions import portions
from syncd.connectors.crm.queried import QueriedCrm
from syncd.connectors.crm.record import Method, Target
from syncd.connectors.crm.sending import Answered, Settled
from syncd.connectors.crm.settling import narrow_rights
from syncd.errors import Ambiguous, Failure, Misconfigured, Scope, StaleReference
from syncd.http.client import LOOPBACK
from syncd.http.error_table import dig

CARDS: Mapping[str, str] = {"Lead": "lead", "Deal": "deal", "Contact": "contact", "Company": "company"}
"""Object -> its card in the web pages."""
SIMPLE_MODE = "this portal has no leads (simple CRM mode): write object: Contact in people.create"


class Bitrix24(QueriedCrm):
    """One portal. `doubt`: Bitrix24 ends a request after 60 seconds. `search_lag`: how soon a list shows a new record is not
    documented."""

    capacity: ClassVar[int] = 1_000
    doubt: ClassVar[float] = 120.0
    search_lag: ClassVar[float] = 10.0
    people = objects.PEOPLE
    owner_field = "assignedById"
    teams = ("department",)
    links = objects.LINKS
    staged = True
    observer_packer = observers.PACKER
    conversion_packer = conversion.PACKER
    conversions = conversion.NAMES

    def __init__(self, settings: Bitrix24Settings, context: Context) -> None:
        settings.check()
        self._client = Bitrix24Client(settings, context)
        packer = pack.packer(context.timezone)
        super().__init__(self._client, commands.Commands(), packer, objects.DEALS, context.region)
        self._settings = settings
        self._name = context.name
        self._portal = describe.Portal(self._client, context.clock)
        self._pipelines = Pipelines(self._client, context.clock)
        lately = conversion.MadeLately(context.clock)
        self._converting = conversion.ConversionSteps(self._client, self._portal, self._pipelines, lately)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        return sign_in_of(self._settings, self._name)

    def keying(self, object: str, key_field: str) -> Idempotency:
        """Findable under a key; what has none can never be found again."""
        kind = WriteKind.FINDABLE if key_field else WriteKind.AT_MOST_ONCE
        return Idempotency(kind, enforced=False)

    def plan(self, writes: Sequence[Write]) -> list[Call]:
        records = [write for write in writes if not write.notification]
        return [*super().plan(records), *pack.NOTIFICATIONS.pack([one for one in writes if one.notification])]

    # ------------------------------------------------------------------------------------------------------- sending

    def _perform(self, call: Call, bundles: Sequence[Bundle]) -> Iterator[Answered]:
        """One request, and one before it where addresses or numbers are added to records that are there."""
        if bundles[0].target.method is Method.OBSERVE:
            yield from ((observers.perform(self._client, bundle, call.writes), ()) for bundle in bundles)
            return
        if bundles[0].target.method is Method.CONVERT:
            yield from ((self._converting.perform(bundle, call.writes), ()) for bundle in bundles)
            return
        settled: Settled = {}
        texts: list[str] = []
        places: list[tuple[Bundle, int, range]] = []  # bundle, place in the call, its commands
        there = self._there(bundles)
        for bundle in bundles:
            for place, record in zip(bundle.rows, bundle.records, strict=True):
                if (refused := self._refused(bundle.target, record)) is not None:
                    settled[place] = refused
                    continue
                if not (more := _commands(call.writes[place], record, there, len(texts))):
                    settled[place] = Written(call.writes[place].id, created=False)  # it has all of it
                    continue
                places.append((bundle, place, range(len(texts), len(texts) + len(more))))
                texts += more
        replies = self._client.write(texts)
        for bundle, place, own in places:
            decides = next((replies[at] for at in own if replies[at].failure is not None), replies[own[-1]])
            settled[place] = _outcome(bundle.target, call.writes[place], decides)
        for bundle in bundles:
            mine: Settled = {place: settled[place] for place in bundle.rows}
            narrow_rights(bundle.target, mine, NO_RIGHT)
            yield mine, ()

    def _there(self, bundles: Sequence[Bundle]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """The records that addresses or numbers are to be added to, by object and id."""
        wanted: dict[str, dict[str, None]] = {}
        for bundle in bundles:
            for record in bundle.records:
                if (id_ := record["parameters"].get("id")) and "fm" in record["parameters"].get("fields", ()):
                    wanted.setdefault(bundle.target.object, {})[str(id_)] = None
        texts = [(object_, text) for object_, ids in wanted.items() for text in commands.by_id(object_, ids)]
        rows = self._client.query([text for _, text in texts]) if texts else []
        return {(object_, row["id"]): row for (object_, _), found in zip(texts, rows, strict=True) for row in found}

    def _refused(self, target: Target, record: Mapping[str, Any]) -> Failure | None:
        """Why a record cannot be sent: Bitrix24 drops fields that it does not know without a word."""
        if target.method is Method.NOTIFY:
            if record["method"]:
                return None
            text = f"{target.object} is not a notification of Bitrix24; write notify: {pack.SYSTEM}"
            return Misconfigured(text, code="notify", scope=Scope.RULE)
        if target.object in BESIDE:
            return None
        if type_id(target.object) is None:
            text = f"{target.object} is not an object of Bitrix24; there are: {pack.known_objects()}"
            return Misconfigured(text, code="object", scope=Scope.RULE)
        if target.object == "Lead" and target.method is Method.CREATE and self._portal.has_no_leads():
            return Misconfigured(SIMPLE_MODE, code="simple_mode", scope=Scope.RULE)
        unknown = self._portal.unknown(target.object, record["parameters"]["fields"])
        if not unknown:
            return None
        text = f"{target.object} has no field {unknown[0]}: Bitrix24 would drop it without a word"
        return Misconfigured(text, code="field", scope=Scope.RULE, field=unknown[0])

    # ------------------------------------------------------------------------------------------------------- look-ups

    def _with_key(self, object: str, key_field: str, keys: Sequence[str]) -> list[list[dict[str, Any]]]:
        if type_id(object) is None:
            text = f"{object} cannot be found by {key_field} alone"
            raise Misconfigured(text, code="key", scope=Scope.RULE, field=key_field)
        own = f"filter[{objects.ORIGINATOR}]={objects.OURS}" if key_field == KEY else ""
        return self._crm.query(list(self._language.equal(object, (key_field,), key_field, keys, also=own)))

    def beside(self, object: str) -> bool:
        return object in BESIDE

    def find_beside(self, writes: Sequence[Write]) -> dict[str, str]:
        """The newest comments or to-dos of each record, page by page, until all are found or there are no more."""
        wanted: dict[str, dict[str, str]] = {}  # command -> line of the key -> key
        for write in writes:
            link = write.links.get(pack.OWNER_LINKS.get(write.object, ""))
            if link is not None and link.id:
                wanted.setdefault(_beside(write.object, link.object, link.id), {})[pack.ref_of(write.key)] = write.key
        found: dict[str, str] = {}
        asking = {text: text for text in wanted}  # command of a page -> its first page
        while asking:
            replies = self._client.read(list(asking))
            following: dict[str, str] = {}
            for (_, first), reply in zip(asking.items(), replies, strict=True):
                for row in listed(reply.value):
                    for ref in pack.refs_in(str(dig(row, "COMMENT") or dig(row, "DESCRIPTION") or "")):
                        if key := wanted[first].pop(ref, ""):
                            found[key] = str(dig(row, "ID"))
                if wanted[first] and reply.next is not None:
                    following[f"{first}&start={reply.next}"] = first
            asking = following
        return found

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Of several addresses, numbers or sites the first."""
        if object in BESIDE:
            text = f"syncd does not read what stands in a {object}"
            raise Misconfigured(text, code="fill", scope=Scope.RULE)
        rows = super().values(object, ids, fields)
        return {id_: {name: _first(name, value) for name, value in row.items()} for id_, row in rows.items()}

    def owner(self, user: Any) -> Any:
        """A user is named by their id, a number."""
        return int(user) if str(user).isdecimal() else user

    def users(self, ids: Sequence[str]) -> dict[str, bool]:
        """Active employees; a user of another kind, or who is not there, is not active. Fifty to a command."""
        asked = [
            commands.command("user.get", {"FILTER": {"@ID": some, "ACTIVE": True, "USER_TYPE": "employee"}})
            for some in portions([one for one in ids if one.isdecimal()], commands.PAGE)
        ]
        rows = [row for reply in self._client.read(asked) for row in listed(reply.value)]
        active = {str(dig(row, "ID")) for row in rows if dig(row, "ACTIVE") in (True, "Y", "1", 1)}
        return {id: id in active for id in ids}

    def members(self, team: str, name: str) -> list[str]:
        """Active employees of the department with this number: fifty to a command."""
        wanted = {"UF_DEPARTMENT": [name], "ACTIVE": True, "USER_TYPE": "employee"}
        text = commands.command("user.get", {"FILTER": wanted, "SORT": "ID", "ORDER": "ASC"})
        found: list[str] = []
        following: int | None = 0
        while following is not None:
            (reply,) = self._client.read([f"{text}&start={following}"])
            found += [str(dig(row, "ID")) for row in listed(reply.value) if dig(row, "ID")]
            following = reply.next
        return sorted(found, key=int)

    def observable(self, field: str, *, chat: bool) -> str:
        """Every record has its own observers, and may have a chat."""
        return "keeps observers itself; leave field: out" if field else ""

    def observed_by_users(self, field: str) -> bool:
        return True

    def may_observe(self, objects: Sequence[str], field: str, *, chat: bool) -> Iterator[Finding]:
        """A request for each kind of record, and one for chats."""
        return observers.may_observe(self._client, self._portal, objects, chat=chat)

    def converted_statuses(self) -> None:
        """Bitrix24 has one: CONVERTED."""

    def may_convert(self) -> Iterator[Finding]:
        """One request at most."""
        return conversion.may_convert(self._portal)

    def pipelines(self) -> list[Pipeline]:
        return self._pipelines.known()

    def notifications(self) -> list[str]:
        """There is one kind."""
        return [pack.SYSTEM]

    def check_online(self) -> Iterator[Finding]:
        """One request, and two for the objects described."""
        return describe.check(self._client, self._portal)

    def _fields(self) -> Bitrix24FieldMaker:
        return Bitrix24FieldMaker(self._client)

    def url(self, object: str, id: str) -> str:
        """The record's card; "" where it has none, and for a stand-in."""
        card = CARDS.get(object)
        return f"{self._settings.home}/crm/{card}/details/{id}/" if card and self._settings.host not in LOOPBACK else ""


def _beside(object_: str, owner: str, id_: str) -> str:
    """The command that lists the comments or to-dos of a record, the newest first."""
    order = {"ID": "DESC"}
    if object_ == COMMENT:
        where = {"ENTITY_ID": id_, "ENTITY_TYPE": objects.timeline_name(owner)}
        return commands.command(
            "crm.timeline.comment.list", {"filter": where, "select": ["ID", "COMMENT"], "order": order}
        )
    of: dict[str, Any] = {"OWNER_TYPE_ID": type_id(owner), "OWNER_ID": id_, "PROVIDER_ID": "CRM_TODO"}
    return commands.command("crm.activity.list", {"filter": of, "select": ["ID", "DESCRIPTION"], "order": order})


def _commands(
    write: Write, record: Mapping[str, Any], there: Mapping[tuple[str, str], Mapping[str, Any]], before: int
) -> list[str]:
    """The commands that write a record, the last of them itself; none where nothing changes. `before`: commands of the batch
    before them."""
    method, parameters = record["method"], dict(record["parameters"])
    if method == pack.METHODS[pack.SYSTEM, Method.NOTIFY] and not parameters.get(pack.USER):
        link = write.links["person"]
        read = commands.command(pack.GET, {"entityTypeId": type_id(link.object), "id": link.id})
        parameters[pack.USER] = commands.Reference(f"$result[c{before:04}][item][assignedById]")
        return [read, commands.command(method, parameters)]
    if (known := there.get((write.object, str(parameters.get("id") or "")))) is not None and "fm" in parameters[
        "fields"
    ]:
        fields = dict(parameters["fields"])
        fields["fm"] = {at: one for at, one in fields["fm"].items() if not _has(known, one)}
        parameters["fields"] = {name: value for name, value in fields.items() if name != "fm" or value}
        if not parameters["fields"]:
            return []
    return [commands.command(method, parameters)]


def _has(row: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether an address, number or site stands in a record already."""
    name = next(name for name, kind in PSEUDO.items() if kind == entry["typeId"])
    known = {"".join(str(one).split()).casefold() for one in row.get(name) or ()}
    return "".join(str(entry["value"]).split()).casefold() in known


def _first(name: str, value: Any) -> Any:
    return (value[0] if value else None) if name in PSEUDO and isinstance(value, list) else value


def _outcome(target: Target, write: Write, reply: CommandReply) -> Outcome:
    """What the reply to a write's command means."""
    if reply.failure is not None:
        return _placed(target, write, reply.failure)
    told = reply.value
    id_ = write.id or str(
        dig(told, "item.id") or dig(told, "id") or (told if isinstance(told, int | str) else "") or ""
    )
    if not id_ or told in (None, False, [], {}):
        return Ambiguous(f"{target.object} was answered without an id", code="rows")
    return Written(id_, created=target.method is not Method.UPDATE)


def _placed(target: Target, write: Write, failure: Failure) -> Failure:
    """The failure with what only we know of it: the link whose record is gone, the object that the fault is about."""
    if isinstance(failure, StaleReference) and (target.object in BESIDE or target.method is Method.NOTIFY):
        field = pack.OWNER_LINKS.get(target.object, "person")
        return StaleReference(failure.message, code=failure.code, field="" if write.id else field)
    if isinstance(failure, StaleReference) and target.method is Method.CREATE:
        link = next(iter(write.links), "")
        return StaleReference(failure.message, code=failure.code, field=link)
    if isinstance(failure, Misconfigured) and failure.code == SCOPE_MISSING:
        text = f"{target.object}: {failure.message}"
        return Misconfigured(text, code=failure.code, scope=Scope.RULE)
    return failure


CONNECTOR = Connector(
    name="bitrix24",
    contract=2,
    role="destination",
    summary="Bitrix24: people by findbycomm, leads, comments and to-dos in batches of 50 commands, found again by syncd's key",
    settings=Bitrix24Settings,
    build=Bitrix24,
    secrets_note="base_url with a webhook, and auth.client_secret, are secrets",
)
