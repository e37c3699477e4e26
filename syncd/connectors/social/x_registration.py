"""Registering an address with X: a webhook of the app, and what it is called for (subscriptions of the X Activity API).

Facts: docs.x.com/x-api/webhooks/quickstart (only the app's bearer token may manage webhooks; an invalid one is tested again by
PUT) and …/activity/quickstart (private events such as messages are subscribed as the account). Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.capabilities import Subscribed, Subscription
from syncd.connectors.registration import same_address
from syncd.connectors.social.fields import Fields, id_of, inner, text_of
from syncd.connectors.social.x_events import MENTIONS, MESSAGE
from syncd.errors import Failure, Misconfigured, SyncdError
from syncd.http.vendor_api import VendorApi

HOOKS, ACTIVITY = "/2/webhooks", "/2/activity/subscriptions"
FULL = "WebhookLimitExceeded"
"""X's reason when the plan allows no further webhook."""


class XRegistration:
    """Subscribable for one account. `account`: calls as the account, None without sign-in; messages are then not subscribed."""

    def __init__(self, app: VendorApi, account: VendorApi | None, user: str, url: str) -> None:
        self._app, self._account = app, account
        self._user, self._url = user, url
        self._wanted = (*MENTIONS, MESSAGE) if account is not None else MENTIONS

    def subscriptions(self) -> list[Subscription]:
        activity = self._activity()
        return [self._read(row, activity) for row in self._app.rows(HOOKS, items="data")]

    def subscribe(self, *, force: bool = False) -> Subscribed:
        """One webhook at our address, for each event of this account."""
        hook = self._ours() or self._made(force)
        if not hook.get("valid"):
            self._app.call("PUT", f"{HOOKS}/{id_of(hook.get('id'))}", write=False)
        there = {text_of(row.get("event_type")) for row in self._of_hook(id_of(hook.get("id")), self._activity())}
        for name in self._wanted:
            if name not in there:
                self._subscribe(name, id_of(hook.get("id")))
        return Subscribed(there=[one for one in self.subscriptions() if one.ours])

    def unsubscribe(self, id: str) -> None:
        """Ends what the webhook is called for by this account; the webhook itself unless another account uses it."""
        activity = self._activity()
        mine = self._of_hook(id, activity)
        for row in mine:
            self._app.call("DELETE", f"{ACTIVITY}/{id_of(row.get('subscription_id'))}", absent=True)
        if not [row for row in activity if id_of(row.get("webhook_id")) == id and row not in mine]:
            self._app.call("DELETE", f"{HOOKS}/{id}", absent=True)

    def _ours(self) -> Fields | None:
        rows = self._app.rows(HOOKS, items="data")
        return next((row for row in rows if same_address(row.get("url"), self._url)), None)

    def _made(self, force: bool) -> Fields:
        try:
            self._app.call("POST", HOOKS, json={"url": self._url})
        except Failure as failure:
            rows = self._app.rows(HOOKS, items="data")
            if FULL not in f"{failure}" or not rows:
                raise
            first = rows[0]
            if not force:
                elsewhere = text_of(first.get("url"))
                raise SyncdError(
                    f"the app's webhook goes to {elsewhere}, and the plan allows no other; --force replaces it"
                ) from None
            self._app.call("DELETE", f"{HOOKS}/{id_of(first.get('id'))}", absent=True)
            self._app.call("POST", HOOKS, json={"url": self._url})
        return self._ours() or {}

    def _subscribe(self, name: str, hook: str) -> None:
        """Which events are private, so that only the account may subscribe them, changes: where the app is refused, the account
        does it."""
        filter_, tag = {"user_id": self._user}, f"syncd {name}"
        asked = {"event_type": name, "filter": filter_, "tag": tag, "webhook_id": hook}
        try:
            self._app.call("POST", ACTIVITY, json=asked)
        except Misconfigured:
            if self._account is None:
                raise
            self._account.call("POST", ACTIVITY, json=asked)

    def _activity(self) -> list[Fields]:
        return [*self._app.rows(ACTIVITY, items="data")]

    def _of_hook(self, hook: str, activity: Sequence[Fields]) -> list[Fields]:
        """What calls a webhook for this account."""
        return [
            row
            for row in activity
            if id_of(row.get("webhook_id")) == hook and id_of(inner(row, "filter").get("user_id")) == self._user
        ]

    def _read(self, row: Fields, activity: Sequence[Fields]) -> Subscription:
        id_ = id_of(row.get("id"))
        ours, events = same_address(row.get("url"), self._url), self._of_hook(id_, activity)
        named = tuple(sorted(text_of(one.get("event_type")) for one in events))
        missing = [name for name in self._wanted if name not in named]
        valid = row.get("valid") is True
        return Subscription(
            id=id_,
            url=text_of(row.get("url")),
            events=named,
            state="valid" if valid else "invalid: its challenge was not answered",
            ours=ours,
            active=valid and bool(named),
            note=f"not subscribed: {', '.join(missing)}" if ours and missing else "",
        )
