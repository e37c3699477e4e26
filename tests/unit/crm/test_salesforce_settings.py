"""The keys of a Salesforce destination: what is refused, and what follows from what is given."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd.connector import Context, Idempotency, WriteKind
from syncd.connectors.accounts.salesforce import grant_of
from syncd.connectors.crm.salesforce import CONNECTOR, Salesforce, SalesforceSettings
from syncd.http.oauth import MemoryTokens
from syncd.registry import load

JWT = {"flow": "jwt_bearer", "client_id": "c", "username": "u", "private_key": "-----BEGIN x"}
SECRET = {"flow": "client_credentials", "client_id": "c", "client_secret": "hush"}
HOME = "https://example.my.salesforce.com"


def settings(**keys: Any) -> SalesforceSettings:
    return SalesforceSettings.model_validate({"login_url": HOME, "auth": SECRET, **keys})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"login_url": "https://login.salesforce.com"}, "My Domain"),
        ({"login_url": "http://example.my.salesforce.com"}, "https"),
        ({"auth": {"flow": "client_credentials", "client_id": "c"}}, "also needs client_secret"),
        ({"auth": {"flow": "jwt_bearer", "client_id": "c"}}, "username and private_key"),
        ({"auth": {"flow": "password", "client_id": "c"}}, "client_credentials"),
        ({"api_version": "v31.0"}, "too old"),
        ({"api_version": "latest"}, "v62.0"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        settings(**keys)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(("written", "meant"), [("62", "v62.0"), (66, "v66.0"), ("v64.0", "v64.0"), (63.0, "v63.0")])
def test_versions(written: Any, meant: str) -> None:
    assert settings(api_version=written).api_version == meant


@pytest.mark.parametrize(
    ("login", "audience"),
    [
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com"),
        (HOME, "https://login.salesforce.com"),
        ("https://example--dev.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_audience_follows_from_the_login_host(login: str, audience: str) -> None:
    assert settings(login_url=login, auth=JWT).audience == audience
    assert settings(login_url=login, auth=JWT | {"audience": "https://site.example"}).audience == "https://site.example"


def test_secrets_are_masked_and_grants_tell_users_apart() -> None:
    one = settings()
    assert "hush" not in repr(one)
    assert grant_of(one, "crm") == grant_of(settings(api_version="v66.0"), "crm")
    assert grant_of(one, "crm") != grant_of(settings(auth=SECRET | {"client_id": "d"}), "crm")


def test_the_kinds_of_writes() -> None:
    crm = Salesforce(settings(), Context(name="crm", tokens=MemoryTokens()))
    assert crm.keying("Lead", "K__c") == crm.keying("Own__c", "K__c") == Idempotency(WriteKind.UPSERT, enforced=True)
    assert crm.keying("Task", "K__c") == crm.keying("Event", "K__c") == Idempotency(WriteKind.UPSERT, enforced=False)
    assert crm.keying("Task", "").kind is crm.keying("News__e", "K__c").kind is WriteKind.AT_MOST_ONCE
    assert (crm.capacity, crm.concurrency, crm.doubt, crm.search_lag) == (1000, 1, 600.0, 0.0)
    assert crm.url("Lead", "00Q") == f"{HOME}/lightning/r/Lead/00Q/view"


def test_both_are_found_by_their_type() -> None:
    assert load("destination", "salesforce") is CONNECTOR
    assert load("destination", "database").name == "database"
    for name in ("salesforce", "database"):
        fields = load("destination", name).settings.model_fields
        assert all(field.description for field in fields.values())
