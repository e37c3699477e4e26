"""The Twilio twin: filters and pages as documented, an id that stays, callbacks that Twilio's own validator accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from twilio.request_validator import RequestValidator

from syncd.twins.twilio import TwilioTwin

NOON = 1_781_179_200.0  # 2026-06-11T12:00:00Z


@pytest.fixture
def twilio() -> Iterator[TwilioTwin]:
    with TwilioTwin() as twin:
        yield twin


def ask(twin: TwilioTwin, path: str = "Calls.json", token: str | None = None, **params: Any) -> requests.Response:
    url = path if path.startswith("http") else f"{twin.url}/2010-04-01/Accounts/{twin.account_sid}/{path}"
    auth = (twin.account_sid, token or twin.auth_token)
    return requests.get(
        url, params={k.replace("_from", ">").replace("_to", "<"): v for k, v in params.items()}, auth=auth, timeout=10
    )


def test_filters(twilio: TwilioTwin) -> None:
    parent = twilio.add(
        "calls", status="completed", start=NOON, end=NOON + 30, **{"from": "+14158675309", "to": "+18005551212"}
    )
    legs = [
        twilio.add("calls", status="no-answer", start=NOON + i, parent_call_sid=parent, direction="outbound-dial")
        for i in (1, 2)
    ]
    late = twilio.add("calls", status="no-answer", start=NOON + 86_400)

    def sids(**params: Any) -> list[str]:
        return [c["sid"] for c in ask(twilio, **params).json()["calls"]]

    assert sids() == [late, legs[1], legs[0], parent]
    assert sids(Status="no-answer") == [late, legs[1], legs[0]]
    assert sids(ParentCallSid=parent) == [legs[1], legs[0]]
    assert sids(StartTime="2026-06-12") == [late]
    assert sids(StartTime_from="2026-06-12") == [late]
    assert sids(StartTime_to="2026-06-11") == [legs[1], legs[0], parent]
    assert sids(StartTime_from="2026-06-11T12:00:01Z", StartTime_to="2026-06-11T12:00:02Z") == [legs[1], legs[0]]
    assert sids(EndTime_from="2026-06-11T12:00:25Z", EndTime_to="2026-06-11T23:00:00Z") == [parent]
    assert ask(twilio, StartTime="yesterday").status_code == 400
    call = ask(twilio, f"Calls/{parent}.json").json()
    assert (call["start_time"], call["duration"], call["from"]) == (
        "Thu, 11 Jun 2026 12:00:00 +0000",
        "30",
        "+14158675309",
    )


def test_pages_do_not_shift_when_calls_come_in(twilio: TwilioTwin) -> None:
    made = [twilio.add("calls", status="no-answer", start=NOON + i) for i in range(5)]
    page = ask(twilio, PageSize=2, Status="no-answer").json()
    assert (page["page"], page["page_size"], page["start"], page["end"]) == (0, 2, 0, 1)
    twilio.add("calls", status="no-answer", start=NOON + 100)
    seen = [c["sid"] for c in page["calls"]]
    while page["next_page_uri"]:
        page = ask(twilio, twilio.url + page["next_page_uri"]).json()
        seen += [c["sid"] for c in page["calls"]]
    assert seen == made[::-1]


def test_a_call_that_ends(twilio: TwilioTwin) -> None:
    sid = twilio.add("calls", status="ringing", start=NOON)
    call = ask(twilio, f"Calls/{sid}.json").json()
    assert (call["status"], call["end_time"], call["duration"]) == ("ringing", None, "")
    twilio.modify(sid, status="busy", end=NOON + 3)
    call = ask(twilio, f"Calls/{sid}.json").json()
    assert (call["status"], call["end_time"], call["duration"]) == ("busy", "Thu, 11 Jun 2026 12:00:03 +0000", "0")


def test_refusals(twilio: TwilioTwin) -> None:
    refused = ask(twilio, token="wrong")
    assert (refused.status_code, refused.json()["code"]) == (401, 20003)
    missing = ask(twilio, "Calls/CA0.json")
    assert (missing.status_code, missing.json()["code"], missing.json()["status"]) == (404, 20404, 404)
    with pytest.raises(ValueError, match="not one of busy"):
        twilio.add("calls", status="lost")
    twilio.plan.add(
        [{"on": "list", "do": "too_many", "retry_after": 2, "nth": 1}, {"on": "list", "do": "unavailable", "nth": 1}]
    )
    first, second = ask(twilio), ask(twilio)
    assert (first.status_code, first.json()["code"], first.headers["Retry-After"]) == (429, 20429, "2")
    assert second.status_code == 503


def test_callbacks_are_signed_as_twilio_signs(twilio: TwilioTwin) -> None:
    sid = twilio.add("calls", status="no-answer", start=NOON, **{"from": "+14158675309", "to": "+18005551212"})
    url = "https://syncd.example.com/webhooks/phones"
    headers, body = twilio.callback(sid, url, DialCallStatus="no-answer")
    form = {k: v[0] for k, v in parse_qs(body.decode(), keep_blank_values=True).items()}
    assert RequestValidator(twilio.auth_token).validate(url, form, headers["X-Twilio-Signature"])
    assert (form["CallSid"], form["CallStatus"], form["From"]) == (sid, "no-answer", "+14158675309")
    assert form["Timestamp"] == "Thu, 11 Jun 2026 12:00:20 +0000"
