"""A stand-in for the X API v2: mentions, DM events, a token endpoint that gives each refresh token once.

From docs.x.com and the recorded mentions of May 2026, which it is compared with: a bare row has id, text and
edit_history_tweet_ids, an empty page has no `data`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from syncd.twins.fake_vendor import FakeRoute, FakeVendor
from syncd.twins.wire import TwinCall, TwinResponse

USER = "1000000000000000001"
BARE = {"tweet": ("id", "text", "edit_history_tweet_ids"), "dm_event": ("id", "text", "event_type")}


def problem(status: int, kind: str, title: str, detail: str, **more: Any) -> TwinResponse:
    body = {"title": title, "detail": detail, "type": f"https://api.twitter.com/2/problems/{kind}", "status": status}
    return TwinResponse(status, {**body, **more})


def moment(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def page(vendor: Any, call: TwinCall, rows: list[dict[str, Any]], prefix: str, author: str) -> TwinResponse:
    """The newest first, with the fields that were asked for, and the users if `expansions` names them."""
    if vendor.planned:
        answer: TwinResponse = vendor.planned.pop()
        return answer
    asked = {*BARE["dm_event" if prefix == "dm_event" else "tweet"], *call.query.get(f"{prefix}.fields", "").split(",")}
    rows = sorted(rows, key=lambda row: int(row["id"]), reverse=True)
    generation, _, start = call.query.get("pagination_token", f"{vendor.expired_pages}.0").partition(".")
    if generation != str(vendor.expired_pages):
        said = {"parameters": {"pagination_token": [call.query["pagination_token"]]}, "message": "no such page"}
        return problem(400, "invalid-request", "Invalid Request", "One or more parameters are invalid.", errors=[said])
    shown = rows[int(start) : int(start) + 3]
    if not shown:
        return TwinResponse(200, {"meta": {"result_count": 0}})
    meta: dict[str, Any] = {"result_count": len(shown), "newest_id": shown[0]["id"], "oldest_id": shown[-1]["id"]}
    if int(start) + 3 < len(rows):
        meta["next_token"] = f"{generation}.{int(start) + 3}"
    body: dict[str, Any] = {"data": [{k: v for k, v in row.items() if k in asked} for row in shown], "meta": meta}
    if author in call.query.get("expansions", ""):
        users = {row.get(author): vendor.store.get("users", str(row.get(author))) for row in shown}
        body["includes"] = {"users": [user for user in users.values() if user]}
    return TwinResponse(200, body, {"x-rate-limit-limit": "300", "x-rate-limit-remaining": "299"})


def mentions(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    unknown = next((name for name in call.query if name.endswith(".fields") and name not in vendor.known_fields), "")
    if unknown:
        said = {
            "parameters": {unknown: ["x"]},
            "message": f"The query parameter [{unknown}] is not one of [max_results]",
        }
        return problem(400, "invalid-request", "Invalid Request", "One or more parameters are invalid.", errors=[said])
    since, until = (call.query.get(name) for name in ("start_time", "end_time"))
    if max(moment(since), moment(until)) > vendor.clock() - 10:
        return problem(400, "invalid-request", "Invalid Request", "a time must be 10 seconds before the request")
    last = moment(until) if until else float("inf")
    rows = [row for row in vendor.records("posts") if moment(since) <= moment(row["made"]) < last]
    prefix = next(name.partition(".")[0] for name in (*vendor.known_fields, "tweet.fields") if name != "user.fields")
    return page(vendor, call, rows, prefix, "author_id")


def dm_events(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if call.bearer == vendor.app_token:
        return problem(403, "unsupported-authentication", "Unsupported Authentication", "user context is needed")
    return page(vendor, call, vendor.records("messages"), "dm_event", "sender_id")


def account(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if parts["id"] != USER:
        said = {"title": "Not Found Error", "type": "https://api.twitter.com/2/problems/resource-not-found"}
        return TwinResponse(200, {"errors": [said]})
    return TwinResponse(200, {"data": {"id": USER, "name": "Test User", "username": "testuser"}})


def refreshed(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    form = call.form()
    if form.get("refresh_token") != f"refresh-{vendor.tokens_made}":
        return TwinResponse(
            400, {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}
        )
    vendor.tokens_made += 1
    access = f"access-token-{vendor.tokens_made}"
    vendor.valid_tokens.add(access)
    more = {"refresh_token": f"refresh-{vendor.tokens_made}", "scope": "dm.read"}
    return TwinResponse(200, {"access_token": access, "token_type": "bearer", "expires_in": 7200, **more})


def hooks(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    rows = vendor.records("hooks")
    return TwinResponse(200, {"data": rows, "meta": {"result_count": len(rows)}})


def new_hook(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    if len(vendor.records("hooks")) >= vendor.most_hooks:
        return problem(400, "invalid-request", "WebhookLimitExceeded", "WebhookLimitExceeded: the limit is reached")
    row = {"url": call.json()["url"], "valid": vendor.passes_challenge, "created_at": "2025-01-15T12:00:00.000Z"}
    id_ = vendor.put_record("hooks", {**row, "id": str(1234567890 + len(vendor.records("hooks")))})
    return TwinResponse(200, {"data": vendor.store.get("hooks", id_)})


def tested_hook(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    vendor.store.put("hooks", parts["id"], {**vendor.store.get("hooks", parts["id"]), "valid": True})
    return TwinResponse(200, {"data": {"valid": True}})


def deleted(table: str) -> Any:
    def act(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
        if vendor.store.get(table, parts["id"]) is None:
            return problem(404, "resource-not-found", "WebhookIdInvalid", "not found")
        vendor.store.put(table, parts["id"], None)
        return TwinResponse(200, {"data": {"deleted": True}})

    return act


def activity(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    rows = [
        {"subscription_id": row["id"], **{k: v for k, v in row.items() if k != "id"}}
        for row in vendor.records("activity")
    ]
    return TwinResponse(200, {"data": rows, "meta": {"total_subscriptions": len(rows)}})


def new_activity(vendor: Any, call: TwinCall, parts: Any) -> TwinResponse:
    asked = call.json()
    if asked["event_type"] == "dm.received" and call.bearer == vendor.app_token:
        return problem(403, "client-forbidden", "Client Forbidden", "private events need the account's own token")
    vendor.put_record("activity", {**asked, "created_at": "2025-10-09T16:35:08.000Z"})
    return activity(vendor, call, parts)


class XVendor(FakeVendor):
    name = "x"
    token = "an-app-bearer-0815"
    app_token = token
    routes = (
        FakeRoute("GET /2/users/{id}/mentions", mentions, operation="mentions"),
        FakeRoute("GET /2/dm_events", dm_events, operation="dm_events"),
        FakeRoute("GET /2/users/{id}", account),
        FakeRoute("GET /2/webhooks", hooks),
        FakeRoute("POST /2/webhooks", new_hook),
        FakeRoute("PUT /2/webhooks/{id}", tested_hook),
        FakeRoute("DELETE /2/webhooks/{id}", deleted("hooks")),
        FakeRoute("GET /2/activity/subscriptions", activity),
        FakeRoute("POST /2/activity/subscriptions", new_activity),
        FakeRoute("DELETE /2/activity/subscriptions/{id}", deleted("activity")),
        FakeRoute("POST /2/oauth2/token", refreshed, open=True),
    )

    def forget(self) -> None:
        super().forget()
        self.planned: list[TwinResponse] = []
        self.most_hooks, self.passes_challenge = 5, True
        self.known_fields = {"tweet.fields", "user.fields"}

    def refused(self) -> TwinResponse:
        return TwinResponse(
            401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}
        )

    def limited(self, seconds: float) -> TwinResponse:
        answer = TwinResponse(
            429, {"title": "Too Many Requests", "type": "about:blank", "status": 429, "detail": "wait"}
        )
        answer.headers["x-rate-limit-reset"] = str(int(self.clock() + seconds + 1))
        return answer

    def error(self, status: int, code: str, message: str, fields: Any = (), operation: str = "") -> TwinResponse:
        return problem(status, code, code, message)
