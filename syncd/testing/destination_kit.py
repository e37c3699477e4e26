"""The conformance suite of destinations: each declared kind of write under lost answers, row errors, throttling and expired
tokens, against a stand-in that keeps records.

A test class inherits it and hands in two fixtures: `crm` (the stand-in) and `connect` (builds the destination afresh).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from uuid import uuid5

import pytest

from syncd.capabilities import ReadsFields
from syncd.connector import Destination, Link, Lookup, MatchField, PersonQuery, Write, WriteKind, Written
from syncd.errors import (
    Ambiguous,
    AuthExpired,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Transient,
)
from syncd.signals import NAMESPACE, frame


class Crm:
    """What the suite asks of the stand-in. Override all of it; `cannot` says what the stand-in has no way to do."""

    cannot: ClassVar[frozenset[str]] = frozenset()

    def write(self, number: int) -> Write:
        """A good write, number `number`, of the kind under test; its key is `write_key(number)`."""
        raise AssertionError("give the suite writes")

    def bad_write(self, number: int) -> Write:
        """A write that the CRM rejects for what is in it."""
        raise AssertionError("give the suite a bad write")

    def count(self, key: str) -> int:
        """How many records carry this key now."""
        raise AssertionError("let the suite count records")

    def lose_next_answer(self) -> None:
        """The next write is done, and its answer never arrives."""

    def refuse_before_next_write(self) -> None:
        """The next write is answered by a 5xx (or a reset) and not done."""

    def throttle_next(self) -> None:
        """The next call is throttled, for 7 seconds."""

    def expire_token(self) -> None:
        """The token in use is refused from now on; a new one can be had."""

    def refuse_every_token(self) -> None:
        """No token is good any more."""

    def garble_next_answer(self) -> None:
        """The next write is done, and its answer is an HTML page."""

    def calls(self) -> int:
        """API calls so far (token calls excluded)."""
        return 0

    def add_person(self, *, email: str = "", phone: str = "") -> tuple[str, str]:
        """A person who is in the CRM already: (object, id)."""
        return "", ""

    def lookups(self, *, email: str = "", phone: str = "") -> tuple[Lookup, ...]:
        """How the shipped mapping looks for such a person."""
        return ()


def write_key(number: int) -> str:
    """The key of test write `number`."""
    return str(uuid5(NAMESPACE, frame("conformance", str(number))))


class DestinationConformance:
    """For every destination. `kind`: the kind of the writes that `crm.write` makes."""

    kind: ClassVar[WriteKind] = WriteKind.UPSERT
    knows_people: ClassVar[bool] = True

    @pytest.fixture
    def destination(self, connect: Callable[[], Destination]) -> Destination:
        return connect()

    def test_the_kind_is_as_declared(self, destination: Destination, crm: Crm) -> None:
        write = crm.write(1)
        assert destination.keying(write.object, write.key_field).kind is self.kind

    def test_plan_packs_every_write_once_and_in_order(self, destination: Destination, crm: Crm) -> None:
        writes = [crm.write(number) for number in range(450)] + [crm.write(3), crm.write(7)]
        calls = destination.plan(writes)
        packed = [write for call in calls for write in call.writes]
        assert len(packed) == len(writes)
        for call in calls:
            keys = [write.key for write in call.writes]
            assert len(keys) == len(set(keys)), "one key twice in one call"
        for number in (3, 7):
            same = [write for write in packed if write.key == write_key(number)]
            assert same == [write for write in writes if write.key == write_key(number)]
        assert destination.plan([]) == []

    def test_good_rows_are_written(self, destination: Destination, crm: Crm) -> None:
        outcomes = send(destination, [crm.write(number) for number in range(5)])
        assert all(isinstance(outcome, Written) and outcome.id for outcome in outcomes)
        assert [crm.count(write_key(number)) for number in range(5)] == [1] * 5

    def test_a_bad_row_harms_only_itself(self, destination: Destination, crm: Crm) -> None:
        writes = [crm.write(1), crm.bad_write(2), crm.write(3)]
        outcomes = send(destination, writes)
        assert isinstance(outcomes[0], Written)
        assert isinstance(outcomes[2], Written)
        failure = outcomes[1]
        assert isinstance(failure, (Rejected, Misconfigured)), failure
        assert failure.field, "a refusal of a row names the field"

    @pytest.mark.parametrize("how", ["lose_next_answer", "garble_next_answer"])
    def test_a_lost_answer_is_ambiguous_and_then_settled_once(
        self, destination: Destination, crm: Crm, how: str
    ) -> None:
        if how in crm.cannot:
            return
        writes = [crm.write(number) for number in range(3)]
        getattr(crm, how)()
        with pytest.raises(Ambiguous):
            send(destination, writes)
        if self.kind in (WriteKind.UPSERT, WriteKind.UNIQUE):
            again = send(destination, writes)
            assert all(isinstance(outcome, Written) and outcome.id for outcome in again), again
        elif self.kind is WriteKind.FINDABLE:
            found = self.find(destination, writes)
            assert set(found) == {write.key for write in writes}
        assert [crm.count(write.key) for write in writes] == [1, 1, 1]

    def test_a_refused_call_writes_nothing_and_says_so(self, destination: Destination, crm: Crm) -> None:
        if "refuse_before_next_write" in crm.cannot:
            return
        crm.refuse_before_next_write()
        with pytest.raises((Ambiguous, Transient)):
            send(destination, [crm.write(1)])
        assert crm.count(write_key(1)) == 0
        send(destination, [crm.write(1)])
        assert crm.count(write_key(1)) == 1

    def test_what_is_written_is_found(self, destination: Destination, crm: Crm) -> None:
        if self.kind is WriteKind.AT_MOST_ONCE:
            return
        writes = [crm.write(number) for number in range(3)]
        outcomes = send(destination, writes[:2])
        found = self.find(destination, writes)
        assert found == {
            write.key: outcome.id
            for write, outcome in zip(writes, outcomes, strict=False)
            if isinstance(outcome, Written)
        }

    def test_a_write_twice_is_one_record(self, destination: Destination, crm: Crm) -> None:
        if self.kind not in (WriteKind.UPSERT, WriteKind.UNIQUE):
            return
        first, second = (send(destination, [crm.write(1)])[0] for _ in range(2))
        assert isinstance(first, Written)
        assert isinstance(second, Written), second
        assert first.id == second.id
        assert crm.count(write_key(1)) == 1

    def test_throttling_is_obeyed(self, destination: Destination, crm: Crm) -> None:
        if "throttle_next" in crm.cannot:
            return
        crm.throttle_next()
        with pytest.raises((RateLimited, QuotaExhausted)) as caught:
            send(destination, [crm.write(1)])
        if isinstance(caught.value, RateLimited) and caught.value.retry_after is not None:
            assert caught.value.retry_after >= 6
        assert crm.count(write_key(1)) == 0

    def test_an_expired_token_costs_one_refresh(self, destination: Destination, crm: Crm) -> None:
        if "expire_token" in crm.cannot:
            return
        send(destination, [crm.write(1)])
        crm.expire_token()
        assert isinstance(send(destination, [crm.write(2)])[0], Written)
        assert crm.count(write_key(2)) == 1

    def test_endless_refusal_of_tokens_ends(self, destination: Destination, crm: Crm) -> None:
        if "refuse_every_token" in crm.cannot:
            return
        crm.refuse_every_token()
        before = crm.calls()
        with pytest.raises((AuthExpired, Misconfigured)):
            send(destination, [crm.write(1)])
        assert crm.calls() - before <= 3

    def test_people_are_resolved_in_parallel_and_in_bulk(self, destination: Destination, crm: Crm) -> None:
        if not self.knows_people:
            return
        known = crm.add_person(email="anna.nguyen@customer.example")
        by_phone = crm.add_person(phone="+84912345678")
        people = [
            PersonQuery("email:nobody@customer.example", crm.lookups(email="nobody@customer.example")),
            PersonQuery("email:anna.nguyen@customer.example", crm.lookups(email="anna.nguyen@customer.example")),
            PersonQuery("phone:+84912345678", crm.lookups(phone="+84912345678")),
            PersonQuery("phone:+84912345679", crm.lookups(phone="+84912345679")),
        ]
        before = crm.calls()
        found = destination.resolve(people)
        assert found[0] is None
        assert found[3] is None
        assert [(hit.object, hit.id) for hit in found[1:3] if hit] == [known, by_phone]
        assert all(hit.role in ("lead", "contact") for hit in found if hit)
        assert destination.resolve([]) == []
        assert crm.calls() - before <= 6

    def test_what_stands_in_a_record_is_read(self, destination: Destination, crm: Crm) -> None:
        if not isinstance(destination, ReadsFields):
            return
        write = crm.write(1)
        (outcome,) = send(destination, [write])
        assert isinstance(outcome, Written)
        name, value = next((name, value) for name, value in write.fields.items() if isinstance(value, str) and value)
        assert destination.values(write.object, [outcome.id], [name])[outcome.id][name] == value
        assert destination.values(write.object, [], [name]) == {}

    def test_hostile_text_finds_nobody_and_breaks_nothing(self, destination: Destination, crm: Crm) -> None:
        if not self.knows_people:
            return
        texts = [
            "' OR Name LIKE '%",
            "a\\'b@x.example",
            "o'neil+tag@x.example",
            '"x"@x.example',
            "ü@x.example",
            "%@%",
            "_",
        ]
        found = destination.resolve([PersonQuery(f"email:{text}", crm.lookups(email=text)) for text in texts])
        assert found == [None] * len(texts)

    def find(self, destination: Destination, writes: Sequence[Write]) -> Mapping[str, str]:
        first = writes[0]
        return destination.find(first.object, first.key_field, [write.key for write in writes])


def send(destination: Destination, writes: Sequence[Write]) -> list[Any]:
    """Plans and sends, outcomes parallel to `writes` (whose keys must differ)."""
    by_key: dict[str, Written | Failure] = {}
    for call in destination.plan(writes):
        outcomes = destination.send(call)
        assert len(outcomes) == len(call.writes), "one outcome a write"
        by_key.update({write.key: outcome for write, outcome in zip(call.writes, outcomes, strict=True)})
    return [by_key[write.key] for write in writes]


def email_lookup(object: str, field: str, email: str) -> Lookup:
    """One look-up by one exact value, for `Crm.lookups`."""
    return Lookup(object, (MatchField(field, email),))


def link_to(object: str, id: str) -> Link:
    """A link, for the writes of a `Crm`."""
    return Link(object, id)
