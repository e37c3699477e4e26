"""The Zoho CRM twin: accounts and CRM calls over real HTTP, with credits, concurrency limits and per-row outcomes.

Routes are in `_ROUTES`; the state is in org.py, rows in rows.py, COQL in coql.py, reads in reads.py.
v2 to v8 answer alike here [REC].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from syncd.twins.server import Handler
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse
from syncd.twins.zoho import conversion, observers, people, reads, schema, setup, signals
from syncd.twins.zoho import scopes as zoho_scopes
from syncd.twins.zoho.coql import CoqlError
from syncd.twins.zoho.org import ZohoOrg
from syncd.twins.zoho.rows import ZohoRowError

ROWS = 100  # records in one write [DOC]
HEAVY_ROWS = 10  # writes of more records than this share the sub-concurrency [DOC]

# (method, path below /crm/vN, `*` for any one segment) -> operation; the first that fits
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "users", "users"),
    ("GET", "org", "org"),
    ("GET", "settings/fields", "fields"),
    ("POST", "settings/fields", "create_fields"),
    ("GET", "settings/modules", "modules"),
    ("GET", "settings/signals", "signal_namespaces"),
    ("POST", "signals/notifications", "notify"),
    ("POST", "coql", "coql"),
    ("POST", "Leads/*/actions/convert", "convert"),
    ("GET", "Leads/*/__conversion_options", "conversion_options"),
    ("POST", "*/actions/add_tags", "add_tags"),
    ("POST", "*/actions/remove_tags", "remove_tags"),
    ("POST", "*/upsert", "upsert"),
    ("GET", "*/search", "search"),
    ("GET", "*/*", "get"),
    ("PUT", "*/*", "update_one"),
    ("DELETE", "*/*", "delete"),
    ("GET", "*", "list"),
    ("POST", "*", "create"),
    ("PUT", "*", "update"),
    ("DELETE", "*", "delete_many"),
)
_FROM = re.compile(rb"\bfrom\s+(\w{1,50})", re.IGNORECASE)
WRITES = frozenset({"create", "update", "update_one", "upsert"})
_WORDS = {"create": "record added", "update": "record updated", "update_one": "record updated"}


class ZohoTwin(ZohoOrg):
    """The routes, and what each of them does; the options are those of ZohoOrg."""

    name = "zoho"
    example = """\
destinations:
  crm:
    type: zoho
    accounts_url: {url}
    base_url: {url}
    auth:
      client_id: {client_id}
      client_secret: {client_secret}
      refresh_token: {refresh_token}           # leave it out to try `syncd auth crm`
    mapping: mappings/zoho.yaml
