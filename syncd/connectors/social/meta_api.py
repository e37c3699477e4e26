"""Meta's Graph API as its sources call it: the app's proof, pages of lists, error codes, and limits by its headers.

Facts: developers.facebook.com/docs/graph-api/guides/error-handling, …/overview/rate-limiting, …/guides/secure-requests,
…/reference/app/subscriptions. Recorded: feed, comment, comments, subscribed_apps. Every method raises a Failure.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from syncd.capabilities import Subscription
from syncd.connectors.social.fields import id_of, text_of
from syncd.errors import Misconfigured, RateLimited, SyncdError, Transient
from syncd.http.client import HttpClient, Response
from syncd.http.error_table import ErrorTable, Means, VendorError
from syncd.http.vendor_api import Page, VendorApi, Where

NEARLY_USED = 95.0
"""Percent of a limit from which on the same call is not made for a while."""
PAUSE = 300.0
GONE = "100.33"
"""Code and subcode of an object that does not exist, or that the token may not see."""
_LIMITED = Means(RateLimited, "too many calls", pause=PAUSE)
_FORBIDDEN = Means(
    Misconfigured,
    "the token lacks a permission (pages_read_engagement and pages_read_user_content to read, pages_messaging for messages, "
    "pages_manage_metadata to subscribe)",
)


def usage(headers: Mapping[str, str]) -> tuple[float, float | None]:
    """Percent of the most used limit, and the seconds until it is free again (None: not said). Of X-App-Usage and X-Page-Usage
    ({"call_count": 28, …}) and X-Business-Use-Case-Usage ({id: [{…, "estimated_time_to_regain_access": minutes}]})."""
    rows: list[Any] = []
    for name in ("x-app-usage", "x-page-usage", "x-business-use-case-usage"):
        try:
            told = json.loads(headers.get(name, "null"))
        except (ValueError, RecursionError):
            continue
        inner = told.values() if isinstance(told, dict) else ()
        rows += [told, *(row for held in inner if isinstance(held, list) for row in held)]
    percents, minutes = [0.0], [0.0]
    for row in rows:
        for key, value in row.items() if isinstance(row, dict) else ():
            if isinstance(value, (int, float)):
                (minutes if key == "estimated_time_to_regain_access" else percents).append(float(value))
    return max(percents), max(minutes) * 60 or None


def _read(body: Any) -> list[VendorError]:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return []
    code, subcode = id_of(error.get("code")), id_of(error.get("error_subcode"))
    return [VendorError(GONE if (code, subcode) == ("100", "33") else code, text_of(error.get("message")))]


ERRORS = ErrorTable(
    "Meta",
    {
        "1 2": Means(Transient, "Meta had an error"),
        "4 17 32 613 80001 80002 80006 80007": _LIMITED,
        "368": Means(RateLimited, "the page is blocked for a while", pause=3600.0),
        "102 190": Means(Misconfigured, "the token has expired or was withdrawn; make a new one and set it"),
        " ".join(["3", "10", *map(str, range(200, 300))]): _FORBIDDEN,
        "101": Means(Misconfigured, "app_id or app_secret is wrong"),
        "104": Means(Misconfigured, "app_secret is not that of the app which the token was made for"),
        "2200": Means(
            Misconfigured, "Meta could not verify the callback URL; syncd must be running and reachable there"
        ),
    },
    _read,
    absent=frozenset({GONE, "803"}),
    wait=lambda answer, now: usage(answer.headers)[1] or answer.retry_after(now),
)


@dataclass(frozen=True)
class GraphPaging:
    """`paging.next` is the address of the next page; a page without it is the last, even if it has cursors. The token in the
    address is not taken over."""

    expired: frozenset[str] = frozenset()

    def following(self, page: Page, at: Where) -> Where | None:
        paging = page.body.get("paging") if isinstance(page.body, dict) else None
        following = paging.get("next") if isinstance(paging, dict) else None
        if not isinstance(following, str):
            return None
        given = dict(parse_qsl(urlsplit(following).query, keep_blank_values=True))
        given.pop("access_token", None)
        return at[0], {**at[1], **given, "appsecret_proof": at[1]["appsecret_proof"]}


class _MeteredClient(HttpClient):
    """Rests a call that has nearly used its limit, by the headers of its last answer."""

    def request(self, method: str, path: str, **sent: Any) -> Response:
        answer = super().request(method, path, **sent)
        used, wait = usage(answer.headers)
        if used >= NEARLY_USED:
            text = f"{used:g} % of the calls are used"
            self.limited(RateLimited(text, code="usage", retry_after=wait or PAUSE, scope=sent.get("operation", "")))
        return answer


class GraphApi:
    """Calls with one token, which is sent in a header: a URL may be logged. `secret`: of the app that the token was made for."""

    def __init__(self, base_url: str, version: str, token: str, secret: str, clock: Callable[[], datetime]) -> None:
        proof = hmac.digest(secret.encode(), token.encode(), "sha256").hex()
        self._signed = {"appsecret_proof": proof}
        client = _MeteredClient(f"{base_url}/{version}", headers={"Authorization": f"Bearer {token}"})
        self._api = VendorApi(client, ERRORS, clock)

    def one(self, path: str, **params: str) -> dict[str, Any] | None:
        return self._api.one(path, {**params, **self._signed})

    def pages(self, path: str, **params: str) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list; one below an object that does not exist has none."""
        query = {**params, **self._signed}
        pages = self._api.pages(path, query, items="data", paging=GraphPaging(), absent=True)
        return (page.items for page in pages)

    def rows(self, path: str, **params: str) -> list[dict[str, Any]]:
        return [row for page in self.pages(path, **params) for row in page]

    def call(self, method: str, path: str, **fields: str) -> Response | None:
        # Subscribing twice is as good as once: a lost answer may be asked for again.
        return self._api.call(method, path, self._signed, form=fields, write=False)

    def vendor_now(self, path: str) -> datetime:
        """Meta's clock, by an answer's Date header."""
        return self._api.vendor_now(self._api.call("GET", path, self._signed))


