"""The table of kinds in docs/delivery.md is what the connectors say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from syncd import registry
from syncd.connector import Context, WriteKind
from syncd.http.oauth import MemoryTokens

PAGE = Path(__file__).parents[2] / "docs" / "delivery.md"
SETTINGS: dict[str, dict[str, Any]] = {
    "salesforce": {
        "login_url": "https://x.my.salesforce.com",
        "auth": {"flow": "client_credentials", "client_id": "x", "client_secret": "x"},
    },
    "zoho": {"auth": {"client_id": "x", "client_secret": "x", "refresh_token": "x"}},
    "bitrix24": {"base_url": "https://x.example/rest/1/secret/"},
    "database": {"url": "sqlite:///x.db"},
    "webhook": {"url": "https://x.example/"},
}
ROW = re.compile(r"^\| (salesforce|zoho|bitrix24|database|webhook) \| (.+) \| (.+) \|$", re.MULTILINE)
ROWS = [row for row in ROW.findall(PAGE.read_text("utf-8")) if "kinds:" not in row[1]]


def objects(said: str) -> list[str]:
    """The objects of a row; any will do where it names none."""
    named = re.findall(
        r"\b(Lead|Contact|Company|Deal|Comment|Todo|Case|Task|Event|Leads|Contacts|Accounts|Deals|Tasks|Calls|Events|Notes)\b",
        said,
    )
    return named or ["Anything"]


@pytest.mark.parametrize(("crm", "said", "kind"), ROWS)
def test_the_table_is_so(crm: str, said: str, kind: str) -> None:
    connector = registry.load("destination", crm)
    built = connector.build(connector.settings.model_validate(SETTINGS[crm]), Context(name="x", tokens=MemoryTokens()))
    key = "" if "without" in said and "Notes" not in said else "Syncd_Key"
    for object_ in objects(said):
        keying = built.keying(object_, key)
        assert keying.kind is WriteKind(kind.split("`")[1]), object_
        if keying.kind is WriteKind.UPSERT:
            assert keying.enforced is ("not enforced" not in kind), object_
    built.close()


def test_every_destination_is_in_the_table() -> None:
    assert {crm for crm, _, _ in ROWS} == set(registry.names("destination"))
