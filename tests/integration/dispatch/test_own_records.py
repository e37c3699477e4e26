"""Rules that update the person's own record, over both stand-in CRMs: only what is empty, only whom they are about, never two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncd.config.models import DestinationSettings, Settings
from syncd.connector import Context, Write
from syncd.connectors.crm.salesforce import CONNECTOR as SALESFORCE
from syncd.connectors.crm.zoho import CONNECTOR as ZOHO
from syncd.dispatch.lane import Lane
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal, make_person
from syncd.testing.hostile_destination import HostileDestination
from syncd.twins.salesforce.schema import SalesforceField
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.schema import ZohoField
from syncd.twins.zoho.twin import ZohoTwin
from tests.lane_rig import T0, Rig, signal, sqlite

MAPPINGS = Path(__file__).parents[3] / "mappings"
ANN = "ann@example.com"


@dataclass
class TwinRig(Rig):
    """The rig with a twin's client in place of the CRM in memory, and the names of its records."""

    client: Any = None
    twin: Any = None
    names: dict[str, str] = field(default_factory=dict)

    def connect(self) -> None:
        here = DestinationSettings(name="crm", type="crm", **self.here)
        settings = Settings(channels=self.channels, destinations={"crm": here}, retry=self.retry)
        self.lane = Lane(
            "crm", self.client, self.compiled, self.store, settings, random=lambda: 0.0, clock=lambda: self.now
        )

    def person(self, object_: str, **fields: Any) -> str:
        """Ann as a `contact` or `lead`."""
        more = {self.names.get("firm", "Company"): "Theirs"} if object_ == "lead" else {}
        ann = {self.names["last"]: "Ann", self.names.get("email", "Email"): ANN}
        return str(self.twin.add(self.names[object_], **ann, **more, **fields))

    def record(self, object_: str) -> dict[str, Any]:
        (one,) = [each for each in self.twin.records(self.names[object_]) if each.get("Email") == ANN]
        return dict(one)

    def title(self, object_: str) -> Any:
        return self.record(object_).get(self.names[f"{object_} title"])

    def listed(self, *signals: Signal) -> None:
        self.arrive(signals, live=False, old=True)
        self.drain()

    def of_rule(self, rule: str) -> list[tuple[str, str]]:
        return [(row["state"], row["reason"] or "") for row in self.writes if row["rule"] == rule]

    def with_rules(self, text: str) -> None:
        """The shipped people, with other rules."""
        from syncd.mapping.loading import load_mapping

        head = self.mapping.partition("\nrules:")[0]
        self.compiled = load_mapping(f"{head}\nrules:\n{text.format(**self.names)}", name="rig.yaml")
        self.connect()


def salesforce(tmp_path: Path) -> TwinRig:
    twin = SalesforceTwin()
    auth = {"flow": "client_credentials", "client_id": "a", "client_secret": "b"}
    settings = SALESFORCE.settings.model_validate({"login_url": twin.start(), "auth": auth})
    names = {"contact": "Contact", "lead": "Lead", "last": "LastName", "contact title": "Title", "lead title": "Title"}
    names["contact city"] = "MailingCity"
    return rigged(tmp_path, "salesforce", SALESFORCE.build(settings, context()), twin, names)


def zoho(tmp_path: Path) -> TwinRig:
    twin = ZohoTwin()
    url = twin.start()
    auth = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}
    settings = ZOHO.settings.model_validate({"accounts_url": url, "auth": auth})
    names = {"contact": "Contacts", "lead": "Leads", "last": "Last_Name", "contact title": "Title"}
    names["contact city"] = "Mailing_City"
    return rigged(tmp_path, "zoho", ZOHO.build(settings, context()), twin, names | {"lead title": "Designation"})


def context() -> Context:
    return Context(name="crm", tokens=MemoryTokens(), region="VN")


def rigged(tmp_path: Path, mapping: str, client: Any, twin: Any, names: dict[str, str]) -> TwinRig:
    text = (MAPPINGS / f"{mapping}.yaml").read_text("utf-8")
    return TwinRig(sqlite(tmp_path), mapping=text, client=client, twin=twin, names=names)


@pytest.fixture(params=[salesforce, zoho])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TwinRig]:
    made: TwinRig = request.param(tmp_path)
    yield made
    made.client.close()
    made.twin.stop()


