"""SurveyMonkey's API: responses, surveys, recipients and webhooks. Every method raises a Failure.

Facts: SurveyMonkey/public_api_docs, includes/_overview.md (limits, headers), _errors.md, _responses.md, _webhooks.md. A private
app has 500 calls a day; the list of webhooks shows neither their addresses nor their events, so each is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.capabilities import Subscribed, Subscription
from syncd.connector import Context
from syncd.connectors.survey.surveymonkey_responses import COMPLETED, ID, SurveyDetails
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at
from syncd.http.limits import Bucket, daily
from syncd.http.vendor_api import LinkPaging, VendorApi

UNIT = "calls"
DAY_CALLS = 450.0
"""Calls in 24 hours without `quota:`; a private or draft app has 500 (_overview.md)."""
LEFT = "X-Ratelimit-App-Global-Day-Remaining"
PAGE = 100
"""Most responses on a page of `bulk`."""
OVERLAP = timedelta(seconds=1)  # "modified after this date": whether that includes the date is not documented
EVENT = "response_completed"
_PAGING = LinkPaging("links.next")
_BUSY = Means(Transient, "SurveyMonkey is not available")
_TOKEN = Means(Misconfigured, "the token is refused; copy it again from the app's settings")
ERRORS = ErrorTable(
    "SurveyMonkey",
    {
        "1010 1011 1012 1013": _TOKEN,
        "1014 1016": Means(
            Misconfigured, "the app lacks a scope: it needs View Surveys, View Responses, View Response Details"
        ),
        "1015": Means(Misconfigured, "the plan of the SurveyMonkey account does not include reading responses by API"),
        "1017": Means(QuotaExhausted, "the app's calls of today are used"),
        "1018": Means(Misconfigured, "the account is in another region; set base_url to the access_url of its token"),
        "1030": Means(Misconfigured, "the survey has too many questions to be read in bulk"),
        "1040": Means(RateLimited, "too many requests"),
        "1050 1051 1054": _BUSY,
    },
    error_at("id", "message", within="error"),
    statuses={401: _TOKEN, 429: Means(RateLimited, "too many requests"), 503: _BUSY},
    absent=frozenset({"404", "1020", "1052", "1053"}),
)


class SurveyMonkeyApi:
    """The surveys of one account, by one app."""

    def __init__(self, base_url: str, token: str, client_id: str, surveys: Iterable[str], context: Context) -> None:
        account, limits = f"surveymonkey:{client_id}", context.limits
        rate = limits.bucket(account, UNIT) or Bucket(limits.rates, account, daily(DAY_CALLS), UNIT)
        headers = {"Authorization": f"Bearer {token}"}
        client = HttpClient(base_url, headers=headers, rate=rate, clock=context.clock)
        reserve = limits.reserve(context.name, LEFT, UNIT, 1)
        self._api = VendorApi(client, ERRORS, context.clock, reserve=reserve)
        self._surveys = sorted(set(surveys))
        self._url, self._name = context.webhook_url, f"syncd {context.name}"
        self._details: dict[str, SurveyDetails] = {}

    # ---- responses

    def responses(self, survey: str, since: datetime, until: datetime | None, offset: int = 0) -> list[dict[str, Any]]:
        """At most PAGE completed responses that were modified since, the oldest first; none of a survey that does not exist."""
        query = {"simple": "true", "per_page": str(PAGE), "sort_by": "date_modified", "sort_order": "ASC"}
        query |= {"status": COMPLETED, "start_modified_at": _stamp(since - OVERLAP)}
        query |= {"end_modified_at": _stamp(until + OVERLAP)} if until is not None else {}
        number, beyond = divmod(offset, PAGE)
        rows = self._page(survey, query, number + 1)[beyond:]
        return rows + (self._page(survey, query, number + 2)[:beyond] if beyond else [])

    def response(self, survey: str, id_: str) -> dict[str, Any] | None:
        """One response; None if it does not exist."""
        path = f"/v3/surveys/{survey}/responses/{id_}/details"
        return self._api.one(path, {"simple": "true"})

    def details(self, survey: str, rows: Iterable[Mapping[str, Any]] = ()) -> SurveyDetails:
        """The survey's title and questions. They are read again when a response has a question that was not there."""
        held = self._details.get(survey)
        if held is None or not all(held.knows(row) for row in rows):
            held = self._details[survey] = SurveyDetails(self.survey(survey))
        return held

    def survey(self, survey: str) -> dict[str, Any] | None:
        """The survey with its questions; None if it does not exist."""
        return self._api.one(f"/v3/surveys/{survey}/details")

    def recipient(self, collector: str, recipient: str) -> dict[str, Any]:
        """Whom an invitation was sent to; {} if that is not known any more."""
        return self._api.one(f"/v3/collectors/{collector}/recipients/{recipient}") or {}

    def _page(self, survey: str, query: Mapping[str, str], number: int) -> list[dict[str, Any]]:
        path = f"/v3/surveys/{survey}/responses/bulk"
        return self._api.rows(path, {**query, "page": str(number)}, items="data", absent=True)

    # ---- webhooks

    def subscriptions(self) -> list[Subscription]:
        return [self._read(row) for row in self._hooks()]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook for all surveys. Those with other addresses are never in the way: `force` changes nothing."""
        kept = next((row for row in self._hooks() if self._is_ours(row)), None)
        watched = {"object_type": "survey", "object_ids": self._surveys}
        if kept is None:
            body = {"name": self._name, "event_type": EVENT, "subscription_url": self._url, **watched}
            kept = {**body, **(self._api.written("POST", "/v3/webhooks", json=body) or {})}
        elif sorted(map(str, kept.get("object_ids") or ())) != self._surveys:
            kept = {**kept, **watched, **(self._api.written("PATCH", _hook(kept["id"]), json=watched) or {})}
        return Subscribed(there=[self._read(kept)])

    def unsubscribe(self, id: str) -> None:
        if not ID.fullmatch(id):
            raise SyncdError(f"{id[:40]!r} is not an id of a webhook of SurveyMonkey")
        self._api.call("DELETE", _hook(id), absent=True)

    def _hooks(self) -> list[dict[str, Any]]:
        pages = self._api.pages("/v3/webhooks", {"per_page": "100"}, items="data", paging=_PAGING)
        ids = [str(row.get("id")) for page in pages for row in page.items]
        return [row for id_ in ids if (row := self._api.one(_hook(id_))) is not None]

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        return bool(self._url) and row.get("subscription_url") == self._url and row.get("event_type") == EVENT

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        return Subscription(
            id=str(row.get("id") or ""),
            url=str(row.get("subscription_url") or ""),
            events=(str(row.get("event_type") or ""),),
            state=str(row.get("name") or ""),
            ours=self._is_ours(row),
        )


def _hook(id_: Any) -> str:
    return f"/v3/webhooks/{id_}"


def _stamp(moment: datetime) -> str:
    """In UTC, which is meant where no offset stands (_overview.md)."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
