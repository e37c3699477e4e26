"""What a token endpoint refuses is not asked for again by every restart; and what waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import responses

from syncd.connector import Context
from syncd.connectors.mail.imap_oauth import minter as imap_minter
from syncd.connectors.mail.imap_settings import ImapSettings
from syncd.dispatch.outcomes import next_pace
from syncd.dispatch.pacing import Pace
from syncd.errors import Misconfigured
from syncd.http.lockout import WINDOW, LoginBackoff, MemoryRefusals
from syncd.http.oauth import MemoryTokens, Mint
from syncd.intake.fetches import Again, RetryLaw, judge_failure
from syncd.intake.polls import setback

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
HOST = "https://login.vendor.example"


def mailbox(context: Context, secret: str) -> Mint:
    auth = {"client_id": "c", "client_secret": secret, "refresh_token": "r", "token_url": f"{HOST}/token"}
    settings = ImapSettings.model_validate({"host": "h", "username": "u", "auth": auth})
    return imap_minter(settings, context.name, context.clock, context.refusals)


@responses.activate
def test_a_refused_sign_in_is_asked_for_once_however_often_syncd_starts() -> None:
    responses.post(f"{HOST}/token", json={"error": "invalid_client", "error_description": "no"}, status=400)
    book, now = MemoryRefusals(), [NOW]

    def try_it(secret: str, *, by_hand: bool = False) -> Misconfigured:
        refusals = LoginBackoff(book, lambda: now[0])  # a process that has just started
        if by_hand:
            refusals.bypass()
        context = Context(name="x", tokens=MemoryTokens(), clock=lambda: now[0], refusals=refusals)
        with pytest.raises(Misconfigured) as caught:
            mailbox(context, secret)(None)
        now[0] += timedelta(seconds=10)
        return caught.value

    assert try_it("wrong").code == "invalid_client"
    for _ in range(5):
        failure = try_it("wrong")
        assert (failure.code, failure.until) == ("refused_before", NOW + WINDOW)
    assert len(responses.calls) == 1
    assert try_it("another").code == "invalid_client"
    assert try_it("wrong", by_hand=True).code == "invalid_client"
    assert len(responses.calls) == 3
    now[0] += WINDOW
    assert try_it("wrong").code == "invalid_client"


def test_polls_hints_and_lanes_wait_until_it_may_be_tried() -> None:
    until = NOW + timedelta(minutes=20)
    held = Misconfigured("no; not tried again before 04:20 UTC", code="refused_before", until=until)
    assert setback(held, 1, NOW).pause == timedelta(minutes=20)
    assert not setback(held, 1, NOW).counts
    assert setback(held, 0, NOW).counts  # a source that never was well is shown
    again = judge_failure(held, 0, RetryLaw(()), NOW, 0.5)
    assert isinstance(again, Again)
    assert (again.at, again.counts, again.pause) == (until, False, True)
    pace = next_pace(Pace(), held, round(NOW.timestamp() * 1000), Random(1).random)
    assert (pace.paused_until, pace.stopped) == (round(until.timestamp() * 1000), True)
