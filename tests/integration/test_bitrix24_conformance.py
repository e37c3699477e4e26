"""The Bitrix24 destination keeps what every destination promises: by webhook and by OAuth, with leads and with comments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from syncd.connector import Context, Destination, Link, Lookup, Write, WriteKind
from syncd.connectors.crm.bitrix24 import Bitrix24, Bitrix24Settings
from syncd.errors import Misconfigured
from syncd.http.oauth import MemoryTokens, Token
from syncd.testing import Crm, DestinationConformance
from syncd.testing.destination_kit import write_key
from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.bitrix24_crm import connecting, person


@pytest.fixture
def twin() -> Iterator[Bitrix24Twin]:
    with Bitrix24Twin(rate=1000.0, burst=1000.0) as running:
        yield running


def signed_in(twin: Bitrix24Twin) -> Iterator[Callable[[], Destination]]:
    """A function that connects as an application that somebody has signed in for."""
    made: list[Bitrix24] = []
    tokens = MemoryTokens()

    def build() -> Destination:
        auth = {"client_id": "local.1", "client_secret": "hush-hush"}
        given = {"portal": twin.url, "oauth_url": twin.url, "auth": auth, "requests_per_second": 50}
        one = Bitrix24(Bitrix24Settings.model_validate(given), Context(name="crm", tokens=tokens, region="VN"))
        old = Token(access="x", refresh="first", expires_at=datetime.now(UTC) - timedelta(hours=1))
        tokens.token(one.sign_in().grant, lambda held: held or old)
        made.append(one)
        return one

    yield build
    for one in made:
        one.close()


class Bitrix24Crm(Crm):
    """The twin, in the words of the suite: leads."""

    def __init__(self, twin: Bitrix24Twin) -> None:
        self.twin = twin

    def fault(self, do: str, **more: Any) -> None:
        self.twin.plan.add([{"on": "batch", "do": do, "times": 1, **more}])

    def write(self, number: int) -> Write:
        fields = {"title": f"Lead {number}", "lastName": "L", "email": f"l{number}@e.example"}
        return Write(key=write_key(number), object="Lead", key_field="originId", fields=fields)

    def bad_write(self, number: int) -> Write:
        return Write(key=write_key(number), object="Lead", key_field="originId", fields={"stageId": "NOWHERE"})

    def count(self, key: str) -> int:
        return sum(record.get("originId") == key for record in self.twin.records("lead"))

    def lose_next_answer(self) -> None:
        self.after_the_first("reset", when="after")

    def after_the_first(self, do: str, **more: Any) -> None:
        """The first request of a new connection reads the fields; the fault is for the one that writes."""
        self.twin.plan.add([{"on": "crm.item.add", "do": do, "times": 1, **more}])

    def refuse_before_next_write(self) -> None:
        self.fault("internal")

    def throttle_next(self) -> None:
        self.fault("query_limit")

    def expire_token(self) -> None:
        self.twin.expire_tokens()

    def refuse_every_token(self) -> None:
        self.twin.plan.add([{"on": "batch", "do": "refuse_tokens"}])

    def garble_next_answer(self) -> None:
        self.after_the_first("html", when="after", status=200)

    def calls(self) -> int:
        return int(self.twin.counts["calls"] - self.twin.counts["op:token"])

    def add_person(self, *, email: str = "", phone: str = "") -> tuple[str, str]:
        given = {"email": email} if email else {"phone": phone}
        return "Contact", self.twin.add("contact", lastName="P", **given)

    def lookups(self, *, email: str = "", phone: str = "") -> tuple[Lookup, ...]:
        return person(email, phone).lookups


class Comments(Bitrix24Crm):
    """Comments at one contact."""

    def __init__(self, twin: Bitrix24Twin) -> None:
        super().__init__(twin)
        self.on = Link("Contact", twin.add("contact", lastName="C"))

    def write(self, number: int) -> Write:
        fields = {"COMMENT": f"Signal {number}"}
        links = {"ENTITY_ID": self.on}
        return Write(key=write_key(number), object="Comment", key_field="ref", fields=fields, links=links)

    def bad_write(self, number: int) -> Write:
        return Write(key=write_key(number), object="Comment", key_field="ref", fields={"COMMENT": "x"})

    def count(self, key: str) -> int:
        ref = f"ref: {key.replace('-', '')[:12]}"
        return sum(str(record["COMMENT"]).endswith(ref) for record in self.twin.records("comment"))

    def after_the_first(self, do: str, **more: Any) -> None:
        self.fault(do, **more)


class TestBitrix24Leads(DestinationConformance):
    """By OAuth."""

    kind: ClassVar[WriteKind] = WriteKind.FINDABLE

    @pytest.fixture
    def crm(self, twin: Bitrix24Twin) -> Bitrix24Crm:
        return Bitrix24Crm(twin)

    @pytest.fixture
    def connect(self, twin: Bitrix24Twin) -> Iterator[Callable[[], Destination]]:
        yield from signed_in(twin)


class TestBitrix24Comments(DestinationConformance):
    """By webhook, which has no token that could expire."""

    kind: ClassVar[WriteKind] = WriteKind.FINDABLE

    @pytest.fixture
    def crm(self, twin: Bitrix24Twin) -> Comments:
        return Comments(twin)

    @pytest.fixture
    def connect(self, twin: Bitrix24Twin) -> Iterator[Callable[[], Destination]]:
        yield from connecting(twin)

    def find(self, destination: Destination, writes: Sequence[Write]) -> Mapping[str, str]:
        assert isinstance(destination, Bitrix24)
        return destination.find_beside(writes)

    def test_what_stands_in_a_record_is_read(self, destination: Destination, crm: Crm) -> None:
        assert isinstance(destination, Bitrix24)
        with pytest.raises(Misconfigured):  # only what stands in items
            destination.values("Comment", ["1"], ["COMMENT"])