def row(number: int, title: str = "Buyer", *, minutes: int = 0, **data: str) -> Signal:
    one = signal(number, type="contact.changed", route=Route.IMPORT, at=T0 + timedelta(minutes=minutes))
    return msgspec.structs.replace(one, data={"job_title": title, **data})


@pytest.mark.parametrize("kind", ["contact", "lead"])
def test_what_is_empty_is_filled_and_the_rest_is_let_alone(rig: TwinRig, kind: str) -> None:
    rig.person(kind)
    rig.listed(row(1))
    assert rig.title(kind) == "Buyer"
    rig.listed(row(2, "Seller", minutes=1))
    assert rig.title(kind) == "Buyer"
    other = {"contact": "lead", "lead": "contact"}[kind]
    assert rig.of_rule(f"fill-{kind}") == [("written", ""), ("skipped", "the fields it would fill are filled")]
    assert {state for state, _ in rig.of_rule(f"fill-{other}")} == {"skipped"}
    assert rig.states() == {"delivered": 1, "skipped": 1}
    assert rig.twin.records(rig.names[other]) == []


def test_a_stranger_is_made_once_and_filled(rig: TwinRig) -> None:
    rig.listed(row(1, minutes=-2), row(2, "Seller", minutes=-1))
    assert rig.title("lead") == "Buyer"
    assert rig.twin.records(rig.names["contact"]) == []


@pytest.mark.parametrize("together", [True, False])
def test_of_two_rows_the_earlier_fills_and_the_later_adds(rig: TwinRig, together: bool) -> None:
    rig.person("contact")
    rows = [row(1, minutes=-2), row(2, "Seller", minutes=-1, city="Huế")]
    for some in [rows] if together else [rows[:1], rows[1:]]:
        rig.listed(*some)
    assert rig.title("contact") == "Buyer"
    assert rig.record("contact")[rig.names["contact city"]] == "Huế"
    assert rig.states() == {"delivered": 2}


def test_an_older_list_that_comes_later_fills_what_is_still_empty(rig: TwinRig) -> None:
    rig.person("contact")
    rig.listed(row(2, minutes=-1))
    rig.listed(row(1, "Seller", minutes=-9, city="Huế"))
    assert rig.title("contact") == "Buyer"
    assert rig.record("contact")[rig.names["contact city"]] == "Huế"


def test_two_rules_of_one_record_see_each_other(rig: TwinRig) -> None:
    rig.person("contact")
    rig.with_rules(
        "  - {{id: over, name: A, signals: [contact.changed], update: {contact}, fields: {{Title: Director}}}}\n"
        "  - {{id: fill, name: B, signals: [contact.changed], update: {contact}, fill: {{Title: Buyer, Department: a}}}}"
    )
    rig.listed(row(1))
    assert (rig.title("contact"), rig.record("contact")["Department"]) == ("Director", "a")


def topics(rig: TwinRig, *values: str) -> None:
    """Ann with values in a field that takes several, in each CRM's own form."""
    known, name = ("News", "Offers", "Events"), rig.names["contact"]
    if isinstance(rig.twin, ZohoTwin):
        rig.twin.schema[name].add(
            ZohoField("Topics__c", "multiselectpicklist", values=known, restricted=True, custom=True)
        )
        rig.person("contact", **({"Topics__c": list(values)} if values else {}))
    else:
        field = SalesforceField("Topics__c", "multipicklist", 4099, values=known, restricted=True)
        rig.twin.schema[name].add(field)
        rig.person("contact", **({"Topics__c": ";".join(values)} if values else {}))


def held(rig: TwinRig) -> list[str]:
    return list(rig.client.items(rig.record("contact").get("Topics__c")))


LISTS = (
    "  - {{id: lists, name: A, signals: [contact.changed], update: {contact}, "
    "add: {{Topics__c: Events}}, remove: {{Topics__c: offers}}}}\n"
)


def test_values_are_added_and_removed_once(rig: TwinRig) -> None:
    topics(rig, "Offers", "News")
    rig.with_rules(LISTS)
    rig.listed(row(1))
    assert held(rig) == ["News", "Events"]
    rig.listed(row(2, minutes=1))
    assert rig.of_rule("lists") == [("written", ""), ("skipped", "the values are there already, or gone already")]


