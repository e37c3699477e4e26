"""The state of the Zoho CRM twin: its options, records, credits and tokens, and what every call does with them.

The modules beside it work on this; the routes and their handlers are in twin.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from syncd.twins.server import Named, Twin
from syncd.twins.state import Record
from syncd.twins.wire import TwinResponse
from syncd.twins.zoho import rows, schema
from syncd.twins.zoho.auth import LIFE, PER_WINDOW, THROTTLED, Accounts
from syncd.twins.zoho.rows import ZohoRowError
from syncd.twins.zoho.schema import Module, ZohoField

DAY = 86_400.0  # credits are counted over 24 rolling hours [DOC]
NAMESPACES = frozenset(  # those of Zoho's sample answer that syncd's channels have [DOC]
    [
        "Email_Incoming__s",
        "EmailInsight_Open__s",
        "EmailInsight_Click__s",
        "EmailInsight_Bounce__s",
        "Telephony_Missed__s",
        "Survey_Responded__s",
        "Campaign_Open__s",
        "Campaign_Click__s",
        "Campaign_Bounce__s",
        "Livedesk_MissedChat__s",
        "Support_NewTicket__s",
        "Support_NewComment__s",
        "Support_NewResponse__s",
        "Support_TicketOverdue__s",
        "Support_TicketEscalated__s",
        "Support_NewRating__s",
        "Facebook_NewPost__s",
        "Facebook_NewComment__s",
        "Facebook_NewLike__s",
        "Facebook_Message__s",
        "Twitter_Mention__s",
        "Twitter_Message__s",
    ]
)


def _answer(status: int, code: str, message: str) -> Named:
    return lambda twin, call: twin.error(status, code, message, operation=call.operation)


class ZohoOrg(Twin):
    """Options beside those of Twin: `credits` (a day), `concurrency`, `sub_concurrency`, `per_window` (tokens in ten minutes),
    `token_life` (seconds), `client_id`, `client_secret`, `refresh_token` (each checked only when given),
    `zone_hours`, `duplicate_id`,
    `mixed_status`, `failed_status`, `search_lag` (seconds), `custom_fields`, `namespaces` (of signals),
    `pipelines` (of deals -> their stages; default: none); `bare` (without the
    fields that syncd's set-up adds), `customizes` (may our user change the account), `hidden` (module -> fields that our user
    may not see), `scopes` (of refresh tokens that no consent made; default: all),
    `refused_scopes` (operations for which the token lacks the scope)."""

    key_field = "Syncd_Key"
    indexes: ClassVar[Mapping[str, Iterable[str]]] = {
        "Leads": ("Email", "Syncd_Key"),
        "Contacts": ("Email", "Syncd_Key"),
        "Accounts": ("Account_Name", "Syncd_Key"),
        "Deals": ("Deal_Name", "Syncd_Key"),
        "Tasks": ("Syncd_Key", "Who_Id", "What_Id"),
        "Calls": ("Syncd_Key",),
        "Events": ("Syncd_Key",),
        "Notes": (),
        "Products": (),
        "Vendors": (),
    }
    # zoho.md, "Error classes to implement" and OAuth. The message texts are not on that page [UNV].
    named: ClassVar[Mapping[str, Named]] = {
        "token_throttle": lambda twin, call: TwinResponse(400, THROTTLED),
        "invalid_code": lambda twin, call: TwinResponse(200, {"error": "invalid_code"}),
        "invalid_client": lambda twin, call: TwinResponse(200, {"error": "invalid_client"}),
        "concurrency": _answer(429, "TOO_MANY_REQUESTS", "too many requests at the same time"),
        "credits": _answer(429, "THRESHOLD_EXCEEDED", "the API credits of the last 24 hours are used up"),
        "internal": _answer(500, "INTERNAL_ERROR", "internal server error"),
        "locked": _answer(400, "RECORD_LOCKED", "the record is locked"),
        "scope": _answer(401, "OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL"),
        "no_permission": _answer(403, "NO_PERMISSION", "permission denied"),
        "wrong_dc": _answer(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"),
    }

    def __init__(
        self,
        *,
        credits: int = 50_000,
        concurrency: int = 15,
        sub_concurrency: int = 10,
        per_window: int = PER_WINDOW,
        token_life: float = LIFE,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        zone_hours: float = 3.0,
        duplicate_id: bool = True,
        mixed_status: int = 207,
        failed_status: int = 202,
        search_lag: float = 0.0,
        custom_fields: Mapping[str, tuple[ZohoField, ...]] | None = None,
        namespaces: Iterable[str] = (),
        pipelines: Mapping[str, Iterable[str]] | None = None,
        bare: bool = False,
        customizes: bool = True,
        hidden: Mapping[str, Iterable[str]] | None = None,
        scopes: Iterable[str] | None = None,
        refused_scopes: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.schema = schema.schema({} if bare else custom_fields)
        self.customizes, self.refused_scopes = customizes, frozenset(refused_scopes)
        self.hidden: dict[str, dict[str, ZohoField]] = {}
        for module, names in (hidden or {}).items():
            for name in names:
                self.hide(module, name)
        self.accounts = Accounts(self.clock, client_id, client_secret, refresh_token, per_window, token_life, scopes)
        self.user = integration_user()
        self.rows = rows.ZohoRows(self.store, self.schema, self.clock, self.user, zone_hours, duplicate_id)
        self.credits, self.concurrency, self.sub_concurrency = credits, concurrency, sub_concurrency
        self.mixed_status, self.failed_status, self.search_lag = mixed_status, failed_status, search_lag
        self.namespaces = frozenset(namespaces) or NAMESPACES
        self.pipelines = {name: tuple(stages) for name, stages in (pipelines or {}).items()}
        self.spent_total = self._in_window = 0
        self._spent: deque[tuple[float, int]] = deque()
        self.forget()

    def error(
        self, status: int, code: str, message: str, fields: Iterable[str] = (), operation: str = ""
    ) -> TwinResponse:
        names = list(fields)
        details = {"api_name": names[0]} if names else {}
        return TwinResponse(status, {"code": code, "details": details, "message": message, "status": "error"})

    def refused(self) -> TwinResponse:
        return self.error(401, "INVALID_TOKEN", "invalid oauth token")

    def expire_tokens(self) -> None:
        self.accounts.expire_all()

    def clashes(self, object_: str, record: Record) -> bool:
        return object_ in self.schema and self.rows.clashes(object_, record)

    def alive(self, record: Record) -> bool:
        return not record.get("_deleted")

    def forget(self) -> None:
        self.accounts.forget()
        self._spent.clear()
        self.spent_total = self._in_window = 0
        self.store.table("users").put(self.user["id"], self.user)

    def hide(self, module: str, name: str) -> None:
        """Takes a field out of our user's sight: it is missing from every answer, without an error."""
        self.hidden.setdefault(module, {})[name] = self.schema[module].fields[name]
        self.schema[module].drop(name)

    def spent(self) -> int:
        """Credits of the last 24 hours."""
        while self._spent and self._spent[0][0] <= self.clock() - DAY:
            self._in_window -= self._spent.popleft()[1]
        return self._in_window

    def spend(self, cost: int) -> None:
        """Books credits; bookings of one second are kept as one."""
        now = self.clock()
        self.spent_total += cost
        self._in_window += cost
        if self._spent and now - self._spent[-1][0] < 1.0:
            at, before = self._spent.pop()
            self._spent.append((at, before + cost))
        else:
            self._spent.append((now, cost))

    def module(self, name: str) -> Module:
        """The module of a path; raises ZohoRowError for one that does not exist."""
        found = self.schema.get(name)
        if found is None:
            raise ZohoRowError(
                "INVALID_MODULE", "the module name given seems to be invalid", {"resource_path_index": 0}
            )
        return found


