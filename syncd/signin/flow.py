"""Signing in by OAuth 2.0, authorization code with PKCE, as pure decisions: the URL to open, what the redirect says, what the
token answer says. `syncd auth` calls it between the browser and the vendor.

Promise: a wrong answer is one line that says what to do, and no line holds a code, a token or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import orjson

from syncd.capabilities import SignIn
from syncd.errors import SyncdError
from syncd.http.client import Response, check_base_url
from syncd.http.oauth import Token

VERIFIER_LENGTH = 96
LONGEST_REDIRECT = 16_384
PATH = "/callback"

REMEDIES: Mapping[str, str] = {
    "access_denied": "consent was refused, or this account may not grant it; sign in again as a user who may",
    "access-denied": "consent was refused, or this account may not grant it; sign in again as a user who may",
    "redirect_uri_mismatch": "register {redirect} at the vendor, letter by letter, as a callback address of this client",
    "invalid_redirect_uri": "register {redirect} at the vendor, letter by letter, as a callback address of this client",
    "invalid_client": "check auth.client_id and auth.client_secret",
    "invalid_client_id": "check auth.client_id",
    "invalid_client_secret": "check auth.client_secret",
    "invalid_client_credentials": "check auth.client_id and auth.client_secret",
    "unauthorized_client": "allow this client the authorization code flow at the vendor",
    "invalid_scope": "allow this client the scopes {scopes} at the vendor",
    "invalid_grant": "the code has run out, was used before, or belongs to another client: run it again without delay",
    "invalid_code": "the code has run out, was used before, or belongs to another client: run it again without delay",
    "server_error": "the vendor has trouble; run it again later",
    "temporarily_unavailable": "the vendor has trouble; run it again later",
    "no_refresh_token": "allow this client offline access at the vendor, withdraw what it was granted before, and sign in again",
    "elsewhere": "make the configuration name that server",
}
"""What to do about an OAuth error (RFC 6749 4.1.2.1 and 5.2, and what vendors say instead). A connector's own come first."""


_READ = ("access_token", "refresh_token", "token_type", "error", "error_description")
"""What of a token answer oauthlib is shown, as far as it is text: it trips over numbers in odd places."""


class SignInAttempt(msgspec.Struct, frozen=True):
    """One try to sign in: what must come back as it was sent."""

    url: str
    redirect: str
    state: str
    verifier: str

    def __repr__(self) -> str:
        """Without what only the vendor may learn."""
        return f"Attempt(redirect={self.redirect!r})"

    __str__ = __repr__


def begin(sign_in: SignIn, redirect: str) -> SignInAttempt:
    """A new attempt, with a state and a verifier of its own."""
    from oauthlib.common import generate_token
    from oauthlib.oauth2 import WebApplicationClient

    client = WebApplicationClient(sign_in.client_id)
    verifier = client.create_code_verifier(VERIFIER_LENGTH)
    state = generate_token(43)
    url = client.prepare_request_uri(
        _as_https(sign_in.authorize_url),
        redirect_uri=redirect,
        scope=sign_in.scope_separator.join(sign_in.scopes) or None,
        state=state,
        code_challenge=client.create_code_challenge(verifier, "S256"),
        code_challenge_method="S256",
        **sign_in.parameters,
    )
    scheme = urlsplit(sign_in.authorize_url).scheme
    return SignInAttempt(f"{scheme}:{url.partition(':')[2]}", redirect, state, verifier)


def _as_https(url: str) -> str:
    """oauthlib refuses plain http, even to this machine, which is all that `check_base_url` lets through."""
    return "https:" + url.partition(":")[2]


def read_redirect(sign_in: SignIn, attempt: SignInAttempt, query: str) -> str:
    """The code in the query that the browser came back with. Raises SyncdError with one line."""
    from oauthlib.oauth2 import MismatchingStateError, MissingCodeError, OAuth2Error, WebApplicationClient

    given = dict(parse_qsl(query, keep_blank_values=True))
    # A vendor that refuses before it has read the request sends no state back.
    state = None if "error" in given and "state" not in given else attempt.state
    try:
        said = WebApplicationClient(sign_in.client_id).parse_request_uri_response(f"https://localhost/?{query}", state)
    except MismatchingStateError:
        raise SyncdError(
            "the answer belongs to another sign-in (its state is not ours), perhaps from an older tab of the browser; "
            "close it and run the command again"
        ) from None
    except MissingCodeError:
        raise SyncdError("the answer holds neither a code nor an error; run the command again") from None
    except OAuth2Error as error:
        raise SyncdError(_refused(sign_in, attempt.redirect, error)) from None
    _check_server(sign_in, given)
    return str(said["code"])


