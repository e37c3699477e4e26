"""XOAUTH2 on a real Dovecot with short-lived tokens of a small token endpoint; and servers that explain their refusal."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import Context
from syncd.connectors.mail.imap import ImapSource
from syncd.connectors.mail.imap_oauth import grant_of
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.errors import Failure, Misconfigured, RateLimited, Transient, UsageError
from syncd.http.oauth import MemoryTokens, Token, TokenStore
from syncd.store import Store
from syncd.testing.ledger import SourceLedger
from tests.dovecot_server import Dovecot
from tests.imap_script import ImapScript
from tests.mails import MOMENT, mail
from tests.token_endpoint import TokenEndpoint


@pytest.fixture
def endpoint(server: Dovecot) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(server.token_key, f"{uuid.uuid4().hex[:12]}@ourcompany.example") as running:
        yield running


Make = Callable[..., ImapSource]


@pytest.fixture
def source(server: Dovecot, endpoint: TokenEndpoint) -> Make:
    def make(tokens: TokenStore | None = None, port: int = server.port, **auth: Any) -> ImapSource:
        given = {"client_id": "app", "client_secret": "s3cret", "token_url": endpoint.url}
        if auth.get("flow") != "client_credentials":
            given["refresh_token"] = "first-refresh"
        return ImapSource(settings(port, endpoint, **given | auth), context(tokens or MemoryTokens()))

    return make


def settings(port: int, endpoint: TokenEndpoint, **auth: Any) -> ImapSettings:
    given = {key: value for key, value in auth.items() if value is not None}
    keys = {"host": "127.0.0.1", "port": port, "tls": "none", "username": endpoint.email, "auth": given}
    return ImapSettings.model_validate(keys)


def context(tokens: TokenStore) -> Context:
    return Context(name="inbox", tokens=tokens)


def test_mail_is_read_with_a_token(source: Make, server: Dovecot, endpoint: TokenEndpoint) -> None:
    tokens = MemoryTokens()
    ledger = SourceLedger(connect=lambda: source(tokens), now=MOMENT)
    ledger.start()
    server.append(endpoint.email, mail(1), at=MOMENT.timestamp())
    assert [signal.title for signal in ledger.poll()] == ["Question 1"]
    assert len(endpoint.minted) == 1  # one token for both connections


def test_a_token_that_died_early_is_refreshed_once_and_the_login_replayed(
    source: Make, endpoint: TokenEndpoint
) -> None:
    tokens = MemoryTokens()
    endpoint.life = -1  # dead on arrival, whatever the answer says
    with pytest.raises(Misconfigured, match="fresh token") as caught:
        source(tokens).start(MOMENT)
    assert caught.value.code == "token_refused"
    assert "syncd auth inbox" in str(caught.value)
    assert len(endpoint.minted) == 2
    endpoint.life = 60
    source(tokens).start(MOMENT)  # the dead one is refused, one refresh, one replay
    assert len(endpoint.minted) == 3
    assert not any(token in str(caught.value) for token in endpoint.minted)


def test_a_token_is_renewed_when_its_time_is_over(source: Make, endpoint: TokenEndpoint) -> None:
    now = [datetime.now(UTC)]
    tokens = MemoryTokens(clock=lambda: now[0])
    source(tokens).start(MOMENT)
    now[0] += timedelta(hours=2)
    source(tokens).start(MOMENT)
    assert len(endpoint.minted) == 2


def test_a_rotated_refresh_token_is_kept(source: Make, endpoint: TokenEndpoint, store: Store) -> None:
    endpoint.rotates, endpoint.told = True, 0
    for _ in range(3):
        source(store.tokens).start(MOMENT)
    asked = [form["refresh_token"] for form in endpoint.asked]
    assert asked == ["first-refresh", "refresh-1", "refresh-2"]


def test_an_app_signs_in_by_itself(source: Make, endpoint: TokenEndpoint) -> None:
    app = source(flow="client_credentials", scopes=["https://outlook.office365.com/.default"])
    app.start(MOMENT)
    assert endpoint.asked[0]["grant_type"] == "client_credentials"
    assert endpoint.asked[0]["scope"] == "https://outlook.office365.com/.default"
    with pytest.raises(UsageError, match="no person is needed"):
        app.sign_in()


def test_who_has_not_signed_in_is_told_how(source: Make, endpoint: TokenEndpoint, store: Store) -> None:
    unsigned = source(store.tokens, refresh_token=None, authorize_url="https://login.example/auth", scopes=["mail"])
    with pytest.raises(Misconfigured, match="run: syncd auth inbox"):
        unsigned.start(MOMENT)
    assert endpoint.asked == []
    wanted = unsigned.sign_in()
    assert (wanted.token_url, wanted.client_id, wanted.scopes) == (endpoint.url, "app", ("mail",))
    assert "s3cret" not in repr(wanted)
    store.tokens.put(
        wanted.grant, Token(access="old", expires_at=MOMENT, refresh="first-refresh")
    )  # as `syncd auth` does
    unsigned.start(MOMENT)


def test_a_refresh_token_of_the_configuration_leaves_nobody_to_sign_in(source: Make) -> None:
    with pytest.raises(UsageError, match="take it out"):
        source(authorize_url="https://login.example/auth").sign_in()


def test_grants_are_shared_where_the_token_is_and_else_apart(endpoint: TokenEndpoint) -> None:
    common = {"client_id": "app", "token_url": endpoint.url}
    shared = settings(1, endpoint, **common, refresh_token="r")
    own = settings(1, endpoint, **common)
    assert grant_of(shared, "a") == grant_of(shared, "b")
    assert grant_of(own, "a") != grant_of(own, "b")


@pytest.mark.parametrize(
    ("status", "said", "kind", "says"),
    [
        (400, {"error": "invalid_grant"}, Misconfigured, "syncd auth inbox"),
        (401, {"error": "invalid_client"}, Misconfigured, "client_id and client_secret"),
        (
            401,
            {"error": "invalid_client", "error_description": "AADSTS7000222: expired. Trace ID: 1"},
            Misconfigured,
            "has expired",
        ),
        (
            400,
            {"error": "invalid_grant", "error_description": "AADSTS65001: no consent"},
            Misconfigured,
            "consent for the app",
        ),
        (429, {}, RateLimited, "pause"),
        (400, {"error": "slow_down"}, RateLimited, "pause"),
        (503, {"error": "temporarily_unavailable"}, Transient, "no token"),
        (500, {}, Transient, "no token"),
        (200, {"token_type": "Bearer"}, Transient, "no token"),
        (418, {"error": "teapot"}, Transient, "no token"),
    ],
)
def test_what_the_token_endpoint_says(
    source: Make, endpoint: TokenEndpoint, status: int, said: dict[str, Any], kind: type[Failure], says: str
) -> None:
    endpoint.refuses.append((status, said, {}))
    with pytest.raises(kind, match=says) as caught:
        source().start(MOMENT)
    assert "s3cret" not in str(caught.value)
    assert "first-refresh" not in str(caught.value)
    assert len(endpoint.asked) == 1


def test_the_explanation_of_gmail_and_microsoft_is_answered_with_an_empty_line(
    source: Make, endpoint: TokenEndpoint
) -> None:
    explained = base64.b64encode(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}').decode()
    with ImapScript() as script:
        script.sasl = (explained, "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)")
        with pytest.raises(Misconfigured, match='"status":"400"'):
            source(port=script.port).start(MOMENT)
        assert script.sasl_said[0].startswith(f"user={endpoint.email}\1auth=Bearer ey")
        assert script.sasl_said[0].endswith("\1\1")
        assert script.sasl_said[1] == ""
        assert script.logins == 2  # once, and once more with a fresh token, on a new connection
        assert script.connections == 2


def test_a_server_without_xoauth2_is_named(source: Make) -> None:
    with ImapScript(capabilities="IMAP4rev1 IDLE AUTH=PLAIN") as script:
        with pytest.raises(Misconfigured, match="set password: instead of auth:"):
            source(port=script.port).start(MOMENT)
        assert script.logins == 0


def test_a_throttled_login_costs_no_token(source: Make, endpoint: TokenEndpoint) -> None:
    with ImapScript() as script:
        script.sasl = ("", "NO [ALERT] Too many simultaneous connections. (Failure)")
        with pytest.raises(RateLimited):
            source(port=script.port).start(MOMENT)
        assert (script.logins, len(endpoint.minted)) == (1, 1)
