"""`type: http`: a source of YAML alone keeps what the intake relies on, with pages, limits and expiring tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from syncd.connector import Context
from syncd.connectors.generic.http_list import CONNECTOR, HttpList, HttpSettings
from syncd.errors import Failure, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.oauth import MemoryTokens
from syncd.signals import Route, Signal
from syncd.testing import BackfillConformance, PollingConformance, TwinVendor
from syncd.time_cursor import TimeCursor, encode
from syncd.twins.fake_events import FakeEvents
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, LinkPages, OffsetPages, TokenPages, listed, token_endpoint
from syncd.twins.wire import TwinResponse


class Acme(FakeVendor):
    """One list, by token with a time filter, and without any filter, newest first."""

    name = "acme"
    events = FakeEvents(object="answers", at="at", people={"email": "email", "phone": "phone", "handle": "x"})
    routes = (
        FakeRoute("POST /oauth/token", token_endpoint(), "token", open=True),
        FakeRoute(
            "GET /answers", listed("answers", items="data", sort="at", pages=TokenPages(), least={"from": "at"}), "list"
        ),
        FakeRoute(
            "GET /newest", listed("answers", items="", sort="at", newest_first=True, pages=LinkPages()), "newest"
        ),
        FakeRoute(
            "GET /counted", listed("answers", sort="at", pages=OffsetPages("skip"), least={"from": "at"}), "counted"
        ),
    )

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(status, {"error": {"code": code, "message": message}})


LIST: dict[str, Any] = {
    "path": "/answers",
    "items": "data",
    "since": "from",
    "pages": {"by": "token", "parameter": "page_token", "at": "next_page_token", "expired": ["INVALID_PAGE_TOKEN"]},
}
NEWEST: dict[str, Any] = {"path": "/newest", "order": "newest_first", "pages": {"by": "link_header"}}
COUNTED: dict[str, Any] = {
    "path": "/counted",
    "items": "data",
    "since": "from",
    "pages": {"by": "offset", "parameter": "skip", "size": 3},
}
SIGNAL: dict[str, Any] = {
    "type": "survey.responded",
    "id": "{{ item.id }}",
    "occurred_at": "{{ item.at }}",
    "title": "Answer {{ item.id }}",
    "person": {"email": "{{ item.email }}", "phone": "{{ item.phone }}", "handles": {"x": "{{ item.x }}"}},
}


def source(url: str, context: Context | None = None, **keys: Any) -> HttpList:
    settings = HttpSettings.model_validate(
        {
            "base_url": url,
            "account": "4711",
            "auth": {"bearer": Acme.token},
            "list": LIST,
            "signal": SIGNAL,
            "errors": {"code": "error.code", "message": "error.message", "codes": {"QUOTA_EXCEEDED": "quota"}},
            **keys,
        }
    )
    return CONNECTOR.build(settings, context or Context(name="answers", tokens=MemoryTokens()))


class AcmeAnswers(TwinVendor):
    twin: Acme

    @property
    def secrets(self) -> list[str]:
        return [Acme.token]


class _Suites(PollingConformance, BackfillConformance):
    connector = CONNECTOR
    keys: ClassVar[dict[str, Any]] = LIST

    @pytest.fixture
    def vendor(self) -> Iterator[AcmeAnswers]:
        with Acme() as twin:
            yield AcmeAnswers(twin)

    @pytest.fixture
    def connect(self, vendor: AcmeAnswers) -> Callable[[], Any]:
        return lambda: source(vendor.twin.url, list=self.keys)


class TestOldestFirstByToken(_Suites):
    pass


class TestOldestFirstByOffset(_Suites):
    keys = COUNTED


class TestNewestFirstByLink(_Suites):
    keys = NEWEST


class SignedInAnswers(AcmeAnswers):
    """Its list has the trouble, not its token endpoint."""

    throttling: ClassVar[dict[str, Any]] = {"on": "list", "do": "too_many"}
    breaking: ClassVar[dict[str, Any]] = {"on": "list", "do": "cut"}


class TestOAuth(_Suites):
    """The access token expires while the list is read."""

    @pytest.fixture
    def vendor(self) -> Iterator[AcmeAnswers]:
        with Acme() as twin:
            yield SignedInAnswers(twin)

    @pytest.fixture
    def connect(self, vendor: AcmeAnswers) -> Callable[[], Any]:
        oauth = {
            "token_url": f"{vendor.twin.url}/oauth/token",
            "client_id": "app",
            "client_secret": "s3cret-of-the-app",
        }
        tokens = MemoryTokens()
        return lambda: source(vendor.twin.url, Context(name="answers", tokens=tokens), auth={"oauth": oauth})


NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


@pytest.fixture
def acme() -> Iterator[Acme]:
    with Acme() as twin:
        yield twin


def signals(made: HttpList) -> list[Signal]:
    state = encode(TimeCursor(NOW - timedelta(hours=1)))
    return [signal for batch in made.poll(state, NOW) for signal in batch.signals]


def test_a_wrong_item_goes_to_quarantine_alone_and_can_be_read_again(acme: Acme) -> None:
    acme.add("answers", id="a1", at="2026-11-22T03:30:00Z", email="an@example.org")
    acme.add("answers", id="a2", at="next Tuesday")
    acme.add("answers", id="a3", at="2026-11-22T03:40:00Z")
    made = source(acme.url, list=NEWEST)
    (batch,) = made.poll(encode(TimeCursor(NOW - timedelta(hours=1))), NOW)
    assert [signal.title for signal in batch.signals] == ["Answer a1", "Answer a3"]
    (misfit,) = batch.misfits
    assert "occurred_at" in misfit.reason
    again = made.reparse(
        misfit.request.__class__(**{**vars(misfit.request), "body": b'[{"id": "a2", "at": 1795320000}]'})
    )
    assert [signal.title for signal in again.signals] == ["Answer a2"]


def test_what_becomes_of_an_item(acme: Acme) -> None:
    acme.add("answers", id="a1", at="2026-11-22T03:30:00Z", email="An@Example.org", phone="0912 345 678")
    (signal,) = signals(source(acme.url, Context(name="answers", tokens=MemoryTokens(), region="VN")))
    assert (signal.person.email, signal.person.phone) == ("an@example.org", "+84912345678")
    assert (signal.route, signal.occurred_at) == (Route.POLL, datetime(2026, 11, 22, 3, 30, tzinfo=UTC))
    assert signal.data["id"] == "a1"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "too_many"}, RateLimited),
        ({"do": "error", "status": 403, "code": "NO"}, Misconfigured),
        ({"do": "error", "status": 500, "code": "X"}, Transient),
        ({"do": "html"}, Transient),
    ],
)
def test_faults_become_classes(acme: Acme, fault: dict[str, Any], expected: type[Failure]) -> None:
    acme.plan.add([{"on": "list", "times": 9, **fault}])
    with pytest.raises(expected) as caught:
        signals(source(acme.url))
    assert Acme.token not in str(caught.value)


def test_a_code_that_the_configuration_names() -> None:
    with Acme(credits=0) as acme, pytest.raises(QuotaExhausted):
        signals(source(acme.url))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"auth": {"bearer": "a", "username": "b", "password": "c"}}, "give one of oauth"),
        ({"auth": {"header": "X-Key"}}, "need key"),
        ({"list": {**LIST, "since": ""}}, "needs since"),
        ({"list": {**LIST, "pages": {"by": "token"}}}, "need parameter and at"),
        ({"signal": {**SIGNAL, "each": "{{ body.x }}"}}, "is not for type http"),
        ({"signal": {**SIGNAL, "id": ""}}, "id: is missing"),
    ],
)
def test_keys_are_checked(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        source("https://api.acme.example", **keys)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (
            "data.events",
            "list.items is data.events, and /answers has another shape than documented: there is no data.events; ",
        ),
        (
            "rows",
            "list.items is rows, and /answers has another shape than documented: there is no rows; the body has data; set",
        ),
        ("", "list.items is empty, so the body must be the list, and "),
    ],
)
def test_a_wrong_path_of_the_items_is_named_with_what_is_there(acme: Acme, items: str, says: str) -> None:
    acme.add("answers", id="a1", at="2026-11-20T08:00:00Z", email="an@example.org")
    with pytest.raises(Transient) as caught:
        signals(source(acme.url, list={**LIST, "items": items}))
    assert says in str(caught.value)
    assert str(caught.value).endswith("; set list.items to the key under which the list is")
    assert "an@example.org" not in str(caught.value)
