"""`check --online` and `prepare` against the twins, as an admin meets them: from an org without our fields to records."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from syncd.config.loading import load_settings
from syncd.service.daemon import Daemon
from tests.chaos.processes import until
from tests.integration.online.conftest import KEYS, Start, point, said
from tests.user_folder import CANARY, SECRETS, UserFolder

BOTH = pytest.mark.parametrize("kind", ["salesforce", "zoho"])


def faults(folder: UserFolder) -> list[str]:
    ran = folder.syncd("check", "--online", "crm")
    return [line for line in ran.out.splitlines() if line.startswith("fault")]


@BOTH
def test_from_an_org_without_our_fields_to_delivered_records(folder: UserFolder, start: Start, kind: str) -> None:
    twin = start(kind, bare=True)
    point(folder, kind, twin)
    lead, task, key = KEYS[kind]
    ran = folder.syncd("check", "--online", "crm")
    assert ran.code == 1
    found = [line for line in ran.out.splitlines() if line.startswith("fault")]
    assert len(found) == 6
    assert re.search(rf"mappings/{kind}\.yaml:\d+:5 people\.create\.key: {lead} has no field {key}", found[0])
    assert re.search(rf"mappings/{kind}\.yaml:\d+:5 rules\[0\]\.key: {task} has no field {key}", found[2])
    assert "(`syncd prepare crm` makes it)" in found[0]

    dry = folder.done("prepare", "crm", "--dry-run").out
    assert dry.count("would make") == 3
    assert len(faults(folder)) == 6, "a dry run makes nothing"
    made = folder.done("prepare", "crm")
    assert made.out.count("is made:") == 3
    assert "agree now" in made.err
    assert "nothing is missing" in folder.done("prepare", "crm").err

    ran = folder.syncd("check", "--online", "crm")
    assert (ran.code, "fault" in ran.out) == (0, False), ran.out
    assert ran.out.count("rules[") == 7, "each rule says how it is written"
    daemon = Daemon(load_settings(folder.path / "config.yaml", SECRETS))
    daemon.start()
    try:
        folder.mail(1)
        folder.done("backfill", "inbox", "--since", "2026-10-01", "--until", "2026-11-10")
        until(lambda: twin.records(task), "the mail is a task")
    finally:
        daemon.stop()
    (written,) = twin.records(task)
    assert len(written[key]) == 36
    assert len(twin.records(lead)) == 1


@BOTH
def test_who_may_not_set_up_is_told_the_clicks(folder: UserFolder, start: Start, kind: str) -> None:
    point(folder, kind, start(kind, bare=True, customizes=False))
    ran = folder.syncd("prepare", "crm")
    assert ran.code == 1
    steps = [line for line in ran.out.splitlines() if line.startswith("by hand")]
    assert len(steps) == 3
    assert all("could not be made" in line and "By hand: Setup" in line for line in steps)
    assert len([line for line in ran.out.splitlines() if line.startswith("fault")]) == 6, "what is left is said"
    assert folder.syncd("prepare", "crm", "--dry-run").code == 0


def test_an_activity_is_not_promised_a_unique_key(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce", bare=True)
    point(folder, "salesforce", twin)
    folder.done("prepare", "crm")
    task, lead = (twin.schema[name].fields["Syncd_Key__c"] for name in ("Task", "Lead"))  # type: ignore[attr-defined]
    assert (task.external, task.unique) == (True, False)
    assert (lead.external, lead.unique) == (True, True)
    found = said(folder, "crm")
    assert found["crm rules[0].key"]["message"].endswith("what is in doubt waits before it is sent again")


def test_a_hidden_field_is_shown_to_our_user(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce", hidden={"Task": ["Syncd_Key__c"]})
    point(folder, "salesforce", twin)
    assert len(faults(folder)) == 4
    made = folder.done("prepare", "crm").out
    assert "Activity.Syncd_Key__c was there, and is" in made
    assert faults(folder) == []


def test_a_field_that_zoho_hides_is_left_to_a_person(folder: UserFolder, start: Start) -> None:
    point(folder, "zoho", start("zoho", hidden={"Tasks": ["Syncd_Key"]}))
    ran = folder.syncd("prepare", "crm")
    assert ran.code == 1
    assert "which our user may not see" in ran.out


def test_a_scope_that_is_missing_is_named(folder: UserFolder, start: Start) -> None:
    point(folder, "zoho", start("zoho", bare=True, refused_scopes=["create_fields", "org"]))
    assert "lacks the scope ZohoCRM.settings.fields.CREATE" in folder.syncd("prepare", "crm").out
    assert said(folder, "crm")["crm credits"]["level"] == "warning"
    point(folder, "zoho", start("zoho", refused_scopes=["upsert"]))
    assert said(folder, "crm")["crm writing"]["level"] == "fault"
    point(folder, "zoho", start("zoho", refused_scopes=["fields"]))
    found = said(folder, "crm")
    assert "ZohoCRM.settings.fields.READ" in found["crm answer"]["message"]
    assert found["crm sign-in"]["level"] == "ok", "what was said before it stands"


def test_the_custom_fields_of_a_mapping(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce")
    point(folder, "salesforce", twin)
    (folder.path / "mappings").mkdir()
    folder.write(
        "mappings/salesforce.yaml",
        """\
