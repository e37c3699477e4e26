"""The state of the Bitrix24 twin: its options, users, directories, records and limits.

The modules beside it work on this; the routes are in twin.py, the table of methods in methods.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

from syncd.twins.bitrix24 import directories
from syncd.twins.bitrix24.access import SCOPES, PortalAccess
from syncd.twins.bitrix24.fields import ItemField, ItemType, custom_field, item_types
from syncd.twins.bitrix24.limits import LeakyBucket, OperatingTime
from syncd.twins.bitrix24.rest import Bitrix24Error
from syncd.twins.server import Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinResponse

CLASSIC, SIMPLE = 1, 2
"""crm.settings.mode.get: with leads, without."""


def _answer(status: int, code: str, text: str) -> Named:
    return lambda twin, call: twin.error(status, code, text)


class Bitrix24Portal(Twin):
    """Options beside those of Twin: `mode` (CLASSIC or SIMPLE), `rate` and `burst` of requests, `operating_limit` (seconds of one
    method in ten minutes), `seconds` (method -> its run-time), `secret` and `scopes` of user 1's webhook, `client_id`,
    `client_secret`, `refresh_token` (each checked only when given), `redirect` of the application, `zone_hours`, `custom_fields`
    (entityTypeId -> (UF_ name, type) pairs), `required` (entityTypeId -> fields that the portal demands), `denied` (what the
    webhook's user may not do: "lead.add", "company.read", "deal.update", "contact.delete").

    `between_commands` is called with a method's name before each one, for what users do at the same time."""

    key_field = "originId"
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {
        **dict.fromkeys(("lead", "deal", "contact", "company"), ("originId", "companyId", "leadId")),
        "multifield": ("match",),
        "status": ("ENTITY_ID",),
        "activity": ("OWNER", "ORIGIN_ID"),
        "comment": ("OWNER",),
        "chat": ("ENTITY",),
        "message": ("CHAT_ID",),
    }
    # Codes and texts: _includes/system-errors.md of Bitrix24's documentation; PAYMENT_REQUIRED is recorded without its status.
    named: ClassVar[Mapping[str, Named]] = {
        "query_limit": _answer(503, "QUERY_LIMIT_EXCEEDED", "Too many requests"),
        "operation_limit": _answer(429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."),
        "overload": _answer(503, "OVERLOAD_LIMIT", "REST API is blocked due to overload"),
        "internal": _answer(500, "INTERNAL_SERVER_ERROR", "Internal server error"),
        "unexpected": _answer(500, "ERROR_UNEXPECTED_ANSWER", "Server returned an unexpected response"),
        "expired": _answer(401, "expired_token", "The access token provided has expired"),
        "no_auth": _answer(401, "NO_AUTH_FOUND", "Wrong authorization data"),
        "invalid_credentials": _answer(403, "INVALID_CREDENTIALS", "Invalid request credentials"),
        "scope": _answer(
            403, "insufficient_scope", "The request requires higher privileges than provided by the webhook token"
        ),
        "user_access": _answer(403, "user_access_error", "The user does not have access to the application"),
        "not_commercial": _answer(403, "ACCESS_DENIED", "REST API is available only on commercial plans"),
        "payment": _answer(402, "PAYMENT_REQUIRED", "Subscription has been ended"),
        "deleted": _answer(500, "PORTAL_DELETED", "Portal was deleted"),
        "wrong_client": lambda twin, call: TwinResponse(200, {"error": "wrong_client"}),
        "invalid_grant": _answer(400, "invalid_grant", "Invalid grant"),
        "moved": lambda twin, call: TwinResponse(302, None, {"Location": "https://another.bitrix24.com/rest/"}),
    }

    def __init__(
        self,
        *,
        mode: int = CLASSIC,
        rate: float = 2.0,
        burst: float = 50.0,
        operating_limit: float = 480.0,
        seconds: Mapping[str, float] | None = None,
        secret: str = "twin",
        scopes: Iterable[str] = SCOPES,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        redirect: str = "",
        zone_hours: float = 3.0,
        custom_fields: Mapping[int, Iterable[tuple[str, str]]] | None = None,
        required: Mapping[int, Iterable[str]] | None = None,
        denied: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mode = mode
        self.zone = timezone(timedelta(hours=zone_hours))
        self.bucket = LeakyBucket(self.clock, rate, burst)
        self.operating = OperatingTime(self.clock, operating_limit)
        self.seconds = dict(seconds or {})
        self.access = PortalAccess(
            self.clock,
            secret=secret,
            scopes=scopes,
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
            redirect=redirect,
        )
        self._custom = {id_: tuple(pairs) for id_, pairs in (custom_fields or {}).items()}
        self.required = {id_: tuple(names) for id_, names in (required or {}).items()}
        self.denied = frozenset(denied)
        self.between_commands: Callable[[str], None] | None = None
        self.ignored: set[str] = set()  # fields that the API dropped without a word
        self.forget()

    # What the server asks of every twin.

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        return TwinResponse(status, {"error": code, "error_description": message})

    def refused(self) -> TwinResponse:
        return self.error(401, "NO_AUTH_FOUND", "Wrong authorization data")

    def expire_tokens(self) -> None:
        self.access.expire_all()

    def forget(self) -> None:
        self.access.forget()
        self.bucket.clear()
        self.operating.clear()
        self.ignored.clear()
        self.between_commands = None
        self._next: dict[str, int] = {}
        self.types = item_types()
        if not self.store.table("user").records:
            self._furnish()
        for row in self.store.table("field").records.values():
            self.add_field(row["TYPE"], custom_field(row))
        for type_id, names in self.required.items():
            for name in names:
                self.add_field(type_id, replace(self.types[type_id].fields[name], required=True))

    def _furnish(self) -> None:
        """A portal as it is opened: its administrator, one department, the directories, one pipeline of deals."""
        with self.settled():
            self.store.put("department", "1", {"ID": "1", "NAME": "Company", "SORT": 500, "PARENT": "", "UF_HEAD": "1"})
            owner = {"ID": 1, "NAME": "Twin", "LAST_NAME": "Owner", "EMAIL": "owner@example.com", "ADMIN": True}
            self.store.put("user", "1", self.new_user() | owner)
            for row in directories.new_portal():
                self.store.put("status", row["ID"], row)
            for type_id, pairs in self._custom.items():
                for name, type_ in pairs:
                    self.keep_field(type_id, {"FIELD_NAME": name, "USER_TYPE_ID": type_})

    # State.

    def new_id(self, object_: str) -> int:
        """The next number of an object: each counts for itself, so a lead and a contact may have the same one."""
        if object_ not in self._next:
            known = (int(key.rpartition("_")[2]) for key in self.store.table(object_).records)
            self._next[object_] = max(known, default=0)
        self._next[object_] += 1
        return self._next[object_]

    def stamp(self, at: float | None = None) -> str:
        """A moment as the portal shows it: in its own time zone."""
        moment = datetime.fromtimestamp(self.clock() if at is None else at, UTC)
        return moment.astimezone(self.zone).isoformat(timespec="seconds")

    def type(self, id_: int) -> ItemType:
        """The type with an `entityTypeId`. Raises Bitrix24Error."""
        found = self.types.get(id_)
        if found is None:
            raise Bitrix24Error("NOT_FOUND", "Smart process not found")
        return found

    def allow(self, type_: ItemType, deed: str) -> None:
        """Raises Bitrix24Error where the user may not do this to records of the type."""
        if f"{type_.name}.{deed}" in self.denied:
            raise Bitrix24Error("ACCESS_DENIED", "Access denied")

    def named_type(self, name: str) -> ItemType | None:
        """The type called lead, deal, contact or company, in any case."""
        return next((one for one in self.types.values() if one.name == name.lower()), None)

    def item(self, type_: ItemType, id_: Any) -> Record | None:
        return self.store.get(type_.name, type_.key(id_)) if id_ else None

    def add_field(self, type_id: int, field: ItemField) -> None:
        self.types[type_id].fields[field.name] = field

    def keep_field(self, type_id: int, row: Record) -> int:
        """Makes a custom field (FIELD_NAME, USER_TYPE_ID, and what else `custom_field` reads); its number."""
        id_ = self.new_id("field")
        self.store.put("field", str(id_), {"ID": id_, "TYPE": type_id, **row})
        self.add_field(type_id, custom_field(row))
        return id_

    def user(self, id_: Any) -> Record | None:
        return self.store.get("user", str(id_))

    def new_user(self) -> Record:
        """A user's fields where nothing else is said."""
        return {
            "ACTIVE": True,
            "NAME": "",
            "LAST_NAME": "",
            "SECOND_NAME": "",
            "EMAIL": "",
            "USER_TYPE": "employee",
            "UF_DEPARTMENT": [1],
            "IS_ONLINE": "N",
            "TIME_ZONE": "",
            "WORK_POSITION": "",
            "PERSONAL_GENDER": "",
            "PERSONAL_MOBILE": "",
            "WORK_PHONE": "",
            "DATE_REGISTER": "2026-01-01T00:00:00+03:00",
            "LAST_LOGIN": "",
            "ADMIN": False,
            "STATUS": "online",
            "TIMEMAN": "CLOSED",
            "ABSENT": False,
            "BOT": False,
        }

    def in_directory(self, entity: str, code: Any) -> Record | None:
        """The entry of a directory with a code."""
        return next(
            (r for r in self.store.find("status", "ENTITY_ID", entity) if r["STATUS_ID"] == str(code)),
            None,
        )

    def first_of(self, entity: str) -> str:
        """The code that a directory begins with."""
        rows = sorted(self.store.find("status", "ENTITY_ID", entity), key=lambda r: int(r["SORT"]))
        return str(rows[0]["STATUS_ID"]) if rows else ""