"""
    row_operations = WRITES | {"convert", "add_tags", "remove_tags"}

    # What the server asks of a twin.

    def credentials(self) -> dict[str, str]:
        return {
            "client_id": self.accounts.client_id or "twin",
            "client_secret": self.accounts.client_secret or "twin",
            "refresh_token": self.accounts.refresh_token or "twin",
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

    def observe(self, module: str, id_: str, field: str, user: str) -> None:
        """A user adds another one to a multi-user field of a record."""
        with self.lock, self.settled():
            observers.add(self, module, id_, field, user)

    def tag(self, module: str, id_: str, *names: str) -> None:
        """A user puts tags on a record."""
        with self.lock, self.settled():
            observers.tagged(self, module, id_, names, adds=True)

    def merge(self, master: str, loser: str) -> None:
        """Merges two records as a user would: the loser is deleted, its activities move to the master."""
        with self.lock, self.settled():
            people.merge(self, master, loser)

    def stats(self) -> dict[str, Any]:
        own = {"credits_spent": self.spent_total, "credits": self.credits, "tokens_issued": self.accounts.issued}
        return super().stats() | own | {"ignored_fields": sorted(self.rows.ignored)}

    def route(self, call: TwinCall) -> Handler | None:
        path = call.segments
        if path == ("oauth", "v2", "token") and call.method == "POST":
            call.operation = "token"
            return lambda c: self.accounts.grant(c, self.url)
        if path == ("oauth", "v2", "auth") and call.method in ("GET", "POST"):
            call.operation = "authorize"
            return lambda c: self.accounts.authorize(c, self.url)
        if len(path) < 3 or path[0] != "crm" or not re.fullmatch(r"v[2-8](\.1)?", path[1]):
            return None
        for method, pattern, operation in _ROUTES:
            parts = pattern.split("/")
            if (
                method == call.method
                and len(parts) == len(path) - 2
                and all(p in ("*", s) for p, s in zip(parts, path[2:], strict=True))
            ):
                call.operation = operation
                self._weigh(call)
                handler: Handler = getattr(self, f"on_{operation}")
                return lambda c: self._admitted(c, handler)
        return None

    def _weigh(self, call: TwinCall) -> None:
        """Counts the rows of a write, and puts the call into the sub-concurrency where Zoho does [DOC]."""
        if call.operation in WRITES:
            try:
                data = call.json().get("data")
                call.rows = len(data) if isinstance(data, list) else 0
            except (ValueError, AttributeError):
                call.rows = 0  # the handler says what is wrong with it
        if call.operation in ("coql", "search", "convert") or call.rows > HEAVY_ROWS:
            call.lane = "heavy"

    def _admitted(self, call: TwinCall, handler: Handler) -> TwinResponse:
        """The checks before any work: token, concurrency, credits."""
        if not self.accounts.valid(call.bearer) or not call.headers["authorization"].startswith("Zoho-oauthtoken "):
            return self.refused()
        if self.in_flight > self.concurrency or self.in_lane["heavy"] > self.sub_concurrency:
            return self.named["concurrency"](self, call)
        if call.operation in self.refused_scopes or not self.accounts.may(call.bearer, self._scopes(call)):
            return self.named["scope"](self, call)
        if self.spent() >= self.credits:
            return self.named["credits"](self, call)
        self.spend(
            1 + max(0, (call.rows - 1) // 10) if call.operation in WRITES else 5 if call.operation == "convert" else 1
        )
        try:
            answer = handler(call)
        except ZohoRowError as error:
            answer = TwinResponse(400, error.body())
        except CoqlError as error:
            answer = TwinResponse(
                400, {"code": error.code, "details": error.details, "message": error.message, "status": "error"}
            )
        except orjson.JSONDecodeError:
            answer = self.error(400, "INVALID_DATA", "body is not valid JSON")
        answer.headers["X-API-CREDITS-REMAINING"] = str(max(0, self.credits - self.spent()))
        answer.headers["X-AccessToken-Reset"] = self.rows.stamp(self.accounts.expires(call.bearer))  # [REC]
        return answer

    def _scopes(self, call: TwinCall) -> tuple[str, ...]:
        """The scopes that a call takes: a query's by the module it asks."""
        asked = _FROM.search(call.body) if call.operation == "coql" else None
        return zoho_scopes.needed(call.operation, asked[1].decode() if asked else call.segments[2])

    # Writes.

    def on_create(self, call: TwinCall) -> TwinResponse:
        module = self.module(call.segments[2])
        return self._write(call, lambda given, index: (self.rows.insert(module, given, index), {}), 201)

    def on_update(self, call: TwinCall) -> TwinResponse:
        module = self.module(call.segments[2])
        return self._write(
            call, lambda given, index: (self.rows.update(module, str(given.get("id", "")), given, index), {}), 200
        )

    def on_update_one(self, call: TwinCall) -> TwinResponse:
        module, id_ = self.module(call.segments[2]), call.segments[3]
        return self._write(call, lambda given, index: (self.rows.update(module, id_, given, index), {}), 200)

    def on_upsert(self, call: TwinCall) -> TwinResponse:
        module = self.module(call.segments[2])
        if not module.check:  # zoho.md: upsert does NOT support Tasks, Calls, Events, Notes; the code is [UNV]
            raise ZohoRowError(
                "INVALID_MODULE", "the module name given seems to be invalid", {"resource_path_index": 0}
            )
        check = call.json().get("duplicate_check_fields") or [module.check]
        for name in check:
            if name not in module.unique and name != module.check:
                raise ZohoRowError(
                    "INVALID_DATA",
                    "the field given is not a duplicate check field",
                    {"api_name": "duplicate_check_fields"},
                )

        def work(given: Mapping[str, Any], index: int) -> tuple[Record, dict[str, Any]]:
            record, found = self.rows.upsert(module, given, index, check)
            return record, {"duplicate_field": found, "action": "update" if found else "insert"}

        return self._write(call, work, 200)

    def _write(self, call: TwinCall, work: Any, success: int) -> TwinResponse:
        """One outcome a record, in the order of the records; the HTTP status says little (zoho.md: never trust it)."""
        body = call.json()
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, list) or not data:
            raise ZohoRowError(
                "MANDATORY_NOT_FOUND", "required field not found", {"api_name": "data", "json_path": "$.data"}
            )
        if len(data) > ROWS:
            raise ZohoRowError(
                "LIMIT_EXCEEDED", "the limit of records in one call is exceeded", {"limit": ROWS, "json_path": "$.data"}
            )
        results = [self._outcome(call, given, index, work) for index, given in enumerate(data)]
        failed = sum(r["status"] == "error" for r in results)
        status = success if not failed else self.failed_status if failed == len(results) else self.mixed_status
        return TwinResponse(status, {"data": results})

    def _outcome(self, call: TwinCall, given: Any, index: int, work: Any) -> dict[str, Any]:
        savepoint = self.store.savepoint()
        try:
            if not isinstance(given, dict):
                raise ZohoRowError(
                    "INVALID_DATA",
                    "invalid data",
                    {"expected_data_type": "jsonobject", "json_path": f"$.data[{index}]"},
                )
            self._spare(call, given, index)
            record, extra = work(given, index)
        except ZohoRowError as error:
            self.store.rollback(savepoint)
            return error.body()
        message = _WORDS.get(call.operation) or (
            "record updated" if extra.get("action") == "update" else "record added"
        )
        return {
            "code": "SUCCESS",
            **extra,
            "details": self.rows.details(record),
            "message": message,
            "status": "success",
        }

    def _spare(self, call: TwinCall, given: Mapping[str, Any], index: int) -> None:
        for fault in call.row_faults:
            if fault.hits_row(index, given):
                names = fault.params.get("fields", ())
                details = {"api_name": names[0], "json_path": f"$.data[{index}].{names[0]}"} if names else {}
                raise ZohoRowError(
                    fault.params.get("code", "INTERNAL_ERROR"),
                    fault.params.get("message", "internal server error"),
                    details,
                )

    def on_delete(self, call: TwinCall) -> TwinResponse:
        return self._bury(call, [call.segments[3]])

    def on_delete_many(self, call: TwinCall) -> TwinResponse:
        return self._bury(call, [i for i in call.query.get("ids", "").split(",") if i])

    def _bury(self, call: TwinCall, ids: list[str]) -> TwinResponse:
        module = self.module(call.segments[2])
        results = []
        for id_ in ids:
            record = self.rows.live(module.name, id_)
            if record is None:
                results.append(ZohoRowError("INVALID_DATA", "record not deleted", {"id": id_}).body())
                continue
            self.store.put(module.name, id_, {**record, "_deleted": True})
            results.append(
                {"code": "SUCCESS", "details": {"id": id_}, "message": "record deleted", "status": "success"}
            )
        return TwinResponse(200, {"data": results})

    def on_convert(self, call: TwinCall) -> TwinResponse:
        return conversion.convert(self, call)

    def on_conversion_options(self, call: TwinCall) -> TwinResponse:
        return conversion.options(self, call)

    def on_add_tags(self, call: TwinCall) -> TwinResponse:
        return observers.tag(self, call, self._spare)

    def on_remove_tags(self, call: TwinCall) -> TwinResponse:
        return observers.tag(self, call, self._spare)

    # Reads.

    def on_get(self, call: TwinCall) -> TwinResponse:
        return reads.get(self, call)

    def on_list(self, call: TwinCall) -> TwinResponse:
        return reads.list_(self, call)

    def on_search(self, call: TwinCall) -> TwinResponse:
        return reads.search(self, call)

    def on_coql(self, call: TwinCall) -> TwinResponse:
        return reads.coql(self, call)

    def on_fields(self, call: TwinCall) -> TwinResponse:
        return TwinResponse(200, schema.describe(self.module(call.query.get("module", ""))))

    def on_create_fields(self, call: TwinCall) -> TwinResponse:
        return setup.create(self, call)

    def on_modules(self, call: TwinCall) -> TwinResponse:
        return reads.modules(self)

    def on_users(self, call: TwinCall) -> TwinResponse:
        return reads.users(self, call)

    def on_org(self, call: TwinCall) -> TwinResponse:
        return reads.organization()

    def on_signal_namespaces(self, call: TwinCall) -> TwinResponse:
        return signals.list_(self)

    def on_notify(self, call: TwinCall) -> TwinResponse:
        return signals.notify(self, call)
