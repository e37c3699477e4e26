"""What Zoho Desk refuses of one record speaks of that record: the source goes on with the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import responses

from syncd.connector import Context
from syncd.connectors.accounts.zoho import SCHEME
from syncd.connectors.desk.zoho_api import DeskApi
from syncd.connectors.desk.zoho_tickets import person
from syncd.errors import Failure, Misconfigured, Transient
from syncd.http.client import Bearer
from syncd.http.oauth import MemoryTokens, Token

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
DESK = "https://desk.zoho.eu"


def api() -> DeskApi:
    tokens = MemoryTokens(lambda: NOW)
    held = Bearer(tokens, "g", lambda _: Token(access="t", expires_at=NOW + timedelta(hours=1)), scheme=SCHEME)
    return DeskApi(DESK, held, "1", Context(name="desk", tokens=tokens, clock=lambda: NOW))


@responses.activate
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "FORBIDDEN", Transient),
        (422, "UNPROCESSABLE_ENTITY", Transient),
        (403, "SCOPE_MISMATCH", Misconfigured),
        (403, "LICENSE_ACCESS_LIMITED", Misconfigured),
    ],
)
def test_a_ticket_we_may_not_see_harms_only_itself(status: int, code: str, expected: type[Failure]) -> None:
    """Misconfigured would hold every hint of the source back, for ever: a webhook tells of all departments."""
    responses.get(f"{DESK}/api/v1/tickets/5", status=status, json={"errorCode": code, "message": "no"})
    with pytest.raises(expected) as caught:
        api().ticket("5")
    assert type(caught.value) is expected


@responses.activate
def test_a_search_we_may_not_make_is_for_a_person() -> None:
    responses.get(f"{DESK}/api/v1/tickets/search", status=403, json={"errorCode": "FORBIDDEN", "message": "no"})
    with pytest.raises(Misconfigured):
        api().search(NOW, NOW, 0)


@responses.activate
def test_a_contact_we_may_not_see_does_not_stop_the_poll() -> None:
    responses.get(f"{DESK}/api/v1/contacts/5", status=403, json={"errorCode": "FORBIDDEN", "message": "no"})
    assert api().contact("5") is None


def test_a_contact_without_address_and_number_is_known_by_its_social_names() -> None:
    contact = {"id": "7", "facebook": " ann.lee ", "twitter": None}
    assert person(contact, {}, None).identities == ("handle:facebook:ann.lee",)
