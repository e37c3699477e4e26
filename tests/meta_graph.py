"""A stand-in for Meta's Graph API: one page's feed with nested comments, conversations, profiles and subscriptions.

From developers.facebook.com/docs/graph-api (reference of page, page/feed, object/comments, app/subscriptions, error handling) and
the recorded exchanges, which it is compared with. It calls a new callback URL at once, as Meta does.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from syncd.twins import outgoing
from syncd.twins.fake_vendor import FakeRoute, FakeVendor, recorded
from syncd.twins.wire import TwinCall, TwinResponse

PAGE, APP, APP_SECRET = "1148671018324630", "4242424242", "an-app-secret-0815"
ACCOUNT = "102290129340398"
"""A WhatsApp Business account, whose list of apps has another shape."""
USAGE = {"call_count": 1, "total_cputime": 1, "total_time": 1, "estimated_time_to_regain_access": 0}

NUMBERS = {"data": [{"verified_name": "Acme", "display_phone_number": "+1 555-078-3881", "id": "106540352242922"}]}


def proof(token: str) -> str:
    return hmac.new(APP_SECRET.encode(), token.encode(), "sha256").hexdigest()


def as_planned(vendor: Any) -> TwinResponse:
    answer: TwinResponse = vendor.planned.pop()
    return answer


def absent(vendor: Any) -> TwinResponse:
    answer: TwinResponse = vendor.missing()
    return answer


def cut(call: TwinCall, rows: Sequence[Any], size: int, url: str) -> dict[str, Any]:
    """A page of a list, by an opaque cursor; the last has no `next`."""
    start = int(call.query.get("after", "C0")[1:])
    page, after = list(rows[start : start + size]), f"C{start + size}"
    paging: dict[str, Any] = {"cursors": {"before": f"C{start}", "after": after}}
    if start + size < len(rows):
        paging["next"] = (
            f"{url}{call.path}?{urlencode({**call.query, 'access_token': 'another-place', 'after': after})}"
        )
    return {"data": page, "paging": paging} if page else {"data": []}


def newest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row["created_time"]), reverse=True)


def feed(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if vendor.planned:
        return as_planned(vendor)
    since = int(call.query.get("since", 0))
    posts = [row for row in newest(vendor.records("posts")) if vendor.seconds(row) >= since]
    body = cut(call, posts, min(3, int(call.query.get("limit", 25))), vendor.url)
    if "comments." in call.query.get("fields", ""):
        for index, post in enumerate(body["data"]):
            nested = cut(TwinCall("GET", call.path, {}, {}, b""), vendor.comments(post["id"]), 2, vendor.url)
            body["data"][index] = {**post, **({"comments": nested} if nested["data"] else {})}
    return TwinResponse(200, body)


def comments(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if vendor.store.get("posts", parts["id"]) is None:
        return absent(vendor)
    return TwinResponse(200, cut(call, vendor.comments(parts["id"]), 3, vendor.url))


def conversations(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    rows = newest(vendor.records("messages"))
    nested = cut(TwinCall("GET", call.path, {}, {}, b""), rows, 2, vendor.url)
    held = [{"id": "t_1", "updated_time": rows[0]["created_time"], "messages": nested}] if rows else []
    return TwinResponse(200, cut(call, held, 25, vendor.url))


def messages(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    return TwinResponse(200, cut(call, newest(vendor.records("messages")), 3, vendor.url))


def node(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if vendor.planned:
        return as_planned(vendor)
    id_ = PAGE if parts["id"] == "me" else parts["id"]
    if id_ == PAGE:
        return TwinResponse(200, {"id": PAGE, "name": "Acme API"})
    found = (vendor.store.get(table, id_) for table in ("posts", "comments", "profiles"))
    row = next((one for one in found if one is not None), None)
    if row is None:
        return absent(vendor)
    asked = {"id", *call.query.get("fields", "").split(",")}
    return TwinResponse(200, {name: value for name, value in row.items() if name in asked})


def subscribed(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    kept = [row for row in vendor.records("apps") if row["of"] == parts["id"]]
    apps: list[dict[str, Any]] = [{"id": APP, "name": "Acme API"} for _ in kept]
    if parts["id"] == ACCOUNT:
        return TwinResponse(200, {"data": [{"whatsapp_business_api_data": app} for app in apps]})
    apps = [{**app, "subscribed_fields": row["fields"]} for app, row in zip(apps, kept, strict=True)]
    return TwinResponse(
        200, {"data": apps}, {"X-Business-Use-Case-Usage": json.dumps({PAGE: [{"type": "pages", **USAGE}]})}
    )


def subscribe(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    fields = call.form().get("subscribed_fields", "").split(",")
    vendor.put_record("apps", {"id": f"app-of-{parts['id']}", "of": parts["id"], "fields": fields})
    return TwinResponse(200, {"success": True})


def unsubscribe(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    vendor.store.put("apps", f"app-of-{parts['id']}", None)
    return TwinResponse(200, {"success": True})


def callbacks(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    return TwinResponse(200, {"data": vendor.records("callbacks")})


def set_callback(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    form = call.form()
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": form["verify_token"]}
    if vendor.calls_back and outgoing.call("GET", f"{form['callback_url']}?{urlencode(asked)}", {}, b"") != 200:
        refused: TwinResponse = vendor.error(400, "2200", "Callback verification failed")
        return refused
    row = {"object": form["object"], "callback_url": form["callback_url"], "active": True}
    vendor.put_record("callbacks", {"id": form["object"], **row, "fields": form["fields"].split(",")})
    return TwinResponse(200, {"success": True})


class MetaGraph(FakeVendor):
    name = "meta"
    token = "a-page-token-0815"
    routes = (
        FakeRoute(f"GET /v25.0/{PAGE}/feed", feed, operation="feed"),
        FakeRoute("GET /v25.0/{id}/comments", comments),
        FakeRoute(f"GET /v25.0/{PAGE}/conversations", conversations),
        FakeRoute("GET /v25.0/{id}/messages", messages),
        FakeRoute("GET /v25.0/{id}/subscribed_apps", subscribed),
        FakeRoute("POST /v25.0/{id}/subscribed_apps", subscribe),
        FakeRoute("DELETE /v25.0/{id}/subscribed_apps", unsubscribe),
        FakeRoute(f"GET /v25.0/{APP}/subscriptions", callbacks),
        FakeRoute(f"GET /v25.0/{ACCOUNT}/phone_numbers", recorded(NUMBERS)),
        FakeRoute(f"GET /v25.0/{ACCOUNT}", recorded({"id": ACCOUNT, "name": "Acme"})),
        FakeRoute(f"POST /v25.0/{APP}/subscriptions", set_callback),
        FakeRoute("GET /v25.0/{id}", node, operation="node"),
    )
    throttled = (403, "32")
    absent = (400, "100")
    calls_back = False

    def forget(self) -> None:
        super().forget()
        self.planned: list[TwinResponse] = []

    def admits(self, call: TwinCall) -> bool:
        """The page's token, or the app's own for what belongs to the app; each with its proof."""
        wanted = f"{APP}|{APP_SECRET}" if call.segments[1:2] == (APP,) else self.token
        token = call.bearer or call.query.get("access_token")
        return token == wanted and call.query.get("appsecret_proof") == proof(wanted)

    def refused(self) -> TwinResponse:
        return self.error(401, "190", "Error validating access token: the session has expired")

    def limited(self, seconds: float) -> TwinResponse:
        answer = self.error(*self.throttled, "(#32) Page request limit reached")
        answer.headers["X-Business-Use-Case-Usage"] = json.dumps(
            {PAGE: [{**USAGE, "estimated_time_to_regain_access": 7}]}
        )
        return answer

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        sub = {"error_subcode": 33} if code == "100" else {}
        error = {"message": message, "type": "OAuthException", "code": int(code) if code.isdigit() else 1, **sub}
        return TwinResponse(status, {"error": {**error, "fbtrace_id": "AbC"}})

    def comments(self, post: str) -> list[dict[str, Any]]:
        return newest([row for row in self.records("comments") if row["id"].startswith(post.rpartition("_")[2] + "_")])

    def seconds(self, row: dict[str, Any]) -> float:
        try:
            return datetime.fromisoformat(str(row["created_time"])).timestamp()
        except ValueError:  # a row that was spoilt
            return self.clock()
