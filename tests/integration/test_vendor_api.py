"""A vendor's API read through `VendorApi`, against a `FakeVendor`: pages in every form, limits, faults, the vendor's clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.connector import Context
from syncd.errors import Ambiguous, Failure, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.limits import Bucket, MemoryAllowances, MemoryRates, Rate, Reserve, SourceLimits
from syncd.http.oauth import MemoryTokens, Token
from syncd.http.vendor_api import LinkHeaderPaging, LinkPaging, OffsetPaging, Paging, TokenPaging, VendorApi
from syncd.twins.fake_vendor import (
    FakeRoute,
    FakeVendor,
    LinkPages,
    OffsetPages,
    TokenPages,
    changed,
    created,
    listed,
    recorded,
    removed,
    replay,
    single,
    token_endpoint,
)
from syncd.twins.wire import TwinResponse

ERRORS = ErrorTable(
    "Acme",
    {
        "UNAUTHORIZED": Means(Misconfigured, "the token is refused"),
        "TOO_MANY_REQUESTS": Means(RateLimited, "too fast", one_operation=True),
        "QUOTA_EXCEEDED": Means(QuotaExhausted, "the day's units are used"),
    },
    error_at("code", within="error"),
    absent=frozenset({"NOT_FOUND"}),
)


class Acme(FakeVendor):
    """One list in every form of pages, and one record."""

    name = "acme"
    credits_header = "X-Left"
    routes = (
        FakeRoute("GET /token", listed("events", sort="at", pages=TokenPages()), "by_token", cost=3, limit=(50, 60)),
        FakeRoute("GET /offset", listed("events", items="", sort="at", pages=OffsetPages(size=2)), "by_offset"),
        FakeRoute("GET /link", listed("events", sort="at", pages=LinkPages("next")), "by_link"),
        FakeRoute("GET /header", listed("events", items="", sort="at", pages=LinkPages()), "by_header"),
        FakeRoute("GET /since", listed("events", sort="at", newest_first=True, least={"since": "at"}), "since"),
        FakeRoute("GET /odd", recorded({"rows": []})),
        FakeRoute("GET /slow", recorded({"rows": []}), limit=(1, 60)),
        FakeRoute("GET /events/{id}", single("events"), "event"),
        FakeRoute("POST /events", created("events", needs=["at"]), "make"),
        FakeRoute("PATCH /events/{id}", changed("events"), "change"),
        FakeRoute("DELETE /events/{id}", removed("events"), "remove"),
        FakeRoute("POST /oauth/token", token_endpoint(), "token", open=True),
    )

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return TwinResponse(status, {"error": {"code": code, "message": message}})


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def acme(clock: Clock) -> Iterator[Acme]:
    with Acme(clock=lambda: clock().timestamp(), credits=1000) as vendor:
        for number in range(7):
            vendor.add("events", id=f"e{number}", at=f"2026-11-22T04:0{number}:00Z")
        yield vendor


def api(acme: Acme, clock: Clock, **more: Any) -> VendorApi:
    client = HttpClient(acme.url, headers={"Authorization": f"Bearer {acme.token}"}, clock=clock, **more)
    return VendorApi(client, ERRORS, clock, reserve=SourceLimits().reserve("acme", "X-Left", "units", keep=2))


def ids(pages: Iterator[Any]) -> list[str]:
    return [row["id"] for page in pages for row in page.items]


ALL = [f"e{number}" for number in range(7)]
FORMS: Sequence[tuple[str, str, Paging]] = (
    ("/token", "data", TokenPaging("page_token", "next_page_token")),
    ("/offset", "", OffsetPaging("from", 2)),
    ("/link", "data", LinkPaging("next")),
    ("/header", "", LinkHeaderPaging()),
)


@pytest.mark.parametrize(("path", "items", "paging"), FORMS, ids=[form[0][1:] for form in FORMS])
def test_a_list_is_read_to_its_end_in_every_form(
    acme: Acme, clock: Clock, path: str, items: str, paging: Paging
) -> None:
    assert ids(api(acme, clock).pages(path, items=items, paging=paging)) == ALL


def test_an_expired_page_token_restarts_the_sweep(acme: Acme, clock: Clock) -> None:
    paging = TokenPaging("page_token", "next_page_token", expired=frozenset({"INVALID_PAGE_TOKEN"}))
    pages = api(acme, clock).pages("/token", items="data", paging=paging)
    first = [row["id"] for row in next(pages).items]
    acme.expire_pages()
    assert first == ALL[:3]
    assert ids(pages) == ALL, "from its beginning: the cursor knows what came before"


def test_a_page_token_that_expires_again_and_again_is_a_failure(acme: Acme, clock: Clock) -> None:
    paging = TokenPaging("page_token", "next_page_token", expired=frozenset({"INVALID_PAGE_TOKEN"}))
    pages = api(acme, clock).pages("/token", items="data", paging=paging)
    for _ in range(3):
        next(pages)
        acme.expire_pages()
    with pytest.raises(Transient, match="expired"):
        next(pages)


def test_another_shape_than_documented_is_one_failure(acme: Acme, clock: Clock) -> None:
    with pytest.raises(Transient, match="shape: Acme: /odd has another shape than documented") as caught:
        api(acme, clock).rows("/odd", items="data")
    assert caught.value.known is False
    with pytest.raises(Transient, match="another shape"):
        api(acme, clock).one("/offset")


def test_a_record_that_does_not_exist_is_none(acme: Acme, clock: Clock) -> None:
    reader = api(acme, clock)
    assert reader.one("/events/e1") == {"id": "e1", "at": "2026-11-22T04:01:00Z"}
    assert reader.one("/events/e9") is None
    assert reader.rows("/since", {"since": "2026-11-22T04:05:00+00:00"}, items="data")[0]["id"] == "e6"


def test_writes_and_the_vendors_clock(acme: Acme, clock: Clock) -> None:
    writer = api(acme, clock)
    made = writer.call("POST", "/events", json={"id": "e8", "at": "2026-11-22T05:00:00Z"})
    assert abs(writer.vendor_now(made) - datetime.now(UTC)) < timedelta(minutes=1), "the twin's Date header"
    assert writer.vendor_now(None) == clock.now
    done = {"id": "e8", "at": "2026-11-22T05:00:00Z", "done": True}
    assert writer.written("PATCH", "/events/e8", json={"done": True}) == done
    assert writer.written("PATCH", "/events/e9", json={"done": True}, absent=True) is None
    assert writer.one("/events/e8") == done
    assert writer.call("DELETE", "/events/e8", absent=True) is not None
    assert writer.call("DELETE", "/events/e8", absent=True) is None
    with pytest.raises(Transient, match="at is required") as caught:
        writer.call("POST", "/events", json={"id": "e9"})
    assert (caught.value.known, caught.value.code) == (False, "INVALID")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "too_many"}, RateLimited),
        ({"do": "html"}, Transient),
        ({"do": "error", "status": 500, "code": "E"}, Transient),
        ({"do": "error", "status": 400, "code": "NEW"}, Transient),
        ({"do": "refuse_tokens"}, Misconfigured),
    ],
)
def test_faults_become_classes(acme: Acme, clock: Clock, fault: dict[str, Any], expected: type[Failure]) -> None:
    acme.plan.add([{"on": "since", **fault}])
    with pytest.raises(expected):
        api(acme, clock).rows("/since", items="data")


def test_a_lost_write_is_ambiguous(acme: Acme, clock: Clock) -> None:
    acme.plan.add([{"on": "make", "do": "error", "status": 500, "code": "E", "when": "after"}])
    with pytest.raises(Ambiguous):
        api(acme, clock).call("POST", "/events", json={"id": "e8", "at": "now"})
    assert acme.store.get("events", "e8") is not None


def test_a_limit_of_one_operation_stops_only_that_operation(acme: Acme, clock: Clock) -> None:
    reader = api(acme, clock)
    reader.rows("/slow", items="rows")
    with pytest.raises(RateLimited) as caught:
        reader.rows("/slow", items="rows")
    assert (caught.value.scope, caught.value.retry_after) == ("GET /slow", 60.0)
    made = len(acme.calls)
    clock.now += timedelta(seconds=10)
    with pytest.raises(RateLimited, match="GET /slow is limited by the vendor for 50 s more") as again:
        reader.rows("/slow", items="rows")
    assert again.value.retry_after == 50.0
    assert len(acme.calls) == made, "it is not asked again before its time"
    assert reader.one("/events/e1") is not None, "other operations continue"
    clock.now += timedelta(seconds=51)
    reader.rows("/slow", items="rows")


def test_two_clients_of_one_account_share_a_bucket(acme: Acme, clock: Clock) -> None:
    bucket = Bucket(MemoryRates(), "acme:1", Rate(6, timedelta(minutes=1)), "units")
    one, other = api(acme, clock, rate=bucket), api(acme, clock, rate=bucket)
    for reader in (one, other) * 3:
        reader.one("/events/e1")
    made = len(acme.calls)
    with pytest.raises(RateLimited) as caught:
        other.one("/events/e1")
    assert (caught.value.retry_after, caught.value.scope, len(acme.calls)) == (10.0, "", made)
    clock.now += timedelta(seconds=10)
    other.one("/events/e1")
    with pytest.raises(RateLimited):
        one.one("/events/e1")


def test_credits_are_counted_across_two_clients(acme: Acme, clock: Clock) -> None:
    """One spends what the other may not have any more: what is left for others is known to both by the shared book."""
    acme.credits = 4
    book = MemoryAllowances()
    readers = [
        VendorApi(
            HttpClient(acme.url, headers={"Authorization": f"Bearer {acme.token}"}),
            ERRORS,
            clock,
            reserve=Reserve(book, "acme", "X-Left", "units", keep=2),
        )
        for _ in range(2)
    ]
    readers[0].rows("/token", items="data")
    made = len(acme.calls)
    with pytest.raises(QuotaExhausted, match="fewer than 2 units are left today, which are for others") as caught:
        readers[1].one("/events/e1")
    assert (caught.value.resets_at, len(acme.calls)) == (clock.now + timedelta(hours=1), made)
    clock.now += timedelta(hours=1)
    assert readers[1].one("/events/e1") is not None, "one call an hour, to see whether there are more"
    with pytest.raises(QuotaExhausted):
        readers[1].one("/events/e1")


def test_what_the_vendor_itself_refuses(acme: Acme, clock: Clock) -> None:
    acme.credits = 0
    with pytest.raises(QuotaExhausted, match="the day's units are used"):
        api(acme, clock).one("/events/e1")


def test_tokens_of_its_endpoint_expire(acme: Acme, clock: Clock) -> None:
    def mint(held: Token | None) -> Token:
        answer = HttpClient(acme.url).request("POST", "/oauth/token", form={"grant_type": "x"})
        return Token(access=answer.json()["access_token"])

    client = HttpClient(acme.url, bearer=Bearer(MemoryTokens(), "g", mint), clock=clock)
    reader = VendorApi(client, ERRORS, clock)
    assert reader.one("/events/e1") is not None
    acme.expire_tokens()
    assert reader.one("/events/e1") is not None
    assert acme.tokens_made == 2


def test_recorded_answers_are_replayed(clock: Clock) -> None:
    exchange = {"method": "GET", "path": "/v1/me?x=1", "status": 200, "response": {"id": "7"}}

    class Recorded(FakeVendor):
        routes = replay([exchange])

    with Recorded() as vendor:
        client = HttpClient(vendor.url, headers={"Authorization": "Bearer twin-token"}, clock=clock)
        assert VendorApi(client, ERRORS, Context(name="x", tokens=MemoryTokens()).clock).one("/v1/me") == {"id": "7"}
