"""Zoho's token endpoint: its odd answers, and never more tokens than it allows."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import responses
from pydantic import SecretStr

from syncd.connector import Context
from syncd.connectors.accounts.zoho import DATA_CENTRES, MOST_TOKENS, ZohoAuth, api_base, bearer
from syncd.errors import Misconfigured, RateLimited, Transient
from syncd.http.oauth import MemoryTokens, Token

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
URL = "https://accounts.zoho.eu"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def grant(clock: Clock) -> tuple[MemoryTokens, Any]:
    tokens = MemoryTokens(clock)
    auth = ZohoAuth(client_id="c", client_secret=SecretStr("cs3cret"), refresh_token=SecretStr(uuid.uuid4().hex))
    return tokens, bearer(Context(name="crm", tokens=tokens, clock=clock), URL, auth, kind="zoho")


def ask(tokens: MemoryTokens, held: Any, refused: str = "") -> Token:
    return tokens.token(held.grant, held.mint, refused=refused)


def answer(body: Any, status: int = 200) -> None:
    responses.post(f"{URL}/oauth/v2/token", json=body, status=status)


GOOD = {"access_token": "1000.a", "api_domain": "https://www.zohoapis.eu", "token_type": "Bearer", "expires_in": 3600}


@responses.activate
def test_a_token_lives_as_long_as_zoho_says_in_seconds() -> None:
    clock = Clock()
    tokens, held = grant(clock)
    answer(GOOD)
    token = ask(tokens, held)
    assert (token.access, token.expires_at) == ("1000.a", NOW + timedelta(hours=1))
    assert held.scheme == "Zoho-oauthtoken"
    body = responses.calls[0].request.body
    assert "grant_type=refresh_token" in str(body)
    base = api_base("", DATA_CENTRES["us"].crm)
    assert not isinstance(base, str)
    assert base(token) == "https://www.zohoapis.eu"
    assert api_base("http://127.0.0.1:1", "") == "http://127.0.0.1:1"


@responses.activate
def test_milliseconds_of_older_answers() -> None:
    clock = Clock()
    tokens, held = grant(clock)
    answer(GOOD | {"expires_in": 3_600_000})
    assert ask(tokens, held).expires_at == NOW + timedelta(hours=1)


@responses.activate
@pytest.mark.parametrize("code", ["invalid_code", "invalid_client"])
def test_a_failure_that_comes_as_http_200_is_for_a_person(code: str) -> None:
    tokens, held = grant(Clock())
    answer({"error": code})
    with pytest.raises(Misconfigured) as caught:
        ask(tokens, held)
    assert caught.value.code == code
    assert "s3cret" not in str(caught.value)


@responses.activate
def test_the_throttle_pauses_ten_minutes_and_is_not_asked_again_meanwhile() -> None:
    clock = Clock()
    tokens, held = grant(clock)
    answer({"error_description": "You have made too many requests", "error": "Access Denied", "status": "failure"}, 400)
    for minutes in (0, 9):
        clock.now = NOW + timedelta(minutes=minutes)
        with pytest.raises(RateLimited) as caught:
            ask(tokens, held)
        assert caught.value.retry_after == (10 - minutes) * 60
    assert len(responses.calls) == 1
    responses.reset()
    answer(GOOD)
    clock.now = NOW + timedelta(minutes=10)
    assert ask(tokens, held).access == "1000.a"


THROTTLED = {"error_description": "You have made too many requests", "error": "Access Denied", "status": "failure"}


@responses.activate
@pytest.mark.parametrize(
    ("status", "headers", "body", "seconds"),
    [
        (503, {"Retry-After": "3"}, "", 3),
        (503, {"Retry-After": "3"}, {"error": "unavailable"}, 3),
        (503, {"Retry-After": "Sun, 22 Nov 2026 04:02:00 GMT"}, "<html>", 120),
        (503, {"Retry-After": "1200"}, "", 1200),
        (429, {"Retry-After": "7"}, "<html>", 7),
        (429, {}, "", 600),
        (429, {}, THROTTLED, 600),
        (429, {"Retry-After": "7"}, THROTTLED, 600),
        (400, {"Retry-After": "900"}, THROTTLED, 900),
        (200, {}, THROTTLED, 600),
        (503, {"Retry-After": "3"}, THROTTLED, 600),
    ],
)
def test_a_busy_host_says_how_long_and_only_the_throttle_is_ten_minutes(
    status: int, headers: dict[str, str], body: object, seconds: int
) -> None:
    clock = Clock()
    tokens, held = grant(clock)
    text = body if isinstance(body, str) else json.dumps(body)
    responses.post(f"{URL}/oauth/v2/token", body=text, status=status, headers=headers)
    with pytest.raises(RateLimited) as caught:
        ask(tokens, held)
    assert caught.value.retry_after == seconds
    responses.reset()
    answer(GOOD)
    clock.now = NOW + timedelta(seconds=seconds)
    assert ask(tokens, held).access == "1000.a"


@responses.activate
def test_a_tenth_token_in_ten_minutes_is_never_asked_for() -> None:
    clock = Clock()
    tokens, held = grant(clock)
    answer(GOOD)
    for number in range(MOST_TOKENS):
        clock.now = NOW + timedelta(seconds=number)
        ask(tokens, held, refused="1000.a")
    with pytest.raises(RateLimited) as caught:
        ask(tokens, held, refused="1000.a")
    assert caught.value.retry_after == 600 - (MOST_TOKENS - 1)
    assert len(responses.calls) == MOST_TOKENS
    clock.now = NOW + timedelta(minutes=10)
    ask(tokens, held, refused="1000.a")


@responses.activate
@pytest.mark.parametrize(
    ("body", "status"),
    [("<html>", 502), ("<html>", 200), ("[]", 200), ('{"error":"odd"}', 200), ('{"access_token":5}', 200)],
)
def test_what_cannot_be_read_is_tried_later(body: str, status: int) -> None:
    tokens, held = grant(Clock())
    responses.post(f"{URL}/oauth/v2/token", body=body, status=status)
    with pytest.raises(Transient):
        ask(tokens, held)


@responses.activate
def test_a_hanging_token_endpoint_puts_no_write_in_doubt() -> None:
    tokens, held = grant(Clock())
    responses.post(f"{URL}/oauth/v2/token", body=requests.exceptions.ReadTimeout())
    with pytest.raises(Transient):
        ask(tokens, held)
    assert len(responses.calls) == 1
