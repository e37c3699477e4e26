"""Bitrix24's batches: which reply belongs to which command in whatever shape it comes, run-time, pages, and the pace."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from syncd.connector import Context
from syncd.connectors.crm.bitrix24 import Bitrix24Settings
from syncd.connectors.crm.bitrix24.client import BURST, Bitrix24Client, RunTime
from syncd.connectors.crm.bitrix24.commands import command
from syncd.errors import Ambiguous, Failure, Misconfigured, RateLimited, Rejected, StaleReference, Transient
from syncd.http.client import Response
from syncd.http.limits import MemoryRates, Rate
from syncd.http.oauth import MemoryTokens
from syncd.twins.bitrix24.limits import LeakyBucket

NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
Answer = Callable[[Mapping[str, str]], Any]


class Scripted(Bitrix24Client):
    """A client whose exchanges are answered here: `answers` get the commands of a batch."""

    def __init__(self, *answers: Answer) -> None:
        self.at = NOW
        self.slept: list[float] = []
        context = Context(name="crm", tokens=MemoryTokens(), clock=lambda: self.at)
        settings = Bitrix24Settings.model_validate(
            {"base_url": "https://x.example/rest/1/top-secret0".replace("-", "")}
        )
        super().__init__(settings, context, self._pause)
        self.answers = list(answers)
        self.asked: list[Mapping[str, str]] = []

    def _pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)

    def _call(
        self, method: str, path: str, body: Any, headers: Any, write: bool, cost: float = 0.0, raw: bytes | None = None
    ) -> Response:
        self._http._gate.admit("", 1.0)  # the pace is the real one
        self.asked.append(body["cmd"])
        told = self.answers.pop(0)(body["cmd"])
        return told if isinstance(told, Response) else Response(200, {}, orjson.dumps(told), write)


def results(values: Any = (), errors: Any = (), following: Any = (), times: Any = ()) -> Any:
    """A batch's answer; empty maps as lists, as Bitrix24 sends them."""
    made = {
        "result": values,
        "result_error": errors,
        "result_total": [],
        "result_next": following,
        "result_time": times,
    }
    return {"result": {name: value or [] for name, value in made.items()}, "time": {"operating": 0}}


ADDS = [command("crm.item.add", {"n": n}) for n in range(3)]


def test_each_command_has_its_own_reply() -> None:
    errors = {"c0001": {"error": "NOT_FOUND", "error_description": "Not found"}}
    client = Scripted(lambda cmd: results({"c0000": {"item": {"id": 1}}, "c0002": None}, errors))
    first, second, third = client.batch(ADDS, write=True)
    assert first.value == {"item": {"id": 1}}
    assert isinstance(second.failure, StaleReference)
    assert third.failure is None
    assert third.value is None


def test_a_command_that_was_not_answered_is_in_doubt() -> None:
    client = Scripted(lambda cmd: results({"c0000": 7}))
    replies = client.batch(ADDS, write=True)
    assert [type(reply.failure) for reply in replies] == [type(None), Ambiguous, Ambiguous]
    client = Scripted(lambda cmd: results())
    assert [type(reply.failure) for reply in client.batch(ADDS, write=False)] == [Transient] * 3


def test_errors_as_a_list_belong_to_a_command_only_where_all_are_alike() -> None:
    alike = [{"error": "100", "error_description": "wrong"}] * 2
    replies = Scripted(lambda cmd: results({"c0001": 7}, alike)).batch(ADDS, write=True)
    assert [type(reply.failure) for reply in replies] == [Rejected, type(None), Rejected]
    unlike = [alike[0], {"error": "NOT_FOUND", "error_description": ""}]
    replies = Scripted(lambda cmd: results({"c0001": 7}, unlike)).batch(ADDS, write=True)
    assert [type(reply.failure) for reply in replies] == [Ambiguous, type(None), Ambiguous]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>", Ambiguous),
        (200, b"{}", Ambiguous),
        (200, b'{"result": []}', Ambiguous),
        (200, b'{"error": "wrong_client"}', Misconfigured),
        (500, b'{"error": "PORTAL_DELETED"}', Misconfigured),
        (503, b'{"error": "QUERY_LIMIT_EXCEEDED"}', RateLimited),
        (502, b"<html>", Ambiguous),
    ],
)
def test_an_answer_without_results_is_a_failure_of_the_call(status: int, body: bytes, expected: type[Failure]) -> None:
    client = Scripted(lambda cmd: Response(status, {}, body, True))
    with pytest.raises(expected):
        client.batch(ADDS, write=True)


