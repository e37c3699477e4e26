"""Twilio's REST API: the calls of one account, and its numbers, each of which reports the end of its calls somewhere.

Facts: twilio-oai, twilio_api_v2010.json; `StatusCallback` of a number is called when a call to it has ended; a number whose calls
an application handles reports there. Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import Finding, Level, Subscription
from syncd.connectors.phone.twilio_calls import SID, PhoneCall, read_call
from syncd.errors import Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.vendor_api import LinkPaging, VendorApi

SKEW = timedelta(minutes=2)
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


class TwilioApi:
    """One account, seen from `url`, the address of this source. `wanted` tells which of our numbers concern it."""

    def __init__(
        self, client: HttpClient, account: str, url: str, wanted: Callable[[str], bool], clock: Callable[[], datetime]
    ) -> None:
        self._api = VendorApi(client, ERRORS, clock)
        self._root = f"/2010-04-01/Accounts/{account}"
        self._url = url
        self._wanted = wanted

    # ---- calls

    def call(self, sid: str) -> PhoneCall | None:
        """None when Twilio knows no such call (any more)."""
        record = self._api.one(f"{self._root}/Calls/{sid}.json")
        return read_call(record) if record is not None else None

    def legs(self, parent: str) -> list[PhoneCall]:
        return [call for calls, _ in self._pages({"ParentCallSid": parent}) for call in calls]

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        """Pages of the calls that started in [since, until], newest first, each with Twilio's own time."""
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
        return [self._read(row) for row in self._numbers() if row.get("status_callback") or self._wanted(_number(row))]

    def subscribe(self, *, force: bool) -> list[Subscription]:
        """Points every wanted number here. Raises SyncdError, before anything is changed, when one reports elsewhere
        and `force` is not set; also when there is no such number."""
        rows = [row for row in self._numbers() if self._wanted(_number(row))]
        if not rows:
            raise SyncdError("Twilio has none of these numbers in this account; look at `numbers:` and account_sid")
        taken = [row for row in rows if row.get("status_callback") not in (None, "", self._url)]
        if taken and not force:
            told = "; ".join(f"{_number(row)} reports to {row['status_callback']}" for row in taken[:5])
            more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
            raise SyncdError(f"{told}{more}: another address is already set there; --force replaces it with this one")
        return [self._read(row if self._points_here(row) else self._point(row, self._url)) for row in rows]

    def unsubscribe(self, id: str) -> None:
        """Clears where the number reports to, if that is here."""
        row = self._api.one(self._at(id))
        if row is not None and row.get("status_callback") == self._url:
            self._point(row, "")

    def _numbers(self) -> list[dict[str, Any]]:
        path, items = f"{self._root}/IncomingPhoneNumbers.json", "incoming_phone_numbers"
        return [row for page in self._api.pages(path, _SIZE, items=items, paging=_PAGING) for row in page.items]

    def _point(self, row: Mapping[str, Any], url: str) -> Mapping[str, Any]:
        form = {"StatusCallback": url, "StatusCallbackMethod": "POST"}
        # Setting it twice is as good as once: a lost answer may be asked for again.
        answer = self._api.call("POST", self._at(str(row.get("sid"))), form=form)
        said = answer.json() if answer is not None else None
        return said if isinstance(said, dict) else {**row, "status_callback": url, "status_callback_method": "POST"}

    def _at(self, sid: str) -> str:
        if not SID.fullmatch(sid):
            raise SyncdError(f"{sid[:60]!r} is not an id of a Twilio number")
        return f"{self._root}/IncomingPhoneNumbers/{sid}.json"

    def _points_here(self, row: Mapping[str, Any]) -> bool:
        return row.get("status_callback") == self._url and str(row.get("status_callback_method")).upper() == "POST"

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        url, elsewhere = str(row.get("status_callback") or ""), row.get("voice_application_sid") or row.get("trunk_sid")
        note = f"its calls go to {elsewhere}, which reports by itself: set the callback there" if elsewhere else ""
        return Subscription(
            id=str(row.get("sid") or ""),
            url=url,
            events=("the end of each call",) if url else (),
            state=_number(row),
            ours=self._points_here(row),
            active=bool(url),
            note=note if self._wanted(_number(row)) else "",
        )

    # ---- check --online

    def check(self, numbers: Sequence[str], now: datetime) -> Iterator[Finding]:
        """The credentials, the right to read calls, the clocks and the numbers: two calls, and one for each number."""
        account = self._api.one(f"{self._root}.json") or {}
        name, status, kind = (str(account.get(key) or "") for key in ("friendly_name", "status", "type"))
        if status and status != "active":
            yield Finding(Level.FAULT, "sign-in", f"the account {name} is {status}", "see the Twilio console")
            return
        yield Finding(Level.OK, "sign-in", f"account {name}" + (f" ({kind})" if kind else ""))
        ahead = now - self.vendor_now()
        yield Finding(Level.OK, "calls", "the calls may be read")
        if abs(ahead) > SKEW:
            where = "ahead of" if ahead > SKEW else "behind"
            text = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {where} Twilio's"
            yield Finding(Level.WARNING, "clock", text, "set the clock (NTP)")
        for number in numbers:
            query = {"PhoneNumber": number, "PageSize": "1"}
            found = self._api.rows(f"{self._root}/IncomingPhoneNumbers.json", query, items="incoming_phone_numbers")
            text = "is a number of this account"
            if found:
                yield Finding(Level.OK, f"number {number}", text)
                continue
            text = "is not a number of this account: calls to it will not be recorded"
            yield Finding(Level.FAULT, f"number {number}", text, "correct numbers: (write it like +14155550100)")


def _number(row: Mapping[str, Any]) -> str:
    return str(row.get("phone_number") or "")


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
