"""A secret that this process knows is in no text that was masked, however a vendor echoes it; other texts stay as they are."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from syncd.connector import ConnectorSettings
from syncd.errors import Ambiguous, Misconfigured, Rejected, SyncdError
from syncd.http.oauth import Token
from syncd.runtime import known_secrets
from syncd.runtime.known_secrets import MASK, learn, learn_named, mask

SECRET = "00Dx!AQ8/Zk+3 \"q'ü&=9f0c7e5b"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_secrets, "_kept", {})
    monkeypatch.setattr(known_secrets, "_passing", type(known_secrets._passing)())


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ECHOES: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    lambda s: quote(s, safe=""),
    lambda s: quote(s, safe="").lower(),
    lambda s: json.dumps({"Authorization": f"Bearer {s}"}),
    lambda s: json.dumps(s).replace("/", "\\/"),
    html.escape,
    repr,
    in_base64,
    lambda s: in_base64(f"Bearer {s}"),
    lambda s: in_base64(f"me:{s}"),
    lambda s: in_base64(f"client:{s}:more"),
    lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    lambda s: quote(in_base64(s), safe=""),
    lambda s: s.encode().hex(),
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("passing", [True, False])
def test_a_secret_is_masked_in_every_usual_encoding(echo: Callable[[str], str], passing: bool) -> None:
    learn(SECRET, passing=passing)
    said = mask(f"your request with {echo(SECRET)} was refused")
    assert MASK in said
    assert said.startswith("your request with ")
    assert said.endswith(" was refused")
    for form in (SECRET, echo(SECRET), in_base64(SECRET)[2:-4], SECRET[:16], SECRET[-10:]):
        assert form not in said


@pytest.mark.parametrize("length", range(16, len(SECRET)))
def test_a_secret_whose_end_was_cut_off_is_masked(length: int) -> None:
    learn(SECRET)
    assert mask(f"no: {SECRET[:length]}; is data_center right?") == f"no: {MASK}; is data_center right?"


@given(st.text(max_size=40), st.text(st.characters(codec="utf-8"), min_size=12, max_size=60), st.text(max_size=40))
def test_no_text_keeps_it_and_masking_twice_changes_nothing(before: str, secret: str, after: str) -> None:
    known_secrets._kept.clear()
    learn(secret)
    said = mask(before + secret + after)
    if known_secrets._kept and secret.strip() not in MASK:
        assert secret.strip() not in said
        assert mask(said) == said


@given(st.text())
def test_texts_without_a_secret_stay_as_they_are(text: str) -> None:
    known_secrets._kept.clear()
    learn(SECRET)
    assert mask(text) == text


@pytest.mark.parametrize("secret", ["", "a", "12345", "secret", "password", "correct", "Bearer"])
def test_what_ordinary_texts_contain_is_not_masked(secret: str) -> None:
    learn(secret)
    text = f"the {secret} is wrong, as 12345 and a are"
    assert mask(text) == text


def test_short_passwords_with_digits_are_masked() -> None:
    learn("hunter2")
    assert mask("login hunter2 failed") == f"login {MASK} failed"


class Keys(ConnectorSettings):
    one: SecretStr
    several: list[SecretStr] = []
    named: dict[str, SecretStr] = {}
    url: SecretStr | None = None
    private_key: SecretStr | None = None
    plain: str = ""


def test_the_secrets_of_settings_are_known() -> None:
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
    Keys.model_validate(
        {
            "one": "s3cret-one",
            "several": ["s3cret-two"],
            "named": {"a": "s3cret-three"},
            "url": "postgresql://syncd:s3cret%2Ffour@db/x",
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----",
            "plain": "not-a-s3cret",
        }
    )
    for secret in ("s3cret-one", "s3cret-two", "s3cret-three", "s3cret/four", "s3cret%2Ffour", line):
        assert mask(f"x {secret} y") == f"x {MASK} y"
    for other in ("not-a-s3cret", "postgresql://syncd", "-----BEGIN PRIVATE KEY-----"):
        assert mask(other) == other


def test_the_path_of_a_key_is_no_secret() -> None:
    Keys.model_validate({"one": "s3cret-one", "private_key": "/etc/syncd/salesforce.pem"})
    assert mask("/etc/syncd/salesforce.pem cannot be read") == "/etc/syncd/salesforce.pem cannot be read"


def test_tokens_and_named_values_are_known() -> None:
    Token(access="1000.access9", refresh="1000.refresh9")
    learn_named([("Authorization", "Bearer header9x"), ("client_secret", "form9xyz"), ("grant_type", "refresh_token")])
    said = mask("1000.access9 1000.refresh9 header9x form9xyz refresh_token")
    assert said == " ".join([MASK] * 4 + ["refresh_token"])


def test_the_oldest_tokens_are_forgotten_and_configured_secrets_are_not() -> None:
    learn("configured-1")
    for number in range(known_secrets.MOST_TOKENS + 1):
        learn(f"token-{number:04}", passing=True)
    assert mask("configured-1 token-0000 token-0001") == f"{MASK} token-0000 {MASK}"


def test_every_failure_and_fault_is_masked() -> None:
    learn(SECRET)
    for raised in (
        Ambiguous(f"got {SECRET}", code=f"E-{SECRET}"),
        Misconfigured(f"got {SECRET}", field=SECRET),
        Rejected(f"got {SECRET}", field=SECRET),
        SyncdError(f"got {SECRET}"),
    ):
        for text in (str(raised), repr(raised), *(str(value) for value in vars(raised).values())):
            assert SECRET not in text
        assert MASK in str(raised)
