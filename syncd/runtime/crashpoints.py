"""Named places where a chaos test kills the process: `SYNCD_CRASH_AT=after_commit` or `after_commit:3` (the third time).

Called at the instants that matter (after_fetch, after_commit, after_send, in_settling, in_migration). Without the variable
`point` is an empty function.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable

VARIABLE = "SYNCD_CRASH_AT"


def _unarmed(name: str) -> None:
    return None


def armed(spec: str) -> Callable[[str], None]:
    """A `point` that kills this process (SIGKILL: no handler, no flush) the nth time it is called with the name."""
    wanted, _, nth = spec.partition(":")
    calls, fatal = itertools.count(1), int(nth or 1)  # count() is atomic: the writer and the lanes share a name

    def point(name: str) -> None:
        if name == wanted and next(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return point


point = armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _unarmed
"""`point("after_commit")`: here a test may kill us."""
