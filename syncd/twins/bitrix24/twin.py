"""The Bitrix24 twin: a portal's REST API over real HTTP, with webhooks, OAuth, batches, rate limits and run-time limits.

The state is in portal.py, the methods in the modules that methods.py names. Every answer has the HTTP status of its own error,
but for a batch, which is always 200.
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import batch, by_hand, phpdata
from syncd.twins.bitrix24.commands import CommandPortal
from syncd.twins.bitrix24.methods import BATCH, known
from syncd.twins.bitrix24.rest import Bitrix24Error
from syncd.twins.server import Handler
from syncd.twins.state import Record
from syncd.twins.wire import TwinCall, TwinResponse


class Bitrix24Twin(CommandPortal):
    """The routes, and one call; the options are those of Bitrix24Portal."""

    name = "bitrix24"
    example = """\
destinations:
  crm:
    type: bitrix24
    base_url: {base_url}
    mapping: mappings/bitrix24.yaml
"""
    row_operations = frozenset({"crm.item.add", "crm.item.update", BATCH})

    def credentials(self) -> dict[str, str]:
        return {"base_url": f"{self.url}/rest/1/{self.access.secret}/"}

    # What users do behind an integration's back.

    def add(self, object_: str, /, **fields: Any) -> str:
        with self.lock, self.settled():
            return by_hand.add(self, object_, fields)

    def delete(self, id_: str) -> bool:
        with self.lock, self.settled():
            return by_hand.delete(self, id_)

    def convert(self, id_: str) -> dict[str, Any]:
        with self.lock, self.settled():
            return by_hand.convert(self, id_)

    def merge(self, master: str, loser: str) -> None:
        """Merges two records as a user would: the loser is gone, its telephone numbers and addresses go to the master."""
        with self.lock, self.settled():
            by_hand.merge(self, master, loser)

    def change(self, id_: str, **fields: Any) -> Record:
        """Changes a record as a user would; the record."""
        with self.lock, self.settled():
            return by_hand.change(self, id_, fields)

    def invite(self, chat: int, user: int) -> None:
        """Invites a user to a chat as another user would: in a record's chat that makes an observer."""
        with self.lock, self.settled():
            by_hand.invite(self, chat, user)

    def complete(self, activity: int) -> None:
        """Ticks an activity off as a user would."""
        with self.lock, self.settled():
            by_hand.complete(self, activity)

    def stats(self) -> dict[str, Any]:
        own = {
            "commands": self.counts["commands"],
            "operating": self.operating.busiest(),
            "bucket_peak": self.bucket.peak,
        }
        return super().stats() | own | {"ignored_fields": sorted(self.ignored), "tokens_issued": self.access.issued}

    # Routes.

    def route(self, call: TwinCall) -> Handler | None:
        path = call.segments
        if path in (("oauth", "token"), ("oauth", "authorize")) and call.method in ("GET", "POST"):
            call.operation = path[1]
            answer = self.access.grant if path[1] == "token" else self.access.authorize
            return lambda c: answer(c, self.url)
        if path[:1] != ("rest",) or len(path) not in (2, 4):
            return None
        asked = path[-1].removesuffix(".json")
        call.operation = BATCH if asked.lower() == BATCH else known(asked) or asked
        try:
            params = self._params(call)
        except ValueError:
            params = {}  # PHP reads no parameters out of a body it cannot parse
        if call.operation == BATCH:
            call.inner = tuple(name for _, name, _ in batch.commands(params))
        call.rows = max(1, len(call.inner))
        return lambda c: self._served(c, path, params)

    def _params(self, call: TwinCall) -> dict[str, Any]:
        """The parameters of the address and of the body, which is JSON or a form; the body wins."""
        found = phpdata.parse(call.raw_query)
        if call.body and "json" in call.headers.get("content-type", ""):
            body = call.json()
            return found | (body if isinstance(body, dict) else {})
        return found | phpdata.parse(call.body.decode("utf-8", "replace"))

    def _served(self, call: TwinCall, path: tuple[str, ...], params: dict[str, Any]) -> TwinResponse:
        started = self.clock()
        if not self.bucket.admits():
            return self.named["query_limit"](self, call)
        try:
            caller = (
                self.access.webhook(path[1], path[2])
                if len(path) == 4
                else self.access.token(str(params.get("auth", "")))
            )
            owner = self.user(caller.user)
            if owner is None or not owner["ACTIVE"]:
                raise Bitrix24Error("INVALID_CREDENTIALS", "Invalid request credentials", 403)
            if call.operation == BATCH:
                result = batch.run(self, call, caller, params, started)
                return TwinResponse(200, phpdata.shown({"result": result, "time": self.timed(started, (0.0, None))}))
            answer, cost = self.command(call, caller, params, 0)
        except Bitrix24Error as error:
            return error.answer()
        return TwinResponse(
            200, phpdata.shown({"result": answer.result, **answer.around(), "time": self.timed(started, cost)})
        )
