"""Conversion of leads in Bitrix24, which has no call for it: a company, a contact and a deal are made by separate commands, and
then the lead is set to CONVERTED. The destination's `send` of conversions is this.

Facts: bitrix24_more.md, Lead conversion. Nothing is unique in Bitrix24, so what is made of a lead has the lead's own key
(`originId` lead-7): it is looked up before it is made, and a conversion that was cut off continues where it was. A lead in
the final success stage is done, whoever converted it. A user who converts a lead while syncd does makes records of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import ConversionNames, Finding, Level
from syncd.connector import Conversion, Write
from syncd.connectors.crm.bitrix24 import commands, pack
from syncd.connectors.crm.bitrix24.client import Bitrix24Client, CommandReply
from syncd.connectors.crm.bitrix24.commands import command
from syncd.connectors.crm.bitrix24.converting_lead import (
    ALSO,
    COMPANY,
    CONTACT,
    DEAL,
    DONE,
    LEAD,
    STAGE,
    ConvertingLead,
    failed_at,
    id_of,
    join,
    new_contact,
    new_deal,
)
from syncd.connectors.crm.bitrix24.describe import Portal
from syncd.connectors.crm.bitrix24.objects import FINDS, KEY, ORIGINATOR, OURS, type_id
from syncd.connectors.crm.bitrix24.pipelines import Pipelines
from syncd.connectors.crm.directory import age
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Target
from syncd.connectors.crm.sending import Settled
from syncd.errors import Failure, Misconfigured, Scope, StaleReference, Transient
from syncd.http.error_table import dig
from syncd.matching import folded

ROWS = 20
"""Leads in a call: each may take four commands that start robots."""
COST = 8.0
"""Requests at most: three that read, one that reads who has an address, and four that write."""
REMEMBERED = timedelta(minutes=5)
"""How long a record is known that no list may show yet."""
NAMES = ConversionNames(
    deals=DEAL,
    deal_fields={
        "name": "title",
        "stage": STAGE,
        "close_date": "closedate",
        "amount": "opportunity",
        "pipeline": "categoryId",
    },
)
"""A contact has no role in a deal."""
NO_LEADS = "this portal has no leads (simple CRM mode): there is nothing to convert"


def _cost(rows: int) -> float:
    return COST if rows else 0.0


def _record(write: Write, target: Target) -> dict[str, Any]:
    """The values of the new deal, its stage and pipeline as the mapping names them; {} for none. Raises Unsendable."""
    conversion = write.conversion or Conversion()
    form = pack.formatted(UTC)
    deal = {NAMES.deal_fields.get(name, name): value for name, value in (conversion.deal or {}).items()}
    return {name: form(name, value) for name, value in (deal | conversion.deal_fields).items()}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


class MadeLately:
    """What was made of leads in the last minutes, by object and lead: how soon a list shows a new record is not documented."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._ids: dict[tuple[str, str], tuple[datetime, str]] = {}

    def note(self, object_: str, lead: str, id_: str) -> None:
        now = self._clock()
        self._ids = {mark: kept for mark, kept in self._ids.items() if now - kept[0] < REMEMBERED}
        self._ids[object_, lead] = (now, id_)

    def find(self, object_: str, lead: str) -> str:
        at, id_ = self._ids.get((object_, lead), (None, ""))
        return id_ if at is not None and self._clock() - at < REMEMBERED else ""


