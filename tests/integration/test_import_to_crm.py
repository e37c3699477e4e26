"""A list of 500 into a stand-in CRM that knows a hundred of them: killed in the middle, gone on with, imported again.

Nobody is there twice, nothing that somebody entered is written over, and the second time changes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

SYNCD = [sys.executable, "-c", "from syncd.cli import main; main()"]
ROWS, WRONG, CONTACTS, LEADS = 500, 5, 60, 40
NEW = ROWS - WRONG - CONTACTS - LEADS
CONFIG = """\
database: sqlite:///./syncd.db
region: VN
channels: {{contacts: {{contact_changed: true}}}}
destinations:
  crm: {crm}
"""


@dataclass
class Crm:
    """A twin and what its records are called. `title`: the job title's field of (contact, lead)."""

    twin: Any
    settings: Mapping[str, Any]
    contact: str
    lead: str
    last: str
    title: tuple[str, str]
    city: tuple[str, str]

    def people(self, object_: str) -> dict[str, dict[str, Any]]:
        """e-mail -> record; an e-mail that is there twice fails."""
        found = [record for record in self.twin.records(object_) if record.get("Email")]
        by_mail = {record["Email"].lower(): record for record in found}
        assert len(by_mail) == len(found), f"somebody is twice in {object_}"
        return by_mail

    def written(self) -> list[tuple[str, str, Any]]:
        return [
            (object_, str(record.get("Id") or record["id"]), {k: v for k, v in record.items() if k not in STAMPS})
            for object_ in (self.contact, self.lead)
            for record in self.twin.records(object_)
        ]


STAMPS = {"SystemModstamp", "LastModifiedDate", "Modified_Time", "Last_Activity_Time"}


def salesforce() -> Crm:
    twin = SalesforceTwin()
    twin.start()
    auth = {"flow": "client_credentials", "client_id": "a", "client_secret": "b"}
    settings = {"type": "salesforce", "login_url": twin.url, "auth": auth}
    return Crm(twin, settings, "Contact", "Lead", "LastName", ("Title", "Title"), ("MailingCity", "City"))


def zoho() -> Crm:
    twin = ZohoTwin()
    twin.start()
    auth = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}
    settings = {"type": "zoho", "accounts_url": twin.url, "base_url": twin.url, "auth": auth}
    return Crm(twin, settings, "Contacts", "Leads", "Last_Name", ("Title", "Designation"), ("Mailing_City", "City"))


@pytest.fixture(params=[salesforce, zoho])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    made: Crm = request.param()
    company = {"Company": "Theirs"}
    for number in range(CONTACTS):
        titled = {made.title[0]: "Director"} if number % 2 else {}
        made.twin.add(made.contact, **{made.last: f"C{number}", "Email": mail(number)}, **titled)
    for number in range(CONTACTS, CONTACTS + LEADS):
        titled = {made.title[1]: "Director"} if number % 2 else {}
        made.twin.add(made.lead, **{made.last: f"L{number}", "Email": mail(number)}, **company, **titled)
    yield made
    made.twin.stop()


def mail(number: int) -> str:
    return f"p{number}@customer.example"


@pytest.fixture
def folder(tmp_path: Path, crm: Crm) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG.format(crm=json.dumps(crm.settings)))
    rows = [f"{mail(n)};An;Nr {n};Buyer;Huế" for n in range(ROWS - WRONG)]
    for place in (50, 150, 250, 350, 450):
        rows.insert(place, "nobody;An;Wrong;;")
    (tmp_path / "list.csv").write_text("E-Mail;Vorname;Nachname;Position;Ort\n" + "\n".join(rows) + "\n")
    return tmp_path


def imports(folder: Path, crash: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"SYNCD_CRASH_AT": crash} if crash else {})}
    command = [*SYNCD, "--json", "import", "list.csv", "--as", "contact"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("crash", ["after_commit:2", "after_send:1", "in_settling:2"])
def test_killed_gone_on_with_and_imported_again(folder: Path, crm: Crm, crash: str) -> None:
    killed = imports(folder, crash)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = imports(folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["wrong"] == WRONG
    assert "wait for the next" not in done.stderr, done.stderr

    contacts, leads = crm.people(crm.contact), crm.people(crm.lead)
    assert len(contacts) == CONTACTS  # nobody who is known is made once more
    assert len(leads) == LEADS + NEW
    assert not contacts.keys() & leads.keys()
    assert {*contacts, *leads} == {mail(n) for n in range(ROWS - WRONG)}
    assert [contacts[mail(n)].get(crm.title[0]) for n in range(4)] == ["Buyer", "Director"] * 2
    assert [leads[mail(CONTACTS + n)].get(crm.title[1]) for n in range(4)] == ["Buyer", "Director"] * 2
    assert leads[mail(ROWS - WRONG - 1)][crm.title[1]] == "Buyer"
    assert {record[crm.city[0]] for record in contacts.values()} == {"Huế"}
    assert {record[crm.city[1]] for record in leads.values()} == {"Huế"}
    assert leads[mail(CONTACTS)]["Company"] == "Theirs"
    assert contacts[mail(1)][crm.last] == "C1"  # names are never written over
    assert not [record for name in ("Task", "Tasks") if name in crm.twin.schema for record in crm.twin.records(name)]

    before, calls = crm.written(), len(crm.twin.calls)
    again = imports(folder)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert (told["new"], told["repeats"], told["wrong"]) == (0, ROWS - WRONG, WRONG)
    assert crm.written() == before
    assert len(crm.twin.calls) == calls  # not even a question
