"""Conversion of leads in Zoho CRM: what a lead became already, what Zoho itself would join it with, and the convert action. The
destination's `send` of conversions is this.

Facts: zoho_more.md, Convert a lead; zoho.md, Convert. Zoho refuses a second conversion (ID_ALREADY_CONVERTED): that counts as
done. How a converted lead is read, and what `$converted_detail` holds, is not verified: where Zoho does not tell what a lead
became, its person is looked up again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from syncd.capabilities import ConversionNames, Finding, Level
from syncd.connector import Conversion, Link, Outcome, Write, Written
from syncd.connectors.answers import mappings, together
from syncd.connectors.crm.directory import age, linked_id
from syncd.connectors.crm.packing import Bundle, Packer
from syncd.connectors.crm.record import Target
from syncd.connectors.crm.sending import Settled, one_by_one
from syncd.connectors.crm.zoho import pack, scopes
from syncd.connectors.crm.zoho.client import ZohoClient
from syncd.connectors.crm.zoho.errors import DUPLICATE, failure, parts
from syncd.connectors.online import tried
from syncd.errors import Ambiguous, Misconfigured, Rejected, Scope, StaleReference
from syncd.http.error_table import dig

ROWS = 10
"""Leads in one of our calls: Zoho converts one at a time."""
READ, CONVERT = 1.0, 5.0
"""Credits of a read, and of a conversion (zoho.md, Limits): the lead and its options are read before it is converted."""
OWNER = "Owner"
NAMES = ConversionNames(
    deals="Deals",
    deal_fields={
        "name": "Deal_Name",
        "stage": "Stage",
        "close_date": "Closing_Date",
        "amount": "Amount",
        "pipeline": "Pipeline",
    },
    needed=("name", "stage", "close_date"),
    role=("", "Contact_Role"),
)
"""`pipeline` is needed as well where the account has pipelines. `role` is the id of a contact role."""
MODULES: Mapping[str, str] = {"contact": "Contacts", "account": "Accounts", "deal": "Deals"}
CONVERTED = frozenset({"ID_ALREADY_CONVERTED", "CONVERTED_RECORD"})
NO_OPTIONS = frozenset({"INVALID_URL_PATTERN", "NOT_SUPPORTED", "FEATURE_NOT_SUPPORTED"})
"""Codes of an API version without conversion options: Zoho matches by itself."""
BARE = ("v2", "v2.1")
"""Versions that name the new owner by a bare id."""
SCOPE = f"ZohoCRM.modules.leads.CREATE (or {scopes.RECORDS})"


def _cost(rows: int) -> float:
    return (2 * READ + CONVERT) * rows


def _record(write: Write, target: Target) -> dict[str, Any]:
    """The new deal as it is sent, {} for none. Raises Unsendable."""
    conversion = write.conversion or Conversion()
    fields = {**NAMES.deal_fields, "role": NAMES.role[1]}
    values = {fields[name]: value for name, value in (conversion.deal or {}).items()} | conversion.deal_fields
    return {name: pack.formatted(name, value) for name, value in values.items()}


PACKER = Packer(target=Target.of, record=_record, rows=ROWS, size=pack.CALL_BYTES, cost=_cost)


def perform(client: ZohoClient, bundle: Bundle, writes: Sequence[Write], version: str) -> Settled:
    """What became of each lead. After a call that failed the rest is not sent."""
    return one_by_one(bundle, lambda place, deal: _convert(client, writes[place], deal, version))


def _convert(client: ZohoClient, write: Write, deal: Mapping[str, Any], version: str) -> Outcome:
    conversion = write.conversion or Conversion()
    if (done := _became(client, write)) is not None:
        return done
    try:
        contact, account = _options(client, write, conversion)
        return _sent(client, write, _body(write, conversion, deal, contact, account, version), retry=not contact)
    except StaleReference as gone:
        if gone.code not in CONVERTED:
            raise
        # A user converted it in the same second, or Zoho hides converted leads from reads.
        return _became(client, write) or Written(write.id, created=False)


def _became(client: ZohoClient, write: Write) -> Written | None:
    """What a converted lead became; None for one that is not converted, or of which Zoho does not tell."""
    try:
        answer = client.ask("GET", f"/{write.object}/{write.id}?converted=both", None, rows="data", cost=READ)
    except (Rejected, StaleReference):
        return None  # it tells nothing of the lead: the conversion itself does
    lead = next(iter(mappings(answer, "data")), {})
    if lead.get("$converted") is not True and lead.get("Converted__s") is not True:
        return None
    detail = lead.get("$converted_detail")
    told = detail if isinstance(detail, Mapping) else {}
    also = {name: Link(module, id_) for name, module in MODULES.items() if (id_ := linked_id(told, name))}
    return Written(write.id, created=False, also=also)


def _options(client: ZohoClient, write: Write, conversion: Conversion) -> tuple[str, str]:
    """(contact, account) to join: those of the mapping, else those that Zoho itself matches; "" for none."""
    contact, account = conversion.contact, conversion.account
    if contact and account:
        return contact, account
    path = f"/{write.object}/{write.id}/__conversion_options"
    try:
        answer = client.ask("GET", path, None, rows="__conversion_options", cost=READ)
    except Misconfigured as lacking:
        if lacking.code not in NO_OPTIONS:
            raise
        return contact, account
    except Rejected:
        return contact, account
    told = dig(answer, "__conversion_options")
    contact = contact or _oldest(told, "Contacts")
    return contact, account or (_company_of(client, contact) if contact else "") or _oldest(told, "Accounts")


def _company_of(client: ZohoClient, contact: str) -> str:
    """The account that a contact belongs to: the lead joins both, and its deal is theirs. "" for none."""
    answer = client.ask("GET", f"/Contacts/{contact}?fields=Account_Name", None, rows="data", cost=READ)
    return linked_id(next(iter(mappings(answer, "data")), {}), "Account_Name")


def _oldest(options: Any, module: str) -> str:
    ids = [str(one["id"]) for one in mappings(options, module) if one.get("id")]
    return min(ids, key=age, default="")


def _body(
    write: Write, conversion: Conversion, deal: Mapping[str, Any], contact: str, account: str, version: str
) -> dict[str, Any]:
    """`data[0]` of the action. What an existing contact or account has is kept."""
    owner = write.fields.get(OWNER)
    owner_id = str(dig(owner, "id") if isinstance(owner, Mapping) else owner or "")
    made: dict[str, Any] = {"overwrite": False, "notify_lead_owner": False, "notify_new_entity_owner": False}
    if contact:
        made["Contacts"] = {"id": contact}
    if account:
        made["Accounts"] = {"id": account}
    if owner_id:
        made["assign_to"] = owner_id if version in BARE else {"id": owner_id}
    if conversion.deal is not None:
        made["Deals"] = dict(deal)
    return made


def _sent(client: ZohoClient, write: Write, body: dict[str, Any], *, retry: bool) -> Outcome:
    """`retry`: a contact that the refusal names may be joined, once."""
    path = f"/{write.object}/{write.id}/actions/convert"
    try:
        answer = client.ask("POST", path, {"data": [body]}, rows="data", write=True, cost=CONVERT)
    except Misconfigured as lacking:
        raise _of_rule(lacking) from None
    row = next(iter(mappings(answer, "data")), {})
    told = dig(row, "details") if row.get("status") == "success" else row
    also = {name: Link(module, id_) for name, module in MODULES.items() if (id_ := linked_id(told, module))}
    if "contact" in also and row.get("status") != "error":
        return Written(write.id, created=True, also=also)
    if row.get("status") != "error":
        return Ambiguous("a conversion was answered without the contact", code="rows")
    wrong = parts(row)
    taken = [
        id_ for one in wrong if one.code == DUPLICATE for module, id_ in one.existing if module in ("", "Contacts")
    ]
    if taken and retry:
        return _sent(client, write, body | {"Contacts": {"id": taken[0]}}, retry=False)
    if any(one.code in CONVERTED for one in wrong):
        raise StaleReference(wrong[0].message, code=next(iter(CONVERTED & {one.code for one in wrong})))
    meant = together([failure(_of_lead(one)) for one in wrong])
    return _of_rule(meant) if isinstance(meant, Misconfigured) else meant


def _of_lead(one: Any) -> Any:
    """An INVALID_DATA that names no field speaks of the lead: it is not there any more."""
    return replace(one, field="id") if one.code == "INVALID_DATA" and not one.field else one


def _of_rule(lacking: Misconfigured) -> Misconfigured:
    """A right or scope that only conversions need must not stop the others."""
    if lacking.code == scopes.MISSING:
        return Misconfigured(
            f"to convert leads the sign-in needs the scope {SCOPE}", code=lacking.code, scope=Scope.RULE
        )
    if lacking.code in scopes.NO_RIGHT:
        text = f"{lacking.message}: our user's profile must allow converting leads (Setup, Profiles)"
        return Misconfigured(text, code=lacking.code, scope=Scope.RULE)
    return lacking


def may_convert(client: ZohoClient) -> Iterator[Finding]:
    """Whether the token may convert, by a conversion of nothing: refused by its form when it may, by its scope or our rights when
    not."""
    refused = tried(lambda: client.ask("POST", "/Leads/0/actions/convert", {"data": []}, rows="data"))
    if isinstance(refused, Misconfigured) and refused.code in (scopes.MISSING, *scopes.NO_RIGHT):
        told = _of_rule(refused)
        yield Finding(Level.FAULT, "convert", f"leads may not be converted: {told.message}")
    else:
        yield Finding(Level.OK, "convert", "the token may convert leads")
