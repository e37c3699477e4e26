"""`type: surveymonkey`: responses to surveys, by webhook, poll and backfill. One id on all routes: the response's.

A webhook only names the response. Hints wait a minute, so that one call of `bulk` reads all responses of that time: a private app
has 500 calls a day. A response that is changed later is the same signal, which stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr

from syncd.capabilities import Finding, Level
from syncd.connector import (
    Batch,
    Connector,
    ConnectorSettings,
    Context,
    Hint,
    NotYet,
    Reply,
    Request,
    SignalSpec,
    Verifier,
)
from syncd.connectors.keys import BaseUrl, Secrets, secret_texts
from syncd.connectors.online import existence_findings
from syncd.connectors.registration import Registered
from syncd.connectors.signature_styles import STYLES
from syncd.connectors.survey.responses import TYPE, AnswerFields, signal_of
from syncd.connectors.survey.surveymonkey_api import EVENT, PAGE, UNIT, SurveyMonkeyApi
from syncd.connectors.survey.surveymonkey_responses import (
    ID,
    Row,
    SurveyDetails,
    modified_at,
    read_response,
    recipient_of,
)
from syncd.connectors.survey.sweeps import in_turn, start_at, sweep, up_to
from syncd.connectors.times import time_or_none
from syncd.errors import Malformed
from syncd.items import each_item, each_row, json_body
from syncd.signals import Route
from syncd.signatures.verifier import verifier
from syncd.time_cursor import ItemMark, TimeCursors, mark_of, read_cursors

COLLECTED = timedelta(minutes=1)
"""So long a webhook waits for others, to be read with them."""
LAG = timedelta(minutes=5)  # the list may show a response so late, and clocks differ
FARTHEST = 10_000

SurveyId = Annotated[str, Field(pattern=r"^\d{1,25}$")]


class SurveyMonkeySettings(ConnectorSettings):
    """Keys of a SurveyMonkey source."""

    surveys: list[SurveyId] = Field(min_length=1, description="ids of the surveys; `GET /v3/surveys` lists them")
    client_id: str = Field(
        min_length=1, description="the app's client id, in its settings at developer.surveymonkey.com"
    )
    client_secret: Secrets = Field(
        description="the app's secret, which signs its webhooks; a list while it is being changed, the new one first"
    )
    token: SecretStr = Field(description="the app's access token")
    base_url: BaseUrl = Field(
        "https://api.surveymonkey.com",
        description="SurveyMonkey's API; accounts in the EU: https://api.eu.surveymonkey.com, in Canada: https://api.surveymonkey.ca",
    )
    fields: AnswerFields = Field(AnswerFields(), description="which answers hold the person")

    @property
    def keys(self) -> list[str]:
        """What the vendor signs with."""
        return [f"{self.client_id}&{secret}" for secret in secret_texts(self.client_secret)]


class SurveyMonkey(Registered):
    """WebhookSource, BulkHintSource, PollingSource, Backfillable and Subscribable."""

    hints_at_once = PAGE

    def __init__(self, settings: SurveyMonkeySettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._surveys = tuple(dict.fromkeys(settings.surveys))
        token = settings.token.get_secret_value()
        self._api = SurveyMonkeyApi(settings.base_url, token, settings.client_id, self._surveys, context)
        self._webhooks = self._api

    # ---- webhooks

    def handshake(self, request: Request) -> Reply | None:
        """SurveyMonkey tries a new address by HEAD, which must be answered 200."""
        return Reply() if request.method == "HEAD" else None

    def verifier(self) -> Verifier:
        return verifier(STYLES["surveymonkey"], self._settings.keys)

    def parse(self, request: Request) -> Batch:
        body = json_body(request)

        def make(event: Any, where: str) -> Batch | str:
            kind = event.get("event_type") if isinstance(event, dict) else None
            if not isinstance(event, dict) or not isinstance(kind, str) or not kind:
                raise Malformed(f"{where}: not an event of SurveyMonkey")
            if kind != EVENT:
                return f"event {kind[:40]}"
            resources = event.get("resources")
            survey = str(resources.get("survey_id") or "") if isinstance(resources, dict) else ""
            response = str(event.get("object_id") or "")
            if not (ID.fullmatch(survey) and ID.fullmatch(response)):
                raise Malformed(f"{where}: an event without the ids of its survey and response")
            if survey not in self._surveys:
                return "another survey"
            at = time_or_none(event.get("event_datetime")) or request.received_at
            data = {"survey": survey, "response": response, "at": at.isoformat()}
            return Batch(
                hints=[Hint(key=f"{survey}/{response}", data=data, not_before=request.received_at + COLLECTED)]
            )

        return each_item(request, body if isinstance(body, list) and body else [body], make)

    def fetch(self, hint: Hint, now: datetime) -> Batch | NotYet:
        survey, response = hint.data["survey"], hint.data["response"]
        row = self._api.response(survey, response)
        if row is None:
            return Batch(dropped={"gone": 1})
        return self._read(survey, row, now)

    def fetch_many(self, hints: Sequence[Hint], now: datetime) -> list[Batch | NotYet]:
        """One call for the responses of a survey; one more for each that is not among them, and for one that is alone."""
        found: dict[str, Row] = {}
        for survey in dict.fromkeys(str(hint.data["survey"]) for hint in hints):
            times = [datetime.fromisoformat(hint.data["at"]) for hint in hints if hint.data["survey"] == survey]
            if len(times) > 1:
                rows = self._api.responses(survey, min(times) - LAG, None)
                found |= {f"{survey}/{row.get('id')}": row for row in rows}
        return [
            self._read(hint.data["survey"], found[hint.key], now) if hint.key in found else self.fetch(hint, now)
            for hint in hints
        ]

    def _read(self, survey: str, row: Row, now: datetime) -> Batch:
        details = self._api.details(survey, [row])
        return self._batch(survey, [row], details, Route.WEBHOOK, now, None, None)

    # ---- poll and backfill

    def start(self, now: datetime) -> bytes:
        return start_at(now)

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        return self._sweep(read_cursors(state), in_turn(self._surveys, now), Route.POLL, LAG, None)

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        cursors = read_cursors(state) if state is not None else TimeCursors(since)
        return self._sweep(cursors, self._surveys, Route.BACKFILL, timedelta(0), until)

    def _sweep(
        self, cursors: TimeCursors, surveys: Sequence[str], route: Route, lag: timedelta, until: datetime | None
    ) -> Iterator[Batch]:
        def page(survey: str, since: datetime, offset: int) -> list[dict[str, Any]]:
            return self._api.responses(survey, since, until, offset)

        for survey, rows, state in sweep(cursors, surveys, page, _mark, lag=lag, size=PAGE, farthest=FARTHEST):
            details = self._api.details(survey, rows) if rows else SurveyDetails(None)
            yield self._batch(survey, rows, details, route, self._context.clock(), state, until)

    def _batch(
        self,
        survey: str,
        rows: Sequence[Row],
        details: SurveyDetails,
        route: Route,
        now: datetime,
        state: bytes | None,
        until: datetime | None,
    ) -> Batch:
        """Raises what the look-up of a recipient raises."""

        def make(row: Row, where: str) -> Batch | str:
            place = recipient_of(row)
            contact = self._api.recipient(*place) if place is not None else {}
            read = read_response(survey, row, details, contact, where)
            if isinstance(read, str):
                return read
            return up_to(until, Batch([signal_of(read, self._settings.fields, self._context, now, route)]))

        return each_row(rows, make, lambda row: _as_event(survey, row, now), state=state, name="response")

    def check_online(self) -> Iterator[Finding]:
        """The token, each survey, and whether SurveyMonkey calls this syncd: a call for each survey and each webhook."""

        def title(survey: str) -> str | None:
            found = self._api.survey(survey)
            return None if found is None else SurveyDetails(found).title or "may be read"

        missing = "does not exist in this account"
        yield from existence_findings("survey", self._surveys, title, missing, "correct surveys:")
        if self._context.webhook_url and not any(one.ours for one in self._api.subscriptions()):
            text = "SurveyMonkey does not call this syncd"
            yield Finding(Level.WARNING, "webhook", text, f"syncd webhooks register {self._context.name}")


def _mark(row: Row) -> ItemMark | None:
    """By its id and when it was changed last: a change is read again."""
    try:
        return mark_of(row.get("id"), modified_at(row, ""))
    except Malformed:
        return None


def _as_event(survey: str, row: Row, now: datetime) -> Request:
    """A response that could not be understood, as the webhook that names it: a retry reads it again."""
    event = {"event_type": EVENT, "object_id": str(row.get("id") or ""), "resources": {"survey_id": survey}}
    return Request("POST", "", {"content-type": "application/json"}, json.dumps(event).encode(), now)


CONNECTOR = Connector(
    name="surveymonkey",
    contract=2,
    role="source",
    summary="responses to SurveyMonkey's surveys, with all answers",
    settings=SurveyMonkeySettings,
    build=SurveyMonkey,
    signals=(SignalSpec(TYPE, "webhook, poll and backfill: the response's id", backfill=True),),
    unit=UNIT,
)