@pytest.mark.skipif(not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings")
def test_the_recorded_batch_limits_one_method_alone() -> None:
    recorded = orjson.loads((Path(RECORDINGS) / "bitrix24.json").read_bytes())["batch-operation-time-limit"]
    told = recorded["exchanges"][0]["response"]
    (error,) = told["result"]["result_error"].values()
    told = {**told, "result": {**told["result"], "result_error": {"c0001": error}, "result": {"c0000": 5}}}
    client = Scripted(lambda cmd: told, lambda cmd: results({"c0000": 6}))
    first, second = client.batch([command("crm.item.add", {}), command("crm.timeline.comment.add", {})], write=True)
    assert first.value == 5
    assert isinstance(second.failure, RateLimited)
    assert second.failure.scope == "crm.timeline.comment.add"
    again, other = client.batch([command("crm.timeline.comment.add", {}), command("crm.item.add", {})], write=True)
    assert isinstance(again.failure, RateLimited)
    assert again.failure.retry_after == 600
    assert list(client.asked[-1].values()) == ["crm.item.add?"]
    assert isinstance(other.failure, Ambiguous)  # the script answers c0000, which was not sent


def test_a_method_rests_before_bitrix24_refuses_it() -> None:
    clock = [NOW]
    times = RunTime(lambda: clock[0])
    times.note("crm.item.add", {"operating": 399.9, "operating_reset_at": NOW.timestamp() + 60})
    assert times.rests("crm.item.add") is None
    times.note("crm.item.add", {"operating": 400.1, "operating_reset_at": NOW.timestamp() + 60})
    limit = times.rests("crm.item.add")
    assert limit is not None
    assert (limit.retry_after, limit.scope) == (60, "crm.item.add")
    assert times.rests("crm.item.update") is None
    clock[0] = NOW + timedelta(seconds=61)
    assert times.rests("crm.item.add") is None


@pytest.mark.parametrize("resets", [None, "soon", 0, NOW.timestamp() - 1, NOW.timestamp() + 100_000])
def test_a_reset_that_cannot_be_is_ten_minutes(resets: Any) -> None:
    times = RunTime(lambda: NOW)
    times.limited("m", resets)
    limit = times.rests("m")
    assert limit is not None
    assert limit.retry_after == 600


def test_the_pace_is_two_a_second_after_a_burst() -> None:
    count = int(BURST) + 10
    client = Scripted(*[lambda cmd: results({"c0000": 1})] * count)
    begun = client.at
    for _ in range(count):
        client.batch(ADDS[:1], write=True)
    assert (client.at - begun).total_seconds() == pytest.approx(5.0, abs=0.2)
    assert len(client.asked) == count


# ---------------------------------------------------------------------------------------------------------- queries


def test_all_pages_of_a_list() -> None:
    client = Scripted(
        lambda cmd: results({"c0000": {"items": [{"id": n} for n in range(1, 51)]}}, following={"c0000": 50}),
        lambda cmd: results({"c0000": {"items": [{"id": 51}]}}),
    )
    (rows,) = client.query([command("crm.item.list", {"entityTypeId": 2})])
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 52)]
    assert client.asked[1]["c0000"].endswith("&start=50")


def test_what_a_look_up_names_is_read_whole_and_only_once() -> None:
    found = {"c0000": {"CONTACT": [7, 9]}, "c0001": [], "c0002": {"CONTACT": [9]}}
    items = {"c0000": {"items": [{"id": 7, "fm": []}, {"id": 9, "fm": []}]}}
    client = Scripted(lambda cmd: results(found), lambda cmd: results(items))
    asked = [command("crm.duplicate.findbycomm", {"n": n, "entity_type": "CONTACT"}) for n in range(3)]
    rows = client.query(asked)
    assert [[row["id"] for row in each] for each in rows] == [["7", "9"], [], ["9"]]
    assert len(client.asked[1]) == 1


def test_sixty_commands_are_two_batches() -> None:
    client = Scripted(*[lambda cmd: results({key: [] for key in cmd})] * 2)
    assert client.query([command("crm.item.list", {"n": n}) for n in range(60)]) == [[]] * 60
    assert [len(one) for one in client.asked] == [50, 10]


