"""The `verify:` keys of the generic webhook, and the verifier they describe.

`scheme` is a row of `syncd.connectors.signature_styles.STYLES` (`standard_webhooks`, `hmac`, `zendesk`, …), or `bearer`,
`basic`, `path`, `jwt`, `zalo`, or `none` with `insecure: true`. Every fault of the keys is a ValueError at load.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from syncd.connector import ConnectorSettings, Prompt, Verifier
from syncd.connectors.generic.zalo_mac import zalo_mac
from syncd.connectors.keys import Secrets, left_to_a_preset, secret_texts
from syncd.connectors.signature_styles import STYLES
from syncd.durations import Duration
from syncd.http.client import check_base_url
from syncd.signatures.jwt import KeySet, jwt
from syncd.signatures.shared_secret import anybody, basic, bearer, path
from syncd.signatures.styles import Pairs
from syncd.signatures.verifier import Encoding, Style, Unit, check_secrets, check_style, verifier

PLAIN = ("zalo", "bearer", "basic", "path", "jwt", "none")
SCHEMES = (*STYLES, *PLAIN)


def _known(scheme: str) -> str:
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    return scheme


def _url(url: str) -> str:
    return check_base_url(url) if url else ""


class Verify(ConnectorSettings):
    """How a request proves that it is authentic."""

    model_config = ConfigDict(json_schema_extra=left_to_a_preset("scheme"))

    scheme: Annotated[str, AfterValidator(_known)] = Field(
        description=f"how the sender proves itself: {', '.join(SCHEMES)}"
    )
    secret: Annotated[Secrets | None, Prompt(unless={"scheme": ("jwt", "none")})] = Field(
        None, description="the shared secret or public key; a list while it is being rotated"
    )
    username: Annotated[str, Prompt(when={"scheme": ("basic",)})] = Field(
        "", description="basic: the user name; the password is `secret`"
    )
    header: Annotated[str, Prompt(when={"scheme": ("hmac",)})] = Field(
        "", description="hmac, bearer, jwt: the header that carries the signature or token"
    )
    prefix: str = Field(
        "", description="hmac: text before the signature, such as `sha256=`; bearer: `none` to expect the bare token"
    )
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] | None = Field(
        None, description="hmac: the hash, default sha256"
    )
    encoding: Encoding | None = Field(None, description="hmac: how the signature is written, default hex")
    signature_field: str = Field(
        "",
        pattern=r"^[\w.\-]{0,30}$",
        description="hmac: the header carries named values, `t=…,v1=…`: the name of the signature in it, such as `v1`",
    )
    timestamp_field: str = Field(
        "", pattern=r"^[\w.\-]{0,30}$", description="hmac: the name of the signed time in such a header, such as `t`"
    )
    separator: Literal[",", ";", "&", "|", " "] | None = Field(
        None, description="hmac: the separator between the values of such a header, default a comma"
    )
    signed: str = Field(
        "",
        description="hmac: what is signed: literal text and {body} {timestamp} {id} {method} {url} {form}; default {body}",
    )
    timestamp_header: str = Field("", description="hmac: the header that carries the signed time")
    timestamp_unit: Unit | None = Field(None, description="hmac: s, ms or iso; default s")
    id_header: str = Field("", description="hmac: the header that carries the signed id")
    tolerance: Duration | None = Field(None, description="largest allowed difference between the signed time and now")
    jwks_url: Annotated[str, AfterValidator(_url), Prompt(when={"scheme": ("jwt",)})] = Field(
        "", description="jwt: the URL of the sender's published keys (JWKS)"
    )
    issuer: Annotated[str, Prompt(when={"scheme": ("jwt",)})] = Field("", description="jwt: the `iss` that is accepted")
    audience: list[str] = Field([], description="jwt: the `aud` values that are accepted; empty: any")
    insecure: Annotated[bool, Prompt(when={"scheme": ("none",)})] = Field(
        False, description="required with `scheme: none`: anyone may post events"
    )

    @field_validator("secret")
    @classmethod
    def _usable(cls, value: Secrets | None, info: ValidationInfo) -> Secrets | None:
        scheme = info.data.get("scheme", "")
        if value is not None and scheme in STYLES:
            check_secrets(STYLES[scheme], secret_texts(value))
        elif value is not None and scheme == "path":
            path(secret_texts(value))
        elif (
            value is not None
            and scheme in ("bearer", "basic", "zalo")
            and not all(text.strip() for text in secret_texts(value))
        ):
            raise ValueError(f"{scheme} needs a secret that is not empty")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Verify:
        """Faults of the keys together. What the secret itself must be is checked at its own key."""
        given = {name for name in self.model_fields_set if getattr(self, name)}
        if self.scheme != "hmac" and (extra := sorted(given & _HMAC_ONLY - _ALSO.get(self.scheme, frozenset()))):
            raise ValueError(f"{', '.join(extra)}: only for scheme hmac, not {self.scheme}")
        if (self.secret is None or self.secret == []) and self.scheme not in ("jwt", "none"):
            raise ValueError(f"scheme {self.scheme} needs a secret")
        if (self.timestamp_field or self.separator) and not self.signature_field:
            raise ValueError(
                "timestamp_field and separator are for a header of named values: signature_field is missing"
            )
        if self.timestamp_field and self.timestamp_header:
            raise ValueError("the signed time is in timestamp_field or in timestamp_header, not in both")
        if self.scheme == "basic" and not self.username:
            raise ValueError("scheme basic needs a username beside the secret")
        if self.scheme == "jwt" and not (self.jwks_url and self.issuer):
            raise ValueError("scheme jwt needs jwks_url, where the sender publishes its keys, and issuer")
        if self.scheme == "none" and not self.insecure:
            raise ValueError("scheme none lets anybody post events; write `insecure: true` beside it if that is meant")
        if self.scheme in STYLES:
            check_style(self._style())
        return self

    def build(self, keys: KeySet | None) -> Verifier:
        """The verifier of these keys; `keys` for scheme jwt."""
        secrets = secret_texts(self.secret)
        match self.scheme:
            case "none":
                return anybody
            case "zalo":
                return zalo_mac(secrets)
            case "bearer":
                word = "" if self.prefix == "none" else "Bearer"
                return bearer(secrets, header=self.header or "authorization", scheme=word)
            case "basic":
                return basic([(self.username, secret) for secret in secrets])
            case "path":
                return path(secrets)
            case "jwt":
                header = self.header or "authorization"
                return jwt(
                    KeySet() if keys is None else keys, header=header, issuer=self.issuer, audiences=self.audience
                )
        return verifier(self._style(), secrets)

    def _style(self) -> Style:
        style = STYLES[self.scheme]
        changes: dict[str, Any] = {
            "signature": f"header:{self.header}" if self.header else None,
            "prefix": self.prefix or None,
            "algorithm": self.algorithm,
            "encoding": self.encoding,
            "signed": self.signed or None,
            "timestamp": f"header:{self.timestamp_header}" if self.timestamp_header else None,
            "unit": self.timestamp_unit,
            "id": f"header:{self.id_header}" if self.id_header else None,
            "tolerance": self.tolerance,
            "pairs": Pairs(self.signature_field, self.timestamp_field, self.separator or ",")
            if self.signature_field
            else None,
        }
        return replace(style, **{name: value for name, value in changes.items() if value is not None})


_HMAC_ONLY = frozenset(
    {
        "header",
        "prefix",
        "algorithm",
        "encoding",
        "signature_field",
        "timestamp_field",
        "separator",
        "signed",
        "timestamp_header",
        "timestamp_unit",
        "id_header",
    }
)
_ALSO: dict[str, frozenset[str]] = {"bearer": frozenset({"header", "prefix"}), "jwt": frozenset({"header"})}
