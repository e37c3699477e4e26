"""How Zalo signs the webhooks of an Official Account. Pure.

developers.zalo.me, "Webhook": `X-ZEvent-Signature: mac=HEX`, where HEX is SHA-256 of the app's id, the body, its `timestamp` and
the secret key of the Official Account, one after the other: no HMAC, so that it is not a row of the signature styles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import orjson

from syncd.connector import Request, Verifier
from syncd.errors import NotAuthentic
from syncd.signatures.shared_secret import same

HEADER = "x-zevent-signature"
LONGEST = 200
"""Characters of a signature, of which Zalo's has 68."""


def zalo_mac(secrets: Sequence[str]) -> Verifier:
    """Authentic under any of the secret keys. Raises ValueError for an empty one."""
    if not secrets or not all(secret.strip() for secret in secrets):
        raise ValueError("zalo needs the secret key of the Official Account")

    def verify(request: Request, now: datetime) -> None:
        given = request.headers.get(HEADER, "").strip()
        if not given or len(given) > LONGEST:
            raise NotAuthentic(f"no {HEADER} in the headers")
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            raise NotAuthentic("the body, which names the app and the time that are signed, is not JSON") from None
        told = [body.get(name) for name in ("app_id", "timestamp")] if isinstance(body, dict) else []
        app, stamp = (str(one) if isinstance(one, str | int) else "" for one in told or ("", ""))
        if not app or not stamp:
            raise NotAuthentic("the body names no app_id and timestamp, which are signed")
        for secret in secrets:
            signed = app.encode() + request.body + stamp.encode() + secret.strip().encode()
            if same(given.removeprefix("mac=").lower(), hashlib.sha256(signed).hexdigest()):
                return
        raise NotAuthentic("zalo: the signature does not match (another secret, or another body)")

    return verify
