"""Thin client of Zoho CRM's REST API on HttpClient: COQL and writes, with what they cost.

Used by the destination. A call raises a Failure that concerns the whole; rows are handed back as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.connector import Context
from syncd.connectors.accounts.zoho import api_base, bearer
from syncd.connectors.answers import listed, mappings, parsed
from syncd.connectors.crm.client import CrmClient, each
from syncd.connectors.crm.zoho import coql, scopes
from syncd.connectors.crm.zoho.errors import answer_failure, read_error, refuses_token
from syncd.connectors.crm.zoho.settings import ZohoSettings
from syncd.errors import Misconfigured, Scope
from syncd.http.client import Deadlines, HttpClient, Response, unclear
from syncd.http.error_table import dig

DEADLINES = Deadlines(connect=10.0, read=120.0, total=180.0)
"""Ours: a hundred records may set off as many workflows."""
AT_ONCE = 3
"""Writes of more than ten records share ten places with COQL of everybody in the account, and the free edition has five for
everything: three leave room for others."""
REMAINING = "x-api-credits-remaining"
"""Seen on Zoho's answers, described nowhere: read when it comes, never counted on."""


class ZohoClient(CrmClient):
    """Calls one account as one user."""

    unit = "credits"
    when_refused = "; a token of another data centre is refused like this: is data_center right?"

    def __init__(self, settings: ZohoSettings, context: Context) -> None:
        self._path = f"/crm/{settings.api_version}"
        self._configured = settings.auth.configured
        http = HttpClient(
            api_base(settings.base_url or "", settings.centre.crm),
            bearer=bearer(context, settings.accounts, settings.auth, kind="zoho"),
            deadlines=DEADLINES,
            refuses_token=refuses_token,
        )
        super().__init__(http, context.clock, settings.daily_credits)
        again = f"make a refresh token that has it, with {scopes.LEAST}"
        self._sign_in = again if self._configured else f"run: syncd auth {context.name}"

    def query(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        """A statement (without its limit) a call, a few calls at a time. Raises the first failure."""
        return each(self._rows, statements, AT_ONCE)

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        more = True
        while more and len(rows) < coql.DEEPEST:
            body = {"select_query": coql.paged(statement, len(rows))}
            answer = self.ask("POST", "/coql", body, rows="data", cost=coql.credits(len(rows)))
            page, more = _page(answer) if answer is not None else ([], False)
            rows.extend(page)
        return rows

    def write(self, method: str, path: str, body: Mapping[str, Any], cost: float) -> list[Any]:
        """The outcomes Zoho tells, one for each record of `data`."""
        answer = self.ask(method, path, body, rows="data", write=True, cost=cost)
        rows, count = listed(dig(answer, "data")), len(body["data"])
        if len(rows) != count:
            raise unclear(f"{count} records were answered with {len(rows)} outcomes", write=True, code="rows")
        return list(rows)

    def read(self, path: str, rows: str) -> list[Mapping[str, Any]]:
        """The rows of a settings resource; none where it does not exist. Raises a Failure."""
        answer = self.ask("GET", path, None, rows=rows)
        if answer is not None and not isinstance(dig(answer, rows), list):
            raise unclear(f"{path} was answered without {rows}", write=False, code=rows)
        return mappings(answer, rows)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        rows: str,
        write: bool = False,
        cost: float = 1.0,
    ) -> Any:
        """The JSON of an answer, None for an empty one. Where it has `rows` with outcomes of their own, its HTTP status means
        nothing. Raises a Failure for the refusal of the whole."""
        place = path if path.startswith("/crm/") else self._path + path
        response = self._call(method, place, body, {}, write, cost)
        if response.status in (401, 403) and read_error(parsed(response) or {}).code == scopes.MISSING:
            scope = scopes.SCOPES.of_call(method, path)
            of_rules = scope in scopes.OF_RULES
            text = f"the sign-in lacks the scope {scope}; {self._sign_in}"
            held = Scope.RULE if of_rules else Scope.DESTINATION
            raise Misconfigured(text, code=scopes.MISSING, scope=held, sign_in=not (of_rules or self._configured))
        if response.status == 204 and not response.body:
            return None
        if response.ok or (response.status < 500 and response.body[:1] == b"{"):
            answer = response.json()
            if not is_error(answer) and (response.ok or listed(dig(answer, rows))):
                return answer
        raise answer_failure(response, self._clock())

    def usage_of(self, response: Response) -> tuple[float, float] | None:
        remaining = response.headers.get(REMAINING, "")
        if not self._maximum or not remaining.isdecimal():
            return None
        return max(0.0, self._maximum - float(remaining)), float(self._maximum)


def is_error(answer: Any) -> bool:
    """Whether a whole answer is one error, whatever its HTTP status."""
    return isinstance(answer, dict) and answer.get("status") == "error" and bool(answer.get("code"))


def _page(answer: Any) -> tuple[list[dict[str, Any]], bool]:
    """Rows of a page, and whether there are more."""
    rows = dig(answer, "data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise unclear("a query was answered without records", write=False, code="rows")
    return rows, dig(answer, "info.more_records") is True
