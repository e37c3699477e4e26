"""Lint, preview, the YAML tests of mappings, and finding files."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.config.yaml_positions import read_yaml
from syncd.connector import Link, PersonMatch
from syncd.errors import ConfigError, UsageError
from syncd.mapping import load_mapping, shipped
from syncd.mapping.lint import lint_mapping
from syncd.mapping.preview import Shown, preview
from syncd.mapping.shipped import find_mapping, shipped_mappings
from syncd.mapping.testing import run_tests, sample_signal
from syncd.signals import Person, Signal, encode, known_types, make_person

SHIPPED = sorted(shipped_mappings())
MAPPING = """\
people:
  match: [{object: Contact, by: {Email: "{{ person.email }}"}}]
  strangers: {"*.bounced": skip, "chat.*": {hold: 7d}, "*": create}
  create: {object: Lead, key: K, fields: {LastName: "{{ person.name }}"}}
rules:
  - id: log
    name: Log it
    signals: ["*"]
    upsert: Task
    key: K
    link: {WhoId: person, WhatId: account}
    fields: {Subject: "{{ signal.title }}", Number: "{{ signal.data.n }}"}
    on_create: {Status: Completed}
    clear: [Old]
  - {id: call, name: Call, signals: [call.missed], live_only: true, upsert: Task, key: K, link: {W: person}, fields: {S: x}}
  - {id: row, name: Row, signals: ["*"], upsert: Row, key: K, fields: {S: x}}
"""


def signal(kind: str = "call.missed", person: Person | None = None) -> Signal:
    when = datetime(2026, 1, 15, 9, tzinfo=UTC)
    who = person if person is not None else make_person(name="An", email="an@example.com")
    return Signal(id=uuid.UUID(int=1), type=kind, source="s", occurred_at=when, received_at=when, title="T", person=who)


def test_faults_and_warnings() -> None:
    assert lint_mapping("rules: 1", name="m.yaml").mapping is None
    assert str(lint_mapping("rules: 1", name="m.yaml").faults[0]) == "m.yaml:1:1 rules: must be a list of rules"
    found = lint_mapping(
        """\
people:
  match: [{object: Contact, by: {Email: "{{ person.email }}"}}]
  strangers: {"*": skip, "call.*": skip}
  create: {object: Lead, fields: {Name: "{{ person.name or person.email | shorten(80) }}"}}
rules:
  - id: a
    signals: [call.mised, custom.order, "ticket*"]
    create: Task
    fields: {Status: Not Started}
    when: false
""",
        name="m.yaml",
    )
    assert found.mapping is not None
    assert [(w.line, w.key, w.message.partition(":")[0]) for w in found.warnings] == [
        (3, "people.strangers.call.*", "is never reached"),
        (4, "people.create", "has no key"),
        (4, "people.create", "is never used"),
        (4, "people.create.fields.Name", "only the last alternative is shortened"),
        (6, "rules[0]", "has no key"),
        (6, "rules[0]", "opens a Task that needs action, for past signals too"),
        (6, "rules[0]", "the rule a has no name"),
        (7, "rules[0].signals[0]", "call.mised fits no signal type"),
        (10, "rules[0].when", "never holds"),
    ]
    assert found.warnings[-2].hint == "did you mean call.missed?"


def test_preview_of_somebody_known() -> None:
    found = PersonMatch(object="Contact", id="003", role="contact", account=Link("Account", "001"))
    log, call, row = preview(load_mapping(MAPPING), signal(), found)
    assert log.fields == (
        Shown("WhoId", "Contact 003", "link"),
        Shown("WhatId", "Account 001", "link"),
        Shown("Subject", "T"),
        Shown("Status", "Completed", "on create"),
        Shown("Old", None, "cleared"),
    )
    assert (log.title, log.object, log.key_field, log.about) == ("Log it", "Task", "K", "signal")
    assert (call.skipped, row.skipped) == ("", "")
    assert preview(load_mapping(MAPPING), signal(), found, live=False)[1].skipped == "live_only"


def test_preview_skips_what_dispatch_skips() -> None:
    text = MAPPING.replace("W: person", "W: deal").replace("upsert: Row", "about: account, upsert: Row")
    linted = lint_mapping(text.replace("[call.missed]", '["*"]'))
    assert linted.warnings == ()
    found = PersonMatch(object="Contact", id="003", role="contact")
    assert [record.skipped for record in preview(load_mapping(text), signal(), found)] == ["", "no deal", "no account"]
    person = load_mapping(MAPPING.replace("upsert: Row", "about: person, upsert: Row"))
    assert preview(person, signal(person=make_person(name="?")))[-1].skipped == "nobody"
    assert preview(person, signal("email.bounced"))[-1].skipped == ""


def test_preview_of_strangers_and_nobody() -> None:
    mapping = load_mapping(MAPPING)
    new, log, *_ = preview(mapping, signal())
    assert (new.rule, new.object) == ("people.create", "Lead")
    assert log.fields[0] == Shown("WhoId", "the new Lead", "link")
    assert [record.skipped for record in preview(mapping, signal("email.bounced"))] == ["stranger", ""]
    assert [record.skipped for record in preview(mapping, signal("chat.missed"))] == ["stranger: held for 7d", ""]
    assert [record.skipped for record in preview(mapping, signal(person=make_person(name="?")))] == [
        "nobody",
        "nobody",
        "",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mappings_hold_what_their_tests_say(name: str) -> None:
    found = lint_mapping(find_mapping(name, Path("/nonexistent")))
    assert found.faults == found.warnings == ()
    assert found.mapping is not None
    tests = shipped.tests_beside(find_mapping(name, Path("/nonexistent")))
    assert tests is not None
    results = run_tests(found.mapping, tests)
    assert [str(difference) for result in results for difference in result.differences] == []
    text = tests.read_text()
    assert [kind for kind in known_types() if f"type: {kind}" not in text] == []


CASES = """\
- name: Wrong in six places
  signal: {type: call.missed, person: {name: An, email: an@example.com}, title: A title, data: {n: 1}}
  known: {object: Contact, id: "003", account: "001"}
  expect:
    log:
      object: Event
      exact: true
      fields: {Subject: Another title}
      on_create: {Status: Open}
      links: {WhoId: account}
      clear: []
    call: {skipped: live_only}
    row: nothing
    people.create: {object: Lead}
