"""What `check --online` looks at in Zoho Desk: the token, the organisation, each scope by trying it, the departments.

The Zoho Desk source's `check_online` is this: three calls at most, seven credits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from syncd.capabilities import Finding, Level
from syncd.connectors.desk.zoho_api import DeskApi
from syncd.errors import Misconfigured


def check(api: DeskApi, org: str, departments: Sequence[str], now: datetime) -> Iterator[Finding]:
    """Raises the Failure of whatever is refused: it names what is missing."""
    api.search(now - timedelta(minutes=1), now, 0)
    yield Finding(Level.OK, "sign-in", f"organisation {org}: its tickets may be searched")
    api.reads_contacts()
    yield Finding(Level.OK, "contacts", "contacts may be read")
    if not departments:
        return
    try:
        known = api.departments()
    except Misconfigured as refused:
        text = f"cannot check whether the departments exist: {refused}"
        yield Finding(Level.WARNING, "departments", text, "for this alone the token would need Desk.settings.READ")
        return
    for id_ in departments:
        if id_ in known:
            yield Finding(Level.OK, f"department {id_}", known[id_])
        else:
            there = ", ".join(f"{name} {one}" for one, name in list(known.items())[:10])
            yield Finding(Level.FAULT, f"department {id_}", "there is no such department", f"there are: {there}")
