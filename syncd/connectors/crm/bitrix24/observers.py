"""Observers of records in Bitrix24, a field of the record that holds them all; and the record's chat, which they join. The
destination's `send` of observers is this.

Facts: bitrix24_more.md, Observers, Record chat. An update replaces the whole list, so a record is read, merged and written, and
read just before and just after that in the same batch: where users changed the list meanwhile, it is merged again. Nothing makes
the chat of a record unique: it is looked for before one is made, and looked for again after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.capabilities import Finding, Level
from syncd.connector import Observation, Outcome, Write, Written
from syncd.connectors.answers import listed
from syncd.connectors.crm.bitrix24 import pack
from syncd.connectors.crm.bitrix24.client import COMMANDS, Bitrix24Client, CommandReply
from syncd.connectors.crm.bitrix24.commands import command
from syncd.connectors.crm.bitrix24.describe import Portal
from syncd.connectors.crm.bitrix24.objects import timeline_name, type_id
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Target, Unsendable
from syncd.connectors.crm.sending import Settled
from syncd.errors import Failure, Misconfigured, Rejected, Transient
from syncd.http.error_table import dig

FIELD = "observers"
ROWS = COMMANDS // 3
"""Records in a call: each takes three commands of a batch."""
ROUNDS = 4
COST = 2.0
"""Requests at most where no user changes the same records: the lists, and what is written."""
GET_CHAT, ADD_CHAT, MEMBERS, JOIN = "im.chat.get", "im.chat.add", "im.chat.user.list", "im.chat.user.add"
KEPT_OUT = frozenset({"ACCESS_ERROR", "ACCESS_DENIED_EXTEND"})


def _cost(rows: int) -> float:
    return COST if rows else 0.0


def _record(write: Write, target: Target) -> dict[str, Any]:
    """Nothing: what is sent depends on who observes already. Raises Unsendable."""
    change = write.observation
    if change is None or not write.id or type_id(write.object) is None:
        raise Unsendable("id", "the record whose observers change is not known")
    for user in (*change.add, *change.remove):
        if not user.isdecimal():
            raise Unsendable(FIELD, f"{user} is not the id of a user of Bitrix24, which is a number")
    return {}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


def perform(client: Bitrix24Client, bundle: Bundle, writes: Sequence[Write]) -> Settled:
    """What became of each change. Raises a Failure of a whole request, after which everything can be done again."""
    changes = [_Change(place, writes[place]) for place in bundle.rows]
    _observe(client, changes)
    joining = [one for one in changes if one.failure is None and one.asked.chat and one.adds]
    if joining:
        _ChatMembers(client, joining).join()
    return {one.place: one.outcome() for one in changes}


@dataclass
class _Change:
    """One record. `base`: the observers that the next list is made from; `wanted`: that list."""

    place: int
    write: Write
    base: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    title: str = ""
    failure: Failure | None = None

    @property
    def asked(self) -> Observation:
        return self.write.observation or Observation()

    @property
    def adds(self) -> list[int]:
        return [int(user) for user in self.asked.add]

    def merge(self, *there: Sequence[int]) -> None:
        """Makes the list of everybody in these, without who is removed, and with who is added."""
        gone = {int(user) for user in self.asked.remove}
        everybody = [user for some in there for user in some if user not in gone]
        self.wanted = list(dict.fromkeys((*everybody, *self.adds)))

    def outcome(self) -> Outcome:
        return self.failure if self.failure is not None else Written(self.write.id, created=False)

    def get(self) -> str:
        return command(pack.GET, {"entityTypeId": type_id(self.write.object), "id": self.write.id})

    def update(self) -> str:
        """A list without entries is not sent at all: one with an empty entry empties it."""
        fields: dict[str, Any] = {FIELD: self.wanted or [""]}
        return command(pack.UPDATE, {"entityTypeId": type_id(self.write.object), "id": self.write.id, "fields": fields})


def _observe(client: Bitrix24Client, changes: Sequence[_Change]) -> None:
    for change, reply in zip(changes, client.batch([one.get() for one in changes], write=False), strict=True):
        if reply.failure is not None:
            change.failure = reply.failure
            continue
        change.base = _users(reply)
        change.title = str(dig(reply.value, "item.title") or dig(reply.value, "item.name") or "")
        change.merge(change.base)
    for _ in range(ROUNDS):
        open_ones = [one for one in changes if one.failure is None and set(one.wanted) != set(one.base)]
        if not open_ones:
            return
        texts = [text for one in open_ones for text in (one.get(), one.update(), one.get())]
        replies = client.batch(texts, write=True)
        for at, change in enumerate(open_ones):
            _note(change, *replies[3 * at : 3 * at + 3])
    for change in changes:
        if change.failure is None and set(change.wanted) != set(change.base):
            text = f"{change.write.object} {change.write.id}: users change its observers at the same time"
            change.failure = Transient(text, code="changed")


def _note(change: _Change, before: CommandReply, written: CommandReply, after: CommandReply) -> None:
    """What a list became: `before` and `after` are the record as it was read around the update."""
    for reply in (before, written, after):
        if reply.failure is not None:
            change.failure = reply.failure
            return
    then, now = _users(before), _users(after)
    late = [user for user in now if user not in change.wanted]
    if set(then) == set(change.base):
        change.merge(now)  # whom a user removed since stays away
    else:
        change.merge(then, late)
    change.base = now


def _users(reply: CommandReply) -> list[int]:
    return [int(one) for one in listed(dig(reply.value, f"item.{FIELD}")) if str(one).isdecimal()]


class _ChatMembers:
    """The chats of some records, and who is to be in them."""

    def __init__(self, client: Bitrix24Client, changes: Sequence[_Change]) -> None:
        self._client = client
        self._changes = changes
        self._chats: dict[int, str] = {}  # place -> id

    def join(self) -> None:
        self._find()
        missing = [one for one in self._open() if one.place not in self._chats]
        if missing:
            made = self._ask([(one, ADD_CHAT, _new_chat(one)) for one in missing], write=True)
            self._find([one for one in missing if one.place in made])
        there = self._ask([(one, MEMBERS, {"CHAT_ID": self._chats[one.place]}) for one in self._known()], write=False)
        new = {one.place: [u for u in one.adds if u not in _ids(there.get(one.place))] for one in self._known()}
        self._ask(
            [
                (one, JOIN, {"CHAT_ID": self._chats[one.place], "USERS": new[one.place], "HIDE_HISTORY": "N"})
                for one in self._known()
                if new[one.place]
            ],
            write=True,
        )

    def _open(self) -> list[_Change]:
        return [one for one in self._changes if one.failure is None]

    def _known(self) -> list[_Change]:
        return [one for one in self._open() if one.place in self._chats]

    def _find(self, changes: Sequence[_Change] | None = None) -> None:
        """Null is the answer where there is none."""
        asking = self._open() if changes is None else changes
        for place, value in self._ask([(one, GET_CHAT, _entity(one)) for one in asking], write=False).items():
            if id_ := dig(value, "ID"):
                self._chats[place] = str(id_)

    def _ask(self, asked: Sequence[tuple[_Change, str, Mapping[str, Any]]], *, write: bool) -> dict[int, Any]:
        """Place -> result, of those that have one; a failure is kept with its change."""
        texts = [command(method, parameters) for _, method, parameters in asked]
        found: dict[int, Any] = {}
        replies = self._client.batch(texts, write=write) if texts else []
        for (change, _, _), reply in zip(asked, replies, strict=True):
            if reply.failure is None:
                found[change.place] = reply.value
            else:
                change.failure = _of_chat(change, reply.failure)
        return found


def _entity(change: _Change) -> dict[str, str]:
    return {
        "ENTITY_TYPE": "CRM",
        "ENTITY_ID": f"{timeline_name(change.write.object).upper()}|{change.write.id}",
    }


def _new_chat(change: _Change) -> dict[str, Any]:
    title = change.title or f"{change.write.object} {change.write.id}"
    return {"TYPE": "CHAT", **_entity(change), "TITLE": title, "USERS": change.adds}


def _ids(value: Any) -> set[int]:
    return {int(one) for one in listed(value) if str(one).isdecimal()}


def _of_chat(change: _Change, meant: Failure) -> Failure:
    """A chat that users opened may be closed to our user."""
    if isinstance(meant, Rejected) and meant.code in KEPT_OUT:
        text = f"the observers are set, but the record's chat does not let our user in: {meant.message}; add our user to the chat"
        return Rejected(text, code=meant.code)
    return meant


def may_observe(client: Bitrix24Client, portal: Portal, objects: Sequence[str], *, chat: bool) -> Iterator[Finding]:
    """Whether these objects have observers, and our sign-in the scope of chats."""
    lacking = [name for name in objects if type_id(name) is None or portal.unknown(name, (FIELD,))]
    for name in lacking:
        remedy = "a smart process has them where its settings say so (Observers)"
        yield Finding(Level.FAULT, f"observers {name}", f"{name} has no observers", remedy)
    if not lacking:
        yield Finding(Level.OK, "observers", f"can be observed: {', '.join(objects)}")
    if chat:
        yield _may_chat(client)


def _may_chat(client: Bitrix24Client) -> Finding:
    (reply,) = client.batch([command(GET_CHAT, {"ENTITY_TYPE": "CRM", "ENTITY_ID": "LEAD|0"})], write=False)
    if isinstance(reply.failure, Misconfigured):
        remedy = "give the webhook or application the scope im, or leave chat: out"
        return Finding(Level.FAULT, "observers chat", f"chats cannot be read: {reply.failure.message}", remedy)
    return Finding(Level.OK, "observers chat", "the sign-in may use chats (im)")
