"""Owners in Salesforce: `OwnerId` of every object, a user's id or a queue's (salesforce_more.md, Owners)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIELD = "OwnerId"
USER, ACTIVE = "User", "IsActive"
USER_PREFIX = "005"
QUEUE_PREFIX = "00G"
"""How ids of users and of queues begin."""


def users_among(ids: Sequence[str]) -> list[str]:
    """Those of the ids that are users'."""
    return [id for id in ids if id.startswith(USER_PREFIX)]


def of_neither(ids: Sequence[str]) -> list[str]:
    """Those of the ids that are neither a user's nor a queue's, such as a name: no record can be theirs."""
    return [id for id in ids if not id.startswith((USER_PREFIX, QUEUE_PREFIX))]


def active(rows: Mapping[str, Mapping[str, Any]], asked: Sequence[str]) -> dict[str, bool]:
    """id -> whether active; a user who is not there is not."""
    return {id: rows.get(id, {}).get(ACTIVE) is True for id in asked}
