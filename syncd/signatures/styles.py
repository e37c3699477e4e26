"""How a webhook can be signed, as data, and the two styles that belong to no vendor. `syncd.signatures.verifier` makes verifiers
of them; the vendors' own styles are rows of `syncd.connectors.signature_styles`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Algorithm = Literal["sha1", "sha256", "sha384", "sha512", "ecdsa-sha256", "rsa-sha256", "ed25519"]
Encoding = Literal["hex", "base64", "base64url"]
Unit = Literal["s", "ms", "iso"]
KeyForm = Literal["text", "standard", "public_key"]


@dataclass(frozen=True)
class Pairs:
    """A signature header that carries named values, `t=1700000000,v1=5257a8…,v1=3a9c…`: their names. Any of the values named
    `signature` (several while a secret is being rotated) proves the request; what has another name is passed over."""

    signature: str = "v1"
    timestamp: str = ""
    separator: str = ","


@dataclass(frozen=True)
class Style:
    """How one vendor signs. A *place* is `header:NAME` or `json:path.in.body`. `signed` is made of literal text and
    {body} {timestamp} {id} {method} {url} {form} (form: each pair of the body, sorted, name and value run together).

    `pairs`: the signature header carries named values, which may include the time (then `timestamp` is not needed).
    `also`: other names of the headers; where one is absent, the other counts. `versions`: the signature is a list
    `v1,SIG v1a,SIG`, its versions naming algorithms (Standard Webhooks).
    `tolerance`: how far the signed time may be from now; None where the vendor sets no limit, since a replay has a known
    id and is dropped, while a late retry that is refused is lost. `binds`: the signature does not cover the body, so one
    `id` is good for one body.
    """

    name: str
    signature: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    signed: str = "{body}"
    prefix: str = ""
    timestamp: str = ""
    unit: Unit = "s"
    id: str = ""
    tolerance: timedelta | None = None
    key: KeyForm = "text"
    versions: Mapping[str, Algorithm] = field(default_factory=dict)
    binds: bool = False
    pairs: Pairs | None = None
    also: Mapping[str, str] = field(default_factory=dict)


_GENERAL = (
    Style(
        "standard_webhooks",  # spec/standard-webhooks.md; the timestamp's limit is the spec's
        "header:webhook-signature",
        encoding="base64",
        signed="{id}.{timestamp}.{body}",
        id="header:webhook-id",
        timestamp="header:webhook-timestamp",
        tolerance=timedelta(minutes=5),
        key="standard",
        versions={"v1": "sha256", "v1a": "ed25519"},
        also={  # Svix, whose scheme it was, and those who send through it (Clerk, Resend)
            "webhook-id": "svix-id",
            "webhook-timestamp": "svix-timestamp",
            "webhook-signature": "svix-signature",
        },
    ),
    Style("hmac", "header:x-signature"),
)
STYLES: dict[str, Style] = {style.name: style for style in _GENERAL}
"""`standard_webhooks`, and `hmac`, which is the one to be adapted (`dataclasses.replace`)."""
