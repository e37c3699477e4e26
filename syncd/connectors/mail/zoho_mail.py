"""The `zoho_mail` source: mail of a Zoho Mail mailbox by its API. The registry builds it.

Zoho's webhook is set up by hand; with its first call it gives the secret that it signs with. A webhook wakes the poll; the poll
reads the newest mails of each folder down to its cursor, and every mail as it came (MIME), so that the same mail by IMAP is the
same signal. Sources: zoho.com/mail/help/api, "List Emails in a Folder", "Get Original Message of an Email", "Get All Folders".
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import Field

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Batch, Connector, Context, Reply, Request, Verifier
from syncd.connectors.accounts.zoho import DATA_CENTRES, DataCentreName, ZohoAuth, bearer, sign_in_of
from syncd.connectors.keys import BaseUrl
from syncd.connectors.mail.invitations import MEETING_SIGNAL, Invitations, ReadsInvitations
from syncd.connectors.mail.listed import PAGE, Listed, MailReader, rules_of
from syncd.connectors.mail.reading import SIGNALS
from syncd.connectors.mail.sent import SENT, SENT_SIGNAL
from syncd.connectors.mail.settings import MailSettings
from syncd.connectors.mail.some_failed import of_some
from syncd.connectors.times import time_or_none
from syncd.errors import Failure, Malformed, Misconfigured, NotAuthentic, RateLimited, Transient
from syncd.http.client import HttpClient
from syncd.http.error_table import ErrorTable, Means, VendorError
from syncd.http.vendor_api import OffsetPaging, VendorApi
from syncd.signals import Route, normal_email
from syncd.time_cursor import ItemMark, TimeCursor, mark_of, newest_first

KIND = "zoho_mail"
SENT_FOLDER = "/Sent"
SECRET, SIGNATURE, KEY = "x-hook-secret", "x-hook-signature", "hook secret"
LAG = timedelta(minutes=10)
SIZE = 200
SCOPES = {
    "ZohoMail.accounts.READ": "finds the account of the mailbox",
    "ZohoMail.folders.READ": "finds its folders",
    "ZohoMail.messages.READ": "reads its mails",
}
_PAGING = OffsetPaging("start", SIZE, first=1, farthest=1_000_000)
_WIDER = timedelta(days=3)
"""A mail may be received so long after its Date header, and is listed by when it was received."""


def _errors(body: Any) -> list[VendorError]:
    """An object, or a list of a number and an object (recorded)."""
    found = [one for one in (body if isinstance(body, list) else [body]) if isinstance(one, Mapping)]
    told = [{**one, **data} if isinstance(data := one.get("data"), Mapping) else one for one in found]
    return [
        VendorError(str(one.get("errorCode") or ""), str(one.get("msg") or one.get("moreInfo") or "")) for one in told
    ]


ERRORS = ErrorTable(
    "Zoho Mail",
    {
        "INVALID_OAUTHSCOPE": Means(Misconfigured, f"the token lacks a scope; it needs {', '.join(SCOPES)}"),
        "INVALID_OAUTHTOKEN INVALID_TICKET": Means(Misconfigured, "the token is refused; check auth and data_center"),
        "URL_RULE_NOT_CONFIGURED": Means(Misconfigured, "this call does not exist there; check data_center"),
        "THROTTLE_LIMIT_EXCEEDED TOO_MANY_REQUESTS": Means(RateLimited, "too many requests", pause=60),
        "INTERNAL_ERROR": Means(Transient, "Zoho Mail had an error"),
    },
    _errors,
    absent=frozenset({"404", "INVALID_MESSAGE_ID", "EMAIL_NOT_FOUND"}),
)


class ZohoMailSettings(MailSettings):
    """Keys of a `zoho_mail` source."""

    mailbox: str = Field(
        pattern=r"^[^@\s/]+@[^@\s/]+$", description="an address of the mailbox, such as sales@example.com"
    )
    auth: ZohoAuth = Field(description="a client of api-console.zoho.com")
    data_center: DataCentreName = Field(
        "us", description="where the organisation's data is: the end of its Zoho address"
    )
    folders: tuple[str, ...] = Field(
        ("/Inbox",),
        min_length=1,
        description="paths of the folders to read, such as `/Inbox/Sales`. With `channels: {outgoing: {email_sent: true}}`, "
        "`/Sent` is read too, as mail that the company sent",
    )
    mail_url: BaseUrl = Field(
        "", validate_default=False, description="Zoho Mail's address instead of the data centre's"
    )
    accounts_url: BaseUrl = Field(
        "", validate_default=False, description="the sign-in address instead of the data centre's"
    )


class ZohoMailCursor(msgspec.Struct):
    folders: dict[str, TimeCursor]


class ZohoMailBackfill(msgspec.Struct):
    """The folder under way, and how far it was read."""

    folder: str
    at: TimeCursor


class ZohoMail(ReadsInvitations):
    """A PollingSource, HintSource, Backfillable and WebhookSource."""

    def __init__(self, settings: ZohoMailSettings, context: Context) -> None:
        centre = DATA_CENTRES[settings.data_center]
        self._accounts = settings.accounts_url or centre.accounts
        mail_url = settings.mail_url or centre.app("mail")
        self._settings, self._context, self._centre = settings, context, centre
        rate = context.limits.bucket(f"zoho_mail:{settings.mailbox}", "calls")
        signs_in = bearer(context, self._accounts, settings.auth, kind=KIND)
        client = HttpClient(f"{mail_url}/api/accounts", bearer=signs_in, clock=context.clock, rate=rate)
        self._api = VendorApi(client, ERRORS, context.clock)
        self._folders = tuple(dict.fromkeys((*settings.folders, *((SENT_FOLDER,) if SENT in context.switches else ()))))
        rules = rules_of(settings, settings.mailbox, context.name, context.region)
        self._invitations = Invitations(context, rules.own, text=not rules.headers_only)
        self._reader = MailReader(self._mime, rules, int(settings.max_size), self._invitations)
        self._account = ""

    # ---- webhook: only that something changed

    def handshake(self, request: Request) -> Reply | None:
        """The first call brings the secret, once."""
        secret = request.headers.get(SECRET, "")
        return Reply(remember={KEY: secret}) if request.method == "POST" and secret else None

    def verifier(self) -> Verifier:
        secret = self._context.recall([KEY]).get(KEY, "")

        def verify(request: Request, now: datetime) -> None:
            if not secret:
                raise NotAuthentic("Zoho Mail has not sent its secret yet; make the webhook anew in its settings")
            right = base64.b64encode(hmac.digest(secret.encode(), request.body, "sha256"))
            if not hmac.compare_digest(request.headers.get(SIGNATURE, "").encode("utf-8", "surrogatepass"), right):
                raise NotAuthentic(f"{SIGNATURE} is missing or does not fit")

        return verify

    def parse(self, request: Request) -> Batch:
        """The body lacks the Message-ID, and its numbers lose digits in many programs: the poll reads the mail."""
        try:
            said = json.loads(request.body)
        except (ValueError, RecursionError):
            raise Malformed("a webhook that is not JSON") from None
        if not isinstance(said, dict) or "messageId" not in said:
            raise Malformed("messageId: missing")
        return Batch(poll_now=True)

    # ---- poll

    def start(self, now: datetime) -> bytes:
        answer = self._api.call("GET", "")
        since = self._api.vendor_now(answer)
        self._found(self._folders)
        return msgspec.json.encode(ZohoMailCursor(dict.fromkeys(self._folders, TimeCursor(since))))

    def poll(self, state: bytes, now: datetime) -> Iterator[Batch]:
        """What came into each folder. A folder that fails does not keep the others from being read: its failure comes last."""
        cursor, failure, read = msgspec.json.decode(state, type=ZohoMailCursor), None, 0
        for name in self._folders:
            try:
                if name not in cursor.folders:  # new in the settings
                    cursor.folders[name] = TimeCursor(now)
                    yield Batch(state=msgspec.json.encode(cursor))
                for mails, after in self._steps(name, cursor.folders[name], LAG):
                    cursor.folders[name] = after
                    yield self._batch(name, mails, now, Route.POLL, msgspec.json.encode(cursor))
                read += 1
            except RateLimited:
                raise
            except Failure as error:
                failure = failure or error
        if failure:
            raise of_some(failure, now) if read else failure

    def backfill(self, since: datetime, until: datetime, state: bytes | None) -> Iterator[Batch]:
        """Every mail that happened in the range, folder by folder, by when it was received."""
        begun = msgspec.json.decode(state, type=ZohoMailBackfill) if state else None
        names = list(self._folders)
        if begun and begun.folder in names:
            names = names[names.index(begun.folder) :]
        for name in names:
            first = begun.at if begun and begun.folder == name else TimeCursor(since - _WIDER)
            for mails, after in self._steps(name, first, timedelta(0)):
                state = msgspec.json.encode(ZohoMailBackfill(name, after))
                early = [mail for mail in mails if mail.received is None or mail.received < until + _WIDER]
                now = self._context.clock()
                yield self._batch(name, early, now, Route.BACKFILL, state, lambda one: since <= one < until)

    def _steps(self, name: str, cursor: TimeCursor, lag: timedelta) -> Iterator[tuple[Sequence[Listed], TimeCursor]]:
        """Mails that were received since the cursor, oldest first, and the cursor after them."""
        folder = self._found([name])[name]
        query = {
            "folderId": folder,
            "start": "1",
            "limit": str(SIZE),
            "sortBy": "date",
            "sortorder": "false",
            "status": "all",
        }
        path = f"/{self._account}/messages/view"
        pages = (
            [_listed(row) for row in page.items] for page in self._api.pages(path, query, items="data", paging=_PAGING)
        )
        for mails, _, _ in newest_first(pages, cursor, _mark, lag=lag):
            for first in range(0, len(mails), PAGE):
                part = mails[first : first + PAGE]
                cursor = cursor.after(map(_mark, part), lag)
                yield part, cursor

    def _batch(
        self,
        folder: str,
        mails: Sequence[Listed],
        now: datetime,
        route: Route,
        state: bytes,
        wanted: Callable[[datetime], bool] = lambda at: True,
    ) -> Batch:
        return self._reader.batch(mails, now, route, state, sent=folder == SENT_FOLDER, wanted=wanted)

    def _mime(self, mail: Listed) -> bytes | None:
        said = self._api.one(f"/{self._account}/messages/{mail.id}/originalmessage")
        content = (said.get("data") or {}).get("content") if said is not None else None
        return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else None

    def _found(self, names: Sequence[str]) -> dict[str, str]:
        """Path -> id of the folders. Raises Misconfigured for one that does not exist."""
        if not self._account:
            self._account = self._account_of(self._api.rows("", items="data"))
        rows = self._api.rows(f"/{self._account}/folders", items="data")
        ids = {str(row.get("path")).lower(): str(row.get("folderId")) for row in rows}
        missing = [name for name in names if name.lower() not in ids]
        if missing:
            there = ", ".join(sorted(str(row.get("path")) for row in rows)[:20])
            raise Misconfigured(f"Zoho Mail: no folder {missing[0]}; folders there: {there}", code="no_folder")
        return {name: ids[name.lower()] for name in names}

    def _account_of(self, rows: Sequence[Mapping[str, Any]]) -> str:
        wanted = normal_email(self._settings.mailbox)
        for row in rows:
            own = [row.get("mailboxAddress"), row.get("primaryEmailAddress")]
            own += [one.get("mailId") for one in row.get("emailAddress") or () if isinstance(one, Mapping)]
            if wanted in {normal_email(one) for one in own if isinstance(one, str)}:
                return str(row.get("accountId"))
        raise Misconfigured("Zoho Mail: the user who signed in has no such mailbox; check mailbox", code="no_account")

    # ---- what helps the operator

    def check_online(self) -> Iterator[Finding]:
        """Signs in and finds every folder; what fails ends it."""
        self._found(self._folders)
        yield Finding(Level.OK, "sign-in", f"signed in; {self._settings.mailbox} is account {self._account}")
        for name in self._folders:
            yield Finding(Level.OK, f"folder {name}", "found")
        if self._context.webhook_url and not self._context.recall([KEY]):
            text = "Zoho Mail has not called the webhook yet, so only polls read mail"
            yield Finding(Level.WARNING, "webhook", text, "make an outgoing webhook for mail in Zoho Mail's settings")

    def sign_in(self) -> SignIn:
        """For `syncd auth`. Raises UsageError when the configuration has a refresh token."""
        return sign_in_of(self._accounts, self._centre, self._settings.auth, SCOPES, kind=KIND, name=self._context.name)


def _listed(row: Mapping[str, Any]) -> Listed:
    """`receivedTime`, since `sentDateInGMT` is not in GMT (recorded)."""
    id_ = str(row.get("messageId") or "")
    received = time_or_none(row.get("receivedTime"))
    return Listed(
        id_ if id_.isalnum() else "",
        row,
        received.astimezone(UTC) if received else None,
        str(row.get("status")) == "1",
    )


def _mark(mail: Listed) -> ItemMark | None:
    return mark_of(mail.id, mail.received)


CONNECTOR = Connector(
    name=KIND,
    contract=2,
    role="source",
    summary="Mail received, sent and bounced, from a Zoho Mail mailbox by its API",
    settings=ZohoMailSettings,
    build=ZohoMail,
    signals=(*SIGNALS, SENT_SIGNAL, MEETING_SIGNAL),
)
