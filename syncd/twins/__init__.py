"""Stand-in vendors over real HTTP: stateful, strict, and able to hurt their clients on purpose.

Started by `syncd twin`, the demo, the benches and the tests. They share no code or table with `connectors/`: a twin speaks
from the vendor's documentation and recorded traffic alone, so that a client's mistake cannot be the twin's mistake too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.twins.server import Twin

TWINS = {
    "salesforce": "syncd.twins.salesforce.twin:SalesforceTwin",
    "zoho": "syncd.twins.zoho.twin:ZohoTwin",
    "zoho_desk": "syncd.twins.zoho_desk.twin:ZohoDeskTwin",
    "twilio": "syncd.twins.twilio:TwilioTwin",
}


def create(name: str, **options: Any) -> Twin:
    """A twin by name, not yet started; `options` are those of its class. Raises ValueError for a name that does not exist."""
    if name not in TWINS:
        raise ValueError(f"there is no twin called {name!r}; there are: {', '.join(sorted(TWINS))}")
    module, _, cls = TWINS[name].partition(":")
    twin: Twin = getattr(import_module(module), cls)(**options)
    return twin
