"""Conversion of leads in Salesforce: which of them are converted already, whom they join, the SOAP call, and the values of the
new deal, which that call does not take. The destination's `send` of conversions is this.

Facts: salesforce_more.md, Lead conversion. A conversion is idempotent by state: a lead is read before it is converted, and one
that is converted already, by whomever, is done. The deal that a conversion of ours made, and whose values were not written, is
known by its name and by not having been changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.capabilities import ConversionNames, Finding, Level
from syncd.connector import Conversion, Link, Outcome, Write, Written
from syncd.connectors.answers import listed
from syncd.connectors.crm.directory import age
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Target
from syncd.connectors.crm.salesforce import pack, soap, soql
from syncd.connectors.crm.salesforce.client import SalesforceClient, Subrequest
from syncd.connectors.crm.salesforce.errors import answer_failure, failure
from syncd.connectors.crm.sending import Settled
from syncd.errors import Failure, Misconfigured, Rejected, Scope, StaleReference, Transient
from syncd.matching import folded, same_name

ROWS = 100
"""Leads in one convertLead [M]."""
COST = 6.0
"""Calls of a conversion at most: reading the leads and the contacts with their addresses, converting, reading and writing the
roles of the contacts, writing the deals."""
OWNER = "OwnerId"
NAMES = ConversionNames(
    deals="Opportunity",
    deal_fields={"name": "Name", "stage": "StageName", "close_date": "CloseDate", "amount": "Amount"},
    role=("OpportunityContactRole", "Role"),
)
"""Salesforce has no pipelines: `pipeline` is refused. The stage and the date that no rule names are the org's own."""
LEAD = ("Id", "Name", "Email", "IsConverted", "ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId")
DEAL = ("Id", "Name", "CreatedDate", "LastModifiedDate")
CONTACT = ("Id", "Name", "Email", "AccountId")
ALREADY = frozenset({"CANNOT_UPDATE_CONVERTED_LEAD"})
RIGHTS, MAY_CONVERT = "UserPermissionAccess", "PermissionsConvertLeads"


def _cost(rows: int) -> float:
    return COST if rows else 0.0


def _record(write: Write, target: Target) -> dict[str, Any]:
    """The values of the new deal as they are written. Raises Unsendable."""
    conversion = write.conversion or Conversion()
    deal = {name: value for name, value in (conversion.deal or {}).items() if name not in ("name", "role")}
    values = {NAMES.deal_fields.get(name, name): value for name, value in deal.items()} | conversion.deal_fields
    return {name: pack.formatted(name, value) for name, value in values.items()}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