- name: Right
  signal: {type: call.missed, person: {email: an@example.com}}
  live: false
  expect: {people.create: {fields: {LastName: null}}, call: {skipped: live_only}, log: {links: {WhoId: person, WhatId: null}}}
"""


def test_differences_say_where_and_what() -> None:
    wrong, right = run_tests(load_mapping(MAPPING), CASES, name="t.yaml")
    assert right.passed, right.differences
    assert (wrong.name, wrong.line, wrong.passed) == ("Wrong in six places", 1, False)
    assert [str(difference) for difference in wrong.differences] == [
        "t.yaml:6:7 [0].expect.log.object: expected 'Event', got 'Task'",
        "t.yaml:8:16 [0].expect.log.fields.Subject: expected 'Another title', got 'A title'",
        "t.yaml:8:7 [0].expect.log.fields: Number: not expected, got 1",
        "t.yaml:9:19 [0].expect.log.on_create.Status: expected 'Open', got 'Completed'",
        "t.yaml:10:15 [0].expect.log.links.WhoId: expected 'account', got 'person'",
        "t.yaml:10:7 [0].expect.log.links: WhatId: not expected, got 'account'",
        "t.yaml:11:7 [0].expect.log.clear: expected nothing, got ['Old']",
        "t.yaml:12:12 [0].expect.call.skipped: expected 'live_only', got nothing",
        "t.yaml:13:5 [0].expect.row: expected nothing, got a Row with S='x'",
        "t.yaml:14:5 [0].expect.people.create: expected a record, but the rule makes nothing of this signal",
    ]


def test_tests_that_are_not_written_right() -> None:
    text = "- {name: x, signal: {type: call.mised}, expect: {lag: nothing}}\n"
    text += "- {nmae: y, signal: {type: call.missed, person: {mail: x}}, expect: {}}\n"
    with pytest.raises(ConfigError) as caught:
        run_tests(load_mapping(MAPPING), text, name="t.yaml")
    assert [(fault.line, fault.key) for fault in caught.value.faults] == [
        (1, "[0].signal.type"),
        (1, "[0].expect.lag"),
        (2, "[1]"),
        (2, "[1].nmae"),
    ]
    with pytest.raises(ConfigError, match="list of cases"):
        run_tests(load_mapping(MAPPING), "a: 1")


def test_finding_mappings(tmp_path: Path) -> None:
    for name in ("salesforce", "salesforce.yaml", "mappings/salesforce.yaml"):
        assert find_mapping(name, tmp_path).name == "salesforce.yaml"
    (tmp_path / "mappings").mkdir()
    own = tmp_path / "mappings" / "salesforce.yaml"
    own.write_text("rules: []")
    assert find_mapping("salesforce", tmp_path) == own
    assert find_mapping("mappings/salesforce.yaml", tmp_path) == own
    assert find_mapping(str(own), tmp_path) == own
    assert shipped.tests_beside(own) is None
    there = "bitrix24, database, salesforce, webhook, zoho"
    with pytest.raises(UsageError, match=rf"did you mean zoho\? with syncd come: {there}; in .* lie: salesforce"):
        find_mapping("zohoo.yaml", tmp_path)
    with pytest.raises(UsageError, match="no mapping"):
        find_mapping("/elsewhere/salesforce.yaml", tmp_path)
    with pytest.raises(UsageError, match="no mapping"):
        find_mapping("salesforce.tests.yaml", tmp_path)


def test_a_sample_signal_is_what_show_prints() -> None:
    given = signal()
    assert sample_signal(read_yaml(encode(given).decode(), "s.json"), "s.json") == given
    few = sample_signal(read_yaml("type: call.missed\nperson: {phone: 0912 345 678}\n", "s.yaml"), region="VN")
    assert (few.person.phone, few.source) == ("+84912345678", "test")
    with pytest.raises(ConfigError, match=r"s\.yaml:1:1 typ: unknown key"):
        sample_signal(read_yaml("typ: call.missed", "s.yaml"))
    with pytest.raises(ConfigError, match="must be keys and values"):
        sample_signal(read_yaml("- 1", "s.yaml"))


COMPANIES = """\
people:
  match: [{object: Contact, by: {Email: "{{ person.email }}"}}]
