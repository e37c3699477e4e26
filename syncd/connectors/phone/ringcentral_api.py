"""RingCentral's REST API: the call log of an account as calls, its webhooks, the sign-in by JWT. Every method raises a Failure.

Facts: ringcentral-api-docs, ringcentral_openapi3.json: records of one call have one `telephonySessionId`; `dateFrom` is by
default only 24 hours ago; the log is of the group Heavy (10 calls a minute for each user). A call in progress is in the log with
the result "In Progress" and changes later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import Finding, Level, Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.answers import mappings, whole
from syncd.connectors.online import clock_findings
from syncd.connectors.phone.calls import MISSED, CallOutcome, PhoneCall
from syncd.connectors.registration import WebhookList
from syncd.connectors.times import time_or_none
from syncd.errors import AuthExpired, Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import Bearer, HttpClient, Response
from syncd.http.error_table import ErrorTable, Means, VendorError
from syncd.http.limits import Bucket, Rate
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers, error_word
from syncd.http.vendor_api import LinkPaging, VendorApi

UNIT = "calls"
CALL_LOG = "/restapi/v1.0/account/~/call-log"
SESSIONS = "/restapi/v1.0/account/~/telephony/sessions"
SUBSCRIPTIONS = "/restapi/v1.0/subscription"
PAGE = 100
LIFETIME = timedelta(days=90)  # at most 20 years; a webhook of a source that was removed should end
SIGN_IN = "/restapi/oauth/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HEAVY = Rate(10, timedelta(minutes=1))
_OLDEST = timedelta(days=30)  # a hint is answered long before
_PAGING = LinkPaging("navigation.nextPage.uri")
_CLIENT = "client_id or client_secret is wrong, or the app is in another environment (sandbox, production)"
_JWT = "the JWT is refused; create a new one for this app under Credentials in the developer console"
_LOCKED = "the user of the JWT is locked or disabled"
_RIGHT = Means(
    Misconfigured,
    "a permission is missing: the app needs ReadCallLog and CallControl (for webhooks), the user the right to see the company's "
    "call log",
)
_REFUSED = Means(AuthExpired, "the access token is refused")
_BUSY = Means(RateLimited, "too many requests", pause=60.0)
_DOWN = Means(Transient, "RingCentral is not available")


def _codes(said: Mapping[str, Any]) -> list[str]:
    return [str(one.get("errorCode") or "") for one in mappings(said, "errors")]


ANSWERS = TokenAnswers(
    "RingCentral",
    {
        "OAU-146": _CLIENT,
        "invalid_client": _CLIENT,
        "unauthorized_client": "the app may not sign in by JWT; allow it in the app's settings",
        "OAU-125": _JWT,
        "invalid_grant": _JWT,
        "OAU-147": _LOCKED,
        "OAU-148": _LOCKED,
    },
    throttles=frozenset({"CMN-301"}),
    words=lambda said: [*_codes(said), *error_word(said)],
    pause=60.0,  # five a minute
)


def _errors(body: Any) -> list[VendorError]:
    """`errors`, the most telling; else the body itself."""
    rows = mappings(body, "errors") or ([body] if isinstance(body, Mapping) else [])
    return [VendorError(str(row.get("errorCode") or ""), str(row.get("message") or "")) for row in rows]


def _wait(answer: Response, now: datetime) -> float | None:
    """A call during the pause begins it anew, so what the header says is kept exactly."""
    wait, window = answer.retry_after(now), answer.headers.get("x-rate-limit-window", "")
    return float(window) if wait is None and answer.status == 429 and window.isascii() and window.isdigit() else wait


ERRORS = ErrorTable(
    "RingCentral",
    {  # developers.ringcentral.com, error codes
        "OAU-128 OAU-129 OAU-149 OAU-213": _REFUSED,
        "OAU-147 OAU-148": Means(Misconfigured, _LOCKED),
        "OAU-146": Means(Misconfigured, _CLIENT),
        "CMN-401 CMN-402 CMN-408 SUB-406 SUB-505 InsufficientPermissions": _RIGHT,
        "CMN-301 CMN-302 CMN-304 CMN-310": _BUSY,
        "CMN-201 CMN-203": _DOWN,
        "SUB-520 SUB-525": Means(
            Misconfigured, "RingCentral gets no right answer from server.public_url; is syncd running?"
        ),
    },
    _errors,
    statuses={403: _RIGHT, 408: _DOWN, 429: _BUSY},
    absent=frozenset({"404", "CMN-102"}),
    wait=_wait,
)

# ---- records of the call log

_TAKEN = frozenset({"accepted", "callconnected"})
_UNANSWERED = frozenset({"missed", "noanswer", "busy", "hangup", "abandoned", "declined", "rejected", "voicemail"})
_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD "
    "TN TX UT VT VA WA WV WI WY DC PR AB BC MB NB NL NS ON PE QC SK YT NT NU"
)
_PLACE = re.compile(rf"[A-Z][A-Z .'-]* (?:{'|'.join(_STATES.split())})")
"""How the telephone network names a caller whom it does not know: SAN MATEO CA."""
_ID = re.compile(r"[!-~]{1,200}")


def outcome_of(call: PhoneCall, legs: Sequence[PhoneCall] = ()) -> CallOutcome:
    """RingCentral reports the outcome; `read_session` has made it the call's status."""
    if not (call.inbound or call.outbound):
        return CallOutcome.NOTHING
    if call.status == "in-progress":
        return CallOutcome.OPEN
    if call.status == "completed":
        return CallOutcome.ANSWERED if call.inbound else CallOutcome.PLACED
    return CallOutcome.MISSED if call.inbound and call.status in MISSED else CallOutcome.NOTHING


