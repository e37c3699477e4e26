"""What it means for the next poll that some folders or files of a source failed while others were read. Pure.

`imap` and `mbox` ask it at the end of a poll. Promise: a folder or file that needs the operator does not delay the others.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from syncd.errors import Failure, Misconfigured

OTHERS_AGAIN = timedelta(minutes=5)
"""As often as a source is polled by default; a source that is wrong as a whole waits for an hour."""


def of_some(failure: Failure, now: datetime) -> Failure:
    """The failure to end the poll with, which is tried again when the others are due."""
    if isinstance(failure, Misconfigured) and failure.until is None:
        failure.until = now + OTHERS_AGAIN
    return failure
