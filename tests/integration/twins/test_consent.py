"""The consent pages of the twins: what a code is good for, once, for whom, how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from syncd.twins.salesforce.twin import SalesforceTwin
from syncd.twins.zoho.twin import ZohoTwin

HOME = "http://localhost:1/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ASKED = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": HOME,
    "state": "s",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "access_type": "offline",
}
SCOPES = {"salesforce": "api refresh_token", "zoho": "ZohoCRM.modules.ALL"}
FORM = {
    "grant_type": "authorization_code",
    "client_id": "app",
    "client_secret": "hush",
    "redirect_uri": HOME,
    "code_verifier": VERIFIER,
}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["salesforce", "zoho"])
def twin(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Any]:
    made: Any = SalesforceTwin(clock=clock, client_id="app") if request.param == "salesforce" else ZohoTwin(clock=clock)
    with made:
        yield made


def paths(twin: Any) -> tuple[str, str]:
    if twin.name == "salesforce":
        return f"{twin.url}/services/oauth2/authorize", f"{twin.url}/services/oauth2/token"
    return f"{twin.url}/oauth/v2/auth", f"{twin.url}/oauth/v2/token"


def decided(twin: Any, decision: str = "allow", **changes: str) -> dict[str, str]:
    form = {**ASKED, "scope": SCOPES[twin.name], **changes, "decision": decision}
    answer = requests.post(paths(twin)[0], data=form, timeout=20, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{HOME}?")
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def exchanged(twin: Any, code: str, **changes: str) -> dict[str, Any]:
    said: dict[str, Any] = requests.post(paths(twin)[1], data={**FORM, "code": code, **changes}, timeout=20).json()
    return said


def test_a_code_is_good_once(twin: Any) -> None:
    back = decided(twin)
    assert back["state"] == "s"
    token = exchanged(twin, back["code"])
    assert {"access_token", "refresh_token"} <= token.keys()
    assert "error" in exchanged(twin, back["code"])
    again = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    assert "access_token" in exchanged(twin, "", **again)
    assert "error" in exchanged(twin, "", **again | {"refresh_token": "another"})


@pytest.mark.parametrize(
    "changes", [{"code_verifier": "x" * 43}, {"redirect_uri": f"{HOME}/"}, {"client_id": "other"}, {"code": "other"}]
)
def test_a_code_is_bound(twin: Any, changes: dict[str, str]) -> None:
    said = exchanged(twin, **{"code": decided(twin)["code"], **changes})
    assert "error" in said
    assert "access_token" not in said


def test_a_code_runs_out(twin: Any, clock: Clock) -> None:
    code = decided(twin)["code"]
    clock.now += 901
    assert "error" in exchanged(twin, code)


def test_denied(twin: Any) -> None:
    assert decided(twin, "deny")["error"] == "access_denied"


def test_an_address_that_is_not_registered_is_never_called(twin: Any) -> None:
    consents = twin.tokens.consents if twin.name == "salesforce" else twin.accounts.consents
    consents.registered = frozenset({"http://localhost:2/callback"})
    answer = requests.get(
        paths(twin)[0], params=ASKED | {"scope": SCOPES[twin.name]}, timeout=20, allow_redirects=False
    )
    assert answer.status_code == 400
    assert "redirect" in answer.text
