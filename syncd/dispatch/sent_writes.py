"""What the outcomes of one call say of the endpoints it went to, and which writes are to blame. `calls` asks after each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.connector import Outcome, Write
from syncd.dispatch import outcomes as rules
from syncd.dispatch.endpoints import Endpoints
from syncd.errors import Failure, QuotaExhausted, RateLimited


@dataclass(frozen=True)
class SentJudgement:
    """`blamed`: a single write is to blame for the failure of its call. `spared`: key of a write that is not -> when it may be
    sent again without having used a try."""

    blamed: bool
    spared: Mapping[str, int]


def judge_sent(endpoints: Endpoints, writes: Sequence[Write], outcomes: Sequence[Outcome], now: int) -> SentJudgement:
    """Notes in `endpoints` which answered and which failed."""
    blamed, spared = False, dict[str, int]()
    mixed = len({write.object for write in writes}) > 1 and all(one is outcomes[0] for one in outcomes)
    keys: dict[tuple[str, bool], list[str]] = {}
    why: dict[str, str] = {}
    for write, outcome in zip(writes, outcomes, strict=True):
        failed = rules.of_call(outcome)
        if isinstance(outcome, RateLimited) and outcome.scope and not (mixed and outcome is outcomes[0]):
            endpoints.limited(write.object, now, outcome.retry_after, rules.describe(outcome))
        if not failed and isinstance(outcome, Failure) and not speaks_of_row(outcome):
            continue
        keys.setdefault((write.object, failed), []).append(write.key)
        if failed and isinstance(outcome, Failure):
            why.setdefault(write.object, rules.describe(outcome))
    # Those that answered come first: a write that failed while others were answered can then be blamed.
    for (object_, failed), mine in sorted(keys.items(), key=lambda item: item[0][1]):
        if not failed:
            endpoints.answered(object_, mine)
            continue
        again_at = endpoints.failed(object_, mine, now, why[object_])
        blamed = blamed or again_at is None
        if again_at is not None:
            spared.update(dict.fromkeys(mine, again_at))
    return SentJudgement(blamed, spared)


def speaks_of_row(failure: Failure) -> bool:
    """Whether the vendor looked at the row; a limit or a refused sign-in says nothing of the endpoint."""
    return not (isinstance(failure, (RateLimited, QuotaExhausted)) or rules.stops_lane(failure))
