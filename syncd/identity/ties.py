"""Which identities are one person's: ties between pairs, each with what made it, and the groups that follow from them. Pure.

Lanes record what they see together and ask for groups; operators see and correct them. People are never joined by
guesswork: a role's address and a number that several people use tie nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from syncd.identity.identities import EMAIL, PHONE, is_role, split_handle

Via = Literal["signal", "record", "operator"]
MOST = 8
"""A number or address that is tied to so many others is a company's: no more ties of it are kept."""
REFRESHED_AFTER = 7 * 24 * 3_600_000
"""Milliseconds after which a tie that is seen again is noted as seen."""


class Tie(msgspec.Struct, frozen=True):
    """Two identities (in alphabetical order) that are one person's, or, where an operator says so, `apart`: two people's.
    `evidence`: the signal's id, or the record as `DESTINATION OBJECT ID`. `at`, `seen_at`: when first and last seen, UTC
    milliseconds."""

    identity: str
    other: str
    via: Via
    evidence: str = ""
    at: int = 0
    seen_at: int = 0
    apart: bool = False


def tie(one: str, other: str, via: Via, evidence: str, now: int, *, apart: bool = False) -> Tie:
    """A tie of two identities, in whatever order they are given."""
    first, second = sorted((one, other))
    return Tie(first, second, via, evidence, now, now, apart)


class TieGraph:
    """The ties around some identities. `loaded`: the identities of which every tie is among them."""

    def __init__(self, ties: Iterable[Tie] = (), loaded: Collection[str] = ()) -> None:
        self.loaded = set(loaded)
        self._ties: dict[str, dict[str, Tie]] = {}
        for one in ties:
            self._ties.setdefault(one.identity, {})[one.other] = one
            self._ties.setdefault(one.other, {})[one.identity] = one

    def plus(self, ties: Iterable[Tie]) -> TieGraph:
        """These ties and more."""
        return TieGraph([*self.of(self._ties), *ties], self.loaded)

    def between(self, one: str, other: str) -> Tie | None:
        """What is known of two identities."""
        return self._ties.get(one, {}).get(other)

    def of(self, identities: Iterable[str]) -> list[Tie]:
        """Every tie of these identities, once, the oldest first."""
        found = {(t.identity, t.other): t for one in identities for t in self._ties.get(one, {}).values()}
        return sorted(found.values(), key=lambda t: (t.at, t.identity, t.other))

    def around(self, identity: str) -> list[str]:
        """The identities that it is tied to, whether or not that counts."""
        return sorted(other for other, one in self._ties.get(identity, {}).items() if not one.apart)

    def apart(self, one: str, other: str) -> bool:
        """Whether an operator said that these are two people."""
        found = self.between(one, other)
        return found is not None and found.apart

    def linked(self, one: str, other: str) -> bool:
        """Whether an operator said that these are one person."""
        found = self.between(one, other)
        return found is not None and found.via == "operator" and not found.apart

    def shared(self, identity: str) -> bool:
        """Whether several people use it: a number seen with two e-mail addresses, or with two accounts of one network;
        anything seen with two identities that an operator keeps apart. Two that an operator linked are one person's."""
        near = self.around(identity)
        pairs = [(one, other) for one in near for other in near if one < other]
        if any(self.apart(one, other) for one, other in pairs):
            return True
        return identity.startswith(PHONE) and any(
            _rival(one, other) and not self.linked(one, other) for one, other in pairs
        )

    def group(self, identities: Sequence[str]) -> tuple[str, ...]:
        """All identities of the person who has these: those given, then those tied to them, nearest first."""
        found = dict.fromkeys(identities)
        edge = list(found)
        while edge:
            near = [other for one in edge for other in self.around(one) if self._counts(one, other)]
            edge = []
            for other in near:
                if other not in found and other in self.loaded and not any(self.apart(other, one) for one in found):
                    found[other] = None
                    edge.append(other)
        return tuple(found)

    def evidence(self, identities: Collection[str]) -> tuple[str, ...]:
        """The ids of the signals that tied some of these identities to each other, the oldest first."""
        ties = [one for one in self.of(identities) if one.via == "signal" and not one.apart]
        return tuple(
            dict.fromkeys(one.evidence for one in ties if one.identity in identities and one.other in identities)
        )

    def _counts(self, one: str, other: str) -> bool:
        """Whether who has the one has the other. That a record has a number does not make its callers that person: the CRM is
        asked for the number each time."""
        if self.linked(one, other):
            return True
        found = self.between(one, other)
        if found is None or is_role(one) or is_role(other) or self.shared(one) or self.shared(other):
            return False
        return not (found.via == "record" and one.startswith(PHONE))

    def news(self, together: Sequence[str], via: Via, evidence: str, now: int) -> list[Tie]:
        """The ties to keep after these identities were seen together: new ones, and those not seen for a week."""
        own = [identity for identity in together if not is_role(identity)]
        return [tie(own[0], other, via, evidence, now) for other in own[1:] if self._is_news(own[0], other, now)]

    def _is_news(self, one: str, other: str, now: int) -> bool:
        known = self.between(one, other)
        if known is not None:
            return known.via != "operator" and now - known.seen_at > REFRESHED_AFTER
        return len(self._ties.get(one, ())) < MOST and len(self._ties.get(other, ())) < MOST


def _rival(one: str, other: str) -> bool:
    """Whether a person mostly has one of the two: two e-mail addresses, or two accounts of one network."""
    network, _ = split_handle(one)
    return (one.startswith(EMAIL) and other.startswith(EMAIL)) or (bool(network) and network == split_handle(other)[0])