def test_what_a_user_added_stays(rig: TwinRig) -> None:
    topics(rig)
    rig.with_rules(LISTS)
    rig.listed(row(1), row(2, minutes=1))
    assert held(rig) == ["Events"]


def test_whoever_shares_a_phone_number_is_a_person_of_their_own(rig: TwinRig) -> None:
    rig.person("contact", Phone="+84912345678")
    one = signal(1, type="contact.changed", email="ben@example.com", phone="+84912345678", at=T0)
    rig.listed(msgspec.structs.replace(one, data={"job_title": "Buyer"}))
    assert rig.title("contact") is None
    (lead,) = rig.twin.records(rig.names["lead"])
    assert (lead["Email"], lead[rig.names["lead title"]]) == ("ben@example.com", "Buyer")
    rig.twin.delete(lead.get("Id") or lead["id"])
    phone_alone = signal(2, type="contact.changed", email="", phone="+84912345678", at=T0)
    rig.listed(msgspec.structs.replace(phone_alone, data={"job_title": "Buyer"}))
    assert rig.title("contact") == "Buyer"


def test_an_address_is_the_same_in_any_case(rig: TwinRig) -> None:
    rig.twin.add(rig.names["contact"], **{rig.names["last"]: "Ann", "Email": ANN.upper()})
    rig.listed(row(1))
    assert rig.of_rule("fill-contact") == [("written", "")]


def test_an_empty_cell_asks_and_writes_nothing(rig: TwinRig) -> None:
    rig.person("contact")
    rig.listed(row(1, ""))
    assert rig.of_rule("fill-contact") == [("skipped", "there is nothing to write into their record")]


def test_a_lead_that_was_converted_meanwhile_is_filled_as_the_contact_they_are_now(rig: TwinRig) -> None:
    lead = rig.person("lead")
    rig.listed(row(1, ""))  # now they are known to be a lead
    rig.twin.convert(lead)
    rig.listed(row(2, minutes=1))
    assert rig.title("contact") == "Buyer"
    assert rig.states()["delivered"] == 1
    assert "dead" not in rig.states()


def test_fields_are_written_over(rig: TwinRig) -> None:
    rig.person("contact", **{rig.names["contact title"]: "Director"})
    rig.with_rules(
        "  - {{id: over, name: Over, signals: [contact.changed], update: {contact}, "
        "fields: {{Title: '{{{{ signal.data.job_title }}}}'}}}}"
    )
    rig.listed(row(1))
    assert rig.title("contact") == "Buyer"
    rig.listed(row(3, "Older", minutes=-5))
    assert rig.title("contact") == "Buyer"
    assert rig.of_rule("over")[1] == ("skipped", "superseded by a later signal")


def test_fields_of_a_converted_lead_go_to_the_contact(rig: TwinRig) -> None:
    lead = rig.person("lead")
    rig.with_rules(
        "  - {{id: a, name: A, signals: [contact.changed], update: {contact}, "
        "fields: {{Title: '{{{{ signal.data.job_title }}}}'}}}}\n"
        "  - {{id: b, name: B, signals: [contact.changed], update: {lead}, "
        "fields: {{{lead title}: '{{{{ signal.data.job_title }}}}'}}}}"
    )
    rig.listed(row(1))
    assert rig.title("lead") == "Buyer"
    rig.twin.convert(lead)
    rig.listed(row(2, "Seller", minutes=1))
    assert rig.title("contact") == "Seller"
    assert "dead" not in rig.states()


def test_a_field_that_is_not_there_holds_its_rule_and_no_other(rig: TwinRig) -> None:
    rig.person("contact")
    rig.with_rules(
        "  - {{id: bad, name: Bad, signals: [contact.changed], update: {contact}, fill: {{Nonsense: a}}}}\n"
        "  - {{id: good, name: Good, signals: [contact.changed], update: {contact}, fill: {{Title: b}}}}"
    )
    rig.arrive([row(1)], live=False, old=True)
    rig.step()
    assert rig.title("contact") == "b"
    (state, reason) = rig.of_rule("bad")[0]
    assert state == "held"
    assert "Nonsense" in reason


