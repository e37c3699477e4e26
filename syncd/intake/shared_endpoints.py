"""One address, several sources: a vendor that calls one URL per app, with the events of many accounts in one body.

`endpoint:` names the address; a source that takes only some accounts may also have an address of its own. The intake groups the
sources with `grouped`; `check` finds with `sharing_faults` what does not fit.
Pure. Promise: a request is verified once; each source takes the events of its own accounts, and no other source's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from syncd.config.models import SourceSettings
from syncd.connector import SharedEndpointSource
from syncd.intake.webhooks import Endpoint


def grouped(endpoints: Mapping[str, Endpoint], entries: Mapping[str, SourceSettings]) -> dict[str, Endpoint]:
    """The endpoints by the last part of their address. The first source of an address verifies for all."""
    made: dict[str, Endpoint] = {}
    for name, own in endpoints.items():
        address = entries[name].endpoint or name
        if not isinstance(own.source, SharedEndpointSource) or not own.source.accounts:
            made[name] = own
            continue
        first = made.get(address) or replace(own, name=address, owner=name)
        made[address] = replace(first, members={**first.members, **dict.fromkeys(own.source.accounts, own)})
    return made


def sharing_faults(
    entries: Mapping[str, SourceSettings], sources: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    """(source, key, what is wrong, what to do) for each source whose `endpoint:` does not fit."""
    first: dict[str, str] = {}
    owners: dict[tuple[str, str], str] = {}
    for name, source in sources.items():
        address = entries[name].endpoint
        accounts = source.accounts if isinstance(source, SharedEndpointSource) else frozenset()
        if address is None:
            continue
        if address in entries:
            yield name, "endpoint", f"{address} is the name of a source", "choose a name that no source has"
        if not isinstance(source, SharedEndpointSource):
            yield name, "endpoint", f"a {entries[name].type} source cannot share its address", "leave the key out"
            continue
        if not accounts:
            yield (
                name,
                "endpoint",
                "which accounts' events are this source's?",
                "name them: share: {by: …, accounts: […]}",
            )
        other = first.setdefault(address, name)
        if sources[other].shares != source.shares:
            message = f"the sources at {address} must verify and name accounts in the same way, as {other} does"
            yield name, "endpoint", message, f"copy these keys from {other}"
        for account in sorted(accounts):
            owner = owners.setdefault((address, account), name)
            if owner != name:
                yield name, "endpoint", f"account {account!r} belongs to {owner} already", "name it in one source"
