"""A lead on its way to become a contact, a company and a deal: whom it joins, and the commands that make the rest. Pure;
conversion.py sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.connector import Conversion, Link, Outcome, Write, Written
from syncd.connectors.answers import mappings
from syncd.connectors.crm.bitrix24 import commands, pack
from syncd.connectors.crm.bitrix24.commands import command
from syncd.connectors.crm.bitrix24.objects import KEY, ORIGINATOR, OURS, type_id
from syncd.connectors.crm.directory import age
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference, Transient
from syncd.matching import folded, same_name

LEAD, CONTACT, COMPANY, DEAL = "Lead", "Contact", "Company", "Deal"
ALSO: Mapping[str, str] = {"contact": CONTACT, "account": COMPANY, "deal": DEAL}
STAGE, DONE, SUCCESS = "stageId", "CONVERTED", "S"
OWNER = "assignedById"
COPIED = (
    *("honorific", "name", "secondName", "lastName", "birthdate", "post", "sourceId", "sourceDescription"),
    *("utmSource", "utmMedium", "utmCampaign", "utmContent", "utmTerm"),
)
"""Fields of the lead that its contact gets, beside its addresses and numbers."""
ADDRESSES = 3
"""Email addresses of a lead by which its contact is looked for."""


@dataclass
class ConvertingLead:
    """One lead. `ids`: object -> the record that it becomes or joins; `made`: those of them with the lead's key."""

    place: int
    write: Write
    deal: dict[str, Any]
    row: Mapping[str, Any] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    contact: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def asked(self) -> Conversion:
        return self.write.conversion or Conversion()

    @property
    def lead(self) -> str:
        return self.write.id

    @property
    def key(self) -> str:
        return f"lead-{self.lead}"

    @property
    def title(self) -> str:
        return str(self.row.get("companyTitle") or "").strip()

    @property
    def done(self) -> bool:
        final = self.row.get(STAGE) == DONE or self.row.get("stageSemanticId") == SUCCESS
        return bool(self.row) and (final or self.row.get("isConvert") in ("Y", True))

    def linked(self, name: str) -> str:
        """The record in a link field of the lead, "" for none."""
        return id_of(self.row.get(name))

    def emails(self) -> list[str]:
        return [one for one in self.row.get("email") or () if commands.askable(one)][:ADDRESSES]

    def written(self, *, created: bool) -> Written:
        also = {name: Link(object_, self.ids[object_]) for name, object_ in ALSO.items() if self.ids.get(object_)}
        return Written(self.lead, created=created, also=also)

    def fields(self, object_: str, values: Mapping[str, Any]) -> str:
        """The command that makes a record of the lead."""
        common = {OWNER: self.write.fields.get(OWNER) or self.row.get(OWNER), "leadId": self.lead}
        given = {name: one for name, one in (common | dict(values)).items() if one not in (None, "")}
        return command(
            pack.ADD,
            {"entityTypeId": type_id(object_), "fields": given | {ORIGINATOR: OURS, KEY: self.key}},
        )


def id_of(value: Any) -> str:
    text = str(value or "")
    return "" if text == "0" else text


def join(one: ConvertingLead, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The contact and company of a lead, of those that were read. Named ones must be there."""
    contacts = {row["id"]: row for row in found.get(CONTACT, ())}
    companies = {row["id"] for row in found.get(COMPANY, ())}
    for what, id_, there in (("contact", one.asked.contact, contacts), ("account", one.asked.account, companies)):
        if id_ and id_ not in there:
            text = f"the lead was not converted: there is no {ALSO[what]} {id_}, which it is to join"
            one.outcome = Rejected(text, code="NOT_FOUND", field=what)
            return
    known = (one.asked.contact, one.linked("contactId"), one.made.get(CONTACT, ""))
    contact = next((contacts[id_] for id_ in known if id_ in contacts), None)
    if contact is None and CONTACT not in one.made:
        contact = _namesake(one, found.get("email", ()))
    one.contact = contact or {}
    one.ids[CONTACT] = str(one.contact.get("id") or one.made.get(CONTACT, ""))
    titled = sorted(
        (
            row["id"]
            for row in found.get("title", ())
            if one.title and folded(str(row.get("title"))) == folded(one.title)
        ),
        key=age,
    )
    linked = one.linked("companyId")
    ways = (one.asked.account, linked if linked in companies else "", id_of(one.contact.get("companyId")))
    one.ids[COMPANY] = next(filter(None, (*ways, one.made.get(COMPANY, ""), *titled)), "")
    one.ids[DEAL] = one.made.get(DEAL, "")


def _namesake(one: ConvertingLead, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The oldest contact with an address and the name of the lead, in the company that it is to join."""
    emails, account = {folded(email) for email in one.emails()}, one.asked.account
    for row in sorted(rows, key=lambda each: age(each["id"])):
        theirs = {folded(str(email)) for email in row.get("email") or ()}
        fits = not account or id_of(row.get("companyId")) in ("", account)
        if fits and emails & theirs and same_name(str(row["fullName"]), str(one.row["fullName"])):
            return row
    return None


def new_contact(one: ConvertingLead) -> str:
    """The command that makes the contact. It needs a name."""
    values = {name: one.row.get(name) for name in COPIED}
    if not (values["name"] or values["lastName"]):
        values["lastName"] = one.row.get("title")
    entries = [
        {part: each[part] for part in ("typeId", "valueType", "value") if each.get(part)}
        for each in mappings(one.row, "fm")
        if each.get("value")
    ]
    values["fm"] = {f"n{at}": each for at, each in enumerate(entries)} or None
    values["companyId"] = one.ids.get(COMPANY)
    return one.fields(CONTACT, values)


def new_deal(one: ConvertingLead) -> str:
    """The command that makes the deal; its currency, source and, where the rule tells no amount, amount are the lead's."""
    values: dict[str, Any] = {name: one.row.get(name) for name in ("sourceId", "sourceDescription", "currencyId")}
    if one.row.get("opportunity"):
        values["opportunity"] = one.row["opportunity"]
    values |= {"contactIds": [one.ids[CONTACT]], "companyId": one.ids.get(COMPANY)}
    return one.fields(DEAL, values | one.deal)


def failed_at(one: ConvertingLead, object_: str, failure: Failure) -> Failure:
    """The failure of a step, with what it means for the lead. Only the lead's own record can be stale."""
    if object_ == LEAD and isinstance(failure, StaleReference):
        return failure
    what = "the lead was not set to CONVERTED" if object_ == LEAD else f"the lead was not converted ({object_})"
    text = f"{what}: {failure.message}"
    if isinstance(failure, StaleReference):
        return Transient(text, code=failure.code)
    if isinstance(failure, Rejected):
        return Rejected(text, code=failure.code, field=failure.field)
    if isinstance(failure, Misconfigured) and failure.scope is Scope.RULE:
        return Misconfigured(text, code=failure.code, scope=Scope.RULE, field=failure.field)
    return failure
