"""The Twilio twin: the Calls list with its filters and paging, single calls, numbers, and signed status callbacks.

Shapes follow Twilio's OpenAPI (twilio_api_v2010: Calls, `readFullPage1`) and sources.md 3.1 [DOC]. Used by source
tests and demos.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from syncd.twins import outgoing
from syncd.twins.server import Handler, Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

STATUSES = frozenset({"queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"})
PAGE, MOST = 50, 1_000
NUMBERS = "numbers"
_ERRORS = "https://www.twilio.com/docs/errors/"


def _answer(status: int, code: int, message: str) -> Named:
    return lambda twin, call: twin.error(status, str(code), message)


class TwilioTwin(Twin):
    """Options beside those of Twin: `account_sid`, `auth_token`, `numbers` (of the account)."""

    name = "twilio"
    example = """\
sources:
  calls:
    type: twilio
    base_url: {url}
    account_sid: {account_sid}
    auth_token: {auth_token}
"""
    key_field = ""
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {"calls": ("parent_call_sid",)}
    named: ClassVar[Mapping[str, Named]] = {
        "too_many": _answer(429, 20429, "Too Many Requests"),
        "unavailable": _answer(503, 20503, "Service is unavailable. Please try again."),
    }

    def __init__(
        self,
        *,
        account_sid: str = "AC" + "0" * 32,
        auth_token: str = "twin-token",
        numbers: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.account_sid, self.auth_token = account_sid, auth_token
        for number in numbers:
            self.add_number(number)

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        number = int(code) if code.isdigit() else 20500
        return TwinResponse(
            status, {"code": number, "message": message, "more_info": f"{_ERRORS}{number}", "status": status}
        )

    def credentials(self) -> dict[str, str]:
        return {"account_sid": self.account_sid, "auth_token": self.auth_token}

    def refused(self) -> TwinResponse:
        return self.error(401, "20003", "Authenticate")

    def add(self, object_: str, /, **fields: Any) -> str:
        """A call. `start` and `end` are moments (seconds since 1970); a leg has a `parent_call_sid`. Other keys as in the API."""
        if object_ != "calls":
            raise ValueError(f"no object {object_!r}; there are: calls")
        status = fields.get("status", "completed")
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(sorted(STATUSES))}")
        with self.lock:
            start = float(fields.pop("start", self.clock()))
            end = fields.pop("end", start + 20.0 if status not in ("queued", "ringing", "in-progress") else None)
            sid = fields.get("sid") or "CA" + secrets.token_hex(16)
            record: Record = {
                "sid": sid,
                "status": status,
                "start": start,
                "end": None if end is None else float(end),
                **fields,
            }
            self.store.put("calls", sid, record)
            self.store.commit()
        return str(sid)

    def add_number(self, phone_number: str, **fields: Any) -> str:
        """A number of the account; keys as in the API (`status_callback`, say)."""
        sid = "PN" + secrets.token_hex(16)
        row = {"sid": sid, "phone_number": phone_number, "status_callback": "", "status_callback_method": "POST"}
        with self.lock:
            self.store.put(NUMBERS, sid, {**row, "friendly_name": phone_number, **fields})
            self.store.commit()
        return sid

    def report(self, sid: str) -> list[int]:
        """Tells of a call that has ended where its number reports to; what was answered."""
        to = self.store.table("calls").records[sid].get("to")
        urls = [str(row["status_callback"]) for row in self.store.find(NUMBERS, "phone_number", to)]
        return [outgoing.call("POST", url, *self.callback(sid, url)) for url in urls if url]

    def modify(self, sid: str, **fields: Any) -> None:
        """Changes a call, as when it ends; keys as in `add`."""
        with self.lock:
            current = self.store.get("calls", sid)
            if current is None:
                raise ValueError(f"there is no call {sid}")
            self.store.put("calls", sid, {**current, **fields})
            self.store.commit()

    def callback(self, sid: str, url: str, **extra: str) -> tuple[dict[str, str], bytes]:
        """(headers, body) of the signed status callback of a call, for `url` as the client configured it (sources.md 3.1)."""
        call = self._shape(self.store.table("calls").records[sid])
        names = {
            "CallSid": "sid",
            "AccountSid": "account_sid",
            "From": "from",
            "To": "to",
            "Direction": "direction",
            "CallStatus": "status",
        }
        form = {name: str(call[key]) for name, key in names.items()}
        form |= {"ApiVersion": "2010-04-01", "CallbackSource": "call-progress-events", "SequenceNumber": "0"}
        form["Timestamp"] = call["end_time"] or call["start_time"]
        if call["parent_call_sid"]:
            form["ParentCallSid"] = call["parent_call_sid"]
        form |= extra
        signed = url + "".join(k + form[k] for k in sorted(form))
        digest = hmac.new(self.auth_token.encode(), signed.encode(), hashlib.sha1).digest()
        headers = {
            "X-Twilio-Signature": base64.b64encode(digest).decode(),
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        }
        return headers, urlencode(form).encode()

    def route(self, call: TwinCall) -> Handler | None:
        path = call.segments
        if path[:2] == ("2010-04-01", "Accounts") and len(path) == 3 and call.method == "GET":
            call.operation = "account"
            return lambda c: self._admitted(c, self._account, path[2].removesuffix(".json"))
        if len(path) < 4 or path[:2] != ("2010-04-01", "Accounts"):
            return None
        if len(path) == 5 and path[3] == "IncomingPhoneNumbers" and call.method in ("GET", "POST"):
            call.operation = "number" if call.method == "GET" else "update_number"
            return lambda c: self._admitted(c, self._number)
        if call.method != "GET":
            return None
        if path[3:] == ("IncomingPhoneNumbers.json",):
            call.operation = "numbers"
            return lambda c: self._admitted(c, self._numbers)
        if path[3:] == ("Calls.json",):
            call.operation = "list"
            return lambda c: self._admitted(c, self._list)
        if len(path) == 5 and path[3] == "Calls" and path[4].endswith(".json"):
            call.operation = "get"
            return lambda c: self._admitted(c, self._get)
        return None

    def _admitted(self, call: TwinCall, handler: Handler, account: str = "") -> TwinResponse:
        given = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if not hmac.compare_digest(call.bearer, given):
            return self.refused()
        return handler(call) if (account or call.segments[2]) == self.account_sid else self._missing(call)

    def _account(self, call: TwinCall) -> TwinResponse:
        """The account resource (twilio.com/docs/iam/api/account)."""
        return TwinResponse(
            200,
            {
                "sid": self.account_sid,
                "friendly_name": "Twin",
                "status": "active",
                "type": "Full",
                "owner_account_sid": self.account_sid,
                "uri": f"/2010-04-01/Accounts/{self.account_sid}.json",
            },
        )

    def _missing(self, call: TwinCall) -> TwinResponse:
        return self.error(404, "20404", f"The requested resource {call.path} was not found")

    def _get(self, call: TwinCall) -> TwinResponse:
        record = self.store.get("calls", call.segments[4].removesuffix(".json"))
        return self._missing(call) if record is None else TwinResponse(200, self._shape(record))

    def _number(self, call: TwinCall) -> TwinResponse:
        """One number, or an update of it (twilio_api_v2010: UpdateIncomingPhoneNumber)."""
        sid = call.segments[4].removesuffix(".json")
        row = self.store.get(NUMBERS, sid)
        if row is None:
            return self._missing(call)
        if call.method == "POST":
            given = call.form()
            url = given.get("StatusCallback", row["status_callback"])
            if url and not url.startswith(("http://", "https://")):
                return self.error(400, "21609", "Invalid 'StatusCallback' URL")
            method = given.get("StatusCallbackMethod", row["status_callback_method"])
            row = {**row, "status_callback": url, "status_callback_method": method}
            self.store.put(NUMBERS, sid, row)
        return TwinResponse(200, {**row, "account_sid": self.account_sid})

    def _numbers(self, call: TwinCall) -> TwinResponse:
        """Numbers of the account; `PhoneNumber` filters by a part (twilio.com/docs/phone-numbers/api)."""
        query, here = call.query, f"/2010-04-01/Accounts/{self.account_sid}/IncomingPhoneNumbers.json?"
        size, page = min(MOST, max(1, int(query.get("PageSize", PAGE)))), int(query.get("Page", 0))
        wanted = query.get("PhoneNumber", "")
        rows = [row for row in self.store.table(NUMBERS).records.values() if wanted in row["phone_number"]]
        more = (page + 1) * size < len(rows)
        return TwinResponse(
            200,
            {
                "incoming_phone_numbers": rows[page * size : (page + 1) * size],
                "page": page,
                "page_size": size,
                "next_page_uri": here + urlencode({"PageSize": size, "Page": page + 1}) if more else None,
            },
        )

    def _list(self, call: TwinCall) -> TwinResponse:
        query = call.query
        try:
            found = [r for r in self.store.table("calls").records.values() if _wanted(r, query)]
            size = min(MOST, max(1, int(query.get("PageSize", PAGE))))
            page = int(query.get("Page", 0))
        except ValueError as error:
            return self.error(400, "20001", f"Invalid parameter: {error}")
        found.sort(key=lambda r: (r["start"], r["sid"]), reverse=True)
        start = _after(found, query["PageToken"]) if "PageToken" in query else page * size
        rows = found[start : start + size]
        more = start + size < len(found)
        kept = {k: v for k, v in query.items() if k not in ("Page", "PageToken", "PageSize")}
        here = f"/2010-04-01/Accounts/{self.account_sid}/Calls.json?"
        following = {**kept, "PageSize": size, "Page": page + 1, "PageToken": f"PA{rows[-1]['sid']}"} if more else None
        return TwinResponse(
            200,
            {
                "first_page_uri": here + urlencode({**kept, "PageSize": size, "Page": 0}),
                "next_page_uri": here + urlencode(following) if following else None,
                "previous_page_uri": here + urlencode({**kept, "PageSize": size, "Page": page - 1}) if page else None,
                "uri": here + urlencode({**kept, "PageSize": size, "Page": page}),
                "page": page,
                "page_size": size,
                "start": start,
                "end": start + len(rows) - 1 if rows else 0,
                "calls": [self._shape(r) for r in rows],
            },
        )

    def _shape(self, record: Record) -> dict[str, Any]:
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Calls/{record['sid']}"
        start, end = record["start"], record["end"]
        ended = "" if end is None else str(int(end - start) if record["status"] == "completed" else 0)
        names = (
            "answered_by",
            "annotation",
            "caller_name",
            "forwarded_from",
            "group_sid",
            "parent_call_sid",
            "price",
            "trunk_sid",
        )
        return {name: record.get(name) for name in names} | {
            "sid": record["sid"],
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "from": record.get("from", ""),
            "from_formatted": record.get("from", ""),
            "to": record.get("to", ""),
            "to_formatted": record.get("to", ""),
            "phone_number_sid": record.get("phone_number_sid", ""),
            "direction": record.get("direction", "inbound"),
            "status": record["status"],
            "start_time": _rfc2822(start),
            "end_time": None if end is None else _rfc2822(end),
            "date_created": _rfc2822(start),
            "date_updated": _rfc2822(end or start),
            "duration": ended,
            "price_unit": "USD",
            "queue_time": "0",
            "uri": f"{uri}.json",
            "subresource_uris": {n: f"{uri}/{n.title()}.json" for n in ("notifications", "recordings", "events")},
        }


def _rfc2822(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC))


def _moment(text: str) -> float:
    """A filter's value: a day (UTC) or an ISO moment. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _wanted(record: Record, query: Mapping[str, str]) -> bool:
    """The documented filters; `StartTime>` and `StartTime<` include their ends, a bare day means the entire day."""
    for name, key in (("Status", "status"), ("ParentCallSid", "parent_call_sid"), ("From", "from"), ("To", "to")):
        if name in query and record.get(key) != query[name]:
            return False
    for name, key in (("StartTime", "start"), ("EndTime", "end")):
        value = record[key]
        bounds = (query.get(f"{name}>"), query.get(f"{name}<"), query.get(name))
        if value is None and any(bounds):
            return False
        low, high, day = (None if b is None else _moment(b) for b in bounds)
        length = 86_400.0 if bounds[1] is not None and len(bounds[1]) == 10 else 0.0
        if (low is not None and value < low) or (high is not None and value > high + length):
            return False
        if day is not None and not day <= value < day + 86_400.0:
            return False
    return True


def _after(found: list[Record], token: str) -> int:
    """Where the page behind a token starts: after its call, however many came in since."""
    return next((i + 1 for i, r in enumerate(found) if f"PA{r['sid']}" == token), len(found))
