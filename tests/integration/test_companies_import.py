"""A list of companies into both stand-in CRMs with the shipped mappings: killed in the middle, continued, imported again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

SYNCD = [sys.executable, "-c", "from syncd.cli import main; main()"]
CONFIG = """\
database: sqlite:///./syncd.db
region: VN
channels: {{contacts: {{account_changed: true}}}}
destinations:
  crm: {crm}
"""
ROWS, KNOWN = 60, 20


class Crm:
    """A twin, its settings, and what its accounts and their fields are called."""

    def __init__(self, kind: str) -> None:
        self.twin: Any = SalesforceTwin() if kind == "salesforce" else ZohoTwin()
        self.twin.start()
        auth = {"client_id": "a", "client_secret": "b"}
        if kind == "salesforce":
            self.settings = {"type": kind, "login_url": self.twin.url, "auth": auth | {"flow": "client_credentials"}}
            self.object, self.name, self.city, self.lead = "Account", "Name", "BillingCity", "Lead"
        else:
            self.settings = {"type": kind, "accounts_url": self.twin.url, "base_url": self.twin.url}
            self.settings["auth"] = auth | {"refresh_token": "c"}
            self.object, self.name, self.city, self.lead = "Accounts", "Account_Name", "Billing_City", "Leads"


@pytest.fixture(params=["salesforce", "zoho"])
def crm(request: pytest.FixtureRequest) -> Iterator[Crm]:
    made = Crm(request.param)
    for number in range(KNOWN):  # half of them by their website, under another name
        named = f"Firm {number}" if number % 2 else f"The firm of number {number}"
        website = {} if number % 2 else {"Website": f"http://www.f{number}.example"}
        city = {made.city: "Vinh"} if number % 4 == 0 else {}
        made.twin.add(made.object, **{made.name: named, **website, **city})
    yield made
    made.twin.stop()


def imports(folder: Path, crash: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"SYNCD_CRASH_AT": crash} if crash else {})}
    command = [*SYNCD, "--json", "import", "companies.csv", "--as", "account"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("crash", ["after_send:1"])
def test_companies_are_found_filled_or_made_once(tmp_path: Path, crm: Crm, crash: str) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(crm=json.dumps(crm.settings)))
    rows = [f"Firm {n};https://f{n}.example/;info@f{n}.example;Huế" for n in range(ROWS)]
    (tmp_path / "companies.csv").write_text("Company;Website;E-Mail;City\n" + "\n".join(rows) + "\n")
    killed = imports(tmp_path, crash)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = imports(tmp_path)
    assert done.returncode == 0, done.stderr

    companies = crm.twin.records(crm.object)
    assert len(companies) == ROWS
    assert len({one[crm.name] for one in companies}) == ROWS
    cities = [one[crm.city] for one in companies]
    assert (cities.count("Vinh"), cities.count("Huế")) == (KNOWN // 4, ROWS - KNOWN // 4)  # nothing is overwritten
    assert crm.twin.records(crm.lead) == []  # the address of a company brings no person

    again = imports(tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["new"] == 0
    assert len(crm.twin.records(crm.object)) == ROWS