def session_of(record: Mapping[str, Any]) -> str:
    """The id of a call, in its records and in events; "" if there is none."""
    for name in ("telephonySessionId", "sessionId"):
        if isinstance(id_ := record.get(name), str) and _ID.fullmatch(id_):
            return id_
    return ""


def read_session(records: Sequence[Mapping[str, Any]], *, voicemail: bool = True) -> PhoneCall:
    """The records of one call. A ring group, a queue and a transfer are one call with legs, or several records: it was missed
    only if none of them was answered. `voicemail`: whether a call that went to voicemail counts as missed. A call without id is
    what cannot be read."""
    first = min(records, key=lambda one: (one.get("direction") != "Inbound", str(one.get("startTime") or "")))
    began = time_or_none(first.get("startTime"))
    if began is None or not session_of(first):
        return PhoneCall()
    ours, theirs = _party(first, "to"), _party(first, "from")
    if first.get("direction") != "Inbound":
        ours, theirs = theirs, ours
    internal = bool(theirs.get("extensionNumber")) and not theirs.get("phoneNumber")
    name, place = (str(_party(first, "from").get(key) or "") for key in ("name", "location"))
    seconds = whole(first.get("duration"))
    status = _status(records, first, voicemail=voicemail)
    told = {"name": name, "location": place, "result": first.get("result"), "action": first.get("action")}
    return PhoneCall(
        id=session_of(first),
        direction="internal" if internal else str(first.get("direction") or "").lower(),
        status=status,
        from_=_number(_party(first, "from")),
        to=_number(_party(first, "to")),
        started_at=began,
        ended_at=None if status == "in-progress" else began + timedelta(seconds=max(0, min(seconds, 10**6))),
        caller_name="" if _is_place(name, place) else name,
        talked=str(seconds),
        said={key: value for key, value in told.items() if isinstance(value, str) and value},
    )


def _status(records: Iterable[Mapping[str, Any]], first: Mapping[str, Any], *, voicemail: bool) -> str:
    """A word of `PhoneCall.status`; any other for what is neither missed nor answered (blocked, failed)."""
    results = {_result(record) for record in records}
    if "inprogress" in results:
        return "in-progress"
    result = _result(first)
    legs = {_result(leg) for record in records for leg in mappings(record, "legs") if leg.get("master") is not True}
    by_leg = result in _UNANSWERED and result != "voicemail" and legs & _TAKEN  # what took a voicemail is the mailbox
    if results & _TAKEN or by_leg:
        return "completed"
    if result in _UNANSWERED and (voicemail or result != "voicemail"):
        return "busy" if result == "busy" else "no-answer"
    return result or "unknown"


def _result(record: Mapping[str, Any]) -> str:
    return str(record.get("result") or "").replace(" ", "").lower()