def read_pasted(sign_in: SignIn, attempt: SignInAttempt, text: str) -> str:
    """The code in what the user pasted: the whole address the browser was sent to, or the code alone. PKCE still binds a
    bare code to this attempt. Raises SyncdError."""
    pasted = text.strip()
    if not pasted or len(pasted) > LONGEST_REDIRECT:
        raise SyncdError("nothing was pasted; run the command again" if not pasted else "what was pasted is too long")
    query = pasted.partition("#")[0].partition("?")[2] if "://" in pasted else ""
    query = query or (pasted if pasted.startswith(("code=", "error=")) else "")
    if query:
        return read_redirect(sign_in, attempt, query)
    if "://" in pasted or any(character.isspace() for character in pasted):
        raise SyncdError("what was pasted is neither the address the browser was sent to nor a code")
    return pasted


def _check_server(sign_in: SignIn, given: Mapping[str, str]) -> None:
    told = given.get(sign_in.server_parameter, "") if sign_in.server_parameter else ""
    asked, there = _host(sign_in.token_url), _host(told)
    if told and there not in (asked, *map(_host, sign_in.servers)):
        raise SyncdError(f"the account lives at {there}, not at {asked}: {remedy(sign_in, 'elsewhere', '')}")


def _host(url: str) -> str:
    """The host of an address; of anything else, the text itself."""
    with suppress(ValueError):
        return _plain(urlsplit(url).hostname or url, 100)
    return _plain(url, 100)


def exchange_body(sign_in: SignIn, attempt: SignInAttempt, code: str) -> bytes:
    """The form that turns a code into tokens."""
    from oauthlib.oauth2 import WebApplicationClient

    secret = {"client_secret": sign_in.client_secret} if sign_in.client_secret else {}
    body: str = WebApplicationClient(sign_in.client_id).prepare_request_body(
        code=code, redirect_uri=attempt.redirect, code_verifier=attempt.verifier, **secret
    )
    return body.encode()


def read_token(sign_in: SignIn, redirect: str, answer: Response, now: datetime) -> Token:
    """The token in the vendor's answer, errors sent with HTTP 200 included. Raises SyncdError."""
    from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

    given = _object(answer)
    texts = {name: given[name] for name in _READ if given.get(name) and isinstance(given[name], str)}
    try:
        said = WebApplicationClient(sign_in.client_id).parse_request_body_response(orjson.dumps(texts))
    except OAuth2Error as error:
        if "error" not in texts:
            raise SyncdError(
                f"the vendor answered HTTP {answer.status} without a token; run the command again"
            ) from None
        raise SyncdError(_refused(sign_in, redirect, error)) from None
    if not answer.ok:
        raise SyncdError(f"the vendor answered HTTP {answer.status}; run the command again later")
    refresh = str(said.get("refresh_token") or "")
    if not refresh:
        raise SyncdError(
            f"the vendor gave no refresh token, so the sign-in would soon end: {remedy(sign_in, 'no_refresh_token', redirect)}"
        )
    return Token(
        access=str(said["access_token"]),
        expires_at=_end(given.get("expires_in"), sign_in.lifetime, now),
        refresh=refresh,
        extra={name: _kept(name, given[name]) for name in sign_in.extra if given.get(name)},
    )


def _end(told: Any, usual: float | None, now: datetime) -> datetime | None:
    """When a token ends, None when the answer does not say: it is good until it is refused."""
    with suppress(TypeError, ValueError, OverflowError):
        return now + timedelta(seconds=float(told))
    return now + timedelta(seconds=usual) if usual else None


def _object(answer: Response) -> dict[str, Any]:
    given = answer.json()
    if not isinstance(given, dict):
        raise SyncdError(f"the vendor answered HTTP {answer.status} with something else than a token")
    return given


def _kept(name: str, value: Any) -> str:
    """A value that came along; one that is an address is where later calls carry the token to."""
    text = str(value)
    if "://" in text:
        try:
            return check_base_url(text)
        except ValueError as error:
            raise SyncdError(f"{name} of the vendor's answer: {error}") from None
    return text


def _refused(sign_in: SignIn, redirect: str, error: Any) -> str:
    code, told = _plain(error.error, 60), _plain(error.description, 200)
    aside = f" ({told})" if told and told != code else ""
    advice = remedy(sign_in, code, redirect)
    return f"the vendor refuses: {code}{aside}" + (f"; {advice}" if advice else "")


def remedy(sign_in: SignIn, code: str, redirect: str) -> str:
    """What to do about an OAuth error, "" when unknown."""
    text = sign_in.remedies.get(code) or REMEDIES.get(code, "")
    return text.replace("{redirect}", redirect).replace("{scopes}", " ".join(sign_in.scopes))


def _plain(text: object, longest: int) -> str:
    """Words of a vendor on one printable line."""
    line = " ".join(str(text or "").split())
    return "".join(character for character in line if character.isprintable())[:longest]
