"""How Asterisk's events and records are judged: the recorded call that voicemail took, ring groups, queues, transfers, a mailbox
alone; and what frames and lines of Master.csv look like."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.phone import asterisk_calls
from syncd.connectors.phone.asterisk_ami import FrameReader
from syncd.connectors.phone.asterisk_calls import CallSides, CallTracker, epoch_of, outcome_of
from syncd.connectors.phone.asterisk_cdr import cdr_calls, csv_row, local_time
from syncd.connectors.phone.calls import PhoneCall
from syncd.errors import Transient

NOW = datetime(2026, 6, 17, 14, 6, tzinfo=UTC)
LINKED = "1781705122.10"
RECORDINGS = os.environ.get("SYNCD_RECORDINGS", "")
with_recordings = pytest.mark.skipif(
    not RECORDINGS, reason="SYNCD_RECORDINGS does not name the directory of the recordings"
)


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(RECORDINGS) / "asterisk.json").read_text("utf-8"))[name]
    return found


def frame(event: str, channel: str = "PJSIP/trunk-01", unique: str = LINKED, **more: str) -> dict[str, str]:
    usual = {"CallerIDNum": "0912345678", "CallerIDName": "Lan", "Context": "from-trunk", "Exten": "02412345678"}
    return {"Event": event, "Channel": channel, "Uniqueid": unique, "Linkedid": LINKED, **usual, **more}


def dialled(status: str, channel: str = "PJSIP/7004-02", **more: str) -> dict[str, str]:
    return frame("DialEnd", DestChannel=channel, DestUniqueid="1781705122.11", DialStatus=status, **more)


def told(
    *frames: dict[str, str], sides: CallSides | None = None, first: dict[str, str] | None = None
) -> PhoneCall | None:
    """The call of these frames, a second apart, from the caller's channel to its hangup."""
    tracker, found = CallTracker(sides or CallSides()), None
    all_of_it = [frame("Newchannel", **(first or {})), *frames, frame("Hangup", Cause="21")]
    for second, one in enumerate(all_of_it):
        found = tracker.feed(one, NOW + timedelta(seconds=second)) or found
    return found


def ended(*frames: dict[str, str], **more: Any) -> tuple[str, str]:
    call = told(*frames, **more)
    assert call is not None
    return call.status, str(outcome_of(call))


@with_recordings
def test_the_recorded_call_was_missed_though_its_channel_went_up() -> None:
    stream = recording("missed-internal-call")["stream"].encode()
    tracker = CallTracker(CallSides(contexts=frozenset({"from-internal"})))
    calls = [call for one in FrameReader().feed(stream) if (call := tracker.feed(one, NOW))]
    (call,) = calls
    assert (call.id, call.status, outcome_of(call)) == ("1781705122.3809250", "no-answer", "missed")
    assert (call.from_, call.to, call.caller_name) == ("7003", "7004", "Ext 7003")
    assert call.started_at == datetime(2026, 6, 17, 14, 5, 22, tzinfo=UTC)


@with_recordings
def test_the_recorded_call_between_extensions_is_nobody_elses() -> None:
    tracker = CallTracker(CallSides())
    frames = FrameReader().feed(recording("missed-internal-call")["stream"].encode())
    (call,) = [call for one in frames if (call := tracker.feed(one, NOW))]
    assert (call.direction, outcome_of(call)) == ("internal", "nothing")


@with_recordings
@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    stream, reader = recording("missed-internal-call")["stream"].encode(), FrameReader()
    pieces = [one for at in range(0, len(stream), size) for one in reader.feed(stream[at : at + size])]
    assert pieces == FrameReader().feed(stream)
    assert len(pieces) == stream.count(b"\r\n\r\n")


@with_recordings
def test_the_published_queue_abandon_is_read() -> None:
    (one,) = FrameReader().feed(recording("queue-abandon")["stream"].encode())
    begun = {**one, "Event": "Newchannel", "CallerIDNum": "0912345678"}
    tracker = CallTracker(CallSides())
    assert not tracker.feed(begun, NOW)
    assert not tracker.feed(one, NOW)
    call = tracker.feed({**one, "Event": "Hangup"}, NOW)
    assert call is not None
    assert (outcome_of(call), call.said["queue"]) == ("missed", "201")