@dataclass
class ConversionSteps:
    """The leads of one call, converted together step by step."""

    client: Bitrix24Client
    portal: Portal
    pipelines: Pipelines
    lately: MadeLately

    def perform(self, bundle: Bundle, writes: Sequence[Write]) -> Settled:
        """What became of each lead. Raises a Failure of a whole request, after which everything can be done again."""
        pairs = zip(bundle.rows, bundle.records, strict=True)
        leads = [ConvertingLead(place, writes[place], dict(deal)) for place, deal in pairs]
        for one in leads:
            one.outcome = self._refused(one)
        self._read(_open(leads))
        self._match(_open(leads))
        self._finish([one for one in leads if one.outcome is None and one.done])
        self._companies(_open(leads))
        self._contacts(_open(leads))
        self._deals(_open(leads))
        self._convert(_open(leads))
        return {one.place: one.outcome for one in leads if one.outcome is not None}  # all have one

    def _refused(self, one: ConvertingLead) -> Failure | None:
        """Why a rule's conversions cannot be done here; puts the ids of the deal's pipeline and stage in."""
        if self.portal.has_no_leads():
            return Misconfigured(NO_LEADS, code="simple_mode", scope=Scope.RULE)
        if one.asked.deal is None:
            return None
        if unknown := self.portal.unknown(DEAL, one.deal):
            text = f"{DEAL} has no field {unknown[0]}: Bitrix24 would drop it without a word"
            return Misconfigured(text, code="field", scope=Scope.RULE, field=unknown[0])
        pipeline, stage = (str(one.asked.deal.get(name) or "") for name in ("pipeline", "stage"))
        try:
            one.deal |= self.pipelines.fields(pipeline, stage)
        except Misconfigured as wrong:
            if wrong.scope is not Scope.RULE:
                raise
            return wrong
        return None

    # ------------------------------------------------------------------------------------------------------- reading

    def _read(self, leads: Sequence[ConvertingLead]) -> None:
        """The leads, and what an earlier try made of them."""
        if not leads:
            return
        also = f"filter[{ORIGINATOR}]={OURS}"
        language = commands.Commands()
        texts = [*commands.by_id(LEAD, [one.lead for one in leads])]
        for object_ in ALSO.values():
            texts += language.equal(object_, (KEY, "leadId"), KEY, [one.key for one in leads], also=also)
        rows, *made = self.client.query(texts)
        _take(leads, rows)
        for object_, found in zip(ALSO.values(), made, strict=True):
            for one in leads:
                ids = sorted((row["id"] for row in found if row.get(KEY) == one.key), key=age)
                if id_ := next(iter(ids), "") or self.lately.find(object_, one.lead):
                    one.made[object_] = id_

    def _match(self, leads: Sequence[ConvertingLead]) -> None:
        """Whom the leads join. They are read once more, last of all: a user may have converted one meanwhile."""
        going = [one for one in leads if not one.done]
        if not going:
            return
        language = commands.Commands()
        contacts = [id_ for one in going for id_ in (one.asked.contact, one.linked("contactId"), one.made.get(CONTACT))]
        companies = [id_ for one in going for id_ in (one.asked.account, one.linked("companyId"))]
        titles = dict.fromkeys(one.title for one in going if one.title)
        asked = [(CONTACT, text) for text in commands.by_id(CONTACT, dict.fromkeys(filter(None, contacts)))]
        asked += [(COMPANY, text) for text in commands.by_id(COMPANY, dict.fromkeys(filter(None, companies)))]
        asked += [("title", text) for text in language.equal(COMPANY, ("title",), "title", titles)]
        for email in dict.fromkeys(email for one in going for email in one.emails()):
            find = {"type": "EMAIL", "values": [email], "entity_type": FINDS[CONTACT]}
            asked.append(("email", command(commands.FIND, find)))
        asked += [(LEAD, text) for text in commands.by_id(LEAD, [one.lead for one in going])]
        found: dict[str, list[dict[str, Any]]] = {}
        for (what, _), rows in zip(asked, self.client.query([text for _, text in asked]), strict=True):
            found.setdefault(what, []).extend(rows)
        _take(going, found.get(LEAD, []))
        for one in [each for each in going if each.outcome is None]:
            join(one, found)

    def _finish(self, done: Sequence[ConvertingLead]) -> None:
        """Those that are converted: what they became."""
        if not done:
            return
        texts = list(
            commands.Commands().equal(DEAL, ("leadId",), "leadId", [one.lead for one in done]),
        )
        deals = [row for rows in self.client.query(texts) for row in rows]
        for one in done:
            own = sorted((row["id"] for row in deals if id_of(row.get("leadId")) == one.lead), key=age)
            one.ids = {
                CONTACT: one.linked("contactId") or one.made.get(CONTACT, ""),
                COMPANY: one.linked("companyId"),
                DEAL: one.made.get(DEAL, "") or next(iter(own), ""),
            }
            one.outcome = one.written(created=False)

    # ------------------------------------------------------------------------------------------------------- writing

    def _companies(self, leads: Sequence[ConvertingLead]) -> None:
        """One for all leads of one firm."""
        firms: dict[str, list[ConvertingLead]] = {}
        for one in leads:
            if not one.ids.get(COMPANY) and one.title:
                firms.setdefault(folded(one.title), []).append(one)
        texts = [some[0].fields(COMPANY, {"title": some[0].title}) for some in firms.values()]
        for some, reply in zip(firms.values(), self._write(texts), strict=True):
            self._note(some[0], COMPANY, reply)
            for one in some[1:]:
                one.ids[COMPANY], one.outcome = some[0].ids.get(COMPANY, ""), some[0].outcome

    def _contacts(self, leads: Sequence[ConvertingLead]) -> None:
        """New ones; and the company of those that are there and have none."""
        new = [one for one in leads if not one.ids.get(CONTACT)]
        for one, reply in zip(new, self._write([new_contact(one) for one in new]), strict=True):
            self._note(one, CONTACT, reply)
        bare = [
            one for one in leads if one not in new and one.ids.get(COMPANY) and not id_of(one.contact.get("companyId"))
        ]
        texts = [
            command(
                pack.UPDATE,
                {"entityTypeId": type_id(CONTACT), "id": one.ids[CONTACT], "fields": {"companyId": one.ids[COMPANY]}},
            )
            for one in bare
        ]
        for one, reply in zip(bare, self._write(texts), strict=True):
            if reply.failure is not None:
                one.outcome = failed_at(one, CONTACT, reply.failure)

    def _deals(self, leads: Sequence[ConvertingLead]) -> None:
        new = [one for one in leads if one.asked.deal is not None and not one.ids.get(DEAL)]
        for one, reply in zip(new, self._write([new_deal(one) for one in new]), strict=True):
            self._note(one, DEAL, reply)

    def _convert(self, leads: Sequence[ConvertingLead]) -> None:
        """The leads themselves, last: a lead that is converted has all that it became."""
        texts = []
        for one in leads:
            links = {"contactId": one.ids.get(CONTACT, ""), "companyId": one.ids.get(COMPANY, "")}
            fields = {STAGE: DONE} | {name: id_ for name, id_ in links.items() if id_ and id_ != one.linked(name)}
            texts.append(command(pack.UPDATE, {"entityTypeId": type_id(LEAD), "id": one.lead, "fields": fields}))
        for one, reply in zip(leads, self._write(texts), strict=True):
            one.outcome = one.written(created=True) if reply.failure is None else failed_at(one, LEAD, reply.failure)

    def _write(self, texts: Sequence[str]) -> list[CommandReply]:
        return self.client.write(texts) if texts else []

    def _note(self, one: ConvertingLead, object_: str, reply: CommandReply) -> None:
        """Keeps what a command made, or why it did not."""
        id_ = id_of(dig(reply.value, "item.id")) if reply.failure is None else ""
        if id_:
            one.ids[object_] = id_
            self.lately.note(object_, one.lead, id_)
        else:
            failed = reply.failure or Transient(f"{object_} was answered without an id", code="rows")
            one.outcome = failed_at(one, object_, failed)


def _open(leads: Sequence[ConvertingLead]) -> list[ConvertingLead]:
    return [one for one in leads if one.outcome is None]


def _take(leads: Sequence[ConvertingLead], rows: Sequence[Mapping[str, Any]]) -> None:
    by_id = {row["id"]: row for row in rows}
    for one in leads:
        one.row = by_id.get(one.lead, {})
        if not one.row:
            one.outcome = StaleReference("the lead is not there any more", code="NOT_FOUND")


def may_convert(portal: Portal) -> Iterator[Finding]:
    """Whether there are leads. What our user may make shows only when it is made."""
    if portal.has_no_leads():
        yield Finding(Level.FAULT, "convert", NO_LEADS, "take the convert rule out")
    else:
        yield Finding(
            Level.OK, "convert", "leads become contacts by separate commands: Bitrix24 has no call to convert"
        )
