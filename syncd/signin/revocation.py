"""Takes back at the vendor what a user had granted: `syncd auth --forget` asks here, once, with the token it has removed.

What each vendor documents is the table below. Promise: it never raises, keeps nothing, and says plainly which it was: revoked,
not revoked and why, or that the vendor has no way.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from syncd.capabilities import SignIn
from syncd.errors import Failure
from syncd.http.client import Deadlines, HttpClient
from syncd.http.oauth import Token


class _Vendor(NamedTuple):
    host: str  # of the token endpoint; "" for any: the path is telling, and stand-ins have it too
    path: str
    revokes: str  # path of the revocation endpoint, on the same host


_VENDORS = (
    # RFC 7009 as Salesforce has it: POST token=…, 200, else 400 with unsupported_token_type or invalid_token.
    _Vendor("", "/services/oauth2/token", "/services/oauth2/revoke"),
    # Zoho, "Revoke OAuth tokens": POST, {"status": "success"} or 400. Its pages show the token in the query; a form is as good to
    # its other OAuth calls, and keeps the token out of the logs of proxies [U].
    _Vendor("", "/oauth/v2/token", "/oauth/v2/token/revoke"),
    # Google, "Using OAuth 2.0 for Web Server Applications": POST token=…, 200; a refresh token takes its grant along.
    _Vendor("oauth2.googleapis.com", "/token", "/revoke"),
    # Microsoft documents no revocation endpoint (only Graph's revokeSignInSessions, which ends every app's sessions).
)

GONE_ALREADY = frozenset({"invalid_token", "invalid_grant", "invalid_code"})


class Revoked(NamedTuple):
    """`done`: the token is not valid at the vendor any more. `said`: the end of a sentence for the operator."""

    done: bool
    said: str


def revocation_url(token_url: str) -> str:
    """Where tokens of this endpoint are revoked; "" where the vendor has no such place."""
    parts = urlsplit(token_url)
    for vendor in _VENDORS:
        if parts.path == vendor.path and vendor.host in ("", parts.hostname):
            return urlunsplit(parts._replace(path=vendor.revokes, query=""))
    return ""


def revoke(sign_in: SignIn, token: Token) -> Revoked:
    """One call. The refresh token takes the access tokens made of it along."""
    url = revocation_url(sign_in.token_url)
    if not url:
        return Revoked(False, "the vendor offers no way to revoke it: withdraw there what the app was granted")
    client = HttpClient(url, deadlines=Deadlines(connect=10, read=30, total=45))
    try:
        answer = client.request("POST", "", form={"token": token.refresh or token.access})
    except Failure as failure:
        return _not(str(failure))
    finally:
        client.close()
    error = _error(answer.body)
    if answer.ok and not error:
        return Revoked(True, "revoked at the vendor")
    if error in GONE_ALREADY:
        return Revoked(True, "the vendor had revoked it already")
    return _not(error or f"HTTP {answer.status}")


def _not(why: str) -> Revoked:
    return Revoked(False, f"the vendor did not revoke it ({why}): withdraw there what the app was granted")


def _error(body: bytes) -> str:
    """The vendor's word for what is wrong, short; Zoho tells it with HTTP 200, too."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    word = str(said.get("error") or "")
    if not word and str(said.get("status", "success")) != "success":
        word = str(said["status"])
    return "".join(letter for letter in word if letter.isprintable())[:60]