@with_recordings
def test_the_published_lines_are_read() -> None:
    rows = [csv_row(line) for line in recording("cdr-csv-lines")["lines"]]
    zone = ZoneInfo("Europe/Berlin")
    assert [local_time(row["start"], zone) for row in rows] == [epoch_of(row["uniqueid"]) for row in rows]
    outside = CallSides(contexts=frozenset({"sip0"}))
    calls, unread = cdr_calls(rows, outside, zone)
    assert (unread, [(one.call.id, one.call.status, one.call.talked) for one in calls]) == (
        0,
        [("1598518936.86", "completed", "5"), ("1598518960.99", "busy", "0")],
    )
    assert [str(outcome_of(one.call)) for one in calls] == ["answered", "missed"]


@pytest.mark.parametrize(
    ("frames", "judged"),
    [
        ([dialled("NOANSWER")], ("no-answer", "missed")),
        ([dialled("BUSY")], ("busy", "missed")),
        ([dialled("CANCEL")], ("no-answer", "missed")),
        ([dialled("ANSWER")], ("completed", "answered")),
        ([dialled("NOANSWER"), dialled("ANSWER", "PJSIP/7005-03")], ("completed", "answered")),  # a ring group
        ([dialled("ANSWER"), dialled("NOANSWER", "PJSIP/7005-03")], ("completed", "answered")),
        ([dialled("ANSWER", "Local/7004@from-queue-1;1"), dialled("NOANSWER")], ("no-answer", "missed")),
        (
            [frame("QueueCallerJoin", Queue="sales"), frame("QueueCallerAbandon", Queue="sales")],
            ("no-answer", "missed"),
        ),
        ([dialled("BUSY"), frame("QueueCallerAbandon", Queue="sales")], ("no-answer", "missed")),
        ([dialled("NOANSWER"), frame("AgentConnect", Queue="sales")], ("completed", "answered")),
        ([], ("hung-up", "nothing")),  # a menu, or a mailbox alone
        ([dialled("CONTINUE")], ("hung-up", "nothing")),
        (
            [
                frame("BridgeEnter", BridgeUniqueid="b1", BridgeType="basic"),
                frame("BridgeEnter", "PJSIP/7004-02", "1781705122.11", BridgeUniqueid="b1", BridgeType="basic"),
            ],
            ("completed", "answered"),
        ),
        (
            [
                dialled("NOANSWER"),
                frame("BridgeEnter", BridgeUniqueid="b1", BridgeType="holding"),
                frame("BridgeEnter", "PJSIP/9-02", "1781705122.12", BridgeUniqueid="b1", BridgeType="holding"),
            ],
            ("no-answer", "missed"),
        ),
        (
            [
                dialled("NOANSWER"),
                frame("BridgeEnter", BridgeUniqueid="b1"),
                frame("BridgeLeave", BridgeUniqueid="b1"),
                frame("BridgeEnter", "PJSIP/7004-02", "1781705122.11", BridgeUniqueid="b1"),
                frame("BridgeEnter", "Local/7004@x;1", "1781705122.13", BridgeUniqueid="b1"),
            ],
            ("no-answer", "missed"),
        ),
    ],
)
def test_how_a_call_ended(frames: list[dict[str, str]], judged: tuple[str, str]) -> None:
    assert ended(*frames) == judged


def test_the_talk_is_counted_from_the_answer() -> None:
    call = told(dialled("NOANSWER"), dialled("ANSWER", "PJSIP/7005-03"), frame("NewConnectedLine"))
    assert call is not None
    assert call.talked == "2"


@pytest.mark.parametrize(
    ("first", "sides", "direction"),
    [
        ({}, CallSides(), "inbound"),
        ({"CallerIDNum": "<unknown>", "CallerIDName": "<unknown>"}, CallSides(), "inbound"),
        ({"CallerIDNum": "7004"}, CallSides(), "outbound"),
        ({"CallerIDNum": "7004", "Exten": "7005"}, CallSides(), "internal"),
        ({"CallerIDNum": "7004", "Exten": "*97"}, CallSides(), "internal"),
        ({}, CallSides(contexts=frozenset({"from-pstn"})), "internal"),
        ({"Context": "from-pstn", "CallerIDNum": "7004"}, CallSides(contexts=frozenset({"from-pstn"})), "inbound"),
    ],
)
def test_which_way_a_call_goes(first: dict[str, str], sides: CallSides, direction: str) -> None:
    call = told(dialled("ANSWER"), sides=sides, first=first)
    assert call is not None
    assert call.direction == direction


