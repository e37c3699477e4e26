"""`outlook_contacts` passes the kit against its stand-in, and tells changed, moved, deleted and repeated contacts apart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from syncd.connector import Batch, Context, Request
from syncd.connectors.accounts.graph_subscriptions import STATE
from syncd.connectors.contacts.outlook_contacts import CONNECTOR, OutlookContacts
from syncd.errors import Misconfigured, Transient, UsageError
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from syncd.testing import (
    BackfillConformance,
    PollingConformance,
    SourceLedger,
    SubscriptionConformance,
    WebhookConformance,
)
from syncd.twins.fake_events import FakeEvents
from syncd.twins.graph import GraphTwin
from tests.graph_rig import APP, MAILBOX, SECRET, NotifyingVendor, validating

RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
NOW = datetime.now(UTC).replace(microsecond=0)


class ContactsTwin(GraphTwin):
    events = FakeEvents(
        object="contacts",
        at="lastModifiedDateTime",
        key="AAkALg{}=".format,
        fields={"displayName": "An {n}"},
        people={
            "email": {"emailAddresses": [{"name": "An", "address": "an{n}@customer.example"}]},
            "phone": {"businessPhones": ["+84912345678"]},
        },
        spoilt={"id": None},
    )


class Contacts(NotifyingVendor):
    throttling: ClassVar[dict[str, Any]] = {"on": "contacts_delta", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "contacts_delta", "do": "cut"}
    resource = f"Users/{MAILBOX}/Contacts/AAkALg1="


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with validating() as address:
        yield address


@pytest.fixture(scope="module")
def running() -> Iterator[ContactsTwin]:
    with ContactsTwin() as twin:
        yield twin


@pytest.fixture
def twin(running: ContactsTwin) -> ContactsTwin:
    running.reset()
    running.between_calls = None
    return running


def source(twin: GraphTwin, url: str = "", **more: Any) -> OutlookContacts:
    keys = {"mailbox": MAILBOX, "auth": APP, "graph_url": twin.url, "login_url": twin.url, **more.pop("keys", {})}
    context = Context(name="book", tokens=MemoryTokens(), webhook_url=url, region="VN", **more)
    made = CONNECTOR.build(CONNECTOR.settings.model_validate(keys), context)
    assert isinstance(made, OutlookContacts)
    return made


class TestOutlookContacts(WebhookConformance, PollingConformance, BackfillConformance, SubscriptionConformance):
    connector = CONNECTOR

    @pytest.fixture
    def vendor(self, twin: ContactsTwin) -> Contacts:
        return Contacts(twin, {STATE: SECRET})

    @pytest.fixture
    def ledger(self, connect: Callable[..., Any], vendor: Contacts) -> SourceLedger:
        """A registration came before."""
        return SourceLedger(connect=lambda: connect(vendor.memory), now=vendor.first_moment, memory=vendor.memory)

    @pytest.fixture
    def connect(self, twin: ContactsTwin, url: str) -> Callable[[dict[str, str]], OutlookContacts]:
        return lambda memory: source(twin, url, recall=lambda keys: {key: memory[key] for key in keys if key in memory})


class Book:
    """A source with what it remembers, as the store keeps it."""

    def __init__(self, twin: GraphTwin, **keys: Any) -> None:
        self.memory: dict[str, str] = {}
        self.twin, self.keys = twin, keys
        self.state = self.source.start(NOW)
        self.dropped: dict[str, int] = {}

    @property
    def source(self) -> OutlookContacts:
        return source(
            self.twin, keys=self.keys, recall=lambda asked: {k: self.memory[k] for k in asked if k in self.memory}
        )

    def poll(self) -> list[Signal]:
        found: list[Signal] = []
        for batch in self.source.poll(self.state, NOW):
            found += self.keep(batch)
        return found

    def keep(self, batch: Batch) -> list[Signal]:
        self.state = batch.state or self.state
        for key, value in batch.remember.items():
            self.memory[key] = value or ""
            if value is None:
                del self.memory[key]
        for why, count in batch.dropped.items():
            self.dropped[why] = self.dropped.get(why, 0) + count
        return list(batch.signals)


def contact(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": f"AAkA-_{number}=",
        "displayName": "Tran Thi An",
        "givenName": "An",
        "surname": "Tran Thi",
        "emailAddresses": [
            {"name": "An", "address": "/O=EXCHANGELABS/OU=GROUP/CN=AN"},
            {"name": "An", "address": "An@Customer.example"},
            {"name": "An", "address": "an.private@gmail.com"},
        ],
        "businessPhones": ["ext. 12", "0912 345 678"],
        "lastModifiedDateTime": (NOW + timedelta(days=1)).isoformat(),  # after every start
        **more,
    }


def before(number: int = 1, **more: Any) -> dict[str, Any]:
    return contact(number, lastModifiedDateTime=(NOW - timedelta(days=90)).isoformat(), **more)


COMPANY = {
    "companyName": "Customer Ltd",
    "jobTitle": "Buyer",
    "businessHomePage": "https://www.customer.example",
    "businessAddress": {
        "street": "1 Trang Tien",
        "city": "Hanoi",
        "postalCode": "100000",
        "countryOrRegion": "Vietnam",
    },
}


def test_the_person_is_who_can_be_reached(twin: ContactsTwin) -> None:
    book = Book(twin)
    twin.add("contacts", **contact(), **COMPANY)
    person, company = book.poll()
    assert (person.type, person.person.email, person.person.phone) == (
        "contact.changed",
        "an@customer.example",
        "+84912345678",
    )
    assert person.title == "Contact changed: Tran Thi An"
    assert person.data == {
        "job_title": "Buyer",
        "website": "https://www.customer.example",
        "street": "1 Trang Tien",
        "city": "Hanoi",
        "postal_code": "100000",
        "country": "Vietnam",
        "emails": ["an.private@gmail.com"],
    }
    assert (company.type, company.person.company, company.person.identity) == ("account.changed", "Customer Ltd", "")
    assert company.title == "Company changed: Customer Ltd"
    assert "emails" not in company.data


def test_what_was_there_before_is_remembered_and_makes_no_signal(twin: ContactsTwin) -> None:
    twin.add("contacts", **before())
    book = Book(twin)
    assert book.poll() == []
    twin.modify("contacts", "AAkA-_1=", jobTitle="Head of purchasing", lastModifiedDateTime=NOW.isoformat())
    (changed,) = book.poll()
    assert changed.data["job_title"] == "Head of purchasing"


def test_a_change_that_says_nothing_new_is_counted(twin: ContactsTwin) -> None:
    twin.add("contacts", **before(), **COMPANY)
    book = Book(twin)
    book.poll()
    twin.modify("contacts", "AAkA-_1=", categories=["Red"], lastModifiedDateTime=NOW.isoformat())
    assert (book.poll(), book.dropped) == ([], {"an entry that reads as before": 1})
    twin.modify("contacts", "AAkA-_1=", jobTitle="Director")
    assert [one.type for one in book.poll()] == ["contact.changed"]  # the company says what it said


def test_two_people_of_a_company_make_one_signal_of_it(twin: ContactsTwin) -> None:
    book = Book(twin)
    twin.add("contacts", **contact(1), **COMPANY)
    twin.add("contacts", **contact(2, displayName="Binh"), **COMPANY)
    companies = [one.id for one in book.poll() if one.type == "account.changed"]
    assert len(companies) == 2
    assert len(set(companies)) == 1


def test_a_new_address_names_the_one_before(twin: ContactsTwin) -> None:
    twin.add("contacts", **before())
    book = Book(twin)
    book.poll()
    twin.modify("contacts", "AAkA-_1=", emailAddresses=[{"address": "an@elsewhere.example"}])
    (changed,) = book.poll()
    assert (changed.person.email, changed.data["previous_email"]) == ("an@elsewhere.example", "an@customer.example")


def test_a_deletion_names_who_it_was(twin: ContactsTwin) -> None:
    twin.add("contacts", **before())
    book = Book(twin)
    book.poll()
    twin.delete("AAkA-_1=")
    (deleted,) = book.poll()
    assert (deleted.type, deleted.person.email, deleted.title) == (
        "contact.deleted",
        "an@customer.example",
        "Contact deleted: Tran Thi An",
    )
    assert not [key for key in book.memory if key.startswith("entry ")]


def test_a_contact_that_was_moved_is_not_deleted(twin: ContactsTwin) -> None:
    twin.add("contacts", **before())
    book = Book(twin, folders=["contacts", "partners"])
    book.poll()
    twin.modify("contacts", "AAkA-_1=", folder="partners")
    assert book.poll() == []
    assert book.dropped == {"moved to another folder": 1, "an entry that reads as before": 1}


def test_a_first_page_that_is_refused_is_no_resync(twin: ContactsTwin) -> None:
    book = Book(twin)
    twin.plan.add([{"on": "contacts_delta", "times": 1, "do": "error", "status": 410, "code": "SyncStateNotFound"}])
    with pytest.raises(Transient, match="not known any more"):
        book.poll()


def test_a_backfill_whose_page_is_gone_begins_again(twin: ContactsTwin) -> None:
    for number in range(1, 6):
        twin.add("contacts", **before(number))
    made, since = source(twin), NOW - timedelta(days=100)
    first = next(iter(made.backfill(since, NOW, None)))
    twin.plan.add([{"on": "contacts", "times": 1, "do": "error", "status": 410, "code": "SyncStateNotFound"}])
    rest = [one for batch in made.backfill(since, NOW, first.state) for one in batch.signals]
    assert len({one.id for one in rest} | {one.id for one in first.signals}) == 5


def test_an_entry_that_cannot_be_reached_is_counted_and_its_company_told(twin: ContactsTwin) -> None:
    book = Book(twin)
    twin.add("contacts", **contact(emailAddresses=[], businessPhones=[]), **COMPANY)
    assert [one.type for one in book.poll()] == ["account.changed"]
    assert book.dropped == {"an entry without an email address and a phone number": 1}


def test_after_a_resync_only_what_differs_is_a_signal(twin: ContactsTwin) -> None:
    for number in range(1, 6):
        twin.add("contacts", **before(number))
    book = Book(twin)
    book.poll()
    twin.expire_pages()
    twin.modify("contacts", "AAkA-_4=", jobTitle="Director")
    assert [one.data.get("job_title") for one in book.poll()] == ["Director"]
    twin.delete("AAkA-_2=")
    assert [one.type for one in book.poll()] == ["contact.deleted"]  # what is remembered outlives the resync


def test_a_quiet_poll_writes_nothing(twin: ContactsTwin) -> None:
    twin.add("contacts", **before())
    book = Book(twin)
    book.poll()
    assert list(book.source.poll(book.state, NOW)) == []


def test_other_folders_are_read_and_one_that_is_gone_harms_none(twin: ContactsTwin) -> None:
    book = Book(twin, folders=["nowhere", "partners"])
    twin.add("contacts", **contact(folder="partners"))
    batches = book.source.poll(book.state, NOW)
    assert [one.type for one in next(batches).signals] == ["contact.changed"]
    with pytest.raises(Misconfigured, match="check folders"):
        next(batches)


def test_check_online_and_sign_in(twin: ContactsTwin) -> None:
    assert [one.what for one in source(twin).check_online()] == ["sign-in", "folder contacts"]
    with pytest.raises(UsageError, match="signs in by itself"):
        source(twin).sign_in()
    user = source(twin, keys={"auth": {"tenant": "t.example", "client_id": "app", "flow": "delegated"}})
    assert user.sign_in().scopes == (f"{twin.url}/Contacts.Read", "offline_access")


def test_a_registration_covers_changes_and_deletions(twin: ContactsTwin, url: str) -> None:
    (one,) = source(twin, url).subscribe().there
    kept = twin.store.get("subscriptions", one.id) or {}
    assert (kept["changeType"], kept["resource"]) == ("created,updated,deleted", f"/users/{MAILBOX}/contacts")


@pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")
def test_the_published_notification_is_read(twin: ContactsTwin) -> None:
    said = json.loads((Path(RECORDINGS) / "graph.json").read_text("utf-8"))["change-notification"]["inbound"]["body"]
    assert source(twin).parse(Request("POST", "", {}, json.dumps(said).encode(), NOW)).poll_now
