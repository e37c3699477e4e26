"""OAuth scopes of the Zoho twins: which one an operation takes, and whether a token has it.

Used by the Zoho CRM and Zoho Desk twins. A scope is `Service.group.operation` or `Service.group.name.operation`; one of a whole
group stands for every name in it, `ALL` for every operation, `WRITE` for creating and updating [DOC, "Scopes"].
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORM = re.compile(r"[A-Za-z]+(\.[A-Za-z_]+){1,3}")
_WRITES = frozenset({"create", "update"})


def granted(requested: str) -> frozenset[str]:
    """The scopes of a consent, however they are separated."""
    return frozenset(one for one in re.split(r"[\s,]+", requested) if one)


def unknown(requested: str) -> list[str]:
    """Words of a request that are not scopes."""
    return [one for one in granted(requested) if not _FORM.fullmatch(one)]


def allowed(held: Iterable[str], needed: Iterable[str]) -> bool:
    """Whether the scopes of a token cover every one that an operation takes. Case does not matter."""
    return all(any(_covers(one.lower().split("."), want.lower().split(".")) for one in held) for want in needed)


def _covers(one: list[str], want: list[str]) -> bool:
    *area, operation = one
    *place, asked = want
    fits = operation in ("all", asked) or (operation == "write" and asked in _WRITES)
    return fits and place[: len(area)] == area


MODULES = frozenset(
    {"leads", "contacts", "accounts", "deals", "tasks", "calls", "events", "notes", "products", "vendors"}
)
"""Modules that scopes name; every other one is `custom`."""

CRM: dict[str, tuple[str, ...]] = {
    "users": ("ZohoCRM.users.READ",),
    "org": ("ZohoCRM.org.READ",),
    "fields": ("ZohoCRM.settings.fields.READ",),
    "create_fields": ("ZohoCRM.settings.fields.CREATE",),
    "modules": ("ZohoCRM.settings.modules.READ",),
    "signal_namespaces": ("ZohoCRM.settings.signals.READ",),
    "notify": ("ZohoCRM.signals.CREATE",),
    "coql": ("ZohoCRM.coql.READ", "ZohoCRM.modules.{}.READ"),
    "convert": ("ZohoCRM.modules.leads.CREATE",),
    "conversion_options": ("ZohoCRM.modules.leads.READ",),
    "upsert": ("ZohoCRM.modules.{}.CREATE",),
    "create": ("ZohoCRM.modules.{}.CREATE",),
    "update": ("ZohoCRM.modules.{}.UPDATE",),
    "update_one": ("ZohoCRM.modules.{}.UPDATE",),
    "add_tags": ("ZohoCRM.modules.{}.CREATE",),
    "remove_tags": ("ZohoCRM.modules.{}.UPDATE",),
    "search": ("ZohoCRM.modules.{}.READ", "ZohoSearch.securesearch.READ"),
    "get": ("ZohoCRM.modules.{}.READ",),
    "list": ("ZohoCRM.modules.{}.READ",),
    "delete": ("ZohoCRM.modules.{}.DELETE",),
    "delete_many": ("ZohoCRM.modules.{}.DELETE",),
}
"""Operation of the CRM twin -> scopes it takes, all of them [DOC, each API's page]; {} is the module."""

DESK: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("search_tickets", "search_contacts"), ("Desk.search.READ",)),
    **dict.fromkeys(("thread", "threads", "comment", "comments", "ticket", "list_tickets"), ("Desk.tickets.READ",)),
    **dict.fromkeys(("reply", "update_ticket"), ("Desk.tickets.UPDATE",)),
    "create_ticket": ("Desk.tickets.CREATE",),
    "trash": ("Desk.tickets.DELETE",),
    **dict.fromkeys(("contact", "list_contacts", "list_accounts"), ("Desk.contacts.READ",)),
    "update_contact": ("Desk.contacts.UPDATE",),
    "create_contact": ("Desk.contacts.CREATE",),
    **dict.fromkeys(("list_agents", "list_departments"), ("Desk.settings.READ",)),
    **dict.fromkeys(("list_webhooks", "webhook_one"), ("Desk.webhooks.READ",)),
    "create_webhook": ("Desk.webhooks.CREATE",),
    "update_webhook": ("Desk.webhooks.UPDATE",),
    "delete_webhook": ("Desk.webhooks.DELETE",),
}
"""Operation of the Desk twin -> scopes it takes [DOC, each API's page; the settings' are UNV]."""


def needed(operation: str, module: str) -> tuple[str, ...]:
    """The scopes of an operation of the CRM twin on a module."""
    name = module.lower() if module.lower() in MODULES else "custom"
    return tuple(one.format(name) for one in CRM[operation])
