"""Takes back at the vendor what a user had granted: `syncd auth --forget` asks here, once, with the token it has removed.

Where that is comes from the connector (`SignIn.revoke_url`). Promise: it never raises, keeps nothing, and says which it
was: revoked, not revoked and why, or that the vendor has no way.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from syncd.capabilities import SignIn
from syncd.errors import Failure
from syncd.http.client import Deadlines, HttpClient
from syncd.http.oauth import Token

GONE_ALREADY = frozenset({"invalid_token", "invalid_grant", "invalid_code"})


class Revoked(NamedTuple):
    """`done`: the token is not valid at the vendor any more. `said`: the end of a sentence for the operator."""

    done: bool
    said: str


def revoke(sign_in: SignIn, token: Token) -> Revoked:
    """One call. The refresh token takes the access tokens made of it along."""
    if not sign_in.revoke_url:
        return Revoked(False, "the vendor offers no way to revoke it: withdraw there what the app was granted")
    client = HttpClient(sign_in.revoke_url, deadlines=Deadlines(connect=10, read=30, total=45))
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
    """The vendor's word for what is wrong, short; some tell it with HTTP 200, too."""
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
