"""Thin client of Zoho CRM's REST API on HttpClient: COQL and writes, with what they cost.

Used by the destination. A call raises a Failure that concerns the whole; rows are handed back as they came.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from syncd.connector import Allowance, Context, Usage
from syncd.connectors.accounts.zoho import api_base, bearer
from syncd.connectors.answers import parsed
from syncd.connectors.crm.zoho import coql
from syncd.connectors.crm.zoho.errors import (
    NO_SCOPE,
    SCOPES,
    answer_failure,
    read_error,
    refuses_token,
    scope_of,
)
from syncd.connectors.crm.zoho.settings import ZohoSettings
from syncd.errors import Ambiguous, AuthExpired, Misconfigured, Transient
from syncd.http.client import Deadlines, HttpClient, Response, unclear

DEADLINES = Deadlines(connect=10.0, read=120.0, total=180.0)
"""Ours: a hundred records may set off as many workflows."""
REMAINING = "x-api-credits-remaining"
"""Seen on Zoho's answers, described nowhere: read when it comes, never counted on."""


class ZohoClient:
    """Calls one account as one user, from a few threads; `spend` and `allowance` count what that cost."""

    def __init__(self, settings: ZohoSettings, context: Context) -> None:
        self._clock = context.clock
        self._path = f"/crm/{settings.api_version}"
        self._maximum = settings.daily_credits
        accounts = settings.accounts
        again = f"make a refresh token that has it, with {SCOPES}"
        self._configured = settings.auth.configured
        self._sign_in = again if self._configured else f"run: syncd auth {context.name}"
        self._http = HttpClient(
            api_base(settings.base_url or "", settings.centre.crm),
            bearer=bearer(context, accounts, settings.auth, kind="zoho"),
            deadlines=DEADLINES,
            refuses_token=refuses_token,
        )
        self._counting = threading.Lock()
        self._calls = 0
        self._credits = 0.0
        self._allowance: Allowance | None = None

    def query(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a COQL statement (without its limit), all pages of them."""
        rows: list[dict[str, Any]] = []
        while len(rows) < coql.DEEPEST:
            body = {"select_query": coql.paged(statement, len(rows))}
            response = self._call("POST", "/coql", body, write=False, cost=coql.credits(len(rows)))
            if response.status == 204:
                break
            answer = response.json() if response.ok else None
            if not response.ok or is_error(answer):
                raise answer_failure(response, self._clock())
            page, more = _page(answer)
            rows.extend(page)
            if not more or not page:
                break
        return rows

    def write(self, method: str, path: str, body: Mapping[str, Any], cost: float) -> list[Any]:
        """The outcomes Zoho tells, one for each record of `data`. The HTTP status of a mixed answer means nothing."""
        response = self._call(method, path, body, write=True, cost=cost)
        count = len(body["data"])
        if response.status < 500 and response.body[:1] == b"{":
            answer = response.json()
            rows = answer.get("data") if isinstance(answer, dict) else None
            if isinstance(rows, list) and rows:
                if len(rows) != count:
                    raise unclear(f"{count} records were answered with {len(rows)} outcomes", write=True, code="rows")
                return rows
        if response.ok and not is_error(response.json()):
            raise unclear(f"HTTP {response.status} without the records' outcomes", write=True, code="rows")
        raise answer_failure(response, self._clock())

    def read(self, path: str) -> Any:
        """The JSON of a settings resource, None where it does not exist. Raises a Failure."""
        return self.ask("GET", path, None)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None, *, write: bool = False) -> Any:
        """The JSON of an answer, whatever its rows say; None for an empty one. Raises a Failure for a whole refusal."""
        response = self._call(method, path, body, write=write, cost=1)
        if response.status == 204 and not response.body:
            return None
        if response.ok or (response.status < 500 and response.body[:1] == b"{"):
            answer = response.json()
            if not is_error(answer) and (response.ok or "status" not in answer):
                return answer
        raise answer_failure(response, self._clock())

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, *, write: bool, cost: float) -> Response:
        try:
            place = path if path.startswith("/crm/") else self._path + path
            response = self._http.request(method, place, json=body, write=write)
        except AuthExpired as refused:
            hint = "; a token of another data centre is refused like this: is data_center right?"
            raise AuthExpired(refused.message + hint, code=refused.code) from None
        except (Ambiguous, Transient):
            self._book(cost)
            raise
        self._book(cost)
        if response.status in (401, 403) and read_error(parsed(response) or {}).code == NO_SCOPE:
            text = f"the sign-in lacks the scope {scope_of(method, path)}; {self._sign_in}"
            raise Misconfigured(text, code=NO_SCOPE, sign_in=not self._configured)
        remaining = response.headers.get(REMAINING, "")
        if self._maximum and remaining.isdecimal():
            used = max(0.0, self._maximum - float(remaining))
            self._allowance = Allowance("credits", used, float(self._maximum), self._clock())
        return response

    def _book(self, cost: float) -> None:
        with self._counting:
            self._credits += cost

    def allowance(self) -> Allowance | None:
        """None unless the configuration tells the maximum. `used` is 0 until Zoho reports the remaining credits: then only
        the configured share limits us, by what we spend ourselves."""
        if self._allowance is None and self._maximum:
            return Allowance("credits", 0.0, float(self._maximum), self._clock())
        return self._allowance

    def spend(self) -> Usage:
        """Calls and credits since the last time. A call that had to be repeated on the wire counts as many calls, and one
        credit at least for each."""
        with self._counting:
            made = self._http.exchanges - self._calls
            self._calls += made
            units, self._credits = self._credits, 0.0
        return Usage(calls=made, units=max(units, float(made)))

    def close(self) -> None:
        self._http.close()


def is_error(answer: Any) -> bool:
    """Whether a whole answer is one error, whatever its HTTP status."""
    return isinstance(answer, dict) and answer.get("status") == "error" and bool(answer.get("code"))


def _page(answer: Any) -> tuple[list[dict[str, Any]], bool]:
    """Rows of a page, and whether there are more."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise unclear("a query was answered without records", write=False, code="rows")
    info = answer.get("info")
    return rows, isinstance(info, dict) and info.get("more_records") is True
