"""The daemon knows no vendor: no name of one, and none of its words, outside of connectors, twins and mappings."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import pytest

SYNCD = Path(__file__).parents[2] / "syncd"
VENDORS_PLACES = ("connectors/", "twins/", "mappings/", "scaffold/", "cli/demo/")
"""Where vendors belong: their code, stand-ins and mappings, what `syncd init` writes, and the demo, which runs a twin."""

NAMES = re.compile(
    r"salesforce|zoho|twilio|sendgrid|mandrill|zendesk|intercom|googleapis|bitrix|salesiq|typeform|mailgun",
    re.IGNORECASE,
)
WORDS = re.compile(
    r"\b(?:OwnerId|WhoId|WhatId|Who_Id|What_Id|Parent_Id|ContactId|AccountId|Contact_Name|Account_Name"
    r"|se_module|OpportunityContactRole|SOQL|COQL|SalesSignals?|UserPermissionAccess|data_center|instance_url|api_domain)\b"
)
OBJECTS = frozenset(
    {"Lead", "Leads", "Contact", "Contacts", "Account", "Accounts", "Case", "Cases", "Task", "Tasks", "Event", "Events"}
    | {"Deal", "Deals", "Opportunity", "Opportunities", "Note", "Notes", "User", "Users", "CampaignMember"}
)
"""Objects of CRMs: not one of these alone is a text of the daemon's code (sentences may hold the words)."""

SHOWN = "examples and the names of what syncd ships, in the help of a command"
EXCEPTIONS: dict[str, tuple[str, frozenset[str]]] = {
    "cli/help.py": (SHOWN, frozenset({"salesforce", "zoho"})),
    "cli/init.py": (SHOWN, frozenset({"salesforce", "zoho"})),
    "cli/service.py": (SHOWN, frozenset({"salesforce", "zoho", "bitrix", "twilio"})),
    "mapping/shipped.py": ("the name of a shipped mapping, as an example", frozenset({"salesforce"})),
    "mapping/testing.py": (
        "an example; the class Case; the object of `account:` and `deal:` in a test that names none",
        frozenset({"salesforce", "WhoId", "Account", "Case", "Deal"}),
    ),
    "mapping/rules_reader.py": ("a link, as an example in a fault", frozenset({"WhoId"})),
    "dispatch/owners.py": (
        "the field of `owner:` in mappings that name none, where a connector does not know its own",
        frozenset({"OwnerId"}),
    ),
    "mapping/lint.py": ("a link, as an example in a warning", frozenset({"AccountId"})),
    "mapping/people_reader.py": (
        "a link, as an example in a fault",
        frozenset({"AccountId"}),
    ),
    "testing/hostile_destination.py": (
        "a stand-in CRM of the conformance kit",
        frozenset({"AccountId", "Account", "Contact", "Opportunity"}),
    ),
}
"""File -> why it may, and the terms it may hold. A term that is not there any more is taken out here."""


def texts(source: str) -> list[str]:
    """What names, strings and comments say."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT)]


def terms(source: str) -> Counter[str]:
    """Every vendor's term in a module, with its count. Formatted strings are one token or several, as Python has it."""
    found: Counter[str] = Counter()
    for text in texts(source):
        found.update(name.lower() for name in NAMES.findall(text))
        found.update(WORDS.findall(text))
    whole = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    found.update(value for value in whole if isinstance(value, str) and value in OBJECTS)
    return found


def modules() -> list[str]:
    paths = (path.relative_to(SYNCD).as_posix() for path in SYNCD.rglob("*.py"))
    return sorted(path for path in paths if not path.startswith(VENDORS_PLACES))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 'Salesforce says'", {"salesforce"}),
        ("# as Zoho does", {"zoho"}),
        ("def twilio_calls(): ...", {"twilio"}),
        ("f'{a}: OwnerId'", {"OwnerId"}),
        ("kind = 'Lead'", {"Lead"}),
        ("'''A lead of the CRM, a Task to do.'''", set()),
        ("open_deals = []", set()),
    ],
)
def test_what_counts(source: str, found: set[str]) -> None:
    assert set(terms(source)) == found


def test_the_daemon_holds_no_vendors_terms() -> None:
    allowed = {path: names for path, (_, names) in EXCEPTIONS.items()}
    held = {path: frozenset(terms((SYNCD / path).read_text("utf-8"))) for path in modules()}
    new = {path: sorted(names - allowed.get(path, frozenset())) for path, names in held.items()}
    assert {path: names for path, names in new.items() if names} == {}, (
        "move it to the connector, or list it with a reason"
    )
    gone = {path: sorted(names - held.get(path, frozenset())) for path, names in allowed.items()}
    assert {path: names for path, names in gone.items() if names} == {}, "these exceptions are not needed any more"