rules:
  - id: case
    name: A case
    signals: ["*"]
    upsert: Case
    key: Syncd_Key__c
    fields:
      Subject: "{{ signal.title | shorten(255) }}"
      Story__c: "{{ signal.text | shorten(5000) }}"
      When__c: "{{ signal.occurred_at }}"
      Day__c: "{{ signal.occurred_at | date }}"
      Count__c: 3
      Flag__c: true
      pkg__Of_A_Package__c: x
      Subjct: "{{ signal.title | shorten(255) }}"
  - {id: task, name: T, signals: ["*"], upsert: Task, key: Other__c, fields: {Subject: x}}
  - {id: event, name: E, signals: ["*"], upsert: Event, key: Other__c, fields: {Subject: x}}
""",
    )
    ran = folder.syncd("prepare", "crm")
    assert ran.code == 1
    made = {name: one.type for name, one in twin.schema["Case"].fields.items() if one.custom}  # type: ignore[attr-defined]
    assert made == {
        "Syncd_Key__c": "string",
        "Story__c": "textarea",
        "When__c": "datetime",
        "Day__c": "date",
        "Count__c": "double",
        "Flag__c": "boolean",
    }
    assert all("Other__c" in twin.schema[name].fields for name in ("Task", "Event"))  # type: ignore[attr-defined]
    assert twin.counts["op:custom_field"] == 6, "Activity has it once for both"
    assert "Case.Subjct cannot be made: a field of your own ends in __c" in ran.out
    assert "belongs to a package" in ran.out
    assert "Case has no field Subjct, or our user may not see it (did you mean Subject?)" in ran.out


def test_a_field_that_zoho_would_drop_without_a_word(folder: UserFolder, start: Start) -> None:
    point(folder, "zoho", start("zoho"))
    (folder.path / "mappings").mkdir()
    folder.write(
        "mappings/zoho.yaml",
        """\
rules:
  - id: call
    name: A task
    signals: ["*"]
    upsert: Tasks
    key: Syncd_Key
    fields: {Subject: "{{ signal.title | shorten(255) }}", Discription: "{{ signal.text | shorten(32000) }}"}
    on_create: {Status: Compleeted}