def _party(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    party = record.get(name)
    return party if isinstance(party, Mapping) else {}


def _number(party: Mapping[str, Any]) -> str:
    return str(party.get("phoneNumber") or party.get("extensionNumber") or "")


def _is_place(name: str, place: str) -> bool:
    plain = name.replace(",", "").casefold()
    return plain == place.replace(",", "").casefold() or _PLACE.fullmatch(name) is not None


# ---- the API


class RingCentralApi:
    """A CallLog of one account, ExpiringWebhooks, an OnlineCheck. `client`: id and secret of the app; `token`: the secret of our
    webhook, "" without one."""

    def __init__(
        self,
        base_url: str,
        client: tuple[str, str],
        jwt: str,
        context: Context,
        *,
        token: str = "",
        events: str = SESSIONS,
        voicemail: bool = True,
    ) -> None:
        account, limits = f"ringcentral:{client[0]}", context.limits
        mint = Refreshing(
            base_url + SIGN_IN,
            {},
            ANSWERS,
            context.clock,
            context.name,
            JWT_BEARER,
            assertion=lambda now: jwt,
            basic=client,
        )
        bearer = Bearer(tokens=context.tokens, grant=grant_id("ringcentral", base_url, client[0], jwt), mint=mint)
        rate = limits.bucket(account, UNIT) or Bucket(limits.rates, account, _HEAVY, UNIT)
        http = HttpClient(base_url, bearer=bearer, rate=rate, clock=context.clock)
        self._api = VendorApi(http, ERRORS, context.clock)
        self._context, self._voicemail = context, voicemail
        self._url, self._token, self._events = context.webhook_url, token, events
        self._webhooks = WebhookList(
            self._api,
            SUBSCRIPTIONS,
            self._read,
            items="records",
            new=self._body,
            change=self._body,
            covers=self._covers,
            update="PUT",
        )

    # ---- calls

    def call(self, id: str) -> PhoneCall | None:
        name = "sessionId" if id.isdigit() else "telephonySessionId"
        since = _stamp(self._context.clock() - _OLDEST)
        rows = self._api.rows(CALL_LOG, {name: id, "view": "Detailed", "dateFrom": since}, items="records", absent=True)
        return read_session(rows, voicemail=self._voicemail) if rows else None

    def legs(self, parent: str) -> list[PhoneCall]:
        """None: `read_session` has judged them."""
        return []

    def window(self, since: datetime, until: datetime) -> Iterator[tuple[list[PhoneCall], datetime]]:
        """One page, since the records of a call may stand on several of the vendor's."""
        query = {"type": "Voice", "view": "Detailed", "dateFrom": _stamp(since), "dateTo": _stamp(until)}
        sessions: dict[str, list[Mapping[str, Any]]] = {}
        unread, clock = 0, None
        for page in self._api.pages(
            CALL_LOG, {**query, "page": "1", "perPage": str(PAGE)}, items="records", paging=_PAGING
        ):
            clock = clock or self._api.vendor_now(page.answer)
            for record in page.items:
                if id_ := session_of(record):
                    sessions.setdefault(id_, []).append(record)
                unread += not id_
        calls = [read_session(records, voicemail=self._voicemail) for records in sessions.values()]
        yield [*calls, *[PhoneCall()] * unread], clock or self._context.clock()

    def vendor_now(self) -> datetime:
        """RingCentral's clock, by an answer's Date header."""
        return self._api.vendor_now(self._api.call("GET", CALL_LOG, {"perPage": "1"}))

    # ---- webhooks

    def subscriptions(self) -> list[Subscription]:
        return self._webhooks.subscriptions()

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One that points here. RingCentral calls one that it has blacklisted never again: it is made anew."""
        if not self._token:
            raise SyncdError(
                "RingCentral does not sign events; set webhook_token: to a secret of 16 letters and digits or more"
            )
        for one in self.subscriptions():
            if one.ours and not one.active:
                self.unsubscribe(one.id)
        return self._webhooks.subscribe(force=force)

    def unsubscribe(self, id: str) -> None:
        self._webhooks.unsubscribe(id)

    def renew(self, id: str) -> Subscription | None:
        return self._webhooks.renew(id)

    def _address(self) -> str:
        return f"{self._url}/{self._token}"

    def _body(self) -> dict[str, Any]:
        """The specification says verificationToken, the guide validationToken."""
        names = {"verificationToken": self._token, "validationToken": self._token}
        mode = {"transportType": "WebHook", "address": self._address(), **names}
        return {"eventFilters": [self._events], "deliveryMode": mode, "expiresIn": int(LIFETIME.total_seconds())}

    def _covers(self, row: Mapping[str, Any]) -> bool:
        filters = {re.sub(r"/account/[^/]+/", "/account/~/", str(one)) for one in row.get("eventFilters") or ()}
        return filters == {self._events} and _party(row, "deliveryMode").get("address") == self._address()

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        """Without the secret part of our address."""
        url, state = str(_party(row, "deliveryMode").get("address") or ""), str(row.get("status") or "")
        ours = bool(self._url) and (url == self._url or url.startswith(f"{self._url}/"))
        ends, why = time_or_none(row.get("expirationTime")), _party(row, "blacklistedData").get("reason")
        return Subscription(
            id=str(row.get("id") or ""),
            url=self._url if ours else url,
            events=tuple(str(one) for one in row.get("eventFilters") or ()),
            state=state,
            ours=ours,
            active=state.lower() in ("", "active"),
            note=f"RingCentral stopped calling it: {why}" if why else "",
            expires_at=ends,
        )

    # ---- check --online

    def check_online(self) -> Iterator[Finding]:
        """The sign-in, the right to read the account's call log, and the clock: one call, and the webhooks if there is a secret
        for one."""
        now, theirs = self._context.clock(), self.vendor_now()
        yield Finding(Level.OK, "calls", "signed in; the account's call log may be read")
        yield from clock_findings(now, theirs, "RingCentral")
        if self._token and not any(one.ours and one.active for one in self.subscriptions()):
            remedy = f"run: syncd webhooks register {self._context.name}"
            yield Finding(Level.WARNING, "webhook", "no active webhook points here, so only polls find calls", remedy)


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