def test_while_the_record_cannot_be_read_nothing_is_written(rig: TwinRig) -> None:
    rig.person("contact", **{rig.names["contact title"]: "Director"})
    rig.listed(row(1, ""))  # the person is known: the next question is for their fields
    read = "query" if rig.names["lead"] == "Lead" else "coql"
    rig.twin.plan.add([{"on": read, "do": "reset", "when": "before", "times": 2}])
    rig.listed(row(2, minutes=1, city="Huế"))
    assert rig.title("contact") == "Director"
    assert rig.record("contact")[rig.names["contact city"]] == "Huế"


FILL = """
people:
  match: [{object: Lead, by: {Email: "{{ person.email }}"}}]
  strangers: {"*": create}
  create: {object: Lead, key: Key, fields: {Email: "{{ person.email }}"}}
rules:
  - {id: fill, name: Fill, signals: [contact.changed], update: Lead, fill: {Title: Buyer}}
"""


class Lagging(HostileDestination):
    """Does not show a record before it has been asked for it a few times."""

    blind = 2

    def values(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
        self.blind -= 1
        found = self.crm.records[object]
        return {} if self.blind >= 0 else {id_: {name: found[id_].get(name) for name in fields} for id_ in ids}


def test_a_new_record_that_is_not_shown_yet_is_waited_for(tmp_path: Path) -> None:
    rig = Rig(sqlite(tmp_path), mapping=FILL)
    rig.destination = Lagging(rig.crm, search_lag=15.0)
    settings = Settings(destinations={"crm": DestinationSettings(name="crm", type="hostile")})
    rig.lane = Lane(
        "crm", rig.destination, rig.compiled, rig.store, settings, random=lambda: 0.0, clock=lambda: rig.now
    )
    rig.arrive([row(1)])
    rig.step()
    (kept,) = [each for each in rig.writes if each["rule"] == "fill"]
    assert (kept["state"], kept["reason"]) == ("pending", "the CRM does not show their new record yet")
    rig.drain()
    assert rig.states() == {"delivered": 1}


def test_where_fields_cannot_be_read_filling_is_held_with_the_reason(tmp_path: Path) -> None:
    mapping = """
people:
  match: [{object: Contact, by: {Email: "{{ person.email }}"}}]
rules:
  - {id: fill, name: Fill, signals: [contact.changed], update: Contact, fill: {Title: Buyer}}
"""
    rig = Rig(sqlite(tmp_path), mapping=mapping)
    rig.crm.add("Contact", Email=ANN)
    rig.arrive([row(1)])
    rig.step()
    (kept,) = rig.writes
    assert (kept["state"], kept["reason"]) == (
        "held",
        "fill: and only_if: cannot be used here: its connector cannot read fields",
    )


def test_a_lead_made_of_an_address_gets_the_name_that_a_later_signal_tells(rig: TwinRig) -> None:
    rig.arrive([signal(1)])
    rig.step()
    assert rig.record("lead")[rig.names["last"]] == ANN
    first = "FirstName" if rig.names["lead"] == "Lead" else "First_Name"
    person = make_person(first_name="Ann", last_name="Lee", email=ANN)
    for number in (2, 3):
        rig.arrive([msgspec.structs.replace(signal(number), person=person)])
        rig.later(60)
        rig.drain()
    lead = rig.record("lead")
    assert (lead[first], lead[rig.names["last"]]) == ("Ann", "Lee")
    assert rig.of_rule("people.name") == [("written", "")]
    assert rig.states() == {"delivered": 3}


def test_a_name_that_people_entered_is_not_written_over(rig: TwinRig) -> None:
    rig.arrive([signal(1)])
    rig.step()
    lead = rig.record("lead")
    theirs = Write(
        key="k", object=rig.names["lead"], id=lead.get("Id") or lead["id"], fields={rig.names["last"]: "Lee-Smith"}
    )
    for call in rig.client.plan([theirs]):
        rig.client.send(call)
    rig.arrive([msgspec.structs.replace(signal(2), person=make_person(name="Ann Lee", email=ANN))])
    rig.later(60)
    rig.drain()
    assert rig.record("lead")[rig.names["last"]] == "Lee-Smith"
    assert rig.of_rule("people.name")[0][0] == "skipped"
