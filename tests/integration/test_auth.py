"""`syncd auth` against the twins: a person signs in in a browser, and what goes wrong is one line, here and in the browser."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from syncd.config.loading import load_settings
from syncd.service.assembly import connector_of
from syncd.store import Store
from syncd.store.schema import tokens
from syncd.twins.salesforce.twin import SalesforceTwin
from tests.browser import free_port, signing_in

SECRET = "canary-5ac0"
CONFIG = """\
destinations:
  crm:
    type: salesforce
    login_url: {url}
    auth: {{flow: refresh_token, client_id: app, client_secret: "{secret}"}}
    mapping: mappings/salesforce.yaml
  robot:
    type: salesforce
    login_url: {url}
    auth: {{flow: client_credentials, client_id: app, client_secret: "${{NOT_SET}}"}}
    mapping: mappings/salesforce.yaml
"""


@pytest.fixture
def twin() -> Iterator[SalesforceTwin]:
    with SalesforceTwin(client_id="app", client_secret=SECRET, rotate_refresh=True) as twin:
        yield twin


@pytest.fixture
def folder(tmp_path: Path, twin: SalesforceTwin) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=twin.url, secret=SECRET), "utf-8")
    return tmp_path


@pytest.fixture
def port() -> str:
    return str(free_port())


def opened(folder: Path) -> Store:
    return Store.open(f"sqlite:///{folder}/syncd.db")


def stored(folder: Path) -> int:
    with opened(folder) as store, store.read() as connection:
        return len(connection.execute(tokens.select()).all())


def test_a_person_signs_in(folder: Path, port: str, twin: SalesforceTwin) -> None:
    with signing_in(folder, "crm", "--port", port, "--json") as auth:
        browser = auth.browser()
        assert browser.query["redirect_uri"] == f"http://localhost:{port}/callback"
        assert browser.query["code_challenge_method"] == "S256"
        assert browser.query["scope"] == "api refresh_token"
        page = browser.follow(browser.decide())
        code, out, err = auth.end()
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "name": "crm",
        "role": "destination",
        "type": "salesforce",
        "signed_in": True,
        "expires_at": None,
        "renews": True,
    }
    assert "Signed in" in page
    for text in (page, out):
        assert SECRET not in text
        assert browser.query["state"] not in text
    with opened(folder) as store:
        crm = connector_of(
            load_settings(folder / "config.yaml", need_secrets=False), "destination", "crm", tokens=store.tokens
        )
        assert crm.find("Lead", "Syncd_Key__c", ["k"]) == {}
        twin.expire_tokens()  # a refresh, which rotates; twice
        assert crm.find("Lead", "Syncd_Key__c", ["k"]) == {}
        twin.expire_tokens()
        assert crm.find("Lead", "Syncd_Key__c", ["k"]) == {}
        crm.close()
    assert twin.tokens.issued == 3


def test_the_address_pasted_on_a_server_without_a_browser(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port, "--paste") as auth:
        location = auth.browser().decide()
        code, out, err = auth.end(f"{location}\n")
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == "crm: signed in"
    assert stored(folder) == 1


def test_the_code_alone_pasted(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port, "--paste") as auth:
        location = auth.browser().decide()
        code, _, _ = auth.end(location.partition("code=")[2].partition("&")[0] + "\n")
    assert code == 0


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "nothing was pasted"),
        ("http://localhost/callback", "neither the address"),
        ("no code at all", "neither the address"),
        ("http://localhost/callback?code=x&state=other", "belongs to another sign-in"),
        ("nonsense", "invalid authorization code"),
    ],
)
def test_nonsense_pasted(folder: Path, port: str, pasted: str, said: str) -> None:
    with signing_in(folder, "crm", "--port", port, "--paste") as auth:
        auth.browser()
        code, _, err = auth.end(f"{pasted}\n")
    assert code == 1
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert stored(folder) == 0


def refused(folder: Path, port: str, decision: str = "allow", **changes: str) -> tuple[str, str]:
    """(last line of the command, the browser's page) of a sign-in that must fail."""
    with signing_in(folder, "crm", "--port", port) as auth:
        browser = auth.browser()
        page = browser.follow(browser.decide(decision, **changes))
        code, out, err = auth.end()
    assert (code, out) == (1, "")
    assert stored(folder) == 0
    assert "Not signed in" in page
    assert SECRET not in page + err
    return err.splitlines()[-1], page


def test_denied(folder: Path, port: str) -> None:
    line, page = refused(folder, port, "deny")
    assert "access_denied (end-user denied authorization); consent was refused" in line
    assert "consent was refused" in page


def test_another_state(folder: Path, port: str) -> None:
    line, _ = refused(folder, port, state="somebody-elses")
    assert "its state is not ours" in line


def test_the_challenge_was_swapped(folder: Path, port: str) -> None:
    line, _ = refused(folder, port, code_challenge="another")
    assert "invalid_grant (invalid code verifier)" in line


def test_a_code_that_has_run_out(folder: Path, port: str, twin: SalesforceTwin) -> None:
    twin.tokens.consents.life = -1
    line, _ = refused(folder, port)
    assert "expired authorization code" in line
    assert "run it again" in line


def test_no_refresh_token(folder: Path, port: str) -> None:
    line, _ = refused(folder, port, scope="api")
    assert "gave no refresh token" in line
    assert "refresh_token (Perform requests at any time)" in line


def test_a_wrong_secret(folder: Path, port: str, twin: SalesforceTwin) -> None:
    twin.tokens.client_secret = "another"
    line, _ = refused(folder, port)
    assert "invalid_client" in line
    assert "auth.client_secret" in line


def test_the_app_is_blocked(folder: Path, port: str, twin: SalesforceTwin) -> None:
    twin.plan.add([{"on": "token", "do": "blocked_app"}])
    line, _ = refused(folder, port)
    assert "OAUTH_APP_BLOCKED (this app is blocked by admin)" in line


def test_nobody_comes(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port, "--wait", "1s") as auth:
        code, _, err = auth.end()
    assert code == 1
    assert f"register http://localhost:{port}/callback at the vendor" in err.splitlines()[-1]


def test_the_port_is_in_use(folder: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        signing_in(folder, "crm", "--port", str(taken.getsockname()[1])) as auth,
    ):
        code, _, err = auth.end()
    assert code == 1
    assert "cannot be used (Address already in use)" in err
    assert len(err.splitlines()) == 1


def test_ctrl_c(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port) as auth:
        auth.browser()
        auth.process.send_signal(signal.SIGINT)
        code, _, err = auth.end()
    assert (code, err) == (130, "syncd: interrupted\n")


def test_other_visitors_change_nothing(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port) as auth:
        browser = auth.browser()
        here = f"http://localhost:{port}"
        assert requests.get(f"{here}/favicon.ico", timeout=20).status_code == 404
        assert requests.get(f"{here}/callback", timeout=20).status_code == 400
        assert requests.post(f"{here}/callback?code=1", timeout=20).status_code == 501
        assert "Signed in" in browser.follow(browser.decide())
        assert auth.end()[0] == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crn", "no source or destination 'crn'; did you mean crm?"),
        ("robot", "NOT_SET is not set"),
        ("sources.crm", "no source or destination"),
    ],
)
def test_names_that_cannot_be_signed_in_for(folder: Path, name: str, said: str) -> None:
    with signing_in(folder, name) as auth:
        code, _, err = auth.end()
    assert code == 2
    assert said in err


def test_a_flow_without_a_person(folder: Path) -> None:
    with signing_in(folder, "destinations.robot", env={"NOT_SET": "x"}) as auth:
        code, _, err = auth.end()
    assert code == 2
    assert "destination robot signs in by itself (flow client_credentials)" in err


def test_forgotten(folder: Path, port: str) -> None:
    with signing_in(folder, "crm", "--port", port) as auth:
        browser = auth.browser()
        browser.follow(browser.decide())
        assert auth.end()[0] == 0
    assert stored(folder) == 1
    for gone in (True, False):
        with signing_in(folder, "crm", "--forget", "--json") as auth:
            code, out, _ = auth.end()
        assert (code, json.loads(out)["forgotten"]) == (0, gone)
    assert stored(folder) == 0
