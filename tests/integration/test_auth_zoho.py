"""`syncd auth` for Zoho CRM and Zoho Desk: offline access, data centres, and the token that the connectors then use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.config.loading import load_settings
from syncd.connector import Lookup, MatchField, PersonQuery
from syncd.errors import Misconfigured
from syncd.service.assembly import check_configuration, connector_of
from syncd.store import Store
from syncd.twins.zoho.twin import ZohoTwin
from syncd.twins.zoho_desk.twin import ZohoDeskTwin
from tests.browser import free_port, signing_in

CONFIG = """\
sources:
  desk:
    type: zoho_desk
    org_id: "927523540"
    base_url: {desk}
    accounts_url: {desk}
    auth: {{client_id: app, client_secret: hush}}
destinations:
  crm:
    type: zoho
    accounts_url: {crm}
    base_url: {crm}
    auth: {{client_id: app, client_secret: hush}}
    mapping: mappings/zoho.yaml
"""
ANYBODY = [PersonQuery("an@example.org", (Lookup("Leads", (MatchField("Email", "an@example.org"),)),))]


@pytest.fixture
def crm() -> Iterator[ZohoTwin]:
    with ZohoTwin(client_id="app", client_secret="hush") as twin:
        yield twin


@pytest.fixture
def desk() -> Iterator[ZohoDeskTwin]:
    with ZohoDeskTwin(client_id="app", client_secret="hush") as twin:
        yield twin


@pytest.fixture
def folder(tmp_path: Path, crm: ZohoTwin, desk: ZohoDeskTwin) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG.format(crm=crm.url, desk=desk.url), "utf-8")
    return tmp_path


def sign_in(folder: Path, name: str, **changes: str) -> tuple[int, str]:
    with signing_in(folder, name, "--port", str(free_port())) as auth:
        browser = auth.browser()
        assert browser.query["access_type"] == "offline"
        assert browser.query["prompt"] == "consent"
        browser.follow(browser.decide(**changes))
        code, _, err = auth.end()
    return code, err.splitlines()[-1]


def test_a_destination_and_a_source(folder: Path, crm: ZohoTwin, desk: ZohoDeskTwin) -> None:
    assert sign_in(folder, "crm") == (0, "crm: signed in")
    assert sign_in(folder, "desk") == (0, "desk: signed in")
    loaded = load_settings(folder / "config.yaml")
    with Store.open(f"sqlite:///{folder}/syncd.db") as store:
        zoho = connector_of(loaded, "destination", "crm", tokens=store.tokens)
        source = connector_of(loaded, "source", "desk", tokens=store.tokens)
        for _ in range(2):
            assert zoho.resolve(ANYBODY) == [None]
            assert source.start(loaded.settings.zone and source._context.clock())  # type: ignore[union-attr]
            crm.expire_tokens()
            desk.expire_tokens()
        assert zoho.resolve(ANYBODY) == [None]
        zoho.close()
    assert crm.accounts.issued == 3


def test_the_account_lives_elsewhere(folder: Path, crm: ZohoTwin) -> None:
    crm.accounts.location, crm.accounts.server = "eu", "https://accounts.zoho.eu"
    code, line = sign_in(folder, "crm")
    assert code == 1
    assert "the account lives at accounts.zoho.eu, not at 127.0.0.1: write data_center:" in line


def test_a_proxy_stands_before_the_data_centre(folder: Path, crm: ZohoTwin) -> None:
    crm.accounts.server = "https://accounts.zoho.com"  # of data_center us, the default
    assert sign_in(folder, "crm") == (0, "crm: signed in")


def test_online_access_alone_is_not_enough(folder: Path) -> None:
    code, line = sign_in(folder, "crm", access_type="online")
    assert code == 1
    assert "gave no refresh token" in line
    assert "Connected apps" in line


@pytest.mark.parametrize(("secret", "said"), [("wrong", "invalid_client_secret; check auth.client_secret")])
def test_a_refusal_with_200(folder: Path, crm: ZohoTwin, secret: str, said: str) -> None:
    crm.accounts.client_secret = secret
    code, line = sign_in(folder, "crm")
    assert code == 1
    assert said in line


def test_nobody_has_signed_in(folder: Path, crm: ZohoTwin) -> None:
    loaded = load_settings(folder / "config.yaml")
    with Store.open(f"sqlite:///{folder}/syncd.db") as store:
        zoho = connector_of(loaded, "destination", "crm", tokens=store.tokens)
        with pytest.raises(Misconfigured, match=r"^sign_in: not signed in yet; run: syncd auth crm"):
            zoho.resolve(ANYBODY)
        zoho.close()
    assert crm.calls == type(crm.calls)()


def test_what_was_granted_is_withdrawn(folder: Path, crm: ZohoTwin) -> None:
    assert sign_in(folder, "crm")[0] == 0
    crm.accounts.refreshable = {"another"}
    crm.expire_tokens()
    with Store.open(f"sqlite:///{folder}/syncd.db") as store:
        zoho = connector_of(load_settings(folder / "config.yaml"), "destination", "crm", tokens=store.tokens)
        with pytest.raises(Misconfigured, match="run: syncd auth crm"):
            zoho.resolve(ANYBODY)
        zoho.close()


def test_check_says_that_somebody_must_sign_in(folder: Path) -> None:
    report = check_configuration(folder / "config.yaml")
    assert report.faults == ()
    assert [(gap.key, gap.hint.split("`")[1]) for gap in report.missing] == [
        ("sources.desk", "syncd auth desk"),
        ("destinations.crm", "syncd auth crm"),
    ]
