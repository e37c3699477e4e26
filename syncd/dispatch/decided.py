"""What is kept with the row of a write beside its state: what was decided for it, so that a write that is sent again is the same,
and which records came with it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from syncd.connector import Link
from syncd.store.queue import WriteRow
from syncd.texts.reasons import Reason


class Decided(msgspec.Struct, frozen=True, omit_defaults=True):
    """`owner`: who gets the record (None: nobody; UNSET: not decided yet), `why` (code of a reason) if it is not simply their
    turn. `given`: what a user who set off the rule gave for its fields; None for a rule that is planned by itself. `answer`: the
    signal that answered this one, for a rule that waits for that. `also`: (object, id) of the records that came with the one it
    wrote (`Written.also`). `left_out`: users who were not added to the observers, since they are not active."""

    owner: Any | UnsetType = UNSET
    why: str = ""
    given: dict[str, Any] | None = None
    answer: str = ""
    also: dict[str, tuple[str, str]] = {}
    left_out: tuple[str, ...] = ()

    def links(self) -> dict[str, Link]:
        """The records that came with it."""
        return {name: Link(*record) for name, record in self.also.items()}


def decided(row: WriteRow) -> Decided:
    """What the row keeps."""
    return msgspec.json.decode(row.chosen, type=Decided) if row.chosen else Decided()


def with_decided(row: WriteRow, what: Decided) -> WriteRow:
    """The row, keeping this."""
    return msgspec.structs.replace(row, chosen=msgspec.json.encode(what).decode())


def shown(text: str) -> str:
    """What a row keeps, as `explain` shows it; "" for nothing."""
    if not text:
        return ""
    what = msgspec.json.decode(text, type=Decided)
    said = []
    if what.owner is not UNSET:
        who = "no owner" if what.owner is None else f"owner {what.owner}"
        said.append(f"{who} ({Reason(what.why)})" if what.why else who)
    if what.given is not None:
        said.append(", ".join(["set off by a user", *(f"{name}={value}" for name, value in what.given.items())]))
    if what.answer:
        said.append(f"answered by {what.answer}")
    if what.left_out:
        said.append(f"left out, not active: {', '.join(what.left_out)}")
    said += [f"{name}: {object_} {id_}" for name, (object_, id_) in what.also.items()]
    return "; ".join(said)