accounts:
  match: [{object: Account, by: {Website: "{{ company.domain }}"}}]
  unknown: create
  create: {object: Account, key: K, fields: {Name: "{{ company.name }}"}, MORE}
rules:
  - {id: log, name: Log, signals: ["*"], upsert: Task, key: K, link: {WhatId: account}, fields: {Subject: x}}
"""


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('parent: "{{ company.parent }}"', ""),
        ("parent: Holding Ltd", ""),
        ("parent: [a]", "parent: must be the name or domain of a company"),
        ('parent: "{{ company.mother }}"', "unknown part company.mother"),
        ("clone_of: 4876876000000333001", ""),
        ("clone_of: {id: 001, fields: [Industry]}", ""),
        ('clone_of: "{{ company.name }}"', "clone_of: must be the id of a record of the CRM"),
        ("clone_of: true", "clone_of: must be the id of a record of the CRM"),
        ("clone_of: {id: '001', fields: []}", "clone_of.fields: must be a list of fields"),
        ("clone_of: {fields: [Industry]}", "clone_of"),
        (
            "clone_of: {id: '001', fields: [Type, Website]}",
            "fields[1]: Website cannot be copied: companies are found by it",
        ),
        ("clone_of: {id: '001', fields: [Name]}", "Name cannot be copied: the mapping fills it"),
        ("clone_of: {id: '001', fields: [K]}", "K cannot be copied: it holds syncd's key"),
    ],
)
def test_what_a_new_company_belongs_to_and_takes_over(more: str, fault: str) -> None:
    report = lint_mapping(COMPANIES.replace("MORE", more))
    faults = [str(one) for one in report.faults]
    if fault:
        assert faults
        assert fault in faults[0]
    else:
        assert (faults, report.warnings) == ([], ())


class KnowsItsLinks:
    """A destination whose field Who takes people of one kind, and which holds no company beside a lead."""

    def link_takes(self, object: str, field: str) -> tuple[str, ...]:
        return ("Contact",) if field == "ContactId" else ()

    def held_together(self, object: str, links: dict[str, Link]) -> dict[str, Link]:
        of_lead = any(link.object == "Lead" for link in links.values())
        return {name: link for name, link in links.items() if not (of_lead and name == "WhatId")}


@pytest.mark.parametrize(("object_", "links"), [("Contact", {"ContactId", "WhatId"}), ("Lead", {"Other"})])
def test_preview_leaves_out_the_links_that_the_destination_would(object_: str, links: set[str]) -> None:
    text = MAPPING.replace("{WhoId: person, WhatId: account}", "{ContactId: person, Other: person, WhatId: account}")
    theirs = PersonMatch(object=object_, id="1", role="contact", account=Link("Account", "2"))
    mapping = load_mapping(text)
    one = Signal(
        id=uuid.uuid4(),
        type="email.received",
        source="s",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        title="t",
        person=make_person(email="a@example.com"),
    )
    (log, *_) = preview(mapping, one, theirs, crm=KnowsItsLinks())
    assert {field.name for field in log.fields if field.note == "link"} == links | (
        {"Other"} if object_ == "Contact" else set()
    )
    (log, *_) = preview(mapping, one, theirs)
    assert {field.name for field in log.fields if field.note == "link"} == {"ContactId", "Other", "WhatId"}
