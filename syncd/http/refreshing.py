"""Access tokens minted at an OAuth token endpoint, from a table: grant, fields, lifetime, and what its refusals mean.

Connectors hand a `Refreshing` to their `Bearer`; the TokenStore decides when it is called. Source: RFC 6749, 4.4, 5 and 6.
Promise: it raises Misconfigured, RateLimited or Transient, never Ambiguous (a token that was made and lost does no harm); a
rotated refresh token replaces the older one; no message shows a token or a secret.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.errors import Ambiguous, Failure, Misconfigured, RateLimited, Transient
from syncd.http.client import Deadlines, HttpClient, Response, check_base_url, throttled
from syncd.http.oauth import Token, grant_id

DEADLINES = Deadlines(connect=5, read=20, total=30)
"""Token endpoints are known to hang; nobody waits longer for one."""
NOT_SIGNED_IN = "sign_in"
"""The code of the failure before the first sign-in."""
_LONGEST_LIFE = 1e9

_blocked: dict[str, datetime] = {}
"""Credentials -> until when the endpoint gives them no token: asking again would only prolong it. Per process, only advice."""


def error_word(said: Mapping[str, Any]) -> list[str]:
    """The `error` of RFC 6749, 5.2."""
    return [str(said["error"])] if said.get("error") else []


@dataclass(frozen=True)
class TokenAnswers:
    """What a token endpoint answers, as data.

    `remedies`: its word for a refusal that no retry changes -> why, and what to do; {name} is the configured name. `ended`: those
    after which only a new sign-in helps. `throttles`: words of "too many tokens". `later`: words of a passing fault.
    `unlisted`: the remedy of any other refusal (3xx, 4xx), "" where that is tried again. `words(said)`: the words of an answer,
    the most telling first; `detail(said)`: what is added to a remedy. `pause`: seconds after a throttle that names none. `life`:
    seconds that a token lives when the answer does not say, in one of `life_fields` (None: until it is refused); a shorter one
    than `shortest` is not believed, numbers from `milliseconds_from` on are milliseconds. `urls`: fields with URLs that are kept
    in `Token.extra`; `needed`: those of them without which a token is of no use. `refuses`: how a refusal begins."""

    vendor: str
    remedies: Mapping[str, str]
    ended: frozenset[str] = frozenset()
    throttles: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset({"temporarily_unavailable", "server_error"})
    unlisted: str = ""
    words: Callable[[Mapping[str, Any]], Sequence[str]] = error_word
    detail: Callable[[Mapping[str, Any]], str] = lambda said: ""
    pause: float = 300.0
    life: float | None = 3600.0
    life_fields: tuple[str, ...] = ("expires_in",)
    shortest: float = 0.0
    milliseconds_from: float = math.inf
    urls: tuple[str, ...] = ()
    needed: frozenset[str] = frozenset()
    refuses: str = "{vendor} refuses to sign in"

    def read(self, answer: Response, now: datetime, held: Token | None = None, *, name: str = "") -> Token:
        """The token in an answer. Raises what its refusal means; some vendors refuse with HTTP 200, so the body decides."""
        try:
            said: Any = answer.json()
        except Ambiguous as error:
            said = Transient(f"the token endpoint: {error.message}", code=str(answer.status))
        body = said if isinstance(said, dict) else {}
        slow = throttled(answer, now)
        if slow is not None and self.throttles.isdisjoint(self.words(body)):
            unsaid = slow.retry_after is None
            wait = self.pause if unsaid else slow.retry_after
            raise RateLimited("the token endpoint asks for a pause", code=slow.code, retry_after=wait)
        if isinstance(said, Transient) and not (self.unlisted and _refused(answer.status)):
            raise said
        access = body.get("access_token")
        if not answer.ok or not isinstance(access, str) or not access:
            raise self._refusal(body, answer.status, answer.retry_after(now), name)
        refresh, life = body.get("refresh_token"), self._life(body)
        extra = {one: url for one in self.urls if (url := _url(body.get(one)))}
        if lacking := self.needed - extra.keys():
            raise Transient(f"the token endpoint answered without a usable {', '.join(sorted(lacking))}", code="token")
        return Token(
            access=access,
            expires_at=None if life is None else now + timedelta(seconds=life),
            refresh=refresh if isinstance(refresh, str) and refresh else (held.refresh if held else ""),
            extra=extra,
        )

    def _refusal(self, said: Mapping[str, Any], status: int, wait: float | None, name: str) -> Failure:
        words = [word for word in self.words(said) if word]
        code = words[0] if words else str(status)
        if not self.throttles.isdisjoint(words):
            return RateLimited(
                "the token endpoint asks for a pause: too many access tokens were asked for",
                code=code,
                retry_after=max(wait or 0, self.pause),
            )
        known = next((word for word in words if word in self.remedies), "")
        remedy = self.remedies.get(known) or (self.unlisted if _refused(status) else "")
        if remedy and self.later.isdisjoint(words):
            text = f"{self.refuses.format(vendor=self.vendor)}: {remedy.format(name=name)}{self.detail(said)}"
            return Misconfigured(text, code=code, sign_in=known in self.ended)
        text = (
            f"the sign-in at {self.vendor} failed: there is no token in the answer (HTTP {status}); it is tried again"
        )
        return Transient(text, code=code, known=status >= 500 or not self.later.isdisjoint(words))

    def _life(self, said: Mapping[str, Any]) -> float | None:
        told = next((said[one] for one in self.life_fields if one in said), self.life)
        if told is None:
            return self.life
        try:
            seconds = float(told)
        except (TypeError, ValueError, OverflowError):
            return self.life
        if not self.shortest <= seconds < _LONGEST_LIFE:  # false for NaN as well
            return self.life
        return seconds / 1000 if seconds >= self.milliseconds_from else seconds


def _refused(status: int) -> bool:
    """Whether an answer is about the request, not about the server's state."""
    return 300 <= status < 500 and status != 429


