"""A real lane before the Bitrix24 twin: lost answers, people who vanish, companies, deals, owners and notifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from syncd.config.models import DestinationSettings, Settings
from syncd.connectors.crm.bitrix24 import Bitrix24
from syncd.dispatch.lane import Lane
from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.bitrix24_crm import connecting
from tests.lane_rig import Rig, signal, sqlite

SHIPPED = (Path(__file__).parents[2] / "mappings" / "bitrix24.yaml").read_text("utf-8")
PEOPLE = """
people:
  match:
    - {object: Contact, by: {email: "{{ person.email }}"}}
    - {object: Lead, by: {email: "{{ person.email }}"}}
  strangers: {"*": create}
  create:
    object: Lead
    key: originId
    fields: {title: "{{ person.email }}", lastName: "{{ person.email }}", email: "{{ person.email }}"}
"""


@dataclass
class BitrixRig(Rig):
    """The rig, with Bitrix24 in place of the CRM in memory."""

    bitrix: Bitrix24 | None = None
    mapping: str = field(default=SHIPPED)

    def connect(self) -> None:
        assert self.bitrix is not None
        here = DestinationSettings(name="crm", type="bitrix24", **self.here)
        settings = Settings(channels=self.channels, destinations={"crm": here}, retry=self.retry)
        self.lane = Lane(
            "crm", self.bitrix, self.compiled, self.store, settings, random=lambda: 0.0, clock=lambda: self.now
        )


@pytest.fixture
def twin() -> Iterator[Bitrix24Twin]:
    with Bitrix24Twin(rate=1000.0, burst=1000.0) as running:
        yield running


def rig_of(twin: Bitrix24Twin, tmp_path: Path, mapping: str = SHIPPED) -> Iterator[BitrixRig]:
    for connect in connecting(twin):
        yield BitrixRig(sqlite(tmp_path), bitrix=connect(), mapping=mapping)


@pytest.fixture
def rig(twin: Bitrix24Twin, tmp_path: Path) -> Iterator[BitrixRig]:
    yield from rig_of(twin, tmp_path)


def owners(twin: Bitrix24Twin, object_: str) -> dict[str, str]:
    """Record -> who is at it, of comments and activities."""
    text = {"comment": "COMMENT", "activity": "SUBJECT"}[object_]
    return {record[text].partition("\n")[0]: record["OWNER"] for record in twin.records(object_)}


def test_a_missed_call_is_a_lead_with_a_comment_and_a_to_do(twin: Bitrix24Twin, rig: BitrixRig) -> None:
    rig.arrive([signal(1, type="call.missed", email="an@example.com", title="Missed call")])
    rig.drain()
    (lead,) = twin.records("lead")
    assert (lead["email"], lead["originatorId"]) == ("an@example.com", "syncd")
    assert owners(twin, "comment") == {"Missed call": f"L_{lead['id']}"}
    (todo,) = twin.records("activity")
    assert (todo["OWNER"], todo["PROVIDER_ID"], todo["PING_OFFSETS"]) == (f"L_{lead['id']}", "CRM_TODO", [0, 60])
    assert rig.states() == {"delivered": 1}


@pytest.mark.parametrize("operation", ["crm.item.add", "crm.timeline.comment.add"])
@pytest.mark.parametrize("do", ["reset", "html"])
def test_a_lost_answer_doubles_nothing(twin: Bitrix24Twin, rig: BitrixRig, operation: str, do: str) -> None:
    more = {"status": 504} if do == "html" else {}
    twin.plan.add([{"on": operation, "do": do, "when": "after", "times": 1, **more}])
    rig.arrive([signal(n, type="call.missed", email=f"p{n}@example.com") for n in range(20)])
    rig.drain()
    assert rig.states() == {"delivered": 20}
    made = {name: len(twin.records(name)) for name in ("lead", "comment", "activity")}
    assert made == {"lead": 20, "comment": 20, "activity": 20}


def test_a_backfill_after_the_loss_of_the_database_doubles_nothing(twin: Bitrix24Twin, tmp_path: Path) -> None:
    signals = [signal(n, email=f"p{n % 5}@example.com") for n in range(20)]
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for rig in rig_of(twin, tmp_path / name):
            rig.arrive(signals, live=name == "first", old=name == "second")
            rig.drain()
            assert rig.states() == {"delivered": 20}
    assert (len(twin.records("lead")), len(twin.records("comment"))) == (5, 20)


@pytest.mark.parametrize("how", ["deleted", "merged", "converted"])
def test_somebody_who_vanished_is_found_again(twin: Bitrix24Twin, rig: BitrixRig, how: str) -> None:
    rig.arrive([signal(1, email="an@example.com", title="one")])
    rig.drain()
    lead = f"L_{twin.records('lead')[0]['id']}"
    expected = "L_2"
    if how == "deleted":
        twin.delete(lead)
    elif how == "merged":
        master = twin.add("lead", lastName="An")
        expected = f"L_{master}"
        twin.merge(expected, lead)
    else:
        expected = f"C_{twin.convert(lead)['contact']}"
        twin.delete(lead)
    rig.arrive([signal(2, email="an@example.com", title="two")])
    rig.drain()
    assert owners(twin, "comment")["two"] == expected
    assert rig.states() == {"delivered": 2}


def test_a_company_is_made_once_and_its_people_belong_to_it(twin: Bitrix24Twin, tmp_path: Path) -> None:
    mapping = f"""{PEOPLE}    link: {{companyId: account}}
