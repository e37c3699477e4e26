"""The big mail hosts as data: where their IMAP is, how one signs in there, what they put up with. `imap_settings` looks here.

What is marked so could not be verified; explicit keys win over everything in this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Preset = Literal["gmail", "microsoft365", "zoho_mail"]
ZohoCentre = Literal["us", "eu", "in", "au", "jp", "ca", "cn", "sa"]

WAITING = 3
"""Connections that wait for news at a host we know nothing of: Dovecot allows ten by default, shared with people's phones."""

IDLE_LIFE = 540.0
"""Seconds after which IDLE is restarted. RFC 2177 allows 29 minutes, Gmail drops it earlier, and firewalls forget a silent
connection after some ten minutes."""


@dataclass(frozen=True)
class MailHost:
    """One host. `authorize_url` and `token_url` may hold `{tenant}`; `tenant` is what it is without the key. `revoke_url`: "" if
    the host has none. `app_scopes`: for client_credentials. `passwords` and `tokens`: why the host takes none of these, "" when
    it does. `waiting`: connections that may wait for news, well below what the host allows one mailbox. `sign_in`: parameters
    that make it give a refresh token."""

    host: str
    port: int = 993
    tls: Literal["implicit", "starttls"] = "implicit"
    authorize_url: str = ""
    token_url: str = ""
    revoke_url: str = ""
    tenant: str = ""
    scopes: tuple[str, ...] = ()
    app_scopes: tuple[str, ...] = ()
    sign_in: dict[str, str] = field(default_factory=dict)
    passwords: str = ""
    tokens: str = ""
    waiting: int = WAITING
    idle_life: float = IDLE_LIFE


_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"

HOSTS: dict[Preset, MailHost] = {
    # developers.google.com/workspace/gmail/imap/xoauth2-protocol; 15 connections a mailbox (support.google.com)
    "gmail": MailHost(
        host="imap.gmail.com",
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106  an address
        revoke_url="https://oauth2.googleapis.com/revoke",  # "Using OAuth 2.0 for Web Server Applications": a refresh token
        # takes its grant along
        scopes=("https://mail.google.com/",),
        sign_in={"access_type": "offline", "prompt": "consent"},
        waiting=5,
    ),
    # No revoke_url: Graph's revokeSignInSessions ends every app's sessions.
    # learn.microsoft.com: "Authenticate an IMAP, POP or SMTP connection using OAuth"; 16 to 20 connections a mailbox
    "microsoft365": MailHost(
        host="outlook.office365.com",
        authorize_url=f"{_MICROSOFT}/authorize",
        token_url=f"{_MICROSOFT}/token",
        tenant="common",
        scopes=("https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"),
        app_scopes=("https://outlook.office365.com/.default",),
        sign_in={"prompt": "select_account"},
        passwords="Microsoft 365 takes no passwords over IMAP any more; set auth: instead of password:",
        waiting=4,
    ),
    # Its servers announce AUTH=PLAIN alone (seen in 2019 and 2025). How many connections it allows is not known.
    "zoho_mail": MailHost(
        host="imappro.zoho.com",
        tokens="Zoho Mail offers no OAuth sign-in over IMAP; set password: to an application-specific password instead of "
        "auth:",
    ),
}

ZOHO_HOSTS: dict[ZohoCentre, str] = {
    "us": "imappro.zoho.com",
    "eu": "imappro.zoho.eu",
    "in": "imappro.zoho.in",
    "au": "imappro.zoho.com.au",
    "jp": "imappro.zoho.jp",
    "ca": "imappro.zohocloud.ca",  # this and the next two are not verified
    "cn": "imappro.zoho.com.cn",
    "sa": "imappro.zoho.sa",
}

ELSEWHERE = MailHost(host="")
"""Any other host."""
