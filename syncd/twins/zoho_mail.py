"""The Zoho Mail twin: one account with folders, their mails newest first, and each mail as it came.

From zoho.com/mail/help/api and recorded answers. A mail is a record of `messages`: `folder` (a path), `receivedTime`
(milliseconds) and either `raw` (MIME) or `from`, `subject` and `text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from syncd.twins.fake_events import FakeEvents, comparable, unix_ms
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, Parts, token_endpoint
from syncd.twins.mime import as_mime
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

ACCOUNT, MAILBOX = "4845214000000008002", "sales@ourcompany.example"
FOLDERS = {"/Inbox": "4845214000000008008", "/Sent": "4845214000000008014", "/Inbox/Sales": "4845214000000008020"}


def _said(data: Any) -> TwinResponse:
    return TwinResponse(200, {"status": {"code": 200, "description": "success"}, "data": data})


def accounts(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    address = {"isAlias": False, "isPrimary": True, "mailId": MAILBOX, "isConfirmed": True}
    return _said([{"accountId": ACCOUNT, "mailboxAddress": MAILBOX, "emailAddress": [address]}])


def folders(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    return _said([{"path": path, "folderId": id_, "folderType": path.split("/")[1]} for path, id_ in FOLDERS.items()])


def view(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    """`start` counts from 1, and shifts under new mail."""
    path = next((path for path, id_ in FOLDERS.items() if id_ == call.query.get("folderId")), "")
    rows = [row for row in vendor.records("messages") if row.get("folder", "/Inbox") == path]
    rows.sort(key=lambda row: comparable(row["receivedTime"]), reverse=True)
    start, limit = int(call.query.get("start", 1)) - 1, min(200, int(call.query.get("limit", 10)))
    return _said([vendor.shown("messages", row) for row in rows[start : start + limit]])


def original(vendor: FakeVendor, call: TwinCall, parts: Parts) -> TwinResponse:
    record = vendor.store.get("messages", parts["id"])
    if record is None:
        return vendor.missing()
    received = datetime.fromtimestamp(int(record["receivedTime"]) / 1000, UTC)
    return _said({"messageId": int(float(parts["id"])), "content": as_mime(record, parts["id"], received).decode()})


class ZohoMailTwin(FakeVendor):
    """Access tokens as Zoho writes them, errors as a list of a number and an object (recorded)."""

    name = "zoho_mail"
    id_field = "messageId"
    absent = (404, "INVALID_MESSAGE_ID")
    throttled = (429, "THROTTLE_LIMIT_EXCEEDED")
    events = FakeEvents(
        object="messages",
        id="messageId",
        at="receivedTime",
        key="17811041577971570{}".format,
        time=lambda at: str(unix_ms(at)),
        fields={"folder": "/Inbox", "subject": "Question {n}", "text": "please call me"},
        people={"email": {"from": "An <an{n}@customer.example>"}},
        spoilt={"messageId": None},
    )
    routes: ClassVar[Sequence[FakeRoute]] = (
        FakeRoute("POST /oauth/v2/token", token_endpoint(api_domain="https://www.zohoapis.com"), "token", open=True),
        FakeRoute("GET /api/accounts", accounts, "accounts"),
        FakeRoute("GET /api/accounts/{account}/folders", folders, "folders"),
        FakeRoute("GET /api/accounts/{account}/messages/view", view, "view"),
        FakeRoute("GET /api/accounts/{account}/messages/{id}/originalmessage", original, "original"),
    )
    example = """\
sources:
  mail:
    type: zoho_mail
    poll: 1m
    mailbox: sales@ourcompany.example
    auth: {{client_id: client, client_secret: secret-of-the-client, refresh_token: twin-refresh-token}}
    mail_url: {url}
    accounts_url: {url}
"""

    def admits(self, call: TwinCall) -> bool:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return scheme == "Zoho-oauthtoken" and token in self.valid_tokens

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(
            status, [2, {"msg": message, "errorCode": code, "authFail": "false", "status": str(status)}]
        )

    def refused(self) -> TwinResponse:
        return self.error(401, "INVALID_OAUTHTOKEN", "Error while processing!")

    def shape(self, object_: str, record: Record) -> dict[str, Any]:
        """As the list shows a mail; `sentDateInGMT` is seven hours off, as recorded."""
        received = str(record["receivedTime"])
        return {
            "messageId": record["messageId"],
            "folderId": FOLDERS[record.get("folder", "/Inbox")],
            "receivedTime": received,
            "sentDateInGMT": str(int(received) + 7 * 3_600_000),
            "subject": str(record.get("subject", "")),
            "summary": "Hi &#39;there&#39;",
            "toAddress": "&lt;sales@ourcompany.example&gt;",
            "ccAddress": "Not Provided",
            "status": "0",
        }
