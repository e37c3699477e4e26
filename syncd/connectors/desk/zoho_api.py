"""Zoho Desk's REST API: tickets, threads, comments, contacts (read-only), webhooks, and what its errors mean.

The Zoho Desk source calls it; every method raises a Failure. Facts: desk.zoho.com/DeskAPIDocument and recordings: search
counts from 0 and refuses `from` over 4999, an empty answer is 204, a list of threads has no contents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.connectors.times import read_time
from syncd.errors import Failure, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient, Response

PAGE = 100
FARTHEST = 4_999
ABSENT = frozenset({"URL_NOT_FOUND", "RESOURCE_NOT_FOUND"})
CLOSED = frozenset({"FORBIDDEN", "UNAUTHORIZED", "UNPROCESSABLE_ENTITY", "INVALID_DATA", "403", "422"})
"""Codes that, said of a single record, concern it alone: a department our user may not see, an invalid id."""

_ERRORS: dict[str, tuple[type[Failure], str]] = {
    "INVALID_OAUTH": (Misconfigured, "the token is not accepted; is data_center right?"),
    "OAUTH_ORG_MISMATCH": (Misconfigured, "org_id is not an organisation of this account"),
    "SCOPE_MISMATCH": (
        Misconfigured,
        "the refresh token needs the scopes Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ",
    ),
    "FORBIDDEN": (Misconfigured, "this user may not read tickets"),
    "UNAUTHORIZED": (Misconfigured, "this user may not read tickets"),
    "LICENSE_ACCESS_LIMITED": (Misconfigured, "the edition of Zoho Desk does not allow this"),
    "UNPROCESSABLE_ENTITY": (Misconfigured, "Desk does not accept a parameter"),
    "INVALID_DATA": (Misconfigured, "Desk does not accept a parameter"),
    "URL_NOT_FOUND": (Misconfigured, "there is nothing at this address; is data_center right?"),
    "TOO_MANY_REQUESTS": (RateLimited, "too many requests at once"),
    "THRESHOLD_EXCEEDED": (QuotaExhausted, "the day's API credits are spent"),
    "INTERNAL_SERVER_ERROR": (Transient, "Desk had an error"),
}
_STATUSES: dict[int, tuple[type[Failure], str]] = {
    401: (Misconfigured, "the token is not accepted"),
    403: (Misconfigured, "this user may not read tickets"),
    429: (RateLimited, "too many requests"),
    503: (Transient, "Desk is not available"),
}


def failure(answer: Response, now: datetime) -> Failure:
    """The failure behind an unsuccessful answer, by the vendor's code, else by status."""
    code, message = _code(answer)
    wait = answer.retry_after(now)
    cls, why = _ERRORS.get(code) or _STATUSES.get(answer.status) or (None, "")
    text = f"Zoho Desk: {why}" + (f" ({message})" if message else "")
    code = code or str(answer.status)
    if cls is RateLimited or (cls is Transient and wait is not None):
        return RateLimited(text, code=code, retry_after=wait)
    if cls is QuotaExhausted:
        return QuotaExhausted(text, code=code, resets_at=now + timedelta(seconds=wait) if wait else None)
    if cls is not None:
        return cls(text, code=code)
    return Transient(f"Zoho Desk: {message or 'no reason given'}", code=code, known=answer.status >= 500)


def _code(answer: Response) -> tuple[str, str]:
    if answer.body[:1] != b"{":
        return "", ""
    try:
        said = answer.json()
    except Failure:
        return "", "an answer that is not JSON"
    return str(said.get("errorCode") or ""), str(said.get("message") or "")[:200]


