"""Microsoft Graph as all its sources read it: the keys of an account, what errors mean, the pages of a delta.

Sources: learn.microsoft.com, "Microsoft Graph error responses", "Use delta query to track changes", "Outlook immutable
identifiers". Every call raises a Failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from syncd.capabilities import SignIn
from syncd.connector import ConnectorSettings, Context
from syncd.connectors.accounts.microsoft import CLOUDS, CloudName, MicrosoftAuth, bearer, sign_in_of
from syncd.connectors.keys import BaseUrl
from syncd.errors import Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import Bearer, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at, found_at
from syncd.http.vendor_api import Page, VendorApi, Where

RESYNC = frozenset({"410", "SyncStateNotFound", "SyncStateInvalid", "resyncRequired", "ResyncRequired"})
"""Codes of a link that Graph does not know any more: the list is read again from its beginning."""


class GraphAccount(ConnectorSettings):
    """The keys by which a source reads what one mailbox has beside its mail."""

    mailbox: Annotated[
        str,
        Field(
            pattern=r"^[^@\s/]+@[^@\s/]+$",
            description="the user's address (user principal name), such as sales@example.com",
        ),
    ]
    auth: Annotated[MicrosoftAuth, Field(description="the app registration by which syncd signs in")]
    cloud: Annotated[CloudName, Field(description="the Microsoft cloud of the tenant")] = "global"
    graph_url: Annotated[
        BaseUrl, Field(validate_default=False, description="Microsoft Graph's address instead of the cloud's")
    ] = ""
    login_url: Annotated[
        BaseUrl, Field(validate_default=False, description="the sign-in address instead of the cloud's")
    ] = ""

    @property
    def graph(self) -> str:
        return self.graph_url or CLOUDS[self.cloud].graph

    @property
    def login(self) -> str:
        return self.login_url or CLOUDS[self.cloud].login

    @property
    def whose(self) -> str:
        """The beginning of every path."""
        return "me" if self.auth.flow == "delegated" else f"users/{self.mailbox}"

    def api(self, context: Context, errors: ErrorTable, *, kind: str, page: int) -> VendorApi:
        """`kind`: the connector's type; `page`: rows of a page."""
        signs_in = bearer(context, self.login, self.graph, self.auth, kind=kind)
        return graph_api(self.graph, signs_in, context, self.mailbox, errors, page=page)

    def sign_in(self, scopes: Mapping[str, str], *, kind: str, name: str) -> SignIn:
        """The interactive sign-in. Raises UsageError when the app signs in by itself."""
        return sign_in_of(self.login, self.graph, self.auth, scopes, kind=kind, name=name, account=self.mailbox)


def graph_api(
    graph_url: str, signs_in: Bearer, context: Context, account: str, errors: ErrorTable, *, page: int
) -> VendorApi:
    headers = {"Prefer": f'IdType="ImmutableId", odata.maxpagesize={page}'}
    rate = context.limits.bucket(f"microsoft:{account}", "calls")
    client = HttpClient(f"{graph_url}/v1.0", bearer=signs_in, headers=headers, clock=context.clock, rate=rate)
    return VendorApi(client, errors, context.clock)


def graph_errors(what: str, permission: str, no_item: str) -> ErrorTable:
    """`what` is read with this `permission`; `no_item`: why one of its parts is not there, and what to do."""
    refused = (
        f"the app may not read this {what}; give it the permission {permission} with admin consent, and look at the "
        "application access policies of Exchange"
    )
    return ErrorTable(
        "Microsoft Graph",
        {
            "ErrorAccessDenied AccessDenied Authorization_RequestDenied Forbidden": Means(Misconfigured, refused),
            "MailboxNotEnabledForRESTAPI ErrorInvalidUser Request_ResourceNotFound ErrorNonExistentMailbox": Means(
                Misconfigured, "there is no such mailbox in Exchange Online; check mailbox"
            ),
            "ErrorItemNotFound ErrorFolderNotFound ErrorInvalidIdMalformed": Means(Misconfigured, no_item),
            "InvalidAuthenticationToken": Means(
                Misconfigured, "the access token is refused; check cloud and auth.tenant"
            ),
            "ApplicationThrottled TooManyRequests ErrorTooManyRequests MailboxConcurrency": Means(
                RateLimited, "too many requests", pause=30
            ),
            "ErrorExceededMessageLimit": Means(QuotaExhausted, "the mailbox's limit of the day is used"),
            "ErrorServerBusy ErrorMailboxStoreUnavailable ErrorInternalServerError ServiceNotAvailable UnknownError": Means(
                Transient, "the mailbox cannot be reached for a moment"
            ),
            " ".join(sorted(RESYNC)): Means(Transient, "the state of the folder is not known any more"),
        },
        error_at("code", within="error"),
        statuses={403: Means(Misconfigured, refused), 404: Means(Misconfigured, f"{no_item} and mailbox")},
        absent=frozenset({"404"}),
    )


@dataclass(frozen=True)
class NextLinkPaging:
    """`@odata.nextLink` (its dot is part of the name)."""

    expired: frozenset[str] = RESYNC

    def following(self, page: Page, at: Where) -> Where | None:
        link = page.body.get("@odata.nextLink") if isinstance(page.body, dict) else None
        return (str(link), {}) if link else None


class Changes(NamedTuple):
    """One page of what changed in a folder: its rows, where to read on, whether that is a further page of this round, and
    Microsoft's clock."""

    rows: list[dict[str, Any]]
    link: str
    more: bool
    at: datetime


def changes(api: VendorApi, path: str, link: str, query: Mapping[str, str], errors: ErrorTable) -> Changes:
    """The page at `link`, or the first of a round at `path` if that is "". Raises a Failure with a code of RESYNC for a link that
    is not known any more."""
    answer = api.call("GET", link or path, None if link else query)
    said = answer.json() if answer is not None else None
    following = said.get("@odata.nextLink") or said.get("@odata.deltaLink") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("value"), list) or not isinstance(following, str):
        raise errors.shape("the changes of a folder", found_at(said, "value"))
    rows = [row for row in said["value"] if isinstance(row, dict)]
    return Changes(rows, following, "@odata.nextLink" in said, api.vendor_now(answer))


def stamp(at: datetime) -> str:
    """A time as Graph's filters take it: whole seconds, the one that has begun."""
    return (at - timedelta(microseconds=at.microsecond)).strftime("%Y-%m-%dT%H:%M:%SZ")