def test_a_call_that_we_dialled_ourselves_did_not_come_in() -> None:
    rang = {"DestUniqueid": LINKED, "DestChannel": "PJSIP/7004-01", "DialStatus": "NOANSWER"}
    assert ended(frame("DialEnd", **rang), first={"CallerIDNum": "", "Exten": ""}) == ("no-answer", "nothing")


def test_a_placed_call_is_to_whom_we_called() -> None:
    call = told(dialled("ANSWER"), first={"CallerIDNum": "7004", "CallerIDName": "Sam", "Exten": "0912345678"})
    assert call is not None
    assert (outcome_of(call), call.to) == ("placed", "0912345678")
    assert ended(dialled("NOANSWER"), first={"CallerIDNum": "7004", "Exten": "0912345678"}) == ("no-answer", "nothing")


def test_what_began_before_is_not_judged() -> None:
    tracker = CallTracker(CallSides())
    tracker.feed(dialled("NOANSWER"), NOW)
    assert tracker.feed(frame("Hangup"), NOW) is None
    assert tracker.unjudged == 1


def test_a_number_that_comes_later_is_taken_and_one_that_is_changed_is_not() -> None:
    late = told(frame("NewCallerid"), dialled("BUSY"), first={"CallerIDNum": "", "CallerIDName": ""})
    changed = told(frame("NewCallerid", CallerIDNum="7000", CallerIDName="Sales: Lan"), dialled("BUSY"))
    assert [(one.from_, one.caller_name) for one in (late, changed) if one] == [("0912345678", "Lan")] * 2


def test_frames_after_the_end_change_nothing() -> None:
    tracker = CallTracker(CallSides())
    for one in (frame("Newchannel"), dialled("BUSY"), frame("Hangup")):
        tracker.feed(one, NOW)
    assert [tracker.feed(one, NOW) for one in (dialled("ANSWER"), frame("Hangup"))] == [None, None]


def test_calls_without_an_end_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asterisk_calls, "MOST_OPEN", 10)
    tracker = CallTracker(CallSides())
    for number in range(100):
        tracker.feed({**frame("Newchannel"), "Linkedid": f"{number}.1", "Uniqueid": f"{number}.1"}, NOW)
        tracker.feed({**frame("Newchannel"), "Linkedid": f"{number}.2", "Uniqueid": f"{number}.2"}, NOW)
        tracker.feed({**frame("Hangup"), "Linkedid": f"{number}.2", "Uniqueid": f"{number}.2"}, NOW)
    assert len(tracker._open) <= 10
    assert len(tracker._done) <= 11


@given(st.lists(st.sampled_from([dialled("NOANSWER"), dialled("ANSWER"), frame("AgentConnect"), dialled("CANCEL")])))
def test_a_call_that_somebody_took_is_never_missed(frames: list[dict[str, str]]) -> None:
    taken = any(one.get("DialStatus") == "ANSWER" or one["Event"] == "AgentConnect" for one in frames)
    call = told(*frames)
    assert call is not None
    assert str(outcome_of(call)) == ("answered" if taken else "missed" if frames else "nothing")


def test_values_may_be_anything() -> None:
    (one,) = FrameReader().feed(b"Event: X\r\nKey: a: b\r\nKey: second\r\nEmpty: \r\nno colon\r\nBad: \xff\xfe\r\n\r\n")
    assert one == {"Event": "X", "Key": "a: b", "Empty": "", "Bad": "\ufffd\ufffd"}


def test_a_frame_without_an_end_is_not_kept_forever() -> None:
    with pytest.raises(Transient, match="a frame without an end"):
        FrameReader().feed(b"x" * 1_000_001)


