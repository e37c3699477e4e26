"""Signing in as pure decisions: whatever comes back is a code, a token or one line that holds no secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.capabilities import SignIn
from syncd.errors import Failure, SyncdError
from syncd.http.client import Response
from syncd.signin.flow import begin, exchange_body, read_pasted, read_redirect, read_token

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
SECRET = "canary-secret"
HOME = "http://localhost:8421/callback"
SIGN_IN = SignIn(
    grant="g",
    authorize_url="https://login.example.com/authorize?tenant=1",
    token_url="https://login.example.com/token",
    client_id="app",
    client_secret=SECRET,
    scopes=("read", "write all"),
    scope_separator=",",
    parameters={"access_type": "offline"},
    extra=("instance_url",),
    remedies={"invalid_scope": "ask the vendor for {scopes}", "elsewhere": "set data_center"},
    server_parameter="accounts-server",
)
ATTEMPT = begin(SIGN_IN, HOME)


def test_the_address() -> None:
    parts = urlsplit(ATTEMPT.url)
    assert ATTEMPT.url.startswith("https://login.example.com/authorize?tenant=1&")
    query = parse_qs(parts.query)
    assert query["scope"] == ["read,write all"]
    assert query["redirect_uri"] == [HOME]
    assert query["access_type"] == ["offline"]
    assert query["code_challenge_method"] == ["S256"]
    assert SECRET not in ATTEMPT.url
    assert ATTEMPT.verifier not in ATTEMPT.url
    assert begin(SIGN_IN, HOME).state != ATTEMPT.state
    assert ATTEMPT.state not in repr(ATTEMPT) + repr(SIGN_IN)


def test_a_stand_in_on_this_machine_is_asked_over_plain_http() -> None:
    local = SignIn(grant="g", authorize_url="http://127.0.0.1:1/a", token_url="http://127.0.0.1:1/t", client_id="app")
    assert begin(local, HOME).url.startswith("http://127.0.0.1:1/a?")


def one_line(error: SyncdError) -> None:
    text = str(error)
    assert text.isprintable()
    assert len(text) < 600
    for secret in (SECRET, ATTEMPT.state, ATTEMPT.verifier):
        assert secret not in text


@given(
    st.dictionaries(
        st.sampled_from(["code", "state", "error", "error_description", "accounts-server", "location", "x"]),
        st.text(max_size=300),
    ),
    st.booleans(),
)
def test_any_redirect(given_: dict[str, str], ours: bool) -> None:
    query = urlencode(given_ | ({"state": ATTEMPT.state} if ours else {}))
    try:
        code = read_redirect(SIGN_IN, ATTEMPT, query)
    except SyncdError as error:
        one_line(error)
    else:
        assert ours
        assert "error" not in {name for name, value in parse_qsl(query) if value}
        assert code == given_["code"]


@given(st.text(max_size=200))
def test_anything_pasted(text: str) -> None:
    try:
        assert read_pasted(SIGN_IN, ATTEMPT, text) == text.strip()
    except SyncdError as error:
        one_line(error)


VALUES = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.integers(min_value=-(2**53), max_value=2**53),
    st.booleans(),
    st.just([]),
    st.just({}),
)
KEYS = (
    "access_token",
    "refresh_token",
    "expires_in",
    "scope",
    "error",
    "error_description",
    "instance_url",
    "token_type",
)


@given(
    st.one_of(
        st.binary(max_size=100),
        st.dictionaries(st.sampled_from(KEYS), VALUES).map(orjson.dumps),
        st.lists(st.integers(min_value=0, max_value=9)).map(orjson.dumps),
    ),
    st.sampled_from([200, 201, 400, 401, 500]),
)
def test_any_token_answer(body: bytes, status: int) -> None:
    try:
        token = read_token(SIGN_IN, HOME, Response(status, {}, body, True), NOW)
    except SyncdError as error:
        one_line(error)
    except Failure:
        pass
    else:
        assert token.access
        assert token.refresh


def answer(**said: Any) -> Response:
    return Response(200, {}, orjson.dumps({"access_token": "a", "refresh_token": "r", **said}), True)


def test_a_token() -> None:
    token = read_token(SIGN_IN, HOME, answer(expires_in="3600", instance_url="https://x.example.com/"), NOW)
    assert (token.access, token.refresh, token.expires_at) == ("a", "r", NOW + timedelta(hours=1))
    assert token.extra == {"instance_url": "https://x.example.com"}
    assert read_token(SIGN_IN, HOME, answer(scope="read"), NOW).expires_at is None


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"error": "invalid_scope"}, "invalid_scope; ask the vendor for read write all"),
        ({"error": "redirect_uri_mismatch"}, f"register {HOME} at the vendor"),
        ({"error": "odd_one", "error_description": "two\nlines"}, "the vendor refuses: odd_one (two lines)"),
        ({"instance_url": "http://evil.example.com"}, "plain http:// is allowed for this machine only"),
    ],
)
def test_what_is_refused(said: dict[str, str], line: str) -> None:
    with pytest.raises(SyncdError, match=r".") as caught:
        read_token(SIGN_IN, HOME, answer(**said), NOW)
    assert line in str(caught.value)


def test_the_form() -> None:
    form = dict(parse_qsl(exchange_body(SIGN_IN, ATTEMPT, "c").decode()))
    assert form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": HOME,
        "client_id": "app",
        "client_secret": SECRET,
        "code_verifier": ATTEMPT.verifier,
    }