""",
    )
    ran = folder.syncd("check", "--online", "crm")
    assert ran.code == 1
    assert "mappings/zoho.yaml:7:60 rules[0].fields.Discription: Tasks has no field Discription" in ran.out
    assert "(did you mean Description?)" in ran.out
    assert "'Compleeted' is not one of the values of Tasks.Status (did you mean Completed?)" in ran.out
    ran = folder.syncd("prepare", "crm")
    assert (ran.code, "by hand" in ran.out, "correct the name" in ran.out) == (1, True, True)


@BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_is_lost_makes_nothing_twice(folder: UserFolder, start: Start, kind: str, when: str) -> None:
    on = {"salesforce": "custom_field", "zoho": "create_fields"}[kind]
    twin = start(kind, bare=True, faults=[{"on": on, "nth": 1, "do": "reset", "when": when}])
    point(folder, kind, twin)
    assert "run the command again, it will see whether it was done" in folder.syncd("prepare", "crm").out
    folder.done("prepare", "crm")
    assert faults(folder) == []


def test_rights_versions_and_quota_of_salesforce(folder: UserFolder, start: Start) -> None:
    point(folder, "salesforce", start("salesforce", views_all=False), more=", quota: 60%, api_version: v60.0")
    found = said(folder, "crm")
    assert found["crm rights"]["level"] == "warning"
    assert "View All Data" in found["crm rights"]["message"]
    assert "may use 9,000 more" in found["crm quota"]["message"]
    assert found["crm cost"]["message"] == "asking all this cost 3 calls"
    point(folder, "salesforce", start("salesforce"), more=", api_version: v99.0")
    found = said(folder, "crm")
    assert found["crm version"]["level"] == "fault"
    assert found["crm version"]["remedy"] == "set api_version to one of v31.0 … v68.0"
    point(folder, "salesforce", start("salesforce", daily_limit=10), more=", quota: {calls: 2}")
    found = said(folder, "crm")
    assert "may use 2 more" in found["crm quota"]["message"]
    folder.done("db", "upgrade")
    said(folder, "crm")
    found = said(folder, "crm")
    assert found["crm quota"]["level"] == "warning", "what checking cost is in the books"


def test_without_composite_each_object_is_a_call(folder: UserFolder, start: Start) -> None:
    point(folder, "salesforce", start("salesforce"), more=", composite: false")
    found = said(folder, "crm")
    assert found["crm cost"]["message"] == "asking all this cost 6 calls"
    assert found["crm rules[0].key"]["level"] == "ok"


def test_one_broken_vendor_hides_no_other(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce", faults=[{"on": "*", "do": "error", "status": 500, "code": "UNKNOWN", "message": "oh"}])
    point(folder, "salesforce", twin)
    ran = folder.syncd("--json", "check", "--online")
    assert ran.code == 1
    found = {row["name"]: row for row in ran.lines if row["level"] == "fault"}
    assert list(found) == ["crm"]
    assert found["crm"]["what"] == "answer"
    assert {row["name"] for row in ran.lines if "role" in row} == {"store", "inbox", "forms", "crm"}


def test_a_vendor_that_hangs_is_waited_for_so_long_and_no_longer(
    folder: UserFolder, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncd.preflight.run import check_online

    twin = start("salesforce", faults=[{"on": "query", "do": "hang", "seconds": 20}])
    point(folder, "salesforce", twin)
    loaded = load_settings(folder.path / "config.yaml", SECRETS)
    began = time.monotonic()
    lines = check_online(loaded, limit=1.0)
    assert time.monotonic() - began < 10
    late = [line for line in lines if line.name == "crm"]
    assert late[-1].message == "no complete answer within 1 s"
    assert any(line.name == "inbox" for line in lines)


def test_a_sign_in_that_is_refused_says_so_and_shows_no_secret(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce", client_secret="another")
    point(folder, "salesforce", twin)
    ran = folder.syncd("check", "--online")
    assert ran.code == 1
    assert "Salesforce refuses to sign in" in ran.out
    for args in (
        ["check", "--online"],
        ["--json", "check", "--online"],
        ["prepare", "crm"],
        ["--json", "prepare", "crm"],
    ):
        ran = folder.syncd(*args)
        assert ran.code == 1
        assert CANARY not in ran.out + ran.err


def test_only_what_is_named_and_only_its_secrets(
    folder: UserFolder, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    point(folder, "salesforce", start("salesforce"))
    monkeypatch.delenv("FORMS_SECRET")
    assert {key.split()[0] for key in said(folder, "crm", "store")} == {"crm", "store"}
    ran = folder.syncd("check", "--online")
    assert ran.code == 2
    assert "FORMS_SECRET" in ran.err
    wrong = folder.syncd("check", "--online", "crn")
    assert (wrong.code, "did you mean crm?" in wrong.err) == (2, True)
    wrong = folder.syncd("check", "crm")
    assert (wrong.code, "names are for --online" in wrong.err) == (2, True)
    wrong = folder.syncd("prepare", "crn")
    assert (wrong.code, "did you mean crm?" in wrong.err) == (2, True)


def test_a_faulty_configuration_is_said_first(folder: UserFolder, start: Start) -> None:
    twin = start("salesforce")
    point(folder, "salesforce", twin, more=", kinds: {Task: sometimes}")
    ran = folder.syncd("check", "--online")
    assert ran.code == 2
    assert not twin.calls, "nobody is asked"


def test_json_is_one_object_a_line(folder: UserFolder, start: Start) -> None:
    point(folder, "salesforce", start("salesforce", bare=True))
    rows = [row for row in folder.syncd("--json", "check", "--online", "crm").lines if row["level"] == "fault"]
    assert {key for row in rows for key in row} == {
        *("role", "name", "level", "what", "message", "remedy", "file", "line", "column")
    }
    assert [row["line"] for row in rows] == [36, 60, 86, 102, 115, 128]
    steps = folder.done("--json", "prepare", "crm").lines
    assert [(row["object"], row["field"], row["state"]) for row in steps] == [
        ("Lead", "Syncd_Key__c", "done"),
        ("Account", "Syncd_Key__c", "done"),
        ("Task", "Syncd_Key__c", "done"),
    ]


# ------------------------------------------------------------------------------------------------------- the database


def test_the_database_makes_its_tables(folder: UserFolder) -> None:
    found = said(folder, "archive")
    assert found["archive connection"]["message"].endswith("is not there yet: it is made with the first write")
    assert not (folder.path / "signals.db").exists(), "looking makes nothing"
    assert folder.done("prepare", "archive", "--dry-run").out.count("would make signals.") == 17
    assert not (folder.path / "signals.db").exists()
    assert folder.done("prepare", "archive").out.count("made signals.") == 17
    assert said(folder, "archive")["archive rules[0].key"]["message"] == "signals: upserted by key"
    assert "nothing is missing" in folder.done("prepare", "archive").err


def test_a_table_of_somebody_elses(folder: UserFolder) -> None:
    import sqlite3

    with sqlite3.connect(folder.path / "signals.db") as db:
        db.execute("CREATE TABLE signals (key TEXT, id VARCHAR(10), title VARCHAR(20), must TEXT NOT NULL)")
    db.close()
    text = (folder.path / "config.yaml").read_text("utf-8")
    folder.write("config.yaml", text.replace("mapping: mappings/d", "create_tables: false, mapping: mappings/d"))
    rows = folder.syncd("--json", "check", "--online", "archive").lines
    found = [row["message"] for row in rows if row["level"] == "fault"]
    assert "signals has no field text, or our user may not see it" in found
    assert "nothing fills must, without which no new signals is taken" in found
    assert "signals cannot be upserted by key: it is not marked as a key of records" in found
    assert any("signals.id takes 10 characters" in row["message"] for row in rows if row["level"] == "warning")


# ---------------------------------------------------------------------------------------------------------- the store


def test_the_store_is_looked_at_and_left_alone(folder: UserFolder) -> None:
    found = said(folder, "store")
    assert found["store database"]["level"] == "warning"
    assert not (folder.path / "syncd.db").exists()
    folder.done("db", "upgrade")
    found = said(folder, "store")
    levels: dict[str, Any] = {key: row["level"] for key, row in found.items()}
    assert levels == {"store database": "ok", "store commit": "ok", "store secret_key": "ok", "store disk": "ok"}


MADE_BY_HAND = {
    "salesforce": (
        "Interests__c",
        "Setup, Object Manager, Lead, Fields & Relationships, New: type Picklist (Multi-Select), label",
    ),
    "zoho": (
        "Interests",
        "Setup, Customization, Modules and Fields, Leads, the layout: drag in Multi-Select, call it Interests",
    ),
}


@BOTH
def test_a_field_with_several_values_is_made_by_hand(folder: UserFolder, start: Start, kind: str) -> None:
    point(folder, kind, start(kind))
    lead, _, _ = KEYS[kind]
    field, clicks = MADE_BY_HAND[kind]
    rules = f"""
