"""The Zoho Desk twin: tickets, threads, comments and contacts as its API shows them, with its traps, and signed
webhook deliveries.

Routes are in `_ROUTES`; the state is in org.py, shapes in records.py, the webhook's key in webhook.py. Facts: zoho.md, Desk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from syncd.twins.server import Handler
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho.scopes import DESK
from syncd.twins.zoho_desk import records, subscriptions
from syncd.twins.zoho_desk.org import ZohoDeskOrg

FARTHEST = 4_999  # of `from` in a search; beyond it 422 [DOC]
MOST = 100  # rows a page
LIST, SINGLE, TRASH = 3, 1, 6  # credits [REC]

# (method, path below v1, `*` for any one segment) -> (operation, credits); the first that fits
_ROUTES: tuple[tuple[str, str, str, int], ...] = (
    ("GET", "tickets/search", "search_tickets", LIST),
    ("GET", "contacts/search", "search_contacts", LIST),
    ("POST", "tickets/moveToTrash", "trash", TRASH),
    ("GET", "tickets/*/threads/*", "thread", SINGLE),
    ("GET", "tickets/*/threads", "threads", LIST),
    ("GET", "tickets/*/comments/*", "comment", SINGLE),
    ("GET", "tickets/*/comments", "comments", LIST),
    ("POST", "tickets/*/sendReply", "reply", SINGLE),
    ("GET", "tickets/*", "ticket", SINGLE),
    ("PATCH", "tickets/*", "update_ticket", SINGLE),
    ("GET", "tickets", "list_tickets", LIST),
    ("POST", "tickets", "create_ticket", SINGLE),
    ("GET", "contacts/*", "contact", SINGLE),
    ("PATCH", "contacts/*", "update_contact", SINGLE),
    ("GET", "contacts", "list_contacts", LIST),
    ("POST", "contacts", "create_contact", SINGLE),
    ("GET", "accounts", "list_accounts", LIST),
    ("GET", "agents", "list_agents", LIST),
    ("GET", "departments", "list_departments", LIST),
    ("GET", "webhooks", "list_webhooks", LIST),
    ("POST", "webhooks", "create_webhook", SINGLE),
    ("GET", "webhooks/*", "webhook_one", SINGLE),
    ("PATCH", "webhooks/*", "update_webhook", SINGLE),
    ("DELETE", "webhooks/*", "delete_webhook", SINGLE),
)


class DeskError(Exception):
    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.field = status, code, field


class ZohoDeskTwin(ZohoDeskOrg):
    """The routes, and what each of them does; the options are those of ZohoDeskOrg."""

    name = "zoho_desk"
    example = """\
sources:
  desk:
    type: zoho_desk
    org_id: "{org_id}"
    accounts_url: {url}
    base_url: {url}
    auth:
      client_id: {client_id}
      client_secret: {client_secret}
      refresh_token: {refresh_token}           # leave it out to try `syncd auth desk`
