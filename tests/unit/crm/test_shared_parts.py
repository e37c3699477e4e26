"""What every CRM's destination shares, on a CRM of no vendor: packing, blame for a refused call, refusals, fields to make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from syncd.capabilities import FieldDescription
from syncd.connector import Link, Outcome, Write, Written
from syncd.connectors.answers import details_said, refusal, together, unwrapped
from syncd.connectors.crm.missing_fields import NotMade, attempt
from syncd.connectors.crm.packing import Bundle, Packed, Packer
from syncd.connectors.crm.queried import about_people, check_names, fields_of_each
from syncd.connectors.crm.record import Formatter, Method, Target
from syncd.connectors.crm.sending import Answered, Settled, blame, raise_if_all, send_bundles
from syncd.connectors.crm.settling import LookUp, name_written, narrow_rights, written_or
from syncd.connectors.online import tried
from syncd.errors import (
    Ambiguous,
    Failure,
    Misconfigured,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Scope,
    StaleReference,
    Transient,
)
from syncd.http.error_table import ErrorTable, Means, VendorError, error_at

FORMAT = Formatter("Acme", datetime.isoformat, list)


def _link(record: dict[str, Any], name: str, link: Link) -> None:
    record[name] = link.id


def _target(write: Write) -> Target:
    return Target(write.object, Method.UPSERT if write.key_field else Method.CREATE, write.key_field)


PACKER = Packer(
    target=_target,
    record=lambda write, target: FORMAT.record(write, target.method, _link),
    rows=2,
    size=1_000,
    cost=lambda rows: rows / 2,
    bundles=2,
)


def write(key: str, object: str = "Thing", **more: Any) -> Write:
    return Write(key=key, object=object, key_field="K", **more)


def test_a_call_takes_so_many_bundles_of_so_many_records() -> None:
    calls = PACKER.pack([write(str(n), ("Thing", "Person")[n % 2]) for n in range(5)])
    assert [(call.operation, call.cost) for call in calls] == [
        ("upsert 2 Thing+upsert 2 Person", 2.0),
        ("upsert 1 Thing", 0.5),
    ]
    assert [[w.key for w in call.writes] for call in calls] == [["0", "2", "1", "3"], ["4"]]


def test_one_key_is_in_a_call_once_and_a_group_stays_in_order() -> None:
    calls = PACKER.pack([write("a", group="g"), write("a", group="g"), write("b", "Person", group="g")])
    assert [[w.key for w in call.writes] for call in calls] == [["a"], ["a", "b"]]


def test_what_cannot_be_sent_is_refused_alone() -> None:
    [call] = PACKER.pack([write("a", fields={"N": float("nan")}), write("\ud800"), write("b")])
    packed: Packed = call.payload
    assert {place: getattr(one, "field", "") for place, one in packed.refused.items()} == {0: "N", 1: "K"}
    assert call.operation == "upsert 1 Thing"


def bundle(*records: dict[str, Any]) -> Bundle:
    return Bundle(Target("Thing", Method.UPSERT, "K"), list(range(len(records))), list(records))


def test_blame_falls_on_the_records_with_the_field_that_is_named() -> None:
    wrong = Misconfigured("no such field", scope=Scope.RULE, field="bad")
    settled, again = blame(bundle({"Bad": 1}, {"S": 1}, {"S": 2}), wrong, parts=5)
    assert settled == {0: wrong}
    assert [one.rows for one in again] == [[1, 2]]


@pytest.mark.parametrize(
    ("meant", "sure", "expected"),
    [
        (Rejected("?"), False, [[0, 1], [2, 3]]),
        (Misconfigured("?", scope=Scope.RULE), False, [[0, 2], [1, 3]]),
        (Misconfigured("?", scope=Scope.RULE), True, []),
        (Misconfigured("?", scope=Scope.RULE, field="k"), True, []),
        (Misconfigured("?"), False, []),
        (Transient("?"), False, []),
    ],
)
def test_blame_without_a_field(meant: Failure, sure: bool, expected: list[list[int]]) -> None:
    settled, again = blame(bundle({"A": 1}, {"B": 1}, {"A": 2}, {"B": 2}), meant, parts=2, sure=sure)
    assert [one.rows for one in again] == expected
    assert settled == ({} if expected else dict.fromkeys(range(4), meant))


def test_a_failure_after_the_first_call_concerns_its_records_alone() -> None:
    sent: list[list[int]] = []

    def perform(bundles: Sequence[Bundle]) -> list[Answered]:
        sent.append([row for one in bundles for row in one.rows])
        if len(sent) > 1:
            raise RateLimited("slow")
        first, last = bundles[0].only([0]), bundles[0].only([1])
        return [({2: Written("3")}, [first, last])]

    outcomes = send_bundles(Packed((bundle({}, {}, {}),), {3: Rejected("no")}), perform, per_call=1)
    assert sent == [[0, 1, 2], [0], [1]]
    assert [type(outcomes[place]) for place in range(4)] == [RateLimited, RateLimited, Written, Rejected]
    with pytest.raises(RateLimited):
        send_bundles(Packed((bundle({}),), {}), perform)


def test_a_limit_of_every_row_is_raised() -> None:
    both: dict[int, Outcome] = {0: QuotaExhausted("full"), 1: QuotaExhausted("full")}
    with pytest.raises(QuotaExhausted):
        raise_if_all(both)
    raise_if_all(both | {2: Written("1")})
    raise_if_all({0: Rejected("no")})


TABLE = ErrorTable(
    "",
    {
        "WRONG": Means(Rejected),
        "BUSY": Means(Transient),
        "CLOSED": Means(Transient, did_nothing=True),
        "FULL": Means(QuotaExhausted),
    },
    error_at("code"),
)


@pytest.mark.parametrize(
    ("code", "status", "wait", "expected"),
    [
        ("WRONG", 400, None, Rejected),
        ("WRONG", 500, None, Ambiguous),
        ("WRONG", 302, None, Misconfigured),
        ("WRONG", 429, None, RateLimited),
        ("BUSY", 503, None, Ambiguous),
        ("BUSY", 503, 9.0, RateLimited),
        ("CLOSED", 503, None, Transient),
        ("FULL", 429, 9.0, QuotaExhausted),
        ("FULL", 500, None, QuotaExhausted),
        ("NEW", 400, None, Transient),
    ],
)
def test_a_status_about_the_request_counts_before_a_code(
    code: str, status: int, wait: float | None, expected: type[Failure]
) -> None:
    assert type(refusal(TABLE, [VendorError(code, "m")], status, write=True, wait=wait)) is expected


def test_several_errors_of_a_row_amount_to_the_one_that_concerns_most() -> None:
    first, second = Rejected("long", field="A"), Rejected("missing", field="B", existing_id="7")
    both = together([first, second, Transient("busy")])
    assert isinstance(both, Rejected)
    assert (both.message, both.existing_id) == ("A: long; B: missing (record 7 has it)", "7")
    assert type(together([first, StaleReference("gone"), QuotaExhausted("full")])) is QuotaExhausted


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Transient("busy"), True),
        (Transient("?", code="NEW", known=False), False),
        (Rejected("no", code="NO"), False),
        (Ambiguous("lost"), False),
        (QuotaExhausted("calls", code="CALLS"), True),
        (QuotaExhausted("fields", code="FIELDS"), False),
        (RateLimited("slow"), True),
    ],
)
def test_a_refusal_to_make_a_field_is_told_and_what_passes_is_raised(failure: Failure, raised: bool) -> None:
    def request() -> str:
        raise failure

    if raised:
        with pytest.raises(type(failure)):
            attempt(request, full=lambda one: one.code == "FIELDS")
        return
    made = attempt(request, full=lambda one: one.code == "FIELDS")
    assert isinstance(made, NotMade)
    assert (made.code, made.lost) == (failure.code, isinstance(failure, Ambiguous))


def test_a_wrong_look_up_concerns_every_rule() -> None:
    with pytest.raises(Misconfigured, match=r"people\.match: no such column Emial") as caught, about_people():
        raise Misconfigured("no such column", scope=Scope.RULE, field="Emial")
    assert caught.value.scope is Scope.DESTINATION
    with pytest.raises(Misconfigured) as caught:
        check_names(["Email", "a b"], code="fill")
    assert (caught.value.scope, caught.value.field) == (Scope.RULE, "a b")


# what becomes of single records

THING = Target("Thing", Method.CREATE, "K")
OTHERWISE = Rejected("another field is taken", code="DUPLICATE")
WRITES = [write(key) for key in ("a", "b", "c", "d")]


def nameless() -> Settled:
    return {
        0: Written("1", created=True),
        1: Written("", created=False),
        2: LookUp("taken", code="DUPLICATE", otherwise=OTHERWISE),
        3: Rejected("no", code="NO"),
    }


def test_records_without_an_id_are_looked_up_by_our_key() -> None:
    settled, asked = nameless(), []

    def find(object: str, key_field: str, keys: Sequence[str]) -> dict[str, str]:
        asked.append((object, key_field, list(keys)))
        return {"b": "7", "c": "8"}

    before = dict(settled)
    name_written(THING, WRITES, settled, find, code="DUPLICATE")
    assert asked == [("Thing", "K", ["b", "c"])]
    assert settled == before | {1: Written("7", created=False), 2: Written("8", created=False)}
    name_written(THING, WRITES, settled, find, code="DUPLICATE")
    assert len(asked) == 1, "all have their ids: no call"


def test_a_record_that_is_not_found_by_our_key() -> None:
    settled = nameless()
    name_written(THING, WRITES, settled, lambda *_: {}, code="DUPLICATE")
    assert settled[2] is OTHERWISE
    assert isinstance(settled[1], Transient)
    assert str(settled[1]) == "DUPLICATE: it is there already, but is not found by K"


def test_a_look_up_that_fails_sends_them_again() -> None:
    def refuse(*_: object) -> dict[str, str]:
        raise RateLimited("slow down", code="429")

    settled = nameless()
    name_written(THING, WRITES, settled, refuse, code="DUPLICATE")
    for place in (1, 2):
        assert isinstance(settled[place], Transient)
        assert "could not be looked up: 429: slow down" in str(settled[place])
    assert isinstance(settled[0], Written)


@pytest.mark.parametrize(
    ("method", "others", "expected"),
    [
        (Method.UPDATE, Rejected("no", code="NO"), Rejected),
        (Method.CREATE, Written("1", created=True), Rejected),
        (Method.CREATE, Rejected("no", code="NO"), Misconfigured),
    ],
)
def test_a_right_missing_for_some_records_does_not_stop_the_others(
    method: Method, others: Outcome, expected: type[Failure]
) -> None:
    settled: Settled = {
        0: others,
        1: Misconfigured("not yours", code="NO_RIGHT"),
        2: Misconfigured("signed out", code="SCOPE"),
    }
    narrow_rights(Target("Thing", method), settled, {"NO_RIGHT"})
    assert type(settled[1]) is expected
    assert getattr(settled[1], "scope", Scope.RULE) is Scope.RULE
    assert settled[0] is others
    assert getattr(settled[2], "scope", None) is Scope.DESTINATION, "of the whole sign-in"


def test_how_a_record_is_written() -> None:
    assert Target.of(write("a", id="7")) == Target("Thing", Method.UPDATE)
    assert Target.of(write("a")) == Target("Thing", Method.UPSERT, "K")
    assert Target.of(write("a"), no_upsert={"Thing"}) == Target("Thing", Method.CREATE, "K")
    assert Target.of(Write(key="a", object="Thing")) == Target("Thing", Method.CREATE)
    assert Target.of(write("a", id="7", notification=True)) == Target("Thing", Method.NOTIFY)
    assert [method.creates for method in (Method.CREATE, Method.UPDATE, Method.UPSERT)] == [True, False, None]


# answers and descriptions


def test_errors_within_an_error_are_read_within_bounds() -> None:
    def within(error: Any) -> Sequence[Any]:
        return error if isinstance(error, list) else ()

    assert unwrapped("a", within) == ["a"]
    assert unwrapped([["a", "b"], [], "c"], within) == ["a", "b", [], "c"]
    assert len(unwrapped(["a"] * 1_000, within)) == 100
    deep: Any = "a"
    for _ in range(900):
        deep = [deep]
    assert len(unwrapped(deep, within)) == 1


def test_what_the_details_of_an_error_say() -> None:
    forms = {"most": "at most {}", "values": "one of: {}"}
    assert details_said({"most": 9, "other": "x", "values": ["a", "b"]}, forms) == " (at most 9, one of: a, b)"
    assert details_said({"most": 0, "values": list(range(20))}, forms).endswith("10, 11)"), "the first twelve"
    empty: list[Any] = [None, [], "text", {}, {"most": None, "values": []}, {"most": {"deep": 1}}]
    for nothing in empty:
        assert details_said(nothing, forms) == ""
    assert len(details_said({"values": ["x" * 99] * 12}, forms)) == 300


def test_fields_are_read_of_objects_that_exist() -> None:
    def read(object_: str) -> list[FieldDescription]:
        if object_ == "Nothing":
            raise Misconfigured("no such object", code="MODULE", scope=Scope.RULE)
        if object_ == "Closed":
            raise Misconfigured("signed out", code="SCOPE")
        return [FieldDescription(name="F")]

    assert fields_of_each(["Thing", "Nothing", "no name"], read) == {"Thing": (FieldDescription(name="F"),)}
    with pytest.raises(Misconfigured, match="signed out"):
        fields_of_each(["Thing", "Closed"], read)


def test_a_call_is_tried_for_the_sake_of_its_refusal() -> None:
    refusal_ = Misconfigured("no right", code="NO_RIGHT")

    def refuse() -> str:
        raise refusal_

    assert tried(lambda: "answer") == "answer"
    assert tried(refuse) is refusal_
    assert tried(refuse, "OTHER", "NO_RIGHT") is refusal_
    with pytest.raises(Misconfigured, match="no right"):
        tried(refuse, "OTHER")


def test_a_row_that_is_there_counts_before_what_it_lacks() -> None:
    there, wrong, held = Written("7", created=False), Rejected("long", code="LONG"), Misconfigured("no", code="NO")
    assert written_or([wrong, there, held]) is there
    assert written_or([wrong, held]) is held
    assert written_or([wrong]) is wrong
