"""A newcomer's way to a CRM, each command as the one before it says: init, auth, check --online, prepare. And tokens that lack
a scope, at the twins and in what syncd says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from syncd.cli import run
from syncd.service.assembly import check_configuration
from syncd.twins import TWINS, create
from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.server import Twin
from syncd.twins.zoho.twin import ZohoTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.browser import free_port, signing_in

ANSWERS = {
    "zoho": (["crm.auth.client_id=app", "crm.auth.client_secret=hush"], "accounts_url", ZohoTwin),
    "salesforce": (
        ["crm.auth.flow=refresh_token", "crm.auth.client_id=app", "crm.auth.client_secret=hush"],
        "login_url",
        SalesforceTwin,
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Maildir" / "new").mkdir(parents=True)
    (tmp_path / "Maildir" / "cur").mkdir()
    (tmp_path / "Maildir" / "tmp").mkdir()
    return tmp_path


def begin(folder: Path, kind: str, twin: Twin) -> None:
    """`init`, and the address of the twin in place of the vendor's."""
    answers, address, _ = ANSWERS[kind]
    given = [f"--set={answer}" for answer in ["inbox.path=./Maildir", *answers]]
    assert run(["init", "--source", "inbox=maildir", "--destination", f"crm={kind}", "--yes", *given]) == 0
    path = folder / "config.yaml"
    text = re.sub(rf"(?m)^    {address}:.*\n", "", path.read_text("utf-8"))
    path.write_text(re.sub(r"(?m)^(    type: " + kind + r".*)$", rf"\1\n    {address}: {twin.url}", text), "utf-8")


def sign_in(folder: Path, **changes: str) -> str:
    """What `syncd auth crm` says."""
    with signing_in(folder, "crm", "--port", str(free_port())) as auth:
        browser = auth.browser()
        browser.follow(browser.decide(**changes))
        code, _, err = auth.end()
    assert code == 0, err
    return err


@pytest.mark.parametrize("kind", ["zoho", "salesforce"])
def test_init_auth_prepare(folder: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    with ANSWERS[kind][2](bare=True, client_id="app", client_secret="hush") as twin:
        begin(folder, kind, twin)
        assert run(["check", "--online", "crm"]) == 1
        assert "syncd auth crm" in capsys.readouterr().out
        sign_in(folder)
        assert run(["prepare", "crm"]) == 0
        assert capsys.readouterr().out.count("done") == 3
        assert run(["check", "--online", "crm"]) == 0
        assert "scope" not in capsys.readouterr().out


def test_auth_says_what_it_asks_for_and_why(folder: Path) -> None:
    with ZohoTwin(client_id="app", client_secret="hush") as twin:
        begin(folder, "zoho", twin)
        with signing_in(folder, "crm", "--port", str(free_port())) as auth:
            assert auth.process.stderr is not None
            shown = [auth.process.stderr.readline() for _ in range(6)]
    assert "syncd asks for:" in shown[0]
    assert any("ZohoCRM.settings.fields.CREATE" in line and "prepare" in line for line in shown)
    assert any("ZohoCRM.org.READ" in line and "credits" in line for line in shown)


@pytest.mark.parametrize(
    ("left_out", "what"),
    [
        ("ZohoCRM.settings.fields.CREATE", "prepare"),
        ("ZohoCRM.org.READ", "credits"),
        ("ZohoCRM.coql.READ", "answer"),
        ("ZohoCRM.modules.ALL", "answer"),
        ("ZohoCRM.settings.fields.READ", "answer"),
    ],
)
def test_a_scope_that_was_not_granted_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], left_out: str, what: str
) -> None:
    with ZohoTwin(client_id="app", client_secret="hush") as twin:
        begin(folder, "zoho", twin)
        every = ["modules.ALL", "coql.READ", "settings.fields.READ", "settings.fields.CREATE", "org.READ"]
        sign_in(folder, scope=",".join(f"ZohoCRM.{one}" for one in every if f"ZohoCRM.{one}" != left_out))
        run(["check", "--online", "crm"])
        (line,) = [one for one in capsys.readouterr().out.splitlines() if f"crm  {what}: " in one]
        assert left_out in line
        assert "syncd auth crm" in line


def token(twin: Twin, scope: str) -> str:
    """An access token with these scopes alone, by consent."""
    path = "/services/oauth2/authorize" if isinstance(twin, SalesforceTwin) else "/oauth/v2/auth"
    form = {"client_id": "a", "redirect_uri": "http://localhost/callback", "response_type": "code", "scope": scope}
    sent = requests.post(
        twin.url + path, data=form | {"decision": "allow", "access_type": "offline"}, timeout=9, allow_redirects=False
    )
    code = re.search(r"code=([^&]+)", sent.headers["location"])
    assert code is not None
    body = {"grant_type": "authorization_code", "code": code[1], "client_secret": "s", **form}
    answer = requests.post(
        twin.url + path.replace("authorize", "token").replace("/auth", "/token"), data=body, timeout=9
    )
    if answer.status_code == 404:
        answer = requests.post(f"{twin.url}/services/oauth2/token", data=body, timeout=9)
    return str(answer.json()["access_token"])


