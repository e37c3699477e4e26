"""The Salesforce twin: REST API calls over real HTTP, with daily limits, tokens and the answers of recorded traffic.

Routes are in `_ROUTES`; the state is in org.py, composite calls in composite.py, rows in rows.py, SOQL in soql.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from syncd.twins.salesforce import composite, conversion, people, reads, schema, setup
from syncd.twins.salesforce.auth import DATA, IDENTITY
from syncd.twins.salesforce.org import SalesforceOrg
from syncd.twins.salesforce.rows import SalesforceRowError, full_id
from syncd.twins.salesforce.schema import SObject
from syncd.twins.server import Handler
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
    {"insert_collection", "update_collection", "upsert_collection", "insert", "update", "upsert", "convert_lead"}
)


class SalesforceTwin(SalesforceOrg):
    """The routes, and what each of them does; the options are those of SalesforceOrg."""

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
    row_operations = ROW_OPERATIONS

    # What the server asks of a twin.

    def credentials(self) -> dict[str, str]:
        return {
            "client_id": self.tokens.client_id or "twin",
            "client_secret": self.tokens.client_secret or "twin",
        }

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
        if path[:3] == ("services", "Soap", "u") and len(path) == 4 and call.method == "POST":
            call.operation, call.rows = "convert_lead", conversion.asked(call)
            return self._soap
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

    def _soap(self, call: TwinCall) -> TwinResponse:
        """The SOAP API: the same limits, and the access token as the session id in the envelope."""
        token = conversion.session(call)
        if not self.tokens.valid(token):
            return self.error(
                500, "INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader", operation=call.operation
            )
        if not self.tokens.may(token, DATA):
            return self.error(
                500, "INVALID_SESSION_ID", "This session is not valid for use with the API", operation=call.operation
            )
        if self.usage >= self.daily_limit:
            return self.named["daily_limit"](self, call)
        self.usage += 1
        return conversion.convert_lead(self, call)

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        if operation == "convert_lead":  # whatever REST answers with: a SOAP fault is an HTTP 500 [D]
            return conversion.fault(code, message)
        return super().error(status, code, message, fields, operation)

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
