"""Thin client of Salesforce's REST API on HttpClient: queries and collections, wrapped five to a composite call.

Used by the destination. A call raises a Failure that concerns the whole; a refused part is handed back with its status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.connector import Context
from syncd.connectors.accounts.salesforce import grant_of, minter
from syncd.connectors.answers import mappings, parsed
from syncd.connectors.crm.client import DEADLINES, CrmClient
from syncd.connectors.crm.salesforce.errors import answer_failure, response_failure, usage_of
from syncd.connectors.crm.salesforce.settings import SalesforceSettings
from syncd.connectors.crm.salesforce.soql import GET_BYTES, encoded
from syncd.errors import AuthExpired, Misconfigured, Rejected, Scope, StaleReference
from syncd.http.client import Bearer, HttpClient, Response, unclear
from syncd.http.oauth import Token

SOAP_HEADERS: Mapping[str, str] = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}
HEAVY = 5
"""Queries and collections that one composite call takes (salesforce.md, Composite)."""


@dataclass(frozen=True)
class Subrequest:
    """One subrequest: `path` below /services/data/vNN.N, a JSON body for all but GET."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def within(self, base: str, number: int) -> dict[str, Any]:
        """As part of a composite call."""
        made = {"method": self.method, "url": base + self.path, "referenceId": f"part{number}"}
        also = {"body": self.body, "httpHeaders": dict(self.headers)}
        return made | {name: value for name, value in also.items() if value}


@dataclass(frozen=True)
class Subresponse:
    """The answer to one subrequest."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class SalesforceClient(CrmClient):
    """Calls one org as one user."""

    unit = "calls"
    when_refused = (
        "; signed in, but the org refuses the session; check the app's scope api, and the user's IP ranges and hours"
    )

    def __init__(self, settings: SalesforceSettings, context: Context) -> None:
        self._login_url = settings.login_url
        self._composite = settings.composite
        self._base = f"/services/data/{settings.api_version}"
        self._bearer = bearer = Bearer(context.tokens, grant_of(settings, context.name), minter(settings, context))
        self._soap = f"/services/Soap/u/{settings.api_version.removeprefix('v')}"
        super().__init__(HttpClient(self._instance, bearer=bearer, deadlines=DEADLINES), context.clock)
        self._instance_url = ""

    def _instance(self, token: Token) -> str:
        url = token.extra.get("instance_url", "")
        if not url:
            raise Misconfigured("the stored token names no instance_url; sign in again", code="instance_url")
        self._instance_url = url
        return url

    @property
    def home(self) -> str:
        """Where people open the org: the newest token's instance, else the login host."""
        return self._instance_url or self._login_url

    def send(self, parts: Sequence[Subrequest]) -> list[Subresponse]:
        """Performs the parts in their order, as one call: at most HEAVY queries and collections, 25 of others; exactly one
        where composite is off."""
        if len(parts) == 1 and not (self._composite and len(parts[0].path) > GET_BYTES):
            return [self._alone(parts[0])]
        write = any(part.method != "GET" for part in parts)
        requests = [part.within(self._base, number) for number, part in enumerate(parts)]
        body = {"allOrNone": False, "collateSubrequests": False, "compositeRequest": requests}
        response = self._call("POST", f"{self._base}/composite", body, {}, write)
        if not response.ok:
            raise response_failure(response, self._clock())
        return _composite_answers(response, len(parts))

    def soap(self, body: Callable[[str], bytes], refuses: Callable[[Response], bool]) -> Response:
        """One call of the SOAP API, which changes something. `body`: the envelope for an access token; `refuses`: whether an
        answer refuses the token, which is then renewed once."""
        refused = ""
        for _ in range(2):
            token = self._bearer.tokens.token(self._bearer.grant, self._bearer.mint, refused=refused).access
            response = self._call("POST", self._soap, None, SOAP_HEADERS, True, raw=body(token))
            if not refuses(response):
                return response
            refused = token
        raise AuthExpired(
            f"the SOAP API refused a new access token as well{self.when_refused}", code="INVALID_SESSION_ID"
        )

    def get(self, path: str) -> Response:
        """A read outside of the versioned resources, whatever its status."""
        return self._call("GET", path, None, {}, False)

    def _alone(self, part: Subrequest) -> Subresponse:
        """A part as a request of its own. What is refused about this part alone (4xx with a body) is its answer."""
        response = self._call(part.method, self._base + part.path, part.body, part.headers, part.method != "GET")
        if response.ok:
            return Subresponse(response.status, response.json())
        failure = response_failure(response, self._clock())
        body = parsed(response)
        of_a_rule = isinstance(failure, Misconfigured) and failure.scope is Scope.RULE
        if body is not None and (isinstance(failure, Rejected | StaleReference) or of_a_rule):
            return Subresponse(response.status, body)
        raise failure

    def usage_of(self, response: Response) -> tuple[int, int] | None:
        return usage_of(response)

    def answers(self, paths: Sequence[str], most: int) -> list[Subresponse]:
        """The answers to GETs, at most so many of which are one composite call."""
        parts, size = [Subrequest("GET", path) for path in paths], most if self._composite else 1
        return [one for start in range(0, len(parts), size) for one in self.send(parts[start : start + size])]

    def query(self, statements: Sequence[str], *, resource: str = "query") -> list[list[dict[str, Any]]]:
        """Up to HEAVY statements, each with thousands of values, cost one call. `resource`: queryAll also reads
        activities that Salesforce has put away. Raises Misconfigured for a statement that names what does not exist."""
        paths = [f"/{resource}/?q={encoded(statement)}" for statement in statements]
        return [self._rows(answer) for answer in self.answers(paths, HEAVY)]

    def _rows(self, answer: Subresponse) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        page = answer
        while True:
            if not page.ok:
                raise answer_failure(page.status, page.body, write=False)
            found = page.body.get("records") if isinstance(page.body, dict) else None
            if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
                raise unclear("a query was answered without records", write=False)
            rows.extend(found)
            if page.body.get("done", True):
                return rows
            following = page.body.get("nextRecordsUrl")
            if not isinstance(following, str) or not following.startswith("/") or following in seen:
                raise unclear("a query was answered without a next page", write=False)
            seen.add(following)
            more = self._call("GET", following, None, {}, False)
            page = Subresponse(more.status, more.json())


def _composite_answers(response: Response, count: int) -> list[Subresponse]:
    """The parts' answers in the order asked, found by referenceId. A missing one makes the whole unreadable."""
    found: dict[str, Subresponse] = {}
    for one in mappings(response.json(), "compositeResponse"):
        if isinstance(one.get("httpStatusCode"), int):
            found[str(one.get("referenceId"))] = Subresponse(one["httpStatusCode"], one.get("body"))
    names = [f"part{number}" for number in range(count)]
    if any(name not in found for name in names):
        raise unclear("a composite call was answered without all of its parts", write=response.write)
    return [found[name] for name in names]
