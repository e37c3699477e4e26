"""One mailbox of Microsoft Graph as `graph_mail` reads it: what changed in a folder, what lies in it, a mail's bytes.

Sources: learn.microsoft.com, "message: delta", "List messages", "Get MIME content of a message", "Outlook immutable identifiers",
"Microsoft Graph error responses". Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from syncd.connector import Context
from syncd.connectors.mail.listed import PAGE
from syncd.errors import Failure, Misconfigured, QuotaExhausted, RateLimited, Transient
from syncd.http.client import ANSWER_TOO_LARGE, Bearer, HttpClient
from syncd.http.error_table import ErrorTable, Means, error_at, found_at
from syncd.http.vendor_api import VendorApi

RESYNC = frozenset({"410", "SyncStateNotFound", "SyncStateInvalid", "resyncRequired", "ResyncRequired"})
_ROWS = "id,receivedDateTime,isDraft,isRead,webLink"
_PERMISSION = (
    "the app may not read this mailbox; give it the permission Mail.Read with admin consent, and look at the application access "
    "policies of Exchange"
)
_NO_MAILBOX = "there is no such mailbox in Exchange Online; check mailbox"
ERRORS = ErrorTable(
    "Microsoft Graph",
    {
        "ErrorAccessDenied AccessDenied Authorization_RequestDenied Forbidden": Means(Misconfigured, _PERMISSION),
        "MailboxNotEnabledForRESTAPI ErrorInvalidUser Request_ResourceNotFound ErrorNonExistentMailbox": Means(
            Misconfigured, _NO_MAILBOX
        ),
        "ErrorItemNotFound ErrorFolderNotFound ErrorInvalidIdMalformed": Means(
            Misconfigured, "there is no such folder in the mailbox; check folders"
        ),
        "InvalidAuthenticationToken": Means(Misconfigured, "the access token is refused; check cloud and auth.tenant"),
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
    statuses={
        403: Means(Misconfigured, _PERMISSION),
        404: Means(Misconfigured, "there is no such mailbox or folder; check mailbox and folders"),
    },
    absent=frozenset({"404"}),
)


class Changes(NamedTuple):
    """One page of what came into a folder: its rows, where to read on, whether that is a further page of this round, and
    Microsoft's clock."""

    rows: list[dict[str, Any]]
    link: str
    more: bool
    at: datetime


class GraphMailbox:
    """`whose`: `me` or `users/ADDRESS`."""

    def __init__(self, graph_url: str, whose: str, bearer: Bearer, context: Context, account: str) -> None:
        headers = {"Prefer": f'IdType="ImmutableId", odata.maxpagesize={PAGE}'}
        rate = context.limits.bucket(f"microsoft:{account}", "calls")
        client = HttpClient(f"{graph_url}/v1.0", bearer=bearer, headers=headers, clock=context.clock, rate=rate)
        self.api = VendorApi(client, ERRORS, context.clock)
        self.whose = whose

    def folder(self, name: str) -> tuple[dict[str, Any], datetime]:
        """The folder, and Microsoft's clock."""
        answer = self.api.call("GET", self._at(name), {"$select": "id,displayName,totalItemCount"})
        said = answer.json() if answer is not None else {}
        return said if isinstance(said, dict) else {}, self.api.vendor_now(answer)

    def changes(self, folder: str, link: str, since: datetime) -> Changes:
        """What came into the folder after `link`, or at or after `since` if that is "". Raises a Failure with a code of RESYNC
        for a link that is not known any more."""
        first = {"changeType": "created", "$select": _ROWS, "$filter": f"receivedDateTime ge {stamp(since)}"}
        path = link or f"{self._at(folder)}/messages/delta"
        answer = self.api.call("GET", path, None if link else first)
        said = answer.json() if answer is not None else None
        following = said.get("@odata.nextLink") or said.get("@odata.deltaLink") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(said.get("value"), list) or not isinstance(following, str):
            raise ERRORS.shape("the changes of a folder", found_at(said, "value"))
        rows = [row for row in said["value"] if isinstance(row, dict)]
        return Changes(rows, following, "@odata.nextLink" in said, self.api.vendor_now(answer))

    def listed(self, folder: str, since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
        """Pages of what was received in [since, until), oldest first."""
        query = {
            "$select": _ROWS,
            "$filter": f"receivedDateTime ge {stamp(since)} and receivedDateTime lt {stamp(until)}",
            "$orderby": "receivedDateTime asc",
        }
        path: str = f"{self._at(folder)}/messages"
        params: dict[str, str] | None = query
        while path:
            answer = self.api.call("GET", path, params)
            said = answer.json() if answer is not None else None
            if not isinstance(said, dict) or not isinstance(said.get("value"), list):
                raise ERRORS.shape(path, found_at(said, "value"))
            yield [row for row in said["value"] if isinstance(row, dict)]
            path, params = str(said.get("@odata.nextLink") or ""), None

    def mime(self, id_: str) -> bytes | None:
        """The mail as it came, None if it is gone. Of one that is too large: its headers and its text."""
        path = f"/{self.whose}/messages/{quote(id_, safe='')}"
        try:
            answer = self.api.call("GET", f"{path}/$value", absent=True)
        except Failure as failed:
            if failed.code != ANSWER_TOO_LARGE:
                raise
            return self._head(path)
        return answer.body if answer is not None else None

    def _head(self, path: str) -> bytes | None:
        row = self.api.one(path, {"$select": "internetMessageHeaders,body"})
        if row is None:
            return None
        body = row.get("body") or {}
        kind = "html" if body.get("contentType") == "html" else "plain"
        kept = [
            f"{one.get('name')}: {' '.join(str(one.get('value')).split())}"
            for one in row.get("internetMessageHeaders") or ()
            if not str(one.get("name")).lower().startswith(("content-", "mime-version"))
        ]
        head = "\r\n".join([*kept, "MIME-Version: 1.0", f"Content-Type: text/{kind}; charset=utf-8", "", ""])
        return (head + str(body.get("content") or "")).encode("utf-8", "surrogatepass")

    def _at(self, folder: str) -> str:
        return f"/{self.whose}/mailFolders/{quote(folder, safe='')}"


def stamp(at: datetime) -> str:
    """A time as Graph's filters take it: whole seconds, the one that has begun."""
    return (at - timedelta(microseconds=at.microsecond)).strftime("%Y-%m-%dT%H:%M:%SZ")