class DeskApi:
    """One organisation. `keep` credits of the day are left to others: below that, QuotaExhausted without a call (but
    for one an hour, to see whether there are more)."""

    def __init__(self, base_url: str, bearer: Bearer, org: str, clock: Callable[[], datetime], keep: int = 0) -> None:
        self._client = HttpClient(f"{base_url}/api/v1", bearer=bearer, headers={"orgId": org})
        self._clock = clock
        self._keep = keep
        self._low_until: datetime | None = None

    def vendor_now(self) -> datetime:
        """Desk's clock, by an answer's Date header."""
        answer = self._get("/tickets", {"limit": "1"})
        told = answer.headers.get("date", "")
        try:
            return read_time(told, UTC) or self._clock()
        except ValueError:
            return self._clock()

    def reads_contacts(self) -> None:
        """Raises the Failure of a token that may not read contacts."""
        self._rows("/contacts", {"limit": "1"})

    def departments(self) -> dict[str, str]:
        """Id -> name. Raises Misconfigured when the token's scopes do not let us ask."""
        return {str(row.get("id")): str(row.get("name") or "") for row in self._rows("/departments", {"limit": "200"})}

    def search(self, since: datetime, until: datetime, start: int) -> list[dict[str, Any]]:
        """One page of the tickets modified in [since, until], the longest untouched first."""
        window = f"{_stamp(since)},{_stamp(until)}"
        params = {"modifiedTimeRange": window, "sortBy": "modifiedTime", "from": str(start), "limit": str(PAGE)}
        return self._rows("/tickets/search", params)

    def ticket(self, id_: str) -> dict[str, Any] | None:
        """With its `contact`. None when it is gone."""
        return self._one(f"/tickets/{id_}", {"include": "contacts"})

    def contact(self, id_: str) -> dict[str, Any] | None:
        """None also when our user may not see it: the ticket itself tells something of who it is from."""
        try:
            return self._one(f"/contacts/{id_}", {})
        except Transient as failed:
            if failed.code in CLOSED:
                return None
            raise

    def thread(self, ticket: str, id_: str) -> dict[str, Any] | None:
        """With its content. None when it is gone."""
        return self._one(f"/tickets/{ticket}/threads/{id_}", {})

    def comment(self, ticket: str, id_: str) -> dict[str, Any] | None:
        return self._one(f"/tickets/{ticket}/comments/{id_}", {})

    def threads(self, ticket: str) -> Iterator[dict[str, Any]]:
        return self._all(f"/tickets/{ticket}/threads")

    def comments(self, ticket: str) -> Iterator[dict[str, Any]]:
        return self._all(f"/tickets/{ticket}/comments")

    def webhooks(self) -> list[dict[str, Any]]:
        return self._rows("/webhooks", {})

    def put_webhook(self, id_: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Makes one (`id_` ""), or changes one; as it is then."""
        method, path = ("PATCH", f"/webhooks/{id_}") if id_ else ("POST", "/webhooks")
        answer = self._client.request(method, path, json=body)
        if not answer.ok:
            raise failure(answer, self._clock())
        said = answer.json() if answer.body else {}
        return said if isinstance(said, dict) else {}

    def delete_webhook(self, id_: str) -> None:
        """Gone already is as good."""
        answer = self._client.request("DELETE", f"/webhooks/{id_}")
        if not answer.ok and not (answer.status == 404 or _code(answer)[0] in ABSENT):
            raise failure(answer, self._clock())

    def _all(self, path: str) -> Iterator[dict[str, Any]]:
        """Every row once. It is not documented for each whether these lists count from 0 or 1: one row may come twice."""
        seen: set[str] = set()
        for start in range(0, FARTHEST + 1, PAGE):
            rows = self._rows(path, {"from": str(start), "limit": str(PAGE)})
            yield from (row for row in rows if row.get("id") not in seen)
            seen.update(str(row.get("id")) for row in rows)
            if len(rows) < PAGE - 1:
                return

    def _rows(self, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = self._get(path, params, absent=True)
        if answer is None or answer.status == 204 or not answer.body:
            return []
        said = answer.json()
        rows = said.get("data") if isinstance(said, dict) else None
        if not isinstance(rows, list):
            raise Transient(f"Zoho Desk: {path} has another shape than documented", code="shape", known=False)
        return [row for row in rows if isinstance(row, dict)]

    def _one(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | None:
        try:
            answer = self._get(path, params, absent=True)
        except Misconfigured as refused:
            if refused.code not in CLOSED:
                raise
            # It must not stop the source: this record alone is tried again, and given up in the end.
            raise Transient(f"{refused.message} [{path}]", code=refused.code) from None
        if answer is None or answer.status == 204:
            return None
        said = answer.json()
        if not isinstance(said, dict):
            raise Transient(f"Zoho Desk: {path} has another shape than documented", code="shape", known=False)
        return said

    def _get(self, path: str, params: Mapping[str, str], *, absent: bool = False) -> Any:
        now = self._clock()
        if self._low_until is not None and now < self._low_until:
            raise QuotaExhausted(
                f"fewer than {self._keep} API credits are left today", code="keep", resets_at=self._low_until
            )
        answer = self._client.request("GET", path, params=params)
        left = answer.headers.get("x-rate-limit-remaining-v3", "")
        low = left.isascii() and left.isdigit() and int(left) < self._keep
        self._low_until = now + timedelta(hours=1) if low else None
        if answer.ok:
            return answer
        if absent and answer.status in (404, 422) and _code(answer)[0] in ABSENT:
            return None
        raise failure(answer, now)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
