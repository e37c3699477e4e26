"""Twilio's REST API: the calls of one account, and its numbers, each of which reports the end of its calls somewhere.

Facts: twilio-oai, twilio_api_v2010.json; `StatusCallback` of a number is called when a call to it has ended; a number whose calls
an application handles reports there. Every method raises a Failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.capabilities import Finding, Level, Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.online import clock_findings, existence_findings
from syncd.connectors.phone.calls import PhoneAccount, PhoneCall
from syncd.connectors.registration import claim
from syncd.connectors.times import time_or_none
from syncd.errors import Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import LinkPaging, VendorApi

SID = re.compile(r"[A-Za-z0-9]{2,64}")
NAMES = {
    "id": ("sid", "CallSid"),
    "parent": ("parent_call_sid", "ParentCallSid"),
    "direction": ("direction", "Direction"),
    "status": ("status", "CallStatus"),
    "from_": ("from", "From"),
    "to": ("to", "To"),
    "caller_name": ("caller_name", "CallerName"),
    "forwarded_from": ("forwarded_from", "ForwardedFrom"),
    "talked": ("duration", "CallDuration"),
}
"""Field of a call -> its name in a record of the API, and in a callback."""
_SIZE = {"PageSize": "1000"}
_PAGING = LinkPaging("next_page_uri")
_MAY_NOT_READ = Means(Misconfigured, "this account may not read its calls")
_WRONG = Means(Misconfigured, "account_sid or auth_token is wrong")
_BUSY = Means(RateLimited, "too many requests")
ERRORS = ErrorTable(
    "Twilio",
    {  # twilio.com/docs/api/errors
        "20002": Means(Misconfigured, "the friendly name is invalid"),
        "20003": _WRONG,
        "20005": Means(Misconfigured, "the account is not active"),
        "20006 20403": _MAY_NOT_READ,
        "20008": Means(Misconfigured, "test credentials cannot read calls"),
        "20429": _BUSY,
        "20500": Means(Transient, "Twilio had an error"),
        "20503": Means(Transient, "Twilio is not available"),
        "20504": Means(Transient, "Twilio did not answer in time"),
    },
    error_at("code"),
    statuses={401: _WRONG, 403: _MAY_NOT_READ, 429: _BUSY},
    absent=frozenset({"404"}),
)


def read_call(record: Mapping[str, Any]) -> PhoneCall:
    """A record of Calls.json (twilio-oai, twilio_api_v2010.json); its dates are RFC 2822."""
    texts: dict[str, Any] = {
        ours: value for ours, (name, _) in NAMES.items() if isinstance(value := record.get(name), str)
    }
    began = time_or_none(record.get("start_time")) or time_or_none(record.get("date_created"))
    return PhoneCall(**texts, started_at=began, ended_at=time_or_none(record.get("end_time")))


class TwilioApi:
    """One account: a CallLog of its `calls`, Subscribable at its numbers, an OnlineCheck."""

    def __init__(self, client: HttpClient, account: str, calls: PhoneAccount, context: Context) -> None:
        self._api = VendorApi(client, ERRORS, context.clock)
        self._root = f"/2010-04-01/Accounts/{account}"
        self._numbers = f"{self._root}/IncomingPhoneNumbers.json"
        self._calls, self._context, self._url = calls, context, context.webhook_url

    # ---- calls

    def call(self, id: str) -> PhoneCall | None:
        record = self._api.one(f"{self._root}/Calls/{id}.json")
        return read_call(record) if record is not None else None

    def legs(self, parent: str) -> list[PhoneCall]:
        return [call for calls, _ in self._pages({"ParentCallSid": parent}) for call in calls]

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        return self._pages({"StartTime>": _stamp(since), "StartTime<": _stamp(until)})

    def vendor_now(self) -> datetime:
        """Twilio's clock, by an answer's Date header."""
        return self._api.vendor_now(self._api.call("GET", f"{self._root}/Calls.json", {"PageSize": "1"}))

    def _pages(self, filters: Mapping[str, str]) -> Iterator[tuple[list[PhoneCall], datetime]]:
        pages = self._api.pages(f"{self._root}/Calls.json", {**filters, **_SIZE}, items="calls", paging=_PAGING)
        return (([read_call(record) for record in page.items], self._api.vendor_now(page.answer)) for page in pages)

    # ---- numbers and their callbacks

    def subscriptions(self) -> list[Subscription]:
        """One for each number that reports anywhere, or should report here."""
        pages = self._api.pages(self._numbers, _SIZE, items="incoming_phone_numbers", paging=_PAGING)
        found = [self._read(row) for page in pages for row in page.items]
        return [one for one in found if one.url or self._calls.is_wanted(one.state)]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """Points every wanted number here. Raises SyncdError as `claim`, and if there is no such number."""
        wanted = [one for one in self.subscriptions() if self._calls.is_wanted(one.state)]
        if not wanted:
            raise SyncdError("Twilio has none of these numbers in this account; look at `numbers:` and account_sid")
        return claim(wanted, lambda number: self._point(number, self._url), self._url, force=force)

    def unsubscribe(self, id: str) -> None:
        """Clears where the number reports to, if that is here."""
        row = self._api.one(self._at(id))
        if row is not None and row.get("status_callback") == self._url:
            self._point(self._read(row), "")

    def _point(self, number: Subscription, url: str) -> Subscription:
        # Setting it twice is as good as once: a lost answer may be asked for again.
        form = {"StatusCallback": url, "StatusCallbackMethod": "POST"}
        said = self._api.written("POST", self._at(number.id), form=form) or {}
        there = {
            "sid": number.id,
            "phone_number": number.state,
            "status_callback": url,
            "status_callback_method": "POST",
        }
        return self._read({**there, **said})

    def _at(self, sid: str) -> str:
        if not SID.fullmatch(sid):
            raise SyncdError(f"{sid[:60]!r} is not an id of a Twilio number")
        return f"{self._root}/IncomingPhoneNumbers/{sid}.json"

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        url, number = str(row.get("status_callback") or ""), str(row.get("phone_number") or "")
        elsewhere = row.get("voice_application_sid") or row.get("trunk_sid")
        note = f"its calls go to {elsewhere}, which reports by itself: set the callback there" if elsewhere else ""
        return Subscription(
            id=str(row.get("sid") or ""),
            url=url,
            events=("the end of each call",) if url else (),
            state=number,
            ours=url == self._url and str(row.get("status_callback_method")).upper() == "POST",
            active=bool(url),
            note=note if self._calls.is_wanted(number) else "",
        )

    # ---- check --online

    def check_online(self) -> Iterator[Finding]:
        """The credentials, the right to read calls, the clocks and the numbers: two calls, and one for each number."""
        account = self._api.one(f"{self._root}.json") or {}
        name, status, kind = (str(account.get(key) or "") for key in ("friendly_name", "status", "type"))
        if status and status != "active":
            yield Finding(Level.FAULT, "sign-in", f"the account {name} is {status}", "see the Twilio console")
            return
        yield Finding(Level.OK, "sign-in", f"account {name}" + (f" ({kind})" if kind else ""))
        now, theirs = self._context.clock(), self.vendor_now()
        yield Finding(Level.OK, "calls", "the calls may be read")
        yield from clock_findings(now, theirs, "Twilio")
        missing = "is not a number of this account: calls to it will not be recorded"
        remedy = "correct numbers: (write it like +14155550100)"
        yield from existence_findings("number", sorted(self._calls.numbers), self._of_account, missing, remedy)

    def _of_account(self, number: str) -> str | None:
        query = {"PhoneNumber": number, "PageSize": "1"}
        there = self._api.rows(self._numbers, query, items="incoming_phone_numbers")
        return "is a number of this account" if there else None


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
