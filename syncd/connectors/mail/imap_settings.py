"""The keys of a `type: imap` source, as typed models: their descriptions become the docs. `imap` works by them.

A preset only fills in what is not written; how one signs in is a password or `auth`, never both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from syncd.connector import ConnectorSettings, Prompt
from syncd.connectors.mail.imap_hosts import ELSEWHERE, HOSTS, ZOHO_HOSTS, MailHost, Preset, ZohoCentre
from syncd.connectors.mail.settings import MailSettings
from syncd.http.client import LOOPBACK, check_base_url

T = TypeVar("T")


def _address(url: str) -> str:
    return check_base_url(url) if url else ""


def _looked_up(table: Mapping[Any, T], key: object) -> T | None:
    """What a table has under a key, be that anything that YAML can hold."""
    return table.get(key) if isinstance(key, str) else None


def _ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


Address = Annotated[str, AfterValidator(_address)]
Flow = Literal["refresh_token", "client_credentials"]


class ImapAuth(ConnectorSettings):
    """Signing in by OAuth 2.0 (XOAUTH2)."""

    flow: Flow = Field(
        default="refresh_token",
        description="`refresh_token`: sign in once with `syncd auth NAME`; `client_credentials`: the app itself has "
        "access to the mailbox (Microsoft 365).",
    )
    client_id: str = Field(min_length=1, description="Client (application) id of the app registered at the host.")
    client_secret: SecretStr | None = Field(
        default=None, description="The app's secret; public clients do not have one. Needed for `client_credentials`."
    )
    refresh_token: SecretStr | None = Field(
        default=None, description="A refresh token obtained elsewhere, instead of `syncd auth NAME`."
    )
    tenant: Annotated[str, Prompt()] = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Microsoft 365: the directory (tenant) id or domain; needed for `client_credentials`.",
    )
    scopes: tuple[str, ...] = Field(default=(), description="Scopes to request; default: those of the preset.")
    authorize_url: Address = Field(
        default="", description="The authorization endpoint, where you sign in; default: that of the preset."
    )
    token_url: Address = Field(default="", description="The token endpoint; default: that of the preset.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.flow == "client_credentials":
            if not (self.client_secret and self.client_secret.get_secret_value()):
                raise ValueError("flow client_credentials also needs client_secret")
            if self.refresh_token:
                raise ValueError("flow client_credentials has no refresh_token; leave the key out")
        return self


class ImapSettings(MailSettings):
    """Keys of an `imap` source."""

    preset: Annotated[Preset | None, Prompt()] = Field(
        default=None,
        description="A mail host whose particulars syncd knows: `host`, `port`, `tls`, and the addresses and scopes of `auth`. "
        "Keys that are written win.",
    )
    data_center: Annotated[ZohoCentre | None, Prompt(when={"preset": ("zoho_mail",)}, suggest="us")] = Field(
        default=None, description="With `preset: zoho_mail`: the data centre of the account. Default `us`."
    )
    host: Annotated[str, Prompt(unless={"preset": tuple(HOSTS)})] = Field(
        default="", description="The IMAP server, such as imap.example.com. Needed without a preset."
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Default 993, or 143 with `tls: starttls` or `none`."
    )
    tls: Literal["implicit", "starttls", "none"] = Field(
        default="implicit",
        description="`implicit`: TLS from the first byte; `starttls`: upgraded; `none`: in the clear, for a server on this "
        "machine only.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) to trust instead of the system's, for a server with a private one.",
    )
    username: str = Field(min_length=1, description="The login name; on most hosts, the email address.")
    password: Annotated[SecretStr | None, Prompt(unless={"preset": ("microsoft365",)})] = Field(
        default=None, description="The password; many hosts require an app password. Either this or `auth`."
    )
    auth: Annotated[ImapAuth | None, Prompt(when={"preset": ("microsoft365",)})] = Field(
        default=None, description="Sign-in by OAuth 2.0, instead of `password`."
    )
    folders: tuple[str, ...] = Field(
        default=("INBOX",),
        min_length=1,
        description="Folders to watch, written as mail programs show them (`Köln`, `Sales/2026`). The first few are watched by "
        "IDLE, all are polled.",
    )
    sent: bool = Field(
        default=False,
        description="Also read the folder of sent mail: `email.sent`, one for each recipient who is not of the company. Switch "
        "the type on with `channels: {outgoing: {email_sent: true}}`.",
    )
    sent_folder: str = Field(
        default="",
        description="The folder of sent mail, if the server does not tell which one it is and its name is an unusual one.",
    )
    idle: bool = Field(
        default=True,
        description="Wait for the server's word of new mail (IDLE) where it can give it, besides the polls. Not with `cron`.",
    )
    page_size: int = Field(
        default=50, ge=1, le=500, description="Mails per batch; after a crash, one batch is read again."
    )

    @field_validator("host")
    @classmethod
    def _plain_host(cls, value: str) -> str:
        """A URL or host:port would only show as a name that nobody knows, at the first poll."""
        if re.search(r"[/@\s]", value) or (":" in value and not _ipv6(value)):
            raise ValueError(f"{value!r} is not a host name; write imap.example.com, and another port as port:")
        return value

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        """What the preset knows, below what is written. Unknown presets are rejected by pydantic."""
        known = _looked_up(HOSTS, data.get("preset")) if isinstance(data, dict) else None
        if known is None:
            return data
        host = _looked_up(ZOHO_HOSTS, data.get("data_center")) or known.host
        own_port = {} if "tls" in data else {"port": known.port}
        return {"host": host, "tls": known.tls, **own_port, **data}

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.host:
            raise ValueError(f"host is missing: name the IMAP server, or set preset to one of {', '.join(HOSTS)}")
        if self.data_center and self.preset != "zoho_mail":
            raise ValueError("data_center goes with preset: zoho_mail only; leave it out")
        if self.tls == "none" and self.host.lower() not in LOOPBACK:
            raise ValueError(
                "tls: none would send the password in the clear; it is for 127.0.0.1 only, set tls: starttls"
            )
        return self

    @model_validator(mode="after")
    def _sent_folder_is_read(self) -> Self:
        if self.sent_folder and not self.sent:
            raise ValueError("sent_folder goes with sent: true only; add it, or leave sent_folder out")
        if self.sent_folder in self.folders:
            raise ValueError(f"folders and sent_folder both name {self.sent_folder}; take it out of folders")
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.password is None) == (self.auth is None):
            both = "password and auth are both set" if self.auth else "neither password nor auth is set"
            raise ValueError(f"{both}; set exactly one: password (of an app, at many hosts) or auth (OAuth)")
        if self.auth is None:
            if self.known_host.passwords:
                raise ValueError(self.known_host.passwords)
            return self
        if not self.token_url:
            hint = "set auth.token_url (and, for `syncd auth`, auth.authorize_url and auth.scopes) to those of the host"
            raise ValueError(self.known_host.tokens or f"auth needs to know where tokens are got; {hint}")
        if self.auth.flow == "client_credentials" and "{tenant}" in self.known_host.token_url and not self.auth.tenant:
            raise ValueError("flow client_credentials also needs auth.tenant: the directory (tenant) id of the app")
        return self

    @property
    def known_host(self) -> MailHost:
        return HOSTS[self.preset] if self.preset else ELSEWHERE

    @property
    def effective_port(self) -> int:
        return self.port or (993 if self.tls == "implicit" else 143)

    @property
    def token_url(self) -> str:
        return self._auth_url("token_url")

    @property
    def authorize_url(self) -> str:
        return self._auth_url("authorize_url")

    @property
    def scopes(self) -> tuple[str, ...]:
        if self.auth is None:
            return ()
        known = self.known_host
        return self.auth.scopes or (known.app_scopes if self.auth.flow == "client_credentials" else known.scopes)

    def _auth_url(self, which: str) -> str:
        if self.auth is None:
            return ""
        known = str(getattr(self.known_host, which))
        return str(getattr(self.auth, which)) or known.replace("{tenant}", self.auth.tenant or self.known_host.tenant)