@pytest.mark.parametrize(
    ("id_", "at"),
    [
        ("1781705122.3809250", 1781705122),
        ("pbx-1-1781705122.7", 1781705122),
        ("17.1", None),
        ("", None),
        ("abc1781705122.7", None),
    ],
)
def test_the_time_inside_an_id(id_: str, at: int | None) -> None:
    assert epoch_of(id_) == (datetime.fromtimestamp(at, UTC) if at else None)


# ---- CDR


def row(**more: str) -> dict[str, str]:
    usual = {
        "src": "0912345678",
        "dst": "02412345678",
        "dcontext": "ext-group",
        "lastapp": "Dial",
        "start": "2026-11-22 08:00:00",
    }
    usual |= {"dstchannel": "PJSIP/7004-02", "duration": "20", "billsec": "0", "disposition": "NO ANSWER"}
    return {**usual, "uniqueid": "1795334400.1", "clid": '"Lan" <0912345678>', **more}


ANSWERED = {"disposition": "ANSWERED", "billsec": "9"}
MAILBOX = {**ANSWERED, "lastapp": "VoiceMail", "dstchannel": ""}


@pytest.mark.parametrize(
    ("rows", "judged"),
    [
        ([row()], ("no-answer", "missed")),
        ([row(disposition="BUSY")], ("busy", "missed")),
        ([row(**ANSWERED)], ("completed", "answered")),
        ([row(), row(**MAILBOX)], ("no-answer", "missed")),
        ([row(**{**MAILBOX, "dstchannel": "PJSIP/7004-02"})], ("no-answer", "missed")),  # one row, as Asterisk 11 has
        ([row(), row(**ANSWERED, dstchannel="PJSIP/7005-03")], ("completed", "answered")),
        ([row(lastapp="Queue", dstchannel="", **ANSWERED)], ("no-answer", "missed")),
        ([row(lastapp="BackGround", dstchannel="", **ANSWERED)], ("hung-up", "nothing")),
        ([row(src="7004", dst="0912345678", **ANSWERED)], ("completed", "placed")),
        ([row(src="7004", dst="7005", **ANSWERED)], ("completed", "nothing")),
        (
            [
                row(lastapp="Queue", dstchannel="Local/7004@q-1;1", linkedid="1795334400.1", **ANSWERED),
                row(uniqueid="1795334400.3", linkedid="1795334400.1"),
            ],
            ("no-answer", "missed"),
        ),
        ([row(lastapp="Queue", dstchannel="Local/7004@q-1;1", **ANSWERED)], ("completed", "answered")),
    ],
)
def test_how_records_are_judged(rows: list[dict[str, str]], judged: tuple[str, str]) -> None:
    ((one,), _) = cdr_calls(rows, CallSides(), ZoneInfo("UTC"))
    assert (one.call.status, str(outcome_of(one.call))) == judged
    assert (one.call.id, one.call.started_at) == ("1795334400.1", datetime(2026, 11, 22, 8, 0, tzinfo=UTC))


def test_without_any_id_rows_of_a_second_are_one_call() -> None:
    rows = [
        row(uniqueid=""),
        row(uniqueid="", dstchannel="PJSIP/7005-03"),
        row(uniqueid="", start="2026-11-22 08:00:05"),
    ]
    calls, unread = cdr_calls([*rows, row(uniqueid="", start="")], CallSides(), ZoneInfo("Asia/Ho_Chi_Minh"))
    assert (len(calls), unread) == (2, 1)
    assert calls[0].call.started_at == datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "uniqueid", "linkedid"),
    [
        ([], "", None),
        (["1795334400.1"], "1795334400.1", None),
        (["some text"], "", None),
        (["1795334400.1", "some text"], "1795334400.1", None),
        (["", "1795334400.1", "7"], "", "1795334400.1"),
        (["1795334400.5", "text", "", "1795334400.1", "7"], "1795334400.5", "1795334400.1"),
    ],
)
def test_the_columns_that_cdr_conf_adds(more: list[str], uniqueid: str, linkedid: str | None) -> None:
    line = ",".join(f'"{value}"' for value in [*(f"c{number}" for number in range(16)), *more])
    found = csv_row(line)
    assert (found["uniqueid"], found.get("linkedid"), found["amaflags"]) == (uniqueid, linkedid, "c15")
