"""`google_contacts` passes the kit against its stand-in, and keeps contacts apart over merges, expired tokens and deletions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from syncd.connector import Batch, Context
from syncd.connectors.contacts.google_contacts import CONNECTOR, LIST, SCOPE, GoogleContacts, GoogleContactsSettings
from syncd.errors import Misconfigured, RateLimited, Transient, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import BackfillConformance, PollingConformance, SourceLedger, TwinVendor
from syncd.twins.google import GoogleTwin

NOW = datetime.now(UTC).replace(microsecond=0)
ACCOUNT = "sales@ourcompany.example"
CLIENT = {"client_id": "app", "client_secret": "twin-secret-of-the-app", "refresh_token": "twin-refresh-token"}


class GoogleBook(TwinVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "connections", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "connections", "do": "cut"}


@pytest.fixture(scope="module")
def running() -> Iterator[GoogleTwin]:
    with GoogleTwin() as twin:
        yield twin


@pytest.fixture
def twin(running: GoogleTwin) -> GoogleTwin:
    running.reset()
    running.between_calls = None
    return running


def source(twin: GoogleTwin, *, auth: Mapping[str, Any] = CLIENT, **more: Any) -> GoogleContacts:
    keys = {"account": ACCOUNT, "auth": dict(auth), "base_url": twin.url, "token_url": f"{twin.url}/token"}
    context = Context(name="book", tokens=MemoryTokens(), region="VN", **more)
    return GoogleContacts(GoogleContactsSettings.model_validate(keys), context)


class TestGoogleContacts(PollingConformance, BackfillConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, twin: GoogleTwin) -> GoogleBook:
        return GoogleBook(twin)

    @pytest.fixture
    def ledger(self, twin: GoogleTwin, vendor: GoogleBook) -> SourceLedger:
        memory: dict[str, str] = {}

        def recall(keys: Any) -> dict[str, str]:
            return {key: memory[key] for key in keys if key in memory}

        return SourceLedger(connect=lambda: source(twin, recall=recall), now=vendor.first_moment, memory=memory)

    @pytest.fixture
    def connect(self, twin: GoogleTwin) -> Callable[[], GoogleContacts]:
        return lambda: source(twin)


class KeptBook:
    """A source with what it remembers, as the store keeps it."""

    def __init__(self, twin: GoogleTwin) -> None:
        self.memory: dict[str, str] = {}
        self.dropped: dict[str, int] = {}
        self.twin, self.now = twin, NOW
        self.state = self.source.start(NOW)

    @property
    def source(self) -> GoogleContacts:
        return source(self.twin, recall=lambda asked: {k: self.memory[k] for k in asked if k in self.memory})

    def poll(self) -> list[Signal]:
        return [one for batch in self.source.poll(self.state, self.now) for one in self.keep(batch)]

    def keep(self, batch: Batch) -> list[Signal]:
        self.state = batch.state or self.state
        for key, value in batch.remember.items():
            self.memory[key] = value or ""
            if value is None:
                del self.memory[key]
        for why, count in batch.dropped.items():
            self.dropped[why] = self.dropped.get(why, 0) + count
        return list(batch.signals)


def person(number: int = 1, *, days: float = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "updated": (NOW + timedelta(days=days)).isoformat(),
        "names": [
            {"displayName": "An (old)", "metadata": {}},
            {"displayName": "Tran Thi An", "givenName": "An", "familyName": "Tran Thi", "metadata": {"primary": True}},
        ],
        "emailAddresses": [
            {"value": "an.private@gmail.com"},
            {"value": f"an{number}@customer.example", "metadata": {"primary": True}},
        ],
        "phoneNumbers": [
            {"value": "0987 654 321", "canonicalForm": "+84987654321", "type": "mobile"},
            {"value": "0912 345 678", "canonicalForm": "+84912345678", "type": "work"},
        ],
        **more,
    }


WORK = {
    "organizations": [{"name": "Customer Ltd", "title": "Buyer", "department": "Purchasing", "current": True}],
    "addresses": [{"streetAddress": "1 Trang Tien", "city": "Hanoi", "postalCode": "100000", "country": "Vietnam"}],
    "urls": [{"value": "https://www.customer.example", "type": "work"}],
}


def test_primary_values_are_who_it_is(twin: GoogleTwin) -> None:
    book = KeptBook(twin)
    twin.add("people", **person(), **WORK)
    contact, company = book.poll()
    assert (contact.person.name, contact.person.email, contact.person.phone) == (
        "Tran Thi An",
        "an1@customer.example",
        "+84912345678",
    )
    assert contact.data == {
        "job_title": "Buyer",
        "department": "Purchasing",
        "mobile": "+84987654321",
        "website": "https://www.customer.example",
        "street": "1 Trang Tien",
        "city": "Hanoi",
        "postal_code": "100000",
        "country": "Vietnam",
        "emails": ["an.private@gmail.com"],
    }
    assert (company.type, company.person.company) == ("account.changed", "Customer Ltd")


def test_a_merged_contact_is_the_one_it_was(twin: GoogleTwin) -> None:
    """Its resourceName is another one after the merge, and the one before is told of as deleted."""
    twin.add("people", **person(1, days=-90))
    book = KeptBook(twin)
    book.poll()
    twin.delete("1")
    merged = {"metadata": {"previousResourceNames": ["people/c1"]}, "source": "5f1"}
    twin.add("people", **{**person(1, days=-80), "id": "9"}, **merged)
    assert book.poll() == []
    assert book.dropped == {"an entry that reads as before": 1, "merged into another contact": 1}
    twin.modify("people", "9", organizations=[{"title": "Director"}])
    (changed,) = book.poll()
    assert changed.data["job_title"] == "Director"
    twin.delete("9")
    assert [one.person.email for one in book.poll()] == ["an1@customer.example"]


def test_a_deletion_names_who_it_was(twin: GoogleTwin) -> None:
    twin.add("people", **person(days=-90))
    book = KeptBook(twin)
    assert book.poll() == []
    twin.delete("1")
    (deleted,) = book.poll()
    assert (deleted.type, deleted.person.email) == ("contact.deleted", "an1@customer.example")
    assert book.memory == {}


def test_an_expired_token_reads_all_again_and_tells_what_differs(twin: GoogleTwin) -> None:
    for number in range(1, 6):
        twin.add("people", **person(number, days=-90))
    book = KeptBook(twin)
    book.poll()
    twin.expire_pages()
    twin.modify("people", "4", organizations=[{"title": "Director"}])
    assert [one.data.get("job_title") for one in book.poll()] == ["Director"]


def test_the_token_is_renewed_before_it_expires(twin: GoogleTwin) -> None:
    """What was deleted until then is read first: a reading of all contacts does not tell of it."""
    for number in range(1, 4):
        twin.add("people", **person(number, days=-90))
    book = KeptBook(twin)
    book.poll()
    cursor = json.loads(book.state)
    cursor["all_read"] = (NOW - timedelta(days=6, minutes=1)).isoformat()
    book.state = json.dumps(cursor).encode()
    twin.delete("2")
    before = twin.counts["op:connections"]
    assert [one.type for one in book.poll()] == ["contact.deleted"]
    assert twin.counts["op:connections"] == before + 2
    again = json.loads(book.state)
    assert again["sync"] not in ("", cursor["sync"])
    assert datetime.fromisoformat(again["all_read"]) > NOW - timedelta(minutes=5)


def test_a_quiet_poll_writes_nothing_and_an_empty_book_is_no_fault(twin: GoogleTwin) -> None:
    book = KeptBook(twin)
    book.poll()
    assert list(book.source.poll(book.state, NOW)) == []


def test_every_call_has_the_same_parameters(twin: GoogleTwin) -> None:
    """Google refuses a token that comes with others."""
    for number in range(1, 6):
        twin.add("people", **person(number))
    book, asked = KeptBook(twin), []
    book.poll()
    call = GoogleContacts._read

    def spied(self: GoogleContacts, query: Mapping[str, str]) -> Any:
        asked.append({name: value for name, value in query.items() if name not in ("pageToken", "syncToken")})
        return call(self, query)

    made = book.source
    made._read = spied.__get__(made)  # type: ignore[method-assign]
    list(made.poll(book.state, NOW))
    assert asked == [{**LIST, "requestSyncToken": "true"}]


def test_googles_refusals_say_what_to_do(twin: GoogleTwin) -> None:
    for status, code, failure, said in (
        (403, "SERVICE_DISABLED", Misconfigured, "enable the People API"),
        (403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", Misconfigured, "sign in again"),
        (429, "RESOURCE_EXHAUSTED", RateLimited, "too many requests"),
        (503, "UNAVAILABLE", Transient, "cannot answer"),
    ):
        twin.plan.add([{"on": "connections", "times": 1, "do": "error", "status": status, "code": code}])
        with pytest.raises(failure, match=said):
            list(source(twin).check_online())
    twin.plan.add([{"on": "connections", "times": 1, "do": "error", "status": 429, "code": "RATE_LIMIT_EXCEEDED"}])
    with pytest.raises(RateLimited) as slow:
        source(twin).start(NOW)
    assert slow.value.retry_after == 60


def test_check_online_and_sign_in(twin: GoogleTwin) -> None:
    assert [one.what for one in source(twin).check_online()] == ["sign-in", "contacts"]
    with pytest.raises(UsageError, match="refresh_token"):
        source(twin).sign_in()
    user = source(twin, auth={"client_id": "app", "client_secret": "s"})
    asked = user.sign_in()
    assert (asked.scopes, asked.parameters["access_type"]) == ((SCOPE,), "offline")
    with pytest.raises(Misconfigured, match="syncd auth book"):
        list(user.check_online())


def test_a_service_account_signs_in_for_the_user(twin: GoogleTwin) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    given = json.dumps({"client_email": "syncd@project.iam.gserviceaccount.com", "private_key": pem})
    made = source(twin, auth={"service_account": given})
    assert [one.what for one in made.check_online()] == ["sign-in", "contacts"]
    assertion = made._settings._assertion(made._context, SCOPE, NOW)
    said = jwt.decode(assertion, key.public_key(), algorithms=["RS256"], audience=f"{twin.url}/token")
    assert (said["iss"], said["sub"], said["scope"]) == ("syncd@project.iam.gserviceaccount.com", ACCOUNT, SCOPE)
    with pytest.raises(UsageError, match="signs in by itself"):
        made.sign_in()
    with pytest.raises(Misconfigured, match="not the JSON key"):
        list(source(twin, auth={"service_account": "./nowhere.json"}).check_online())


@pytest.mark.parametrize("auth", [{}, {"client_id": "app", "service_account": "{}"}])
def test_one_way_to_sign_in_is_needed(twin: GoogleTwin, auth: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either client_id"):
        source(twin, auth=auth)