"""

    def credentials(self) -> dict[str, str]:
        return {
            "client_id": self.accounts.client_id or "twin",
            "client_secret": self.accounts.client_secret or "twin",
            "refresh_token": self.accounts.refresh_token or "twin",
            "org_id": self.org_id,
        }

    # Steering.

    def add(self, object_: str, /, **fields: Any) -> str:
        """A ticket, contact, account, thread or comment (the last two with a `ticketId`, and touching their ticket). Times are
        the API's strings, or seconds since 1970; a ticket may name its person by `contact_email` and `contact_name`."""
        make = records.MAKERS.get(object_)
        if make is None:
            raise ValueError(f"no object {object_!r}; there are: {', '.join(records.MAKERS)}")
        with self.lock:
            given = {
                k: records.stamp(v) if k.endswith("Time") and isinstance(v, int | float) else v
                for k, v in fields.items()
            }
            id_ = str(given.pop("id", None) or self.new_id())
            if object_ == "tickets" and "contactId" not in given:
                given["contactId"] = self._contact(given.pop("contact_email", None), given.pop("contact_name", None))
            self.store.put(object_, id_, make(self, id_, given))
            if object_ in ("threads", "comments"):
                self._touch(object_, given)
            self.store.commit()
        return id_

    def modify(self, id_: str, *, touch: bool = True, **fields: Any) -> None:
        """Changes a ticket or contact. `touch=False` leaves modifiedTime as it was, as becoming overdue may."""
        with self.lock:
            object_ = next((o for o in ("tickets", "contacts") if self.store.get(o, id_) is not None), None)
            if object_ is None:
                raise ValueError(f"there is no ticket or contact {id_}")
            given = {
                k: records.stamp(v) if k.endswith("Time") and isinstance(v, int | float) else v
                for k, v in fields.items()
            }
            if touch:
                given.setdefault("modifiedTime", records.stamp(self.clock()))
            self.store.put(object_, id_, {**(self.store.get(object_, id_) or {}), **given})
            self.store.commit()

    def delete(self, id_: str) -> bool:
        with self.lock:
            for object_ in ("tickets", "contacts"):
                record = self.store.get(object_, id_)
                if record is not None and self.alive(record):
                    self.store.put(object_, id_, {**record, "isTrashed": True})
                    self.store.commit()
                    return True
        return False

    def deliver(self, *events: Mapping[str, Any]) -> list[int]:
        """Sends events to the webhooks that asked for them; what each answered."""
        return subscriptions.deliver(self, events)

    def _contact(self, email: str | None, name: str | None) -> str:
        for record in self.store.table("contacts").records.values():
            if email is not None and record.get("email") == email:
                return str(record["id"])
        first, _, last = (name or "").rpartition(" ")
        return self.add("contacts", email=email, firstName=first or None, lastName=last or email or "Unknown")

    def _touch(self, object_: str, given: Mapping[str, Any]) -> None:
        ticket = self.store.get("tickets", str(given.get("ticketId", "")))
        if ticket is None:
            raise ValueError(f"there is no ticket {given.get('ticketId')!r}")
        count = "threadCount" if object_ == "threads" else "commentCount"
        at = given.get("createdTime") or given.get("commentedTime") or records.stamp(self.clock())
        self.store.put(
            "tickets",
            ticket["id"],
            {**ticket, count: str(int(ticket[count]) + 1), "modifiedTime": max(at, ticket["modifiedTime"])},
        )

    # Serving.

    def route(self, call: TwinCall) -> Handler | None:
        path = call.segments
        if path == ("oauth", "v2", "token"):
            call.operation = "token"
            return lambda c: self.accounts.grant(c, self.url)
        if path == ("oauth", "v2", "auth"):
            call.operation = "authorize"
            return lambda c: self.accounts.authorize(c, self.url)
        if path == (".well-known", "jwks.json"):
            call.operation = "jwks"
            return lambda c: TwinResponse(200, self.signer.jwks())
        path = path[1:] if path[:1] == ("api",) else path
        path = path[1:] if path[:1] == ("v1",) else path
        for method, pattern, operation, cost in _ROUTES:
            parts = pattern.split("/")
            if (
                method == call.method
                and len(parts) == len(path)
                and all(p in ("*", s) for p, s in zip(parts, path, strict=True))
            ):
                call.operation = operation
                handler: Callable[[TwinCall, tuple[str, ...]], TwinResponse] = getattr(self, f"on_{operation}")
                return lambda c: self._admitted(c, cost, path, handler)
        return None

    def _admitted(
        self,
        call: TwinCall,
        cost: int,
        path: tuple[str, ...],
        handler: Callable[[TwinCall, tuple[str, ...]], TwinResponse],
    ) -> TwinResponse:
        if not self.accounts.valid(call.bearer):
            return self.refused()
        if not self.accounts.may(call.bearer, DESK[call.operation]):
            return self.named["scope"](self, call)
        if call.headers.get("orgid", self.org_id) != self.org_id:
            return self.error(403, "OAUTH_ORG_MISMATCH", "The OAuth token does not belong to this organization.")
        if self.spent + cost > self.credits:
            return self.named["threshold"](self, call)
        self.spent += cost
        try:
            answer = handler(call, path)
        except DeskError as error:
            answer = self.error(error.status, error.code, str(error), [error.field] if error.field else ())
        except ValueError as error:
            answer = self.error(422, "UNPROCESSABLE_ENTITY", str(error))
        answer.headers |= {
            "X-Rate-Limit-Remaining-v3": str(self.credits - self.spent),
            "X-Rate-Limit-Request-Weight-v3": str(cost),
        }
        return answer

    def _one(self, object_: str, id_: str) -> Record:
        record = self.store.get(object_, id_)
        if record is None or record.get("isDeleted"):
            raise DeskError(404, "URL_NOT_FOUND", "The URL you requested could not be found.")
        return record

    def _page(self, call: TwinCall, first: int, farthest: int | None = None) -> tuple[int, int]:
        """(start from zero, limit). Lists count from 1, searches from 0 (zoho.md); a value beyond the limits is 422."""
        start, limit = call.query.get("from", str(first)), call.query.get("limit", "10")
        if not start.isdigit() or (farthest is not None and int(start) > farthest):
            raise DeskError(422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", "from")
        if not limit.isdigit() or not 1 <= int(limit) <= MOST:
            raise DeskError(422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", "limit")
        return max(0, int(start) - first), int(limit)

    def _search(self, call: TwinCall, object_: str, shape: Callable[[Record], dict[str, Any]]) -> TwinResponse:
        start, limit = self._page(call, 0, FARTHEST)
        found = [r for r in self.store.table(object_).records.values() if self.alive(r)]
        window = call.query.get("modifiedTimeRange")
        if window is not None:
            low, high = _range(window)
            found = [r for r in found if low <= _moment(r["modifiedTime"]) <= high]
        sort = call.query.get("sortBy", "")
        key = sort.removeprefix("-")
        if key and key not in ("modifiedTime", "createdTime", "relevance"):
            raise DeskError(422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", "sortBy")
        if key and key != "relevance":
            found.sort(key=lambda r: r[key], reverse=sort.startswith("-"))
        rows = found[start : start + limit]
        return TwinResponse(200, {"data": [shape(r) for r in rows], "count": len(found)}) if rows else TwinResponse(204)

    def on_search_tickets(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._search(call, "tickets", lambda r: records.search_row(self, r))

    def on_search_contacts(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._search(call, "contacts", lambda r: records.contact_search_row(self, r))

    def on_ticket(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        ticket = dict(self._one("tickets", path[1]))
        if "contacts" in call.query.get("include", "").split(","):
            ticket["contact"] = records.brief_contact(self, ticket["contactId"])
        return TwinResponse(200, ticket)

    def on_list_tickets(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._list(call, "tickets", records.list_row)

    def on_list_contacts(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._list(call, "contacts", records.contact_list_row)

    def on_list_accounts(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._list(call, "accounts", dict)

    def on_list_agents(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, {"data": [records.agent(self)]})

    def on_list_departments(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, {"data": [records.department()]})

    def _list(self, call: TwinCall, object_: str, shape: Callable[[Record], dict[str, Any]]) -> TwinResponse:
        start, limit = self._page(call, 1)
        found = [r for r in self.store.table(object_).records.values() if self.alive(r)]
        rows = found[start : start + limit]
        return TwinResponse(200, {"data": [shape(r) for r in rows]}) if rows else TwinResponse(204)

    def on_list_webhooks(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return subscriptions.listed(self)

    def on_create_webhook(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._refusing(lambda: subscriptions.create(self, call))

    def on_webhook_one(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, self._one(subscriptions.TABLE, path[1]))

    def on_update_webhook(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        row = self._one(subscriptions.TABLE, path[1])
        return self._refusing(lambda: subscriptions.change(self, call, row))

    def on_delete_webhook(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        self._one(subscriptions.TABLE, path[1])
        self.store.put(subscriptions.TABLE, path[1], None)
        return TwinResponse(200)

    def _refusing(self, work: Callable[[], TwinResponse]) -> TwinResponse:
        try:
            return work()
        except subscriptions.SubscriptionRefused as refused:
            raise DeskError(422, "UNPROCESSABLE_ENTITY", str(refused), refused.field) from refused

    def on_threads(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._below(call, path[1], "threads", records.thread_row, "createdTime")

    def on_comments(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._below(call, path[1], "comments", dict, "commentedTime")

    def _below(
        self, call: TwinCall, ticket: str, object_: str, shape: Callable[[Record], dict[str, Any]], key: str
    ) -> TwinResponse:
        self._one("tickets", ticket)
        start, limit = self._page(call, 0)
        found = sorted(self.store.find(object_, "ticketId", ticket), key=lambda r: (r[key], r["id"]), reverse=True)
        rows = found[start : start + limit]
        return TwinResponse(200, {"data": [shape(r) for r in rows]}) if rows else TwinResponse(204)

    def on_thread(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, records.without(self._one("threads", path[3]), "ticketId"))

    def on_comment(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, records.without(self._one("comments", path[3]), "ticketId"))

    def on_contact(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return TwinResponse(200, self._one("contacts", path[1]))

    def on_create_ticket(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._create(call, "tickets", ("subject", "departmentId", "contactId"))

    def on_create_contact(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._create(call, "contacts", ("lastName",))

    def _create(self, call: TwinCall, object_: str, needed: tuple[str, ...]) -> TwinResponse:
        given = call.json()
        for name in needed:
            if not given.get(name):
                raise DeskError(422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", name)
        return TwinResponse(200, self.store.get(object_, self.add(object_, **given)))

    def on_update_ticket(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._update(call, "tickets", path[1])

    def on_update_contact(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        return self._update(call, "contacts", path[1])

    def _update(self, call: TwinCall, object_: str, id_: str) -> TwinResponse:
        known = self._one(object_, id_)
        self.modify(id_, **{k: v for k, v in call.json().items() if k in known and k != "id"})
        return TwinResponse(200, self.store.get(object_, id_))

    def on_trash(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        for id_ in call.json().get("ticketIds", ()):
            self.delete(str(id_))
        return TwinResponse(204)

    def on_reply(self, call: TwinCall, path: tuple[str, ...]) -> TwinResponse:
        self._one("tickets", path[1])
        given = call.json()
        known = ("content", "channel", "to", "fromEmailAddress")
        id_ = self.add("threads", ticketId=path[1], direction="out", **{k: given[k] for k in known if k in given})
        return TwinResponse(200, records.without(self._one("threads", id_), "ticketId"))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _range(text: str) -> tuple[datetime, datetime]:
    try:
        low, high = (_moment(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise DeskError(
            422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", "modifiedTimeRange"
        ) from error
    if low.tzinfo is None or high.tzinfo is None or low > high:
        raise DeskError(
            422, "UNPROCESSABLE_ENTITY", "The data is invalid due to validation restrictions", "modifiedTimeRange"
        )
    return low, high
