"""A person's consent at a twin: the page that asks, one-time codes, and their exchange with PKCE (RFC 6749 4.1, RFC 7636).

Used by the OAuth parts of the twins, which say what is wrong in their vendor's words. A browser clicks, a test posts the same
form with `decision=allow` or `decision=deny`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlencode

from syncd.twins.wire import TwinCall, TwinResponse


class ConsentError(Enum):
    """Why a code is not exchanged."""

    CODE = "unknown, or used before"
    EXPIRED = "expired"
    REDIRECT = "another redirect_uri than the code was asked with"
    VERIFIER = "the verifier does not fit the challenge"
    CLIENT = "another client"


@dataclass(frozen=True)
class Given:
    """What a code stands for."""

    at: float
    client: str
    redirect: str
    challenge: str
    scope: str
    offline: bool


class Refusal(Exception):
    """A code that is not exchanged, and why."""

    def __init__(self, wrong: ConsentError) -> None:
        super().__init__(wrong.value)
        self.wrong = wrong


class Consents:
    """Codes handed out. `registered`: the redirect addresses of the client, None for any. `life`: seconds a code is good.
    `denied`: the error that a refusal sends back."""

    def __init__(self, clock: Callable[[], float], *, life: float, denied: str = "access_denied") -> None:
        self._clock, self.life, self._denied = clock, life, denied
        self.registered: frozenset[str] | None = None
        self._codes: dict[str, Given] = {}

    def known(self, redirect: str) -> bool:
        return bool(redirect) and (self.registered is None or redirect in self.registered)

    def ask(self, call: TwinCall, form: Mapping[str, str], question: str, beside: Mapping[str, str]) -> TwinResponse:
        """The page, or where it leads to once the person has decided; `beside` goes along with the code."""
        if call.method == "GET":
            return _html(200, _page(question, form))
        back: dict[str, str] = {"state": form["state"]} if form.get("state") else {}
        if form.get("response_type") != "code":
            back["error"] = "unsupported_response_type"
        elif form.get("decision") != "allow":
            back |= {"error": self._denied, "error_description": "end-user denied authorization"}
        elif form.get("code_challenge") and form.get("code_challenge_method") != "S256":
            back |= {"error": "invalid_request", "error_description": "only S256 is taken here"}
        else:
            code = back["code"] = f"aPrx{secrets.token_urlsafe(32)}"
            self._codes[code] = Given(
                self._clock(),
                form["client_id"],
                form["redirect_uri"],
                form.get("code_challenge", ""),
                form.get("scope", ""),
                form.get("access_type") == "offline",
            )
            back |= beside
        return TwinResponse(302, None, {"Location": f"{form['redirect_uri']}?{urlencode(back)}"})

    def redeem(self, form: Mapping[str, str]) -> Given:
        """What the code stands for; it is used up by this, whatever comes out. Raises Refusal."""
        given = self._codes.pop(form.get("code", ""), None)
        if given is None:
            raise Refusal(ConsentError.CODE)
        if self._clock() > given.at + self.life:
            raise Refusal(ConsentError.EXPIRED)
        if form.get("client_id") != given.client:
            raise Refusal(ConsentError.CLIENT)
        if form.get("redirect_uri") != given.redirect:
            raise Refusal(ConsentError.REDIRECT)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if given.challenge and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != given.challenge:
            raise Refusal(ConsentError.VERIFIER)
        return given

    def forget(self) -> None:
        self._codes.clear()


def page_of_error(text: str) -> TwinResponse:
    """A vendor's own page for what it will not send back to a redirect address."""
    return _html(400, f"<title>Error</title><p>{html.escape(text)}</p>")


def _html(status: int, body: str) -> TwinResponse:
    return TwinResponse(status, f"<!doctype html>{body}".encode(), content_type="text/html; charset=utf-8")


def _page(question: str, form: Mapping[str, str]) -> str:
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">' for name, value in form.items()
    )
    buttons = "".join(f'<button name="decision" value="{value}">{value}</button>' for value in ("allow", "deny"))
    scope = html.escape(form.get("scope", ""))
    return f'<title>Consent</title><h1>{question}</h1><p>{scope}</p><form method="post" action="?">{fields}{buttons}</form>'