class AppHooks:
    """What an app has subscribed to. `api` has the app's own token."""

    def __init__(self, api: GraphApi, app_id: str, object_: str) -> None:
        self._api = api
        self._at = f"/{app_id}/subscriptions"
        self._object = object_

    def callback(self) -> Mapping[str, Any]:
        """The app's subscription of the object: `callback_url`, `active`; empty if there is none."""
        return next((row for row in self._api.rows(self._at) if row.get("object") == self._object), {})

    def point(self, url: str, verify_token: str, fields: tuple[str, ...], *, force: bool) -> None:
        """Points the app at our address, unless it is already. Raises SyncdError if it points elsewhere, without `force`."""
        there = self.callback()
        address = text_of(there.get("callback_url"))
        if address == url and there.get("active") is True:
            return
        if address not in ("", url) and not force:
            raise SyncdError(f"the app's webhooks go to {address}; --force replaces it with {url}")
        self._api.call(
            "POST",
            self._at,
            object=self._object,
            callback_url=url,
            verify_token=verify_token,
            fields=",".join(fields),
        )

    def subscriptions(self, rows: list[dict[str, Any]], app_id: str, url: str) -> list[Subscription]:
        """The apps that an account is subscribed to (`subscribed_apps`); the address of ours is known, of others it is not."""
        callback = self.callback()
        address = text_of(callback.get("callback_url"))
        found = []
        for row in rows:
            app = row.get("whatsapp_business_api_data", row)
            own = isinstance(app, dict) and id_of(app.get("id")) == app_id
            fields = row.get("subscribed_fields")
            found.append(
                Subscription(
                    id=id_of(app.get("id")) if isinstance(app, dict) else "",
                    url=address if own else "",
                    events=tuple(map(str, fields)) if isinstance(fields, list) else (),
                    state=text_of(app.get("name")) if isinstance(app, dict) else "",
                    ours=own and address == url,
                    active=callback.get("active") is True if own else True,
                )
            )
        return found