people:
  match: [{{object: {lead}, by: {{Email: "{{{{ person.email }}}}"}}}}]
  strangers: skip
rules:
  - {{id: tag, name: T, signals: ["*"], update: {lead}, add: {{{field}: [Mail, Web]}}, remove: {{{field}: Phone}}}}
"""
    (folder.path / "mappings").mkdir()
    folder.write(f"mappings/{kind}.yaml", rules)
    assert (
        "if it is to be a field of your own, make it by hand; `syncd prepare crm` says how"
        in folder.syncd("check", "--online", "crm").out
    )
    ran = folder.syncd("prepare", "crm")
    (step,) = [line for line in ran.out.splitlines() if line.startswith("by hand")]
    assert clicks in step
    assert step.endswith("values: Mail, Web, Phone")


@BOTH
def test_users_named_as_owners_are_looked_up(folder: UserFolder, start: Start, kind: str) -> None:
    twin = start(kind)
    point(folder, kind, twin)
    active, away = ("005000000000001AAA", "005000000000002AAA") if kind == "salesforce" else ("4711", "4712")
    for id_, is_active in ((active, True), (away, False)):
        if kind == "salesforce":
            twin.store.table("User").put(id_, {"Id": id_, "Name": "An", "IsActive": is_active, "IsDeleted": False})
        else:
            twin.store.table("users").put(id_, {"id": id_, "status": "active" if is_active else "disabled"})
    _, task, key = KEYS[kind]
    rules = f"""\
