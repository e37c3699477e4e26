"""Which users of a CRM are active and who is in which team, kept for a few minutes. Pure but for what it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from syncd.dispatch import pacing

KEPT = 10 * 60 * pacing.SECOND
"""Whether a user is active is asked again after this time."""


class KnownUsers:
    """What the CRM said of its users. Times are UTC milliseconds."""

    def __init__(self) -> None:
        self._active: dict[str, bool] = {}
        self._until: dict[str, int] = {}
        self._teams: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}

    def unknown(self, ids: Iterable[str], now: int) -> list[str]:
        """Those of the ids that the CRM is to be asked for."""
        return [id for id in dict.fromkeys(ids) if self._until.get(id, 0) <= now]

    def learn(self, asked: Sequence[str], told: Mapping[str, bool], now: int) -> None:
        """Keeps what the CRM said of those it was asked for."""
        for id in asked:
            self._active.pop(id, None)
        self._active.update(told)
        self._until.update(dict.fromkeys(asked, now + KEPT))

    def active(self, id: str) -> bool:
        """Whether a user is active; one of whom nothing is known is."""
        return self._active.get(id, True)

    def team(self, team: tuple[str, str], now: int, *, stale: bool = False) -> tuple[str, ...] | None:
        """The members of a team (kind, name); None where the CRM is to be asked. `stale`: what it said last, however old."""
        until, members = self._teams.get(team, (0, ()))
        return members if until > now or (stale and until) else None

    def learn_team(self, team: tuple[str, str], members: Sequence[str], now: int) -> None:
        """Keeps who is in a team, all of them active."""
        self._teams[team] = (now + KEPT, tuple(members))
        self.learn(members, dict.fromkeys(members, True), now)
