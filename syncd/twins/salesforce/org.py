"""The state of the Salesforce twin: its options, records, limits and tokens, and what every call does with them.

The modules beside it work on this; the routes and their handlers are in twin.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import orjson

from syncd.twins.salesforce import rows, schema
from syncd.twins.salesforce.auth import Tokens
from syncd.twins.salesforce.rows import SalesforceRowError, full_id, stamp
from syncd.twins.salesforce.schema import SalesforceField, SObject
from syncd.twins.server import Handler, Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse

PAGE = 2_000  # rows of a query answer [D]
LOCKED = "unable to obtain exclusive access to this record or 1 records: {0}"


def _answer(status: int, code: str, message: str) -> Named:
    return lambda twin, call: twin.error(status, code, message, operation=call.operation)


class SalesforceOrg(Twin):
    """Options beside those of Twin: `daily_limit`, `max_concurrent`, `page_size`, `custom_fields`, `token_life`
    (seconds), `client_id`,
    `client_secret`, `refresh_token`, `public_key` (PEM; each checked only when given), `rotate_refresh`,
    `unique_activity_key`, `redirect_uris` (the callback addresses of the app; default: any); `bare` (without the fields that
    syncd's set-up adds), `customizes`, `views_all` and `converts` (may our user change the org, see all data, and convert
    leads), `converted_statuses` (of leads; default: one), `hidden` (object ->
    fields that our user may not see), `scopes` (of tokens that no person's consent made; default: all)."""

    key_field = "Syncd_Key__c"
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
        page_size: int = PAGE,
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
        converts: bool = True,
        converted_statuses: Iterable[str] = ("Closed - Converted",),
        untracked: Iterable[str] = (),
        chatter: bool = True,
        hidden: Mapping[str, Iterable[str]] | None = None,
        scopes: Iterable[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.schema = schema.schema({} if bare else custom_fields)
        self.customizes, self.views_all, self.made_fields = customizes, views_all, 0
        self.converts, self.converted_statuses = converts, tuple(converted_statuses)
        for name in untracked:
            self.schema[name].tracked = False
        if not chatter:  # without it nobody follows anything [M]
            del self.schema["EntitySubscription"]
        self.hidden: dict[str, dict[str, SalesforceField]] = {}
        for object_, names in (hidden or {}).items():
            for name in names:
                self.hide(object_, name)
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

    @abstractmethod
    def resource(self, method: str, path: tuple[str, ...]) -> tuple[str, Handler | None]:
        """(operation, handler) of a path below the version."""

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        if operation == "token":
            return TwinResponse(status, {"error": code, "error_description": message})
        body: dict[str, Any] = {"message": message, "errorCode": code}
        names = list(fields)
        return TwinResponse(status, [body | {"fields": names} if names else body])

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
            self.store.table("User").put(self.user, self._integration_user())
        for row in self._lead_statuses():
            self.store.table("LeadStatus").put(row["Id"], row)
        rights = self._permissions()
        self.store.table("UserPermissionAccess").put(rights["Id"], rights)

    def hide(self, object_: str, name: str) -> None:
        """Takes a field out of our user's sight: to the API it does not exist."""
        self.hidden.setdefault(object_, {})[name] = self.schema[object_].fields[name]
        self.schema[object_].drop(name)

    def _integration_user(self) -> Record:
        now = stamp(self.clock())
        names = {"FirstName": "Integration", "LastName": "User", "Name": "Integration User", "Alias": "integ"}
        address = "integration@twin.example.com"
        rest = {
            "Username": address,
            "Email": address,
            "IsActive": True,
            "ProfileId": "00edM00000Qj7rCQAR",
            "UserType": "Standard",
        }
        return (
            {"Id": self.user, "IsDeleted": False, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now}
            | names
            | rest
        )

    def _permissions(self) -> Record:
        """The one row of UserPermissionAccess: what our user may do."""
        now = stamp(self.clock())
        return {
            "Id": "0Hp000000000001AAA",
            "IsDeleted": False,
            "SystemModstamp": now,
            "PermissionsApiEnabled": True,
            "PermissionsViewAllData": self.views_all,
            "PermissionsModifyAllData": False,
            "PermissionsCustomizeApplication": self.customizes,
            "PermissionsViewSetup": self.customizes,
            "PermissionsConvertLeads": self.converts,
        }

    def _lead_statuses(self) -> list[Record]:
        """The rows of LeadStatus: the values of Lead.Status, and which of them a converted lead may have."""
        ended = {"Closed - Converted", *self.converted_statuses}
        usual = [one for one in self.schema["Lead"].fields["Status"].values if one not in ended]
        names = [*usual, *self.converted_statuses]
        same = {"IsDeleted": False, "SystemModstamp": stamp(self.clock())}
        return [
            {"Id": f"01Jd0000000000{at}AAA", "MasterLabel": name, "ApiName": name, "SortOrder": at + 1, **same}
            | {"IsDefault": at == 0, "IsConverted": name in self.converted_statuses}
            for at, name in enumerate(names)
        ]

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
