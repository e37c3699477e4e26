"""Thin client of Zoho CRM's REST API on HttpClient: COQL and writes, with what they cost.

Used by the destination. A call raises a Failure that concerns the whole; rows are handed back as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncd.connector import Context
from syncd.connectors.accounts.zoho import api_base, bearer
from syncd.connectors.answers import listed, mappings, parsed
from syncd.connectors.crm.client import DEADLINES, CrmClient, Rows, each, pages_from
from syncd.connectors.crm.zoho import coql, scopes
from syncd.connectors.crm.zoho.errors import answer_failure, read_error, refuses_token
from syncd.connectors.crm.zoho.settings import ZohoSettings
from syncd.http.client import HttpClient, unclear
from syncd.http.error_table import dig

AT_ONCE = 3
"""Writes of more than ten records share ten places with COQL of everybody in the account, and the free edition has five for
everything: three leave room for others."""


class ZohoClient(CrmClient):
    """Calls one account as one user."""

    unit = "credits"
    # Seen on Zoho's answers, described nowhere: read when it comes, never counted on.
    remaining = "x-api-credits-remaining"
    when_refused = "; a token of another data centre is refused like this: is data_center right?"

    def __init__(self, settings: ZohoSettings, context: Context) -> None:
        self._path = f"/crm/{settings.api_version}"
        self._configured = bool(settings.auth.configured)
        http = HttpClient(
            api_base(settings.base_url or "", settings.centre.crm),
            bearer=bearer(context, settings.accounts, settings.auth, kind="zoho"),
            deadlines=DEADLINES,
            refuses_token=refuses_token,
        )
        super().__init__(http, context.clock, settings.daily_credits)
        again = f"make a refresh token that has it, with {scopes.LEAST}"
        self._remedy = again if self._configured else f"run: syncd auth {context.name}"

    def query(self, statements: Sequence[str]) -> list[Rows]:
        """A statement (without its limit) a call, a few calls at a time. Raises the first failure."""
        return each(self._rows, statements, AT_ONCE)

    def _rows(self, statement: str) -> Rows:
        def page(offset: int) -> tuple[Rows, bool]:
            body = {"select_query": coql.paged(statement, offset)}
            return _page(self.ask("POST", "/coql", body, rows="data", cost=coql.credits(offset)))

        return pages_from(page, coql.DEEPEST)

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
            raise scopes.SCOPES.lacking(
                method, path, code=scopes.MISSING, remedy=self._remedy, configured=self._configured
            )
        if response.status == 204 and not response.body:
            return None
        if response.ok or (response.status < 500 and response.body[:1] == b"{"):
            answer = response.json()
            refused = dig(answer, "status") == "error" and dig(answer, "code")  # as a whole, whatever its HTTP status
            if not refused and (response.ok or listed(dig(answer, rows))):
                return answer
        raise answer_failure(response, self._clock())


def _page(answer: Any) -> tuple[Rows, bool]:
    """Rows of a page, none of an empty answer, and whether there are more."""
    if answer is None:
        return [], False
    rows = dig(answer, "data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        raise unclear("a query was answered without records", write=False, code="rows")
    return rows, dig(answer, "info.more_records") is True