def integration_user() -> dict[str, Any]:
    """The user the tokens belong to, with the keys of a recorded one [REC]."""
    me = {"name": "Twin Owner", "id": "7328395000000605001"}
    absent = (
        "fax Reporting_To zip phone Current_Shift__s dob city signature Shift_Effective_From__s street alias "
        "status_reason__s website "
        "mobile Next_Shift__s"
    )
    views = ("notes_desc", "bc_view", "unpin_recent_item")
    theme = {
        "normal_tab": {"font_color": "#FFFFFF", "background": "#222222"},
        "new_background": None,
        "background": "#F3F0EB",
    }
    theme |= {"selected_tab": {"font_color": "#FFFFFF", "background": "#222222"}, "screen": "fixed", "type": "default"}
    return dict.fromkeys(absent.split()) | {
        "id": me["id"],
        "full_name": me["name"],
        "first_name": "Twin",
        "last_name": "Owner",
        "email": "owner@example.com",
        "status": "active",
        "confirm": True,
        "zuid": "924194079",
        "profile": {"name": "Administrator", "id": "7328395000000026011"},
        "role": {"name": "CEO", "id": "7328395000000026005"},
        "created_by": me,
        "Modified_By": me,
        "created_time": "2026-05-14T11:34:21+03:00",
        "Modified_Time": "2026-05-14T11:35:10+03:00",
        "country": "Kenya",
        "state": "Nairobi City",
        "country_locale": "KE",
        "language": "en_US",
        "locale": "en_US",
        "decimal_separator": "en_KE",
        "time_zone": "Africa/Nairobi",
        "offset": 10_800_000,
        "time_format": "hh:mm a",
        "date_format": "MM/dd/yyyy",
        "name_format": "Salutation,First Name,Last Name",
        "distance_preference__s": "Miles",
        "microsoft": False,
        "sandboxDeveloper": False,
        "personal_account": True,
        "Isonline": True,
        "default_tab_group": "0",
        "territories": [],
        "theme": theme,
        "customize_info": dict.fromkeys(views)
        | {"show_right_panel": None, "show_home": False, "show_detail_view": True}
        | {"show_left_panel": True},
    }
