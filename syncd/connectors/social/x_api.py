"""X API v2 as the source reads it: mentions and DM events of one account, errors, limits, the sign-in of a user.

Facts: docs.x.com (problem types, rate limits: `x-rate-limit-reset` in Unix seconds) and its OpenAPI 2.167; recorded mentions of
May 2026 (api-version 2.163). That specification calls the parameter `post.fields`, the live API `tweet.fields`: one is tried
after the other. Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, SecretStr

from syncd.capabilities import SignIn, own_grant
from syncd.connector import ConnectorSettings, Context
from syncd.connectors.social.fields import Fields, id_of, rows_of, text_of
from syncd.connectors.social.x_events import users_of
from syncd.errors import Failure, Misconfigured, QuotaExhausted, RateLimited, UsageError
from syncd.http.client import Bearer, HttpClient, Response
from syncd.http.error_table import ErrorTable, Means, VendorError
from syncd.http.limits import Bucket
from syncd.http.oauth import grant_id
from syncd.http.refreshing import Refreshing, TokenAnswers
from syncd.http.vendor_api import TokenPaging, VendorApi

LEAST_AGE = timedelta(seconds=30)
"""X refuses a start or end that is less than 10 s before its own clock."""
AUTHORIZE = "https://x.com/i/oauth2/authorize"
SCOPES = {
    "tweet.read": "to read mentions",
    "users.read": "to read the names of those who wrote",
    "dm.read": "to read direct messages",
    "offline.access": "to stay signed in",
}
ANSWERS = TokenAnswers(
    "X",
    {
        "invalid_request": "the refresh token was used before or was withdrawn; sign in again",
        "invalid_grant": "the refresh token has ended or was withdrawn; sign in again",
        "invalid_client": "auth.client_id is unknown, or is that of a confidential client; create a public one (Native App)",
        "unauthorized_client": "the app is a confidential client; make it a public one (Native App) in the developer portal",
    },
    ended=frozenset({"invalid_request", "invalid_grant"}),
    life=7200.0,
)
_PREFIXES = ("tweet", "post")
_POST_FIELDS = "created_at,author_id,conversation_id,in_reply_to_user_id,referenced_tweets,note_tweet"
_DM_FIELDS = "id,event_type,text,sender_id,dm_conversation_id,created_at,attachments"
_USERS = {"expansions": "author_id", "user.fields": "username,name"}
_PAGING = TokenPaging("pagination_token", "meta.next_token", frozenset({"invalid-request"}))
_PLAN = Means(
    Misconfigured, "the app may not do this; its plan, its permissions and its project are in the developer portal"
)


def _read(body: Any) -> list[VendorError]:
    """A problem of RFC 7807; `errors` says which parameter is meant."""
    if not isinstance(body, dict) or "title" not in body:
        return []
    code = text_of(body.get("type")).rpartition("/")[2] or text_of(body.get("title"))
    detail = next((text_of(row.get("message")) for row in rows_of(body.get("errors"))), "") or text_of(
        body.get("detail")
    )
    return [VendorError("" if code == "blank" else code, detail or text_of(body.get("title")))]


def _wait(answer: Response, now: datetime) -> float | None:
    told = answer.headers.get("x-rate-limit-reset", "")
    if answer.status == 429 and told.isascii() and told.isdigit():
        return max(1.0, float(told) - now.timestamp())
    return answer.retry_after(now)


ERRORS = ErrorTable(
    "X",
    {
        "usage-capped": Means(QuotaExhausted, "the posts that the plan allows in a month are used"),
        "client-forbidden client-not-enrolled not-authorized-for-resource": _PLAN,
        "unsupported-authentication": Means(Misconfigured, "this needs another kind of token; messages need auth:"),
        "invalid-request": Means(Misconfigured, "X does not accept the request"),
        "resource-not-found": Means(Misconfigured, "there is no such account; check user_id"),
    },
    _read,
    statuses={
        401: Means(Misconfigured, "the token is refused; make a new one in the developer portal"),
        403: _PLAN,
        429: Means(RateLimited, "too many calls", one_operation=True, pause=900.0),
    },
    absent=frozenset({"404", "resource-not-found", "WebhookIdInvalid"}),
    wait=_wait,
)


class XAuth(ConnectorSettings):
    """A public client (Native App) of developer.x.com, signed in as the account."""

    client_id: str = Field(min_length=1, description="OAuth 2.0 client id, under Keys and tokens")
    refresh_token: SecretStr | None = Field(None, description="a refresh token; without it, `syncd auth`")

    @property
    def configured(self) -> str:
        return self.refresh_token.get_secret_value() if self.refresh_token else ""


def app_api(base_url: str, token: str, user: str, context: Context) -> VendorApi:
    """Calls as the app, by its bearer token."""
    headers = {"Authorization": f"Bearer {token}"}
    return VendorApi(HttpClient(base_url, headers=headers, rate=_rate(user, context)), ERRORS, context.clock)


def account_api(base_url: str, auth: XAuth, user: str, context: Context) -> VendorApi:
    """Calls as the account, which has signed in."""
    client = HttpClient(base_url, bearer=_bearer(base_url, auth, context), rate=_rate(user, context))
    return VendorApi(client, ERRORS, context.clock)


def _rate(user: str, context: Context) -> Bucket | None:
    return context.limits.bucket(f"x:{user}", "requests")


class XApi:
    """The lists of one account."""

    def __init__(self, api: VendorApi, user: str, clock: Callable[[], datetime]) -> None:
        self._api, self._user, self._clock = api, user, clock
        self._prefix = _PREFIXES[0]

    def mentions(self, since: datetime, until: datetime | None) -> Iterator[tuple[list[Fields], dict[str, Fields]]]:
        """Pages of the posts that mention the account, newest first, each with its authors."""
        latest = self._clock() - LEAST_AGE  # a later one is refused; the caller knows its own range
        times = {"start_time": _stamp(min(since, latest))}
        if until is not None and until < latest:
            times["end_time"] = _stamp(until + timedelta(seconds=1))
        try:
            yield from self._mentions(times)
        except Failure as failure:
            other = next(prefix for prefix in _PREFIXES if prefix != self._prefix)
            if f"{self._prefix}.fields" not in failure.message:
                raise
            self._prefix = other
            yield from self._mentions(times)

    def _mentions(self, times: Mapping[str, str]) -> Iterator[tuple[list[Fields], dict[str, Fields]]]:
        query = {"max_results": "100", f"{self._prefix}.fields": _POST_FIELDS, **_USERS, **times}
        return self._lists(f"/2/users/{self._user}/mentions", query)

    def messages(self) -> Iterator[tuple[list[Fields], dict[str, Fields]]]:
        """Pages of the DM events of the last 30 days, newest first, each with its senders."""
        users = {"expansions": "sender_id", "user.fields": "username,name"}
        return self._lists(
            "/2/dm_events",
            {"max_results": "100", "event_types": "MessageCreate", "dm_event.fields": _DM_FIELDS, **users},
        )

    def _lists(self, path: str, query: Mapping[str, str]) -> Iterator[tuple[list[Fields], dict[str, Fields]]]:
        for page in self._api.pages(path, query, items="data", paging=_PAGING, sparse=True):
            body = page.body if isinstance(page.body, dict) else {}
            includes = body.get("includes")
            users = users_of(includes.get("users")) if isinstance(includes, dict) else {}
            yield [*page.items], users

    def account(self) -> Fields:
        """The account, as X knows it."""
        body = self._api.one(f"/2/users/{self._user}") or {}
        found = body.get("data")
        return found if isinstance(found, dict) and id_of(found.get("id")) == self._user else {}

    def vendor_now(self) -> datetime:
        """X's clock, by an answer's Date header."""
        return self._api.vendor_now(self._api.call("GET", f"/2/users/{self._user}"))


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _bearer(base_url: str, auth: XAuth, context: Context) -> Bearer:
    """How the account's calls are signed in. X gives each refresh token once: the newest is kept with the access token."""
    mint = Refreshing(
        f"{base_url}/2/oauth2/token",
        {"client_id": auth.client_id},
        ANSWERS,
        context.clock,
        context.name,
        refresh=auth.configured,
    )
    return Bearer(tokens=context.tokens, grant=_grant(base_url, auth, context.name), mint=mint)


def sign_in_of(base_url: str, auth: XAuth | None, name: str) -> SignIn:
    """The interactive sign-in as the account. Raises UsageError where none is needed."""
    if auth is None or auth.configured:
        raise UsageError(
            f"{name} (x) has {'auth.refresh_token' if auth else 'no auth:'}; there is nothing to sign in for"
        )
    return SignIn(
        grant=_grant(base_url, auth, name),
        authorize_url=AUTHORIZE,
        token_url=f"{base_url}/2/oauth2/token",
        revoke_url=f"{base_url}/2/oauth2/revoke",
        client_id=auth.client_id,
        scopes=tuple(SCOPES),
        reasons=SCOPES,
        lifetime=7200.0,
        remedies={"no_refresh_token": "give the app the scope offline.access and sign in again"},
    )


def _grant(base_url: str, auth: XAuth, name: str) -> str:
    if auth.configured:
        return grant_id("x", base_url, auth.client_id, auth.configured)
    return grant_id(*own_grant("x", name, base_url, auth.client_id))
