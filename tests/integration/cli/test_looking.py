"""Commands that look: what is configured, what came in, what became of it; as tables and as JSON."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from syncd import registry
from syncd.store import Store
from syncd.store.lanes import PersonRow, put_people
from syncd.store.queries import Filter, newest
from tests.user_folder import SECRETS, UserFolder


def test_check_names_every_fault_at_once(folder: UserFolder) -> None:
    folder.write(
        "config.yaml",
        """\
databse: sqlite:///./x.db
timezone: Mars/Olympus
region: vn
live_within: 5
server: {listen: nowhere, max_body: lots}
channels:
  emial: {received: true}
  desk: {opend: true}
sources:
  inbox: {type: imapp}
  phones: {type: twilio, account_sid: AC1, auth_token: x}
destinations:
  archive: {type: database}
""",
    )
    ran = folder.syncd("check")
    assert ran.code == 2
    first, *faults = ran.err.splitlines()
    keys = {fault.split(" ")[1].rstrip(":") for fault in faults}
    assert first == f"syncd: {len(faults)} faults"
    assert len(faults) >= 10
    assert {"databse", "timezone", "region", "live_within", "server.listen", "server.max_body"} <= keys
    assert {"channels.emial", "channels.desk.opend", "sources.inbox.type", "destinations.archive.url"} <= keys
    assert all(f"{folder.path}/config.yaml:" in fault for fault in faults)
    assert "did you mean database?" in ran.err
    told = folder.syncd("--json", "check")
    assert [line["level"] for line in told.lines] == ["fault"] * len(faults)
    assert all(line["line"] > 0 and line["message"] for line in told.lines)


def test_check_of_a_good_file(folder: UserFolder) -> None:
    assert "ok: 2 sources, 1 destinations" in folder.done("check").err


def test_check_warns_of_secrets_in_clear_and_of_nothing_else(folder: UserFolder) -> None:
    text = (folder.path / "config.yaml").read_text("utf-8")
    assert "warning" not in folder.done("check").err
    folder.write("config.yaml", text.replace('"${FORMS_SECRET}"', "open-sesame"))
    ran = folder.done("check")
    assert "sources.forms.verify.secret: a secret in clear text" in ran.err
    assert "open-sesame" not in ran.err


def test_config_show_and_schema(folder: UserFolder) -> None:
    shown = yaml.safe_load(folder.done("config", "show").out)
    assert shown["sources"]["inbox"]["poll"] == "1h"
    assert folder.done("--json", "config", "show").record.keys() == shown.keys()
    schema = json.loads(folder.done("config", "schema").out)
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("name", [name for role in registry.ROLES for name in registry.names(role)])
def test_each_connector_shows_its_keys(folder: UserFolder, name: str) -> None:
    told = folder.done("--json", "connectors", name).lines
    assert all(one["keys"] for one in told)
    assert "description" in folder.done("connectors", name).out
    assert name in folder.done("connectors").out


def test_connectors_need_no_configuration(folder: UserFolder) -> None:
    (folder.path / "config.yaml").unlink()
    assert {row["type"] for row in folder.done("--json", "connectors").lines} >= {"imap", "zoho", "database"}


def test_signals(filled: UserFolder) -> None:
    assert "Question 2" in filled.done("signals", "list").out
    rows = filled.done("--json", "signals", "list", "--since", "2026-11-02").lines
    assert {row["title"] for row in rows} == {"Question 2", "Question 3"}
    assert rows[0]["occurred_at"].endswith("Z")
    assert filled.done("signals", "list", "--json", "--limit", "1").lines[0].keys() == rows[0].keys()
    assert [r["email"] for r in filled.done("--json", "signals", "list", "--person", "an1@").lines] == [
        "an1@example.org"
    ]
    nobody = filled.syncd("signals", "list", "--person", " ")
    assert nobody.code == 2
    assert "it is empty and would choose everybody" in " ".join(nobody.err.split())
    none = filled.done("signals", "list", "--type", "call.*")
    assert (none.out, none.err) == ("", "no signals\n")
    third = next(row["id"] for row in rows if row["title"] == "Question 3")
    whole = filled.done("--json", "signals", "show", third[:10]).record
    assert whole["text"].strip() == "How much is it?"
    assert "2026-11-03 17:00:00" in filled.done("signals", "show", third).out, "in the configured zone"


def test_an_id_shortened_too_far(filled: UserFolder) -> None:
    first, *_ = filled.ids()
    same = [id for id in filled.ids() if id[0] == first[0]]
    ran = filled.syncd("signals", "show", first[0])
    assert ran.code == (2 if len(same) > 1 else 0)


def test_explain_and_status_tell_the_story(filled: UserFolder) -> None:
    id, *_ = filled.ids()
    assert "archive" in filled.done("explain", id).out
    story = filled.done("--json", "explain", id).record
    assert [(part["destination"], part["state"]) for part in story["deliveries"]] == [("archive", "delivered")]
    assert story["writes"][0]["crm_id"]
    assert story["attempts"][0]["outcome"] == "written"
    status = filled.done("--json", "status").record
    assert all(line["balanced"] for line in status["books"])
    assert [line["delivered"] for line in status["books"]] == [3]
    assert "balance sheet" in filled.done("status").out


def test_what_is_switched_off_is_shown(filled: UserFolder) -> None:
    filled.done("channels", "disable", "email")
    filled.mail(9, day=4)
    filled.done("backfill", "inbox", "--since", "2026-11-04", "--until", "2026-11-05")
    assert "read, but not signals" in filled.done("status").out
    (kept,) = filled.done("--json", "status").record["kept_out"]
    assert (kept["type"], kept["count"]) == ("email.received", 1)


_SIGN_IN = "client_id: i, client_secret: 's3cret-of-the-app'"
CRMS = {
    "salesforce": "{type: salesforce, login_url: 'https://x.my.salesforce.com', "
    f"auth: {{flow: client_credentials, {_SIGN_IN}}}",
    "zoho": f"{{type: zoho, auth: {{{_SIGN_IN}, refresh_token: 'r3fresh-of-the-app'}}",
}


def with_crm(text: str, crm: str) -> str:
    """The configuration with a destination of that type instead of the database."""
    return (
        re.sub(r"\{type: database, .*", f"{CRMS[crm]}, mapping: mappings/{crm}.yaml}}", text) if crm in CRMS else text
    )


@pytest.mark.parametrize("mapping", ["database", "salesforce", "zoho"])
def test_preview_with_every_mapping(folder: UserFolder, mapping: str) -> None:
    text = (folder.path / "config.yaml").read_text("utf-8")
    folder.write("config.yaml", with_crm(text, mapping))
    shown = folder.done("preview", "--file", "signal.yaml")
    assert "Missed call" in shown.out
    records = folder.done("--json", "preview", "--file", "signal.yaml", "--to", "archive").lines
    assert any(field["value"] == "Missed call" for record in records for field in record["fields"])
    assert not (folder.path / "signals.db").exists(), "it touches nothing"


def test_preview_reads_a_phone_as_the_sources_do(folder: UserFolder) -> None:
    folder.write("national.yaml", "{type: call.missed, title: Missed call, person: {phone: 0912 345 678}}")
    records = folder.done("--json", "preview", "--file", "national.yaml").lines
    assert any(field["value"] == "+84912345678" for record in records for field in record["fields"])


def test_preview_of_a_stored_signal(filled: UserFolder) -> None:
    assert "Question" in filled.done("preview", filled.ids()[0]).out


def test_preview_of_a_known_person_names_the_record(filled: UserFolder) -> None:
    text = (filled.path / "config.yaml").read_text("utf-8")
    filled.write("config.yaml", with_crm(text, "salesforce"))
    with Store.open(f"sqlite:///{filled.path / 'syncd.db'}") as store:
        known = [
            PersonRow(one.signal.person.identity, "Contact", "003000000000001", "contact")
            for one in newest(store, Filter())
        ]
        store.apply(lambda connection: put_people(connection, "archive", known))
    shown = filled.done("preview", filled.ids()[0]).out
    assert "Contact 003000000000001" in shown
    assert "A new person" not in shown


@pytest.mark.parametrize("name", ["salesforce", "zoho"])
def test_a_changed_line_fails_few_tests_and_is_told_once(folder: UserFolder, name: str) -> None:
    (folder.path / "mappings").mkdir()
    mapping, tests = (folder.done("mapping", "show", name, *more).out for more in ((), ("--tests",)))
    folder.write(f"mappings/{name}.tests.yaml", tests)
    subject = 'Subject: "{{ signal.title'
    folder.write(f"mappings/{name}.yaml", mapping.replace(subject, subject.replace("{{", "[syncd] {{"), 1))
    assert folder.syncd("mapping", "test", name).code == 0
    folder.write(f"mappings/{name}.yaml", mapping.replace("{Status: Completed}", "{Status: Done}"))
    ran = folder.syncd("mapping", "test", name)
    assert ran.code == 1
    (line,) = [line for line in ran.err.splitlines() if "expected 'Completed', got 'Done'" in line]
    assert "more tests, the next in line" in line


def test_mappings(folder: UserFolder) -> None:
    assert "database.yaml: ok" in folder.done("mapping", "lint").err
    for name in ("database", "salesforce", "mappings/zoho.yaml"):
        folder.done("mapping", "lint", name)
        assert {row["result"] for row in folder.done("--json", "mapping", "test", name).lines} == {"ok"}


def test_a_mapping_that_comes_along_is_a_beginning_of_ones_own(folder: UserFolder) -> None:
    (folder.path / "mappings").mkdir()
    folder.write("mappings/zoho.yaml", folder.done("mapping", "show", "zoho").out)
    folder.write("mappings/zoho.tests.yaml", folder.done("mapping", "show", "zoho", "--tests").out)
    assert str(folder.path / "mappings") in folder.done("mapping", "lint", "zoho").err
    assert {row["result"] for row in folder.done("--json", "mapping", "test", "zoho").lines} == {"ok"}
    ran = folder.syncd("mapping", "show", "sap")
    assert (ran.code, ran.out) == (2, "")
    assert "there are: bitrix24, database, salesforce, webhook, zoho" in ran.err


def test_the_example_is_a_configuration(folder: UserFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    folder.write("config.yaml", folder.done("config", "example").out)
    assert "ok" in folder.done("check").err


def test_db(folder: UserFolder) -> None:
    ran = folder.syncd("db", "info")
    assert (ran.code, ran.out) == (2, "")
    assert "does not exist yet" in ran.err
    assert not list(folder.path.glob("syncd.db*")), "looking makes nothing"
    assert "up to date" in folder.done("db", "upgrade").err
    told = folder.done("--json", "db", "info").record
    assert told["revision"] == told["head"]


def test_help_fits_its_line(folder: UserFolder) -> None:
    for group in ("", "config", "signals", "dead", "quarantine", "mapping", "db"):
        told = folder.done(*filter(None, [group]), "--help").out
        commands = told.partition("Commands:")[2].splitlines()
        assert not [line for line in commands if line.endswith("...")], f"too long in: syncd {group} --help"


def test_version(folder: UserFolder) -> None:
    assert folder.done("--version").out.startswith("syncd 0.")