def _url(told: Any) -> str:
    try:
        return check_base_url(told) if isinstance(told, str) and told else ""
    except ValueError:
        return ""


@dataclass(frozen=True)
class Refreshing:
    """A Mint. `form`: what every request carries (client_id, client_secret, scope). `grant`: the grant type. `refresh`: the
    refresh token of the configuration, "" for an interactive sign-in (`syncd auth NAME`); only for the grant refresh_token.
    `assertion`: makes the JWT of the JWT bearer grant (RFC 7523, 4). `basic`: client id and secret for an endpoint that takes
    them in the Authorization header (RFC 6749, 2.3.1). `most`: the endpoint gives at most so many tokens in
    `window` (0: no limit); they are counted in the stored token. `around(*credentials)`: see `LoginBackoff.attempt`."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    answers: TokenAnswers
    clock: Callable[[], datetime]
    name: str
    grant: str = "refresh_token"
    refresh: str = field(default="", repr=False)
    assertion: Callable[[datetime], str] | None = None
    basic: tuple[str, str] | None = field(default=None, repr=False)
    most: int = 0
    window: timedelta = timedelta(minutes=10)
    deadlines: Deadlines = DEADLINES
    around: Callable[..., AbstractContextManager[None]] = lambda *credentials: nullcontext()

    def __call__(self, held: Token | None) -> Token:
        now = self.clock()
        form = {**self.form, "grant_type": self.grant}
        if self.grant == "refresh_token":
            form["refresh_token"] = self._newest(held)
        credentials = grant_id(
            self.url, *form.values(), *(self.basic or ()), *([self.name] if self.assertion else [])
        )  # a JWT is new each time
        made = self._counted(held, now)
        self._wait(credentials, made, now)
        if self.assertion is not None:
            form["assertion"] = self.assertion(now)
        try:
            with self.around(self.url, *form.values()):
                token = self.answers.read(self._ask(form), now, held, name=self.name)
        except RateLimited as error:
            _blocked[credentials] = now + timedelta(seconds=error.retry_after or 0)
            raise
        except Misconfigured as error:
            if error.sign_in and not self.refresh and "syncd auth" not in error.message:
                text = f"{error.message}; run: syncd auth {self.name}"
                raise Misconfigured(text, code=error.code, sign_in=True) from None
            raise
        if not self.most:
            return token
        minted = ",".join(f"{moment.timestamp():.0f}" for moment in [*made, now])
        return Token(
            access=token.access,
            expires_at=token.expires_at,
            refresh=token.refresh,
            extra={**token.extra, "minted": minted},
        )

    def _newest(self, held: Token | None) -> str:
        """The newest refresh token: an endpoint that rotates them takes no older one."""
        newest = (held.refresh if held else "") or self.refresh
        if not newest:
            raise Misconfigured(f"not signed in yet; run: syncd auth {self.name}", code=NOT_SIGNED_IN, sign_in=True)
        return newest

    def _counted(self, held: Token | None, now: datetime) -> list[datetime]:
        """When tokens were minted within the window, oldest first."""
        texts = held.extra.get("minted", "").split(",") if held else []
        moments = [datetime.fromtimestamp(int(text), UTC) for text in texts if text.isdigit()]
        return sorted(moment for moment in moments if now - self.window < moment <= now)

    def _wait(self, credentials: str, made: Sequence[datetime], now: datetime) -> None:
        until = _blocked.get(credentials, now)
        if self.most and len(made) >= self.most:
            until = max(until, made[0] + self.window)
        if until > now:
            text = f"{self.answers.vendor} gives this refresh token no new access token yet"
            raise RateLimited(text, code="tokens", retry_after=(until - now).total_seconds())

    def _ask(self, form: Mapping[str, str]) -> Response:
        client = HttpClient(self.url, deadlines=self.deadlines, basic=self.basic)
        try:
            return client.request("POST", "", form=form)
        except Ambiguous as error:  # the caller's own request never left
            raise Transient(error.message, code=error.code) from None
        finally:
            client.close()