accounts:
  match: [{{object: Company, by: {{web: "{{{{ company.domain }}}}", title: "{{{{ company.name }}}}"}}}}]
  unknown: {{"*": create}}
  create: {{object: Company, key: originId, fields: {{title: "{{{{ company.domain }}}}", web: "{{{{ company.domain }}}}"}}}}
rules:
  - {{id: timeline, name: A, signals: ["*"], upsert: Comment, key: ref, link: {{ENTITY_ID: person}},
     fields: {{COMMENT: "{{{{ signal.title }}}}"}}}}
"""
    for rig in rig_of(twin, tmp_path, mapping):
        rig.arrive([signal(n, email=f"p{n}@acme.example") for n in range(30)])
        rig.drain()
        (company,) = twin.records("company")
        assert Counter(lead["companyId"] for lead in twin.records("lead")) == {company["id"]: 30}
        assert rig.states() == {"delivered": 30}


def test_the_open_deal_of_a_person_is_linked_and_changed(twin: Bitrix24Twin, tmp_path: Path) -> None:
    mapping = f"""{PEOPLE}
deals: {{pick: newest}}
rules:
  - {{id: note, name: A, signals: ["*"], upsert: Comment, key: ref, link: {{ENTITY_ID: deal}},
     fields: {{COMMENT: "{{{{ signal.title }}}}"}}}}
  - {{id: stage, name: B, signals: ["*"], update: Deal, fields: {{stageId: PREPARATION}}}}
"""
    contact = int(twin.add("contact", lastName="An", email="an@example.com"))
    deal = twin.add("deal", title="D", contactId=contact)
    for rig in rig_of(twin, tmp_path, mapping):
        rig.arrive([signal(1, email="an@example.com", title="one")])
        rig.drain()
        assert owners(twin, "comment") == {"one": f"D_{deal}"}
        assert twin.records("deal")[0]["stageId"] == "PREPARATION"


def test_owners_take_turns_and_are_told(twin: Bitrix24Twin, tmp_path: Path) -> None:
    users = [twin.add("user", NAME=name, ACTIVE=name != "gone") for name in ("a", "gone", "b")]
    mapping = f"""{PEOPLE}    owner: {{turn: {users}}}
rules:
  - {{id: own, name: A, signals: ["survey.*"], assign: person, owner: {users[2]}}}
  - {{id: tell, name: B, signals: ["email.*"], notify: system, fields: {{MESSAGE: "{{{{ signal.title }}}}"}}}}
  - {{id: team, name: C, signals: ["email.*"], update: Lead, add: {{observers: [1]}}}}
"""
    for rig in rig_of(twin, tmp_path, mapping):
        rig.channels = {**rig.channels, "survey": {"responded": True}}
        rig.arrive([signal(n, email=f"p{n}@example.com", title=f"t{n}") for n in range(10)])
        rig.drain()
        assert Counter(str(lead["assignedById"]) for lead in twin.records("lead")) == {users[0]: 5, users[2]: 5}
        assert Counter(str(one["USER_ID"]) for one in twin.records("notification")) == {users[0]: 5, users[2]: 5}
        assert [lead["observers"] for lead in twin.records("lead")] == [[1]] * 10
        assert rig.states() == {"delivered": 10}


def test_customers_text_does_no_harm(twin: Bitrix24Twin, rig: BitrixRig) -> None:
    title = "A&B [url=http://bad.example]free[/url] <b>x</b> #1 + 100% $result[c0000][item][id] 😀"
    rig.arrive([signal(1, email="an@example.com", title=title)])
    rig.drain()
    (comment,) = twin.records("comment")
    assert "[url=" not in comment["COMMENT"]
    assert comment["COMMENT"].replace("\u200b", "").startswith(title)
