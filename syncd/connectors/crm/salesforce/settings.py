"""The keys of a `type: salesforce` destination, as typed models: their descriptions become the docs.

Validation here is offline; what only Salesforce can tell comes out of the token endpoint as Misconfigured.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from syncd.connector import ConnectorSettings, Prompt
from syncd.http.client import check_base_url

PRODUCTION = "https://login.salesforce.com"
SANDBOX = "https://test.salesforce.com"
SHARED_LOGINS = (PRODUCTION, SANDBOX)
OLDEST = (52, 0)
"""The duplicate-rule header needs v52, collections upsert v46."""

Flow = Literal["client_credentials", "jwt_bearer", "refresh_token"]

NEEDED: dict[Flow, tuple[str, ...]] = {
    "client_credentials": ("client_secret",),
    "jwt_bearer": ("username", "private_key"),
    "refresh_token": (),
}


class SalesforceAuth(ConnectorSettings):
    """How syncd signs in: as an external client app (connected app) of the org."""

    flow: Annotated[Flow, Field(description="OAuth flow; only refresh_token needs an interactive sign-in, once")]
    client_id: Annotated[str, Field(min_length=1, description="consumer key of the external client app")]
    client_secret: Annotated[
        SecretStr | None,
        Prompt(unless={"flow": ("jwt_bearer",)}),
        Field(description="consumer secret (not for jwt_bearer)"),
    ] = None
    username: Annotated[
        str, Prompt(when={"flow": ("jwt_bearer",)}), Field(description="jwt_bearer: the integration user's user name")
    ] = ""
    private_key: Annotated[
        SecretStr | None,
        Prompt(when={"flow": ("jwt_bearer",)}),
        Field(description="jwt_bearer: RSA key, as PEM text or the path of a PEM file"),
    ] = None
    audience: Annotated[str, Field(description="jwt_bearer: `aud`; default by login_url (production or sandbox)")] = ""
    refresh_token: Annotated[
        SecretStr | None,
        Field(description="refresh_token: an existing refresh token; without it, sign in with `syncd auth`"),
    ] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in NEEDED[self.flow] if not _given(getattr(self, name))]
        if missing:
            raise ValueError(f"flow {self.flow} also needs {' and '.join(missing)}")
        return self


def _given(value: SecretStr | str | None) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


class SalesforceSettings(ConnectorSettings):
    """A Salesforce org that records are written to."""

    login_url: Annotated[
        str, Prompt(), Field(description="sign-in URL: the org's My Domain, or login/test.salesforce.com")
    ] = PRODUCTION
    auth: Annotated[SalesforceAuth, Field(description="how syncd signs in")]
    api_version: Annotated[str, Field(description="REST API version, v52.0 or later")] = "v62.0"
    composite: Annotated[bool, Field(description="send five collections per call (1,000 records instead of 200)")] = (
        True
    )
    duplicate_rules: Annotated[
        Literal["obey", "allow_save"],
        Field(description="allow_save saves in spite of duplicate rules that only alert; blocking rules always block"),
    ] = "obey"
    auto_assign: Annotated[
        bool | str,
        Field(description="assignment rules for new leads and cases: false, true, or the id of a rule"),
    ] = False

    @property
    def signed_in(self) -> bool:
        """Whether tokens come from a person's `syncd auth`."""
        return self.auth.flow == "refresh_token" and not _given(self.auth.refresh_token)

    @field_validator("login_url")
    @classmethod
    def _login(cls, value: str) -> str:
        return check_base_url(value)

    @field_validator("api_version", mode="before")
    @classmethod
    def _version(cls, value: object) -> str:
        match = re.fullmatch(r"v?(\d{2,3})(?:\.(\d))?", str(value).strip())
        if match is None:
            raise ValueError(f"{value!r} is not an API version; write it like v62.0")
        number = (int(match[1]), int(match[2] or 0))
        if number < OLDEST:
            raise ValueError(f"API {value} is too old; v52.0 is the oldest that works")
        return f"v{number[0]}.{number[1]}"

    @model_validator(mode="after")
    def _own_domain(self) -> Self:
        if self.auth.flow == "client_credentials" and self.login_url in SHARED_LOGINS:
            raise ValueError(
                "flow client_credentials needs the org's My Domain as login_url, like https://example.my.salesforce.com"
            )
        return self

    @property
    def audience(self) -> str:
        """`aud` of a JWT assertion: as configured, else Salesforce's shared login host of this kind of org (a stand-in
        on this machine is its own)."""
        if self.auth.audience:
            return self.auth.audience
        host = urlsplit(self.login_url).hostname or ""
        if not host.endswith((".salesforce.com", ".force.com", ".site.com")):
            return self.login_url
        return SANDBOX if host == "test.salesforce.com" or ".sandbox." in host else PRODUCTION
