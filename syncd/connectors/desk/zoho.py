"""`type: zoho_desk`: tickets created, answered, commented, overdue and escalated in Zoho Desk.

The webhook's token does not cover its body, so a delivery is only a hint and everything is read again through the API; the
poll over modified tickets makes it complete. Overdue and escalated are differences between two looks (no event exists).
`ticket.rated` has no verified API: let a Desk workflow rule post to a generic `webhook` source with a field map.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from syncd.capabilities import Finding, Level, SignIn
from syncd.connector import Ability, Batch, Connector, Context, Request, SignalSpec, webhooks_alone
from syncd.connectors.accounts.scopes import ScopeTable, ScopeUse
from syncd.connectors.accounts.zoho import DATA_CENTRES, bearer, sign_in_of
from syncd.connectors.desk.ticket_list import ListedTickets, ticket_hint
from syncd.connectors.desk.tickets import Record
from syncd.connectors.desk.zoho_api import UNIT, DeskApi, desk_webhooks
from syncd.connectors.desk.zoho_receiver import DeskReceiver, ZohoDeskSettings, ZohoDeskWebhooksOnly
from syncd.connectors.online import existence_findings
from syncd.connectors.registration import Registered
from syncd.errors import Misconfigured
from syncd.signals import Route

_WEBHOOKS = (f"Desk.webhooks.{operation}" for operation in ("READ", "CREATE", "UPDATE", "DELETE"))
SCOPES = ScopeTable(
    (
        ScopeUse("Desk.tickets.READ", "to read tickets, replies and comments"),
        ScopeUse("Desk.search.READ", "to find the tickets that changed"),
        ScopeUse("Desk.contacts.READ", "to read who wrote"),
        ScopeUse("Desk.settings.READ", "to look up the departments (check --online)", "departments"),
        *(ScopeUse(scope, "to manage the webhook (webhooks)", "webhooks") for scope in _WEBHOOKS),
    )
)


class ZohoDesk(DeskReceiver, ListedTickets, Registered):
    """WebhookSource, KeyFetchingSource, HintSource, PollingSource, Backfillable and Subscribable."""

    def __init__(self, settings: ZohoDeskSettings, context: Context) -> None:
        auth, org = settings.auth, settings.org_id
        assert auth is not None, "without auth: it is a ZohoDeskWebhooksOnly"
        DeskReceiver.__init__(self, settings, context)
        self._settings, self._auth = settings, auth
        self._accounts = settings.accounts_url or DATA_CENTRES[settings.data_center].accounts
        held = bearer(context, self._accounts, auth, kind="zoho_desk")
        self._api = DeskApi(settings.desk, held, org, context, settings.keep_credits, settings.departments)
        ListedTickets.__init__(self, self._api, self._signals, context)
        url, accepted = context.webhook_url, settings.webhook_ids
        self._webhooks = desk_webhooks(self._api.hooks, context.name, url, settings.departments, accepted)

    def sign_in(self) -> SignIn:
        """How `syncd auth` signs a person in."""
        centre, auth = DATA_CENTRES[self._settings.data_center], self._auth
        kinds = {"departments": self._settings.departments, "webhooks": self._context.webhook_url}
        scopes = SCOPES.needed([kind for kind, asked in kinds.items() if asked])
        return sign_in_of(self._accounts, centre, auth, scopes, kind="zoho_desk", name=self._context.name)

    def check_online(self) -> Iterator[Finding]:
        """The token, the organisation, each scope by trying it, the departments: three calls at most, seven credits. Raises the
        Failure of whatever is refused: it names what is missing."""
        now = self._context.clock()
        self._api.search(now - timedelta(minutes=1), now, 0)
        yield Finding(Level.OK, "sign-in", f"organisation {self._settings.org_id}: its tickets may be searched")
        self._api.rows("/contacts", {"limit": "1"}, items="data")
        yield Finding(Level.OK, "contacts", "contacts may be read")
        if not self._settings.departments:
            return
        try:
            rows = self._api.rows("/departments", {"limit": "200"}, items="data")
        except Misconfigured as refused:
            text = f"cannot check whether the departments exist: {refused}"
            yield Finding(Level.WARNING, "departments", text, "for this alone the token would need Desk.settings.READ")
            return
        known = {str(row.get("id")): str(row.get("name") or "") for row in rows}
        remedy = "there are: " + ", ".join(f"{name} {one}" for one, name in list(known.items())[:10])
        wanted, missing = self._settings.departments, "there is no such department"
        yield from existence_findings("department", wanted, known.get, missing, remedy)

    def parse(self, request: Request) -> Batch:
        def make(kind: str, payload: Record, ids: tuple[str, ...]) -> Batch:
            return Batch(hints=[ticket_hint(":".join((kind, *ids)), Route.WEBHOOK)])

        return self.events(request, make)


def _build(settings: ZohoDeskSettings, context: Context) -> ZohoDesk | ZohoDeskWebhooksOnly:
    return ZohoDeskWebhooksOnly(settings, context) if settings.auth is None else ZohoDesk(settings, context)


_ALONE = "auth: is not set, so only what Desk's webhooks carry is read; set auth: to use Desk's API"
CONNECTOR = Connector(
    name="zoho_desk",
    unit=UNIT,
    contract=2,
    role="source",
    summary="tickets of Zoho Desk: created, answered, commented, overdue, escalated",
    settings=ZohoDeskSettings,
    build=_build,
    unable=lambda settings: {} if settings.auth is not None else webhooks_alone(_ALONE, Ability.SIGN_IN),
    signals=(
        SignalSpec("ticket.created", "webhook, poll and backfill: ticket id", backfill=True),
        SignalSpec("ticket.replied", "webhook, poll and backfill: thread id", backfill=True),
        SignalSpec("ticket.commented", "webhook, poll and backfill: comment id", backfill=True),
        SignalSpec("ticket.overdue", "webhook and poll: ticket id and due date", backfill=False),
        SignalSpec("ticket.escalated", "webhook and poll: ticket id and how often we saw it escalated", backfill=False),
    ),
    secrets_note="the refresh token's scopes: Desk.tickets.READ, Desk.search.READ, Desk.contacts.READ",
)