rules:
  - id: call
    name: A call
    signals: ["*"]
    upsert: {task}
    key: {key}
    fields: {{Subject: x}}
    owner:
      turn: ["{active}", "{away}"]
      fallback: an@example.org
"""
    (folder.path / "mappings").mkdir()
    folder.write(f"mappings/{kind}.yaml", rules)
    ran = folder.syncd("check", "--online", "crm")
    lines = [line for line in ran.out.splitlines() if "no active user" in line]
    assert ran.code == 1
    assert [line.split()[0] for line in lines] == ["warning", "fault"]
    file = f"mappings/{kind}.yaml"
    assert re.search(rf"{file}:9:\d+ rules\[0\].owner.turn\[1\]: the CRM has no active user {away}: ", lines[0])
    assert re.search(rf"{file}:10:\d+ rules\[0\].owner.fallback: the CRM has no active user an@example.org: ", lines[1])
    folder.write(f"mappings/{kind}.yaml", rules.replace(away, active).replace("an@example.org", active))
    assert said(folder, "crm")["crm owners"]["level"] == "ok"


def test_owners_that_cannot_be_looked_up(folder: UserFolder, start: Start) -> None:
    point(folder, "zoho", start("zoho", refused_scopes=["users"]))
    (folder.path / "mappings").mkdir()
    folder.write(
        "mappings/zoho.yaml",
        "rules: [{id: a, name: A, signals: ['*'], upsert: Tasks, key: Syncd_Key, fields: {Subject: x}, owner: '4711'}]",
    )
    found = said(folder, "crm")
    assert found["crm owners"]["level"] == "warning"
    assert "ZohoCRM.users.READ" in found["crm owners"]["message"]