CRM_CALLS = [
    ("GET", "/crm/v8/org", "ZohoCRM.org.READ"),
    ("GET", "/crm/v8/users", "ZohoCRM.users.READ"),
    ("GET", "/crm/v8/settings/fields?module=Leads", "ZohoCRM.settings.fields.READ"),
    ("POST", "/crm/v8/settings/fields?module=Leads", "ZohoCRM.settings.fields.CREATE"),
    ("GET", "/crm/v8/settings/modules", "ZohoCRM.settings.modules.READ"),
    ("GET", "/crm/v8/settings/signals", "ZohoCRM.settings.signals.READ"),
    ("POST", "/crm/v8/signals/notifications", "ZohoCRM.signals.ALL"),
    ("POST", "/crm/v8/Leads", "ZohoCRM.modules.leads.CREATE"),
    ("POST", "/crm/v8/Leads/upsert", "ZohoCRM.modules.leads.WRITE"),
    ("PUT", "/crm/v8/Tasks", "ZohoCRM.modules.tasks.UPDATE"),
    ("GET", "/crm/v8/Leads?fields=id", "ZohoCRM.modules.READ"),
    ("DELETE", "/crm/v8/Leads/7328395000000704001", "ZohoCRM.modules.leads.DELETE"),
]
DESK_CALLS = [
    ("GET", "/api/v1/tickets/search", "Desk.search.READ"),
    ("GET", "/api/v1/tickets", "Desk.tickets.READ"),
    ("POST", "/api/v1/tickets", "Desk.tickets.CREATE"),
    ("GET", "/api/v1/contacts", "Desk.contacts.READ"),
    ("GET", "/api/v1/departments", "Desk.settings.READ"),
    ("GET", "/api/v1/webhooks", "Desk.webhooks.READ"),
    ("POST", "/api/v1/webhooks", "Desk.webhooks.CREATE"),
]


@pytest.fixture(params=["zoho", "zoho_desk"])
def twin(request: pytest.FixtureRequest) -> Iterator[Twin]:
    with (ZohoTwin if request.param == "zoho" else ZohoDeskTwin)() as running:
        yield running


def test_a_twin_refuses_what_was_not_granted_at_every_address(twin: Twin) -> None:
    crm = isinstance(twin, ZohoTwin)
    status, word = (401, "OAUTH_SCOPE_MISMATCH") if crm else (403, "SCOPE_MISMATCH")
    none = token(twin, "ZohoMail.messages.READ")
    for method, path, scope in CRM_CALLS if crm else DESK_CALLS:

        def ask(held: str, method: str = method, path: str = path) -> requests.Response:
            headers = {"Authorization": f"Zoho-oauthtoken {held}"}
            return requests.request(method, twin.url + path, headers=headers, json={}, timeout=9)

        refused = ask(none)
        assert (refused.status_code, word in refused.text) == (status, True), path
        assert word not in ask(token(twin, scope)).text, path


def test_every_route_of_the_zoho_twins_takes_a_scope() -> None:
    from syncd.twins.zoho import twin as zoho
    from syncd.twins.zoho.scopes import CRM, DESK
    from syncd.twins.zoho_desk import twin as zoho_desk

    assert {operation for _, _, operation in zoho._ROUTES} == CRM.keys()
    assert {operation for _, _, operation, _ in zoho_desk._ROUTES} == DESK.keys()


def test_scopes_of_the_salesforce_twin() -> None:
    with SalesforceTwin() as twin:
        for scope, data, identity in (
            ("api", 200, 403),
            ("id", 401, 200),
            ("full", 200, 200),
            ("refresh_token", 401, 403),
        ):
            headers = {"Authorization": f"Bearer {token(twin, scope)}"}
            asked = [
                requests.get(twin.url + path, headers=headers, timeout=9).status_code
                for path in ("/services/data/v62.0/sobjects", "/services/oauth2/userinfo")
            ]
            assert asked == [data, identity], scope


@pytest.mark.parametrize("name", sorted(TWINS))
def test_what_a_twin_prints_is_a_configuration(tmp_path: Path, name: str) -> None:
    with create(name) as twin:
        text = twin.configuration()
        path = tmp_path / "config.yaml"
        rest = {"sources": "destinations:\n  a: {type: database, url: 'sqlite:///a.db'}\n"}
        other = rest.get(text.partition(":")[0], "sources:\n  a: {type: maildir, path: .}\n")
        path.write_text(text + other, "utf-8")
        report = check_configuration(path)
        assert report.faults == ()
        assert twin.url in str(yaml.safe_load(text))
