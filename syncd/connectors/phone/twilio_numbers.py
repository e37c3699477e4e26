"""Twilio's phone numbers and where each reports the end of a call: read, pointed at this source, and cleared.

The Twilio source hands through to it for `syncd webhooks`. Facts: twilio-oai, twilio_api_v2010.json, IncomingPhoneNumbers:
`StatusCallback` is called when a call to the number has ended; a number whose calls an application handles reports there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from syncd.capabilities import Subscription
from syncd.connectors.phone.twilio_calls import SID, failure
from syncd.errors import SyncdError, Transient
from syncd.http.client import HttpClient, Response

EVENT = "the end of each call"
PAGE_SIZE = 1000


class TwilioNumbers:
    """The numbers of one account as seen from `url`, the address of this source. `wanted` tells which concern it."""

    def __init__(
        self,
        client: HttpClient,
        account: str,
        url: str,
        wanted: Callable[[str], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._root = f"/2010-04-01/Accounts/{account}/IncomingPhoneNumbers"
        self._url = url
        self._wanted = wanted
        self._clock = clock

    def all(self) -> list[Subscription]:
        """One for each number that reports anywhere, or should report here."""
        return [self._read(row) for row in self._numbers() if row.get("status_callback") or self._wanted(_number(row))]

    def subscribe(self, *, force: bool = False) -> list[Subscription]:
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
        answer = self._client.request("GET", f"{self._root}/{_sid(id)}.json")
        if answer.status == 404:
            return
        row = self._row(answer)
        if row.get("status_callback") == self._url:
            self._point(row, "")

    def _points_here(self, row: Mapping[str, Any]) -> bool:
        return row.get("status_callback") == self._url and str(row.get("status_callback_method")).upper() == "POST"

    def _point(self, row: Mapping[str, Any], url: str) -> Mapping[str, Any]:
        form = {"StatusCallback": url, "StatusCallbackMethod": "POST"}
        # Setting it twice is as good as once: a lost answer may be asked for again.
        return self._row(self._client.request("POST", f"{self._root}/{_sid(str(row.get('sid')))}.json", form=form))

    def _numbers(self) -> Iterator[Mapping[str, Any]]:
        path, params = f"{self._root}.json", {"PageSize": str(PAGE_SIZE)}
        while path:
            said = self._row(self._client.request("GET", path, params=params))
            rows = said.get("incoming_phone_numbers")
            if not isinstance(rows, list):
                raise Transient("Twilio's list of numbers has another shape than documented", code="shape", known=False)
            yield from (row for row in rows if isinstance(row, dict))
            path, params = str(said.get("next_page_uri") or ""), {}

    def _row(self, answer: Response) -> Mapping[str, Any]:
        if not answer.ok:
            raise failure(answer, self._clock())
        said = answer.json()
        if not isinstance(said, dict):
            raise Transient("Twilio's answer has another shape than documented", code="shape", known=False)
        return said

    def _read(self, row: Mapping[str, Any]) -> Subscription:
        ours = self._points_here(row)
        elsewhere = row.get("voice_application_sid") or row.get("trunk_sid")
        note = f"its calls go to {elsewhere}, which reports by itself: set the callback there" if elsewhere else ""
        return Subscription(
            id=str(row.get("sid") or ""),
            url=str(row.get("status_callback") or ""),
            events=(EVENT,) if row.get("status_callback") else (),
            state=_number(row),
            ours=ours,
            active=bool(row.get("status_callback")),
            note=note if self._wanted(_number(row)) else "",
        )


def _number(row: Mapping[str, Any]) -> str:
    return str(row.get("phone_number") or "")


def _sid(text: str) -> str:
    if not SID.fullmatch(text):
        raise SyncdError(f"{text[:60]!r} is not an id of a Twilio number")
    return text
