"""One mailbox of Microsoft Graph as `graph_mail` reads it: what changed in a folder, what lies in it, a mail's bytes.

Sources: learn.microsoft.com, "message: delta", "List messages", "Get MIME content of a message", "Outlook immutable identifiers",
"Microsoft Graph error responses". Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from syncd.connector import Context
from syncd.connectors.accounts.graph_api import Changes, changes, graph_api, graph_errors, stamp
from syncd.connectors.mail.listed import PAGE
from syncd.errors import Failure
from syncd.http.client import ANSWER_TOO_LARGE, Bearer
from syncd.http.error_table import found_at

_ROWS = "id,receivedDateTime,isDraft,isRead,webLink"
ERRORS = graph_errors(
    "mailbox",
    "Mail.Read",
    "there is no such folder in the mailbox; check folders",
)


class GraphMailbox:
    """`whose`: `me` or `users/ADDRESS`."""

    def __init__(self, graph_url: str, whose: str, bearer: Bearer, context: Context, account: str) -> None:
        self.api = graph_api(graph_url, bearer, context, account, ERRORS, page=PAGE)
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
        return changes(self.api, f"{self._at(folder)}/messages/delta", link, first, ERRORS)

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
