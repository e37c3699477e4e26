"""The Salesforce twin: REST API calls over real HTTP, with daily limits, tokens and the answers of recorded traffic.

Routes are in `_ROUTES`; composite calls are in salesforce_composite.py, rows in salesforce_rows.py, SOQL in salesforce_soql.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import orjson

from syncd.twins.salesforce import composite, people, reads, rows, schema, setup
from syncd.twins.salesforce.auth import DATA, IDENTITY, Tokens
from syncd.twins.salesforce.rows import SalesforceRowError, full_id
from syncd.twins.salesforce.schema import SalesforceField, SObject
from syncd.twins.server import Handler, Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

URI_LIMIT = 16_384  # bytes of URI and headers together [D]

# (method, path below /services/data/vNN.N, `*` for any one segment) -> operation. The handler is the method of that name.
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "limits", "limits"),
    ("GET", "chatter/users/me", "chatter_me"),
    ("GET", "query", "query"),
    ("GET", "queryAll", "query_all"),
    ("GET", "query/*", "query_more"),
    ("POST", "composite", "composite"),
    ("POST", "composite/sobjects", "insert_collection"),
    ("PATCH", "composite/sobjects", "update_collection"),
    ("DELETE", "composite/sobjects", "delete_collection"),
    ("PATCH", "composite/sobjects/*/*", "upsert_collection"),
    ("GET", "sobjects", "describe_global"),
    ("POST", "tooling/sobjects/CustomField", "custom_field"),
    ("GET", "tooling/query", "tooling_query"),
    ("POST", "sobjects/*", "insert"),
    ("GET", "sobjects/*/describe", "describe"),
    ("GET", "sobjects/*/*", "get"),
    ("PATCH", "sobjects/*/*", "update"),
    ("DELETE", "sobjects/*/*", "delete_record"),
    ("GET", "sobjects/*/*/*", "get_by_key"),
    ("PATCH", "sobjects/*/*/*", "upsert"),
)
ROW_OPERATIONS = frozenset(
    {"insert_collection", "update_collection", "upsert_collection", "insert", "update", "upsert"}
)
LOCKED = "unable to obtain exclusive access to this record or 1 records: {0}"


def _answer(status: int, code: str, message: str) -> Named:
    return lambda twin, call: twin.error(status, code, message, operation=call.operation)


class SalesforceTwin(Twin):
    """Options beside those of Twin: `daily_limit`, `max_concurrent`, `page_size`, `custom_fields`, `token_life`
    (seconds), `client_id`,
    `client_secret`, `refresh_token`, `public_key` (PEM; each checked only when given), `rotate_refresh`,
    `unique_activity_key`, `redirect_uris` (the callback addresses of the app; default: any); `bare` (without the fields that
    syncd's set-up adds), `customizes` and `views_all` (may our user change the org, and see all data), `hidden` (object ->
    fields that our user may not see), `scopes` (of tokens that no person's consent made; default: all)."""

    name = "salesforce"
    example = """\
destinations:
  crm:
    type: salesforce
    login_url: {url}
    auth:
      flow: client_credentials      # or refresh_token, without a refresh_token, to try `syncd auth crm`
      client_id: {client_id}
      client_secret: {client_secret}
    mapping: mappings/salesforce.yaml
"""
    key_field = "Syncd_Key__c"
    row_operations = ROW_OPERATIONS
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {
        "Contact": ("Email", "Syncd_Key__c", "AccountId"),
        "Lead": ("Email", "Syncd_Key__c"),
        "Task": ("Syncd_Key__c", "WhoId"),
        "Event": ("Syncd_Key__c", "WhoId"),
        "Case": ("Syncd_Key__c", "CaseNumber"),
        "Account": (),
        "Opportunity": (),
        "User": (),
    }
    # The two meanings of REQUEST_LIMIT_EXCEEDED and the rest of the error table of salesforce.md [D].
    named: ClassVar[Mapping[str, Named]] = {
        "daily_limit": _answer(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        "concurrent_limit": _answer(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        "storage_limit": _answer(403, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"),
        "lock": _answer(400, "UNABLE_TO_LOCK_ROW", LOCKED.format("unknown record")),
        "unavailable": _answer(503, "SERVER_UNAVAILABLE", "Server is temporarily unavailable. Please try again later."),
        "too_long": _answer(
            503, "REQUEST_RUNNING_TOO_LONG", "Your request was running for too long, and has been stopped."
        ),
        "query_timeout": _answer(400, "QUERY_TIMEOUT", "Your query request was running for too long."),
        "api_disabled": _answer(403, "API_DISABLED_FOR_ORG", "API is disabled for this Organization or Partner"),
        "invalid_grant": _answer(400, "invalid_grant", "expired access/refresh token"),
        "blocked_app": _answer(400, "OAUTH_APP_BLOCKED", "this app is blocked by admin"),
        "login_rate": _answer(400, "invalid_grant", "login rate exceeded"),
        "maintenance": _answer(
            503, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "The org is in read-only mode."
        ),
    }

    def __init__(
        self,
        *,
        daily_limit: int = 15_000,
        max_concurrent: int | None = None,
        page_size: int = reads.PAGE,
        custom_fields: Mapping[str, tuple[SalesforceField, ...]] | None = None,
        token_life: float = 7_200.0,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        public_key: str | None = None,
        rotate_refresh: bool = False,
        unique_activity_key: bool = False,
        redirect_uris: Iterable[str] | None = None,
        bare: bool = False,
        customizes: bool = True,
        views_all: bool = True,
        hidden: Mapping[str, Iterable[str]] | None = None,
        scopes: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.schema = schema.schema({} if bare else custom_fields)
        self.customizes, self.views_all, self.made_fields = customizes, views_all, 0
        self.hidden: dict[str, dict[str, SalesforceField]] = {}
        setup.hide(self, hidden or {})
        if unique_activity_key:
            for name in ("Task", "Event"):
                self.schema[name].add(
                    SalesforceField(
                        "Syncd_Key__c", length=64, label="Syncd Key", external=True, unique=True, lookup=True
                    )
                )
        self.daily_limit, self.max_concurrent, self.page_size = daily_limit, max_concurrent, page_size
        self.usage = 0
        self.tokens = Tokens(
            self.clock,
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
            public_key=public_key,
            life=token_life,
            rotate=rotate_refresh,
            scopes=scopes,
        )
        self.tokens.consents.registered = None if redirect_uris is None else frozenset(redirect_uris)
        self.user = "005dM00000awSFJQA2"
        self.rows = rows.SalesforceRows(self.store, self.schema, self.clock, self.user)
        self.cursors: dict[str, list[Any]] = {}
        self.forget()

    # What the server asks of a twin.

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        if operation == "token":
            return TwinResponse(status, {"error": code, "error_description": message})
        body: dict[str, Any] = {"message": message, "errorCode": code}
        names = list(fields)
        return TwinResponse(status, [body | {"fields": names} if names else body])

    def credentials(self) -> dict[str, str]:
        return {
            "client_id": self.tokens.client_id or "twin",
            "client_secret": self.tokens.client_secret or "twin",
        }

    def refused(self) -> TwinResponse:
        return self.error(401, "INVALID_SESSION_ID", "Session expired or invalid")  # salesforce.md, Auth

    def no_scope(self, call: TwinCall) -> TwinResponse:
        if call.operation == "userinfo":
            return TwinResponse(403, b"Wrong_Scope", content_type="text/html")  # [M]
        return self.error(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")  # [M]

    def expire_tokens(self) -> None:
        self.tokens.expire_all()

    def clashes(self, object_: str, record: Record) -> bool:
        return self.rows.clashes(object_, record)

    def alive(self, record: Record) -> bool:
        return not record.get("IsDeleted")

    def forget(self) -> None:
        self.usage = 0
        self.cursors.clear()
        self.tokens.expire_all()
        if self.store.get("User", self.user) is None:
            self.store.table("User").put(self.user, reads.integration_user(self))
        rights = setup.permissions(self)
        self.store.table("UserPermissionAccess").put(rights["Id"], rights)

    def add(self, object_: str, /, **fields: Any) -> str:
        with self.lock, self.settled():
            return people.add(self, object_, fields)

    def delete(self, id_: str) -> bool:
        with self.lock, self.settled():
            return people.delete(self, id_)

    def convert(self, id_: str) -> dict[str, Any]:
        with self.lock, self.settled():
            return people.convert(self, id_)

    def merge(self, master: str, loser: str) -> None:
        """Merges two records as a user would: the loser is deleted, its activities move to the master."""
        with self.lock, self.settled():
            people.merge(self, master, loser)

    def stats(self) -> dict[str, Any]:
        return super().stats() | {
            "api_usage": self.usage,
            "daily_limit": self.daily_limit,
            "tokens_issued": self.tokens.issued,
        }

    def route(self, call: TwinCall) -> Handler | None:
        path = call.segments
        if path == ("services", "oauth2", "token") and call.method == "POST":
            call.operation = "token"
            return lambda c: self.tokens.grant(c, self.url, self.user)
        if path == ("services", "oauth2", "authorize") and call.method in ("GET", "POST"):
            call.operation = "authorize"
            return self.tokens.authorize
        if path == ("services", "oauth2", "userinfo"):
            call.operation = "userinfo"
            return lambda c: self._admitted(c, lambda _: reads.userinfo(self))
        if path == ("services", "data"):
            call.operation = "versions"
            return lambda c: reads.versions()
        if (
            path[:2] != ("services", "data")
            or not re.fullmatch(r"v\d\d\.0", path[2])
            or int(path[2][1:3]) not in reads.VERSIONS
        ):
            return None
        call.operation, handler = self.resource(call.method, path[3:])
        if call.operation == "composite":
            call.inner = composite.operations(self, call)
        return None if handler is None else lambda c: self._admitted(c, handler)

    def resource(self, method: str, path: tuple[str, ...]) -> tuple[str, Handler | None]:
        """(operation, handler) of a path below the version."""
        for known, pattern, operation in _ROUTES:
            parts = pattern.split("/")
            if (
                known == method
                and len(parts) == len(path)
                and all(p in ("*", s) for p, s in zip(parts, path, strict=True))
            ):
                return operation, getattr(self, f"on_{operation}")
        return "", None

    def _admitted(self, call: TwinCall, handler: Handler) -> TwinResponse:
        """The checks before any work: size, token, limits. A refused call is not billed."""
        head = call.uri_length + sum(len(k) + len(v) + 4 for k, v in call.headers.items())
        if call.uri_length > URI_LIMIT:
            return TwinResponse(
                414, b"<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>", content_type="text/html"
            )  # [D] 414/431
        if head > URI_LIMIT:
            return TwinResponse(
                431,
                b"<h1>Bad Message 431</h1><pre>reason: Request Header Fields Too Large</pre>",
                content_type="text/html",
            )
        if not self.tokens.valid(call.bearer):
            return self.refused()
        if not self.tokens.may(call.bearer, IDENTITY if call.operation == "userinfo" else DATA):
            return self.no_scope(call)
        if self.usage >= self.daily_limit:
            return self.named["daily_limit"](self, call)
        if self.max_concurrent is not None and self.in_flight > self.max_concurrent:
            return self.named["concurrent_limit"](self, call)
        self.usage += 1
        answer = self.guarded(call, handler)
        if answer.status != 204:  # [R]: absent on 204
            answer.headers["Sforce-Limit-Info"] = f"api-usage={self.usage}/{self.daily_limit}"
        return answer

    def guarded(self, call: TwinCall, handler: Handler) -> TwinResponse:
        """A handler's answer; a row it refuses as a whole becomes the error body."""
        savepoint = self.store.savepoint()
        try:
            return handler(call)
        except SalesforceRowError as error:
            self.store.rollback(savepoint)
            return self.error(error.status, error.code, error.message, error.fields)
        except orjson.JSONDecodeError as error:
            return self.error(400, "JSON_PARSER_ERROR", f"{error} at [line:1, column:1]")

    # Single records.

    def on_insert(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-1])
        given = self.given(call)
        if "Id" in given or "id" in given:
            raise SalesforceRowError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        setup.may_insert(self, made)
        id_ = self.spare(call, 0, given, lambda: self.rows.insert(made, given))
        setup.inserted(self, made)
        path = f"/{'/'.join(call.segments)}/{id_}"
        return TwinResponse(201, {"id": id_, "success": True, "errors": []}, {"Location": path})

    def on_get(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-2])
        return reads.whole(call, made, self.addressed(made, call.segments[-1]))

    def on_get_by_key(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-3])
        found = self.rows.matches(made, self.key(made, call.segments[-2]), call.segments[-1])
        if not found:
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        if len(found) > 1:
            return reads.several(call, made, found)
        return reads.whole(call, made, found[0])

    def on_update(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-2])
        id_ = full_id(call.segments[-1])
        if id_ is None or self.store.get(made.name, id_) is None:
            raise SalesforceRowError(
                "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404
            )  # salesforce.md: 404 = addressed id
        given = self.given(call)
        self.spare(call, 0, given, lambda: self.rows.update(made, id_, given))
        return TwinResponse(204)

    def on_upsert(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-3])
        key, value = self.key(made, call.segments[-2]), call.segments[-1]
        given = self.given(call)
        if "Id" in given or "id" in given:
            raise SalesforceRowError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        if any(name.casefold() == key.name.casefold() for name in given):
            raise SalesforceRowError(
                "INVALID_FIELD", f"The {key.name} field should not be specified in the sobject data."
            )
        found = self.rows.matches(made, key, value)
        if len(found) > 1:
            return reads.several(call, made, found)
        if not found and call.query.get("updateOnly") == "true":
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        id_, created = self.spare(call, 0, given, lambda: self.rows.upsert(made, key, value, given))
        return TwinResponse(201 if created else 200, {"id": id_, "success": True, "errors": [], "created": created})

    def on_delete_record(self, call: TwinCall) -> TwinResponse:
        made = self.rows.object(call.segments[-2])
        self._bury(made, self.addressed(made, call.segments[-1]))
        return TwinResponse(204)

    def key(self, made: SObject, name: str) -> SalesforceField:
        """The field a record may be addressed by: Id, an external id or any idLookup field [D]."""
        one = made.field(name)
        if one is None or not (one.external or one.lookup):
            text = f"Provided external ID field does not exist or is not accessible: {name}"  # salesforce.md, collections upsert
            raise SalesforceRowError("NOT_FOUND", text, status=404)
        return one

    def addressed(self, made: SObject, value: str) -> Record:
        id_ = full_id(value)
        if id_ is None:
            text = f"Provided external ID field does not exist or is not accessible: {value}"
            raise SalesforceRowError("NOT_FOUND", text, status=404)
        record = self.store.get(made.name, id_)
        if record is None:
            raise SalesforceRowError("NOT_FOUND", "The requested resource does not exist", status=404)
        if record["IsDeleted"]:
            raise SalesforceRowError("ENTITY_IS_DELETED", "entity is deleted", status=404)
        return record

    def given(self, call: TwinCall) -> dict[str, Any]:
        body = call.json()
        if not isinstance(body, dict):
            raise SalesforceRowError(
                "JSON_PARSER_ERROR", "Unexpected token: the body must be an object at [line:1, column:1]"
            )
        call.rows = 1
        return body

    def spare(self, call: TwinCall, index: int, given: Mapping[str, Any], work: Callable[[], Any]) -> Any:
        """Does the work on one row unless a row fault spoils it."""
        for fault in call.row_faults:
            if fault.hits_row(index, given):
                code = fault.params.get("code", "UNABLE_TO_LOCK_ROW")
                message = fault.params.get("message", LOCKED.format(given.get("WhoId", "unknown record")))
                raise SalesforceRowError(code, message, fault.params.get("fields", ()))
        return work()

    def _bury(self, made: SObject, record: Record) -> None:
        self.store.put(made.name, record["Id"], {**record, "IsDeleted": True})

    # Collections.

    def on_upsert_collection(self, call: TwinCall) -> TwinResponse:
        return composite.upsert_collection(self, call)

    def on_insert_collection(self, call: TwinCall) -> TwinResponse:
        return composite.insert_collection(self, call)

    def on_update_collection(self, call: TwinCall) -> TwinResponse:
        return composite.update_collection(self, call)

    def on_delete_collection(self, call: TwinCall) -> TwinResponse:
        return composite.delete_collection(self, call)

    def on_composite(self, call: TwinCall) -> TwinResponse:
        return composite.composite(self, call)

    # Queries, descriptions and the set-up.

    def on_custom_field(self, call: TwinCall) -> TwinResponse:
        return setup.custom_field(self, call)

    def on_tooling_query(self, call: TwinCall) -> TwinResponse:
        return setup.tooling_query(self, call)

    def on_query(self, call: TwinCall) -> TwinResponse:
        return reads.query(self, call, deleted=False)

    def on_query_all(self, call: TwinCall) -> TwinResponse:
        return reads.query(self, call, deleted=True)

    def on_query_more(self, call: TwinCall) -> TwinResponse:
        return reads.query_more(self, call)

    def on_describe(self, call: TwinCall) -> TwinResponse:
        return TwinResponse(200, schema.describe(self.rows.object(call.segments[-2]), call.segments[2]))

    def on_describe_global(self, call: TwinCall) -> TwinResponse:
        return reads.describe_global(self)

    def on_chatter_me(self, call: TwinCall) -> TwinResponse:
        return TwinResponse(200, {"id": self.user, "username": "integration@twin.example.com", "isActive": True})

    def on_limits(self, call: TwinCall) -> TwinResponse:
        return reads.limits(self)