@dataclass
class ConversionBatch:
    """The leads of one call. `leads`: as they were read, by the first 15 characters of their ids."""

    client: SalesforceClient
    bundle: Bundle
    writes: Sequence[Write]
    status: str
    settled: Settled = field(default_factory=dict)
    leads: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    deals: dict[int, str] = field(default_factory=dict)  # place -> the new deal whose values are to be written
    roles: dict[tuple[str, str], str] = field(default_factory=dict)  # (deal, contact) -> the entry with the role

    def perform(self) -> Settled:
        """What became of each. Raises a Failure while nothing can have been converted."""
        self._read()
        open_ones = [place for place in self.bundle.rows if place not in self.settled]
        if open_ones:
            self._convert(open_ones)
        self._complete()
        return self.settled

    def _read(self) -> None:
        """Settles the leads that are converted, or are not there."""
        ids = [self.writes[place].id for place in self.bundle.rows]
        self.leads = {row["Id"][:15]: row for row in self._rows("Lead", LEAD, "Id", ids)}
        made = [id_ for row in self.leads.values() if (id_ := _id(row, "ConvertedOpportunityId"))]
        deals = {row["Id"][:15]: row for row in self._rows("Opportunity", DEAL, "Id", made)} if made else {}
        for place in self.bundle.rows:
            lead = self.leads.get(self.writes[place].id[:15])
            if lead is None:
                self.settled[place] = StaleReference("the lead is not there any more", code="NOT_FOUND")
            elif lead.get("IsConverted") is True:
                self.settled[place] = self._done(place, lead)
                self._unfinished(place, deals.get(_id(lead, "ConvertedOpportunityId")[:15]))

    def _rows(self, object_: str, columns: Sequence[str], by: str, values: Sequence[str]) -> list[dict[str, Any]]:
        statements = list(soql.selects(soql.select(columns, object_), by, values))
        return [row for rows in self.client.query(statements) for row in rows if row.get("Id")]

    def _done(self, place: int, lead: Mapping[str, Any]) -> Written:
        """A lead that was converted before."""
        objects = {"contact": "Contact", "account": "Account", "deal": "Opportunity"}
        names = {"contact": "ConvertedContactId", "account": "ConvertedAccountId", "deal": "ConvertedOpportunityId"}
        also = {name: Link(objects[name], id_) for name, column in names.items() if (id_ := _id(lead, column))}
        return Written(self.writes[place].id, created=False, also=also)

    def _unfinished(self, place: int, deal: Mapping[str, Any] | None) -> None:
        """Whether the deal of a converted lead still lacks the values that our conversion was to give it."""
        ours = deal is not None and deal.get("Name") == _name(self._conversion(place))
        if deal is not None and ours and deal.get("CreatedDate") == deal.get("LastModifiedDate"):
            self.deals[place] = _id(deal, "Id")

    def _conversion(self, place: int) -> Conversion:
        return self.writes[place].conversion or Conversion()

    def _convert(self, places: Sequence[int]) -> None:
        joined = self._contacts(places)
        asked = [self._asked(place, joined.get(place)) for place in places]
        response = self.client.soap(lambda token: soap.envelope(token, asked), soap.refuses_session)
        results = soap.results(response, len(places), self.client.now())
        late: list[int] = []
        for place, result in zip(places, results, strict=True):
            if result.ids:
                self.settled[place] = _converted(self.writes[place].id, result.ids)
                if result.ids.get("opportunityId"):
                    self.deals[place] = result.ids["opportunityId"]
            elif any(error.get("statusCode") in ALREADY for error in result.errors):
                late.append(place)
            else:
                self.settled[place] = _refused(result.errors)
        if late:
            self._converted_meanwhile(late)

    def _converted_meanwhile(self, places: Sequence[int]) -> None:
        """A user converted them in the same second: what they became is read. Where that fails they are asked for again."""
        try:
            rows = self._rows("Lead", LEAD, "Id", [self.writes[place].id for place in places])
        except Failure as failed:
            text = f"the lead was converted meanwhile; what it became could not be read: {failed}"
            self.settled.update((place, Transient(text, code="CANNOT_UPDATE_CONVERTED_LEAD")) for place in places)
            return
        found = {row["Id"][:15]: row for row in rows}
        for place in places:
            self.settled[place] = self._done(place, found.get(self.writes[place].id[:15], {}))

    def _asked(self, place: int, contact: Mapping[str, Any] | None) -> dict[str, str | bool]:
        """The children of `leadConverts` for one lead."""
        write, conversion = self.writes[place], self._conversion(place)
        asked: dict[str, str | bool] = {
            "convertedStatus": conversion.status or self.status,
            "doNotCreateOpportunity": conversion.deal is None,
            "leadId": write.id,
            "overwriteLeadSource": False,
            "sendNotificationEmail": False,
        }
        contact_id = conversion.contact or _id(contact or {}, "Id")
        named = {
            "accountId": conversion.account or _id(contact or {}, "AccountId"),
            "contactId": contact_id,
            "ownerId": str(write.fields.get(OWNER) or ""),
            "opportunityName": _name(conversion) if conversion.deal is not None else "",
        }
        return asked | {name: value for name, value in named.items() if value}

    def _contacts(self, places: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """Of leads for whom the mapping names no contact: the one with their address and name, oldest first, in the company that
        they join; it also tells the company where none is named. (Of a contact that the mapping names: its company.)"""
        named = {place: self._conversion(place).contact for place in places if self._conversion(place).contact}
        by_id = (
            {row["Id"][:15]: row for row in self._rows("Contact", CONTACT, "Id", list(named.values()))} if named else {}
        )
        emails = {folded(email) for place in places if place not in named and (email := self._email(place))}
        rows = self._rows("Contact", CONTACT, "Email", sorted(emails)) if emails else []
        rows = sorted((row for row in rows if _id(row, "AccountId")), key=lambda row: age(_id(row, "Id")))
        found: dict[int, Mapping[str, Any]] = {}
        for place in places:
            if place in named:
                found[place] = by_id.get(named[place][:15], {})
                continue
            one = next((row for row in rows if self._agrees(place, row)), None)
            if one is not None:
                found[place] = one
        return found

    def _agrees(self, place: int, contact: Mapping[str, Any]) -> bool:
        lead, account = self.leads[self.writes[place].id[:15]], self._conversion(place).account
        if account and account[:15] != _id(contact, "AccountId")[:15]:
            return False
        same = folded(str(contact.get("Email") or "")) == folded(self._email(place))
        return same and same_name(str(contact.get("Name") or ""), str(lead.get("Name") or ""))

    def _email(self, place: int) -> str:
        return str(self.leads[self.writes[place].id[:15]].get("Email") or "")

    def _complete(self) -> None:
        """Writes the values of the new deals, after the roles of their contacts. A deal that lacks them makes its lead's write
        fail, not the others'; it is found again by its name while nobody changed it."""
        self._read_roles()
        self._write({place: row for place in self.deals if (row := self._role(place))})
        records = dict(zip(self.bundle.rows, self.bundle.records, strict=True))
        self._write(
            {
                place: {"attributes": {"type": "Opportunity"}, "id": id_, **records[place]}
                for place, id_ in self.deals.items()
                if records[place] and isinstance(self.settled[place], Written)
            }
        )

    def _read_roles(self) -> None:
        """The entries of the contacts in those deals that give them a role; the conversion itself made them."""
        wanted = {place: id_ for place, id_ in self.deals.items() if self._wanted_role(place)}
        if not wanted:
            return
        columns = ("Id", "OpportunityId", "ContactId")
        try:
            rows = self._rows(NAMES.role[0], columns, "OpportunityId", list(wanted.values()))
        except Failure as failed:
            self.settled.update((place, _incomplete(failed)) for place in wanted)
            return
        self.roles = {(_id(row, "OpportunityId")[:15], _id(row, "ContactId")[:15]): _id(row, "Id") for row in rows}

    def _wanted_role(self, place: int) -> str:
        return str((self._conversion(place).deal or {}).get("role") or "")

    def _role(self, place: int) -> dict[str, Any]:
        """The entry of the contact in the deal with its role, {} for none."""
        done = self.settled[place]
        contact = done.also.get("contact") if isinstance(done, Written) else None
        entry = self.roles.get((self.deals[place][:15], contact.id[:15])) if contact else None
        role = self._wanted_role(place)
        made = {"attributes": {"type": NAMES.role[0]}, "id": entry, NAMES.role[1]: role}
        return made if role and entry else {}

    def _write(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Updates these records by their ids; those that are refused are settled anew."""
        if not rows:
            return
        body = {"allOrNone": False, "records": list(rows.values())}
        try:
            (answer,) = self.client.send([Subrequest("PATCH", "/composite/sobjects", body)])
            answers = listed(answer.body) if answer.ok else ()
            if len(answers) != len(rows):
                raise answer_failure(answer.status, answer.body, write=True)
        except Failure as failed:
            self.settled.update((place, _incomplete(failed)) for place in rows)
            return
        for place, one in zip(rows, answers, strict=True):
            if not (isinstance(one, Mapping) and one.get("success") is True):
                errors = one.get("errors") if isinstance(one, Mapping) else None
                self.settled[place] = _incomplete(failure(errors or []))


def _converted(lead: str, ids: Mapping[str, str]) -> Written:
    objects = {
        "contactId": ("contact", "Contact"),
        "accountId": ("account", "Account"),
        "opportunityId": ("deal", "Opportunity"),
    }
    also = {name: Link(object_, ids[key]) for key, (name, object_) in objects.items() if ids.get(key)}
    return Written(lead, created=True, also=also)


def _refused(errors: Sequence[Mapping[str, Any]]) -> Outcome:
    """Why a lead was not converted. What it would join is gone: its person is looked up again."""
    meant = failure(list(errors))
    if isinstance(meant, StaleReference) and meant.code == "DUPLICATES_DETECTED":
        return Rejected(f"a duplicate rule forbids the new records: {meant.message}", code=meant.code)
    if meant.code == "INVALID_STATUS":
        text = (
            f"{meant.message} (which statuses a converted lead may have: Setup, Lead Status; write status: in convert:)"
        )
        return Misconfigured(text, code=meant.code, scope=Scope.RULE, field="convertedStatus")
    return meant


def _incomplete(why: Failure) -> Failure:
    """The lead is converted, but its deal lacks its values."""
    text = f"the lead was converted, but the values of its deal were not written: {why.message}"
    if isinstance(why, Rejected | StaleReference):
        return Rejected(text, code=why.code, field=why.field)
    if isinstance(why, Misconfigured):
        return Misconfigured(text, code=why.code, scope=why.scope, field=why.field)
    return Transient(text, code=why.code)


def _name(conversion: Conversion) -> str:
    return str((conversion.deal or {}).get("name") or "").strip()


def _id(row: Mapping[str, Any], column: str) -> str:
    return str(row.get(column) or "")


# ------------------------------------------------------------------------------------------------------- the account


def statuses(client: SalesforceClient) -> list[str]:
    """The statuses of converted leads, the org's default first."""
    columns = ("MasterLabel", "IsDefault", "SortOrder")
    (rows,) = client.query([f"{soql.select(columns, 'LeadStatus')} WHERE IsConverted = true"])
    ordered = sorted(rows, key=lambda row: (row.get("IsDefault") is not True, row.get("SortOrder") or 0))
    return [str(row["MasterLabel"]) for row in ordered if row.get("MasterLabel")]


def may_convert(client: SalesforceClient) -> Iterator[Finding]:
    """Whether our user has Convert Leads."""
    remedy = "in Setup give the user a permission set with Convert Leads, and with create on accounts, contacts and opportunities"
    try:
        (rows,) = client.query([soql.select((MAY_CONVERT,), RIGHTS)])
    except Misconfigured as unknown:
        if unknown.code not in ("INVALID_TYPE", "INVALID_FIELD"):
            raise
        rows = []
    if not rows:
        yield Finding(Level.WARNING, "convert", "the org does not tell whether our user may convert leads", remedy)
    elif rows[0].get(MAY_CONVERT) is not True:
        yield Finding(Level.FAULT, "convert", "our user may not convert leads", remedy)
    else:
        yield Finding(Level.OK, "convert", "our user may convert leads (Convert Leads)")