def test_a_refused_look_up_is_raised() -> None:
    error = {"c0000": {"error": "INVALID_ARG_VALUE", "error_description": "Invalid filter: field 'x' is not allowed"}}
    with pytest.raises(Rejected):
        Scripted(lambda cmd: results((), error)).query([command("crm.item.list", {})])


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "https://x.bitrix24.com"},
        {"base_url": "http://x.bitrix24.com/rest/1/abcdef/"},
        {"base_url": "https://x.bitrix24.com/rest/abcdef/"},
        {"base_url": "https://x.bitrix24.com/rest/1/abcdef/", "auth": {"client_id": "a", "client_secret": "b"}},
        {"base_url": "https://x.bitrix24.com/rest/1/abcdef/", "portal": "https://x.bitrix24.com"},
        {"auth": {"client_id": "a", "client_secret": "b"}},
        {"base_url": "nonsense"},
        {},
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"base_url|portal") as refused:
        Bitrix24Settings.model_validate(given).check()
    told = refused.value.errors() if isinstance(refused.value, ValidationError) else [{"msg": str(refused.value)}]
    assert "abcdef" not in " ".join(error["msg"] for error in told)


def test_where_the_portal_is() -> None:
    hook = Bitrix24Settings.model_validate({"base_url": "https://x.bitrix24.com/rest/1/abcdef/"})
    assert (hook.home, hook.secret, hook.host) == ("https://x.bitrix24.com", "abcdef", "x.bitrix24.com")
    auth = {"client_id": "local.1", "client_secret": "s"}
    app = Bitrix24Settings.model_validate({"portal": "https://x.bitrix24.com/", "auth": auth})
    assert (app.home, app.secret) == ("https://x.bitrix24.com", "")


def test_ten_minutes_of_load_cause_no_refusal() -> None:
    """As many requests as our bucket lets through, at the vendor's: in bursts, without end, and after rests."""
    clock = [0.0]
    theirs = LeakyBucket(lambda: clock[0], 2.0, 50.0)
    ours, rate, made = MemoryRates(), Rate(2.0, timedelta(seconds=1), BURST), 0
    while clock[0] < 600:
        if 200 < clock[0] < 300:
            clock[0] = 300.0  # a rest
        wait = ours.take("portal", 1.0, rate, NOW + timedelta(seconds=clock[0]))
        if wait:
            clock[0] += wait
            continue
        assert theirs.admits()
        made += 1
    assert made > 900


def test_commands_that_take_long_go_in_smaller_batches() -> None:
    def timed(cmd: Mapping[str, str]) -> Any:
        return results(dict.fromkeys(cmd, 1), times={key: {"duration": 4.0} for key in cmd})

    client = Scripted(*[timed] * 7)
    adds = [command("crm.item.add", {"n": n}) for n in range(50)]
    assert len(client.write(adds)) == 50
    assert len(client.write(adds)) == 50
    assert [len(one) for one in client.asked] == [50, 10, 10, 10, 10, 10]


def test_a_later_batch_that_fails_spoils_no_earlier_one() -> None:
    def timed(cmd: Mapping[str, str]) -> Any:
        return results(dict.fromkeys(cmd, 1), times={key: {"duration": 20.0} for key in cmd})

    client = Scripted(timed, timed, lambda cmd: Response(502, {}, b"<html>", True))
    client.write(ADDS[:1])
    replies = client.write(ADDS)
    assert [type(reply.failure) for reply in replies] == [type(None), type(None), Ambiguous]
    assert replies[2].failure is not None
    assert replies[2].failure.of_call


def test_after_a_batch_that_took_too_long_half_of_it_goes() -> None:
    def timed(cmd: Mapping[str, str]) -> Any:
        return results(dict.fromkeys(cmd, 1), times={key: {"duration": 0.1} for key in cmd})

    client = Scripted(lambda cmd: Response(504, {}, b"<html>", True), *[timed] * 6)
    adds = [command("crm.item.add", {"n": n}) for n in range(48)]
    with pytest.raises(Ambiguous):
        client.write(adds)
    for _ in range(3):
        client.write(adds)
    assert [len(one) for one in client.asked[:3]] == [48, 24, 24]
    assert len(client.asked[-1]) > 24  # it was slow once: more and more go again
