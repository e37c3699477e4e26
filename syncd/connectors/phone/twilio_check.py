"""What `check --online` looks at in a Twilio account: the credentials, the right to read calls, the clocks, the numbers.

The Twilio source's `check_online` is this: two calls, and one for each number configured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from syncd.capabilities import Finding, Level
from syncd.connectors.phone.twilio_calls import TwilioCalls

SKEW = timedelta(minutes=2)


def check(calls: TwilioCalls, numbers: Sequence[str], now: datetime) -> Iterator[Finding]:
    """Raises the Failure of whatever is refused."""
    account = calls.account()
    name, status, kind = (str(account.get(key) or "") for key in ("friendly_name", "status", "type"))
    if status and status != "active":
        yield Finding(Level.FAULT, "sign-in", f"the account {name} is {status}", "see the Twilio console")
        return
    yield Finding(Level.OK, "sign-in", f"account {name}" + (f" ({kind})" if kind else ""))
    ahead = now - calls.vendor_now()
    yield Finding(Level.OK, "calls", "the calls may be read")
    if abs(ahead) > SKEW:
        text = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {'ahead of' if ahead > SKEW else 'behind'} Twilio's"
        yield Finding(Level.WARNING, "clock", text, "set the clock (NTP)")
    for number in numbers:
        if calls.owns(number):
            yield Finding(Level.OK, f"number {number}", "is a number of this account")
        else:
            text = "is not a number of this account: calls to it will not be recorded"
            yield Finding(Level.FAULT, f"number {number}", text, "correct numbers: (write it like +14155550100)")
