"""Stand-in vendors over real HTTP: stateful, strict, and able to hurt their clients on purpose.

Started by `syncd twin`, the demo, the benches and the tests. They share no code or table with `connectors/`: a twin speaks
from the vendor's documentation and recorded traffic alone, so that a client's mistake cannot be the twin's mistake too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.twins.server import Twin

TWINS = {
    "bitrix24": "syncd.twins.bitrix24.twin:Bitrix24Twin",
    "salesforce": "syncd.twins.salesforce.twin:SalesforceTwin",
    "zoho": "syncd.twins.zoho.twin:ZohoTwin",
    "zoho_desk": "syncd.twins.zoho_desk.twin:ZohoDeskTwin",
    "twilio": "syncd.twins.twilio:TwilioTwin",
    "graph": "syncd.twins.graph:GraphTwin",
    "google": "syncd.twins.google:GoogleTwin",
    "zoho_mail": "syncd.twins.zoho_mail:ZohoMailTwin",
}

GROUP = "syncd.twins"
"""The entry point group in which a third party's package names its twins, as ours are named in TWINS."""


def names() -> list[str]:
    """Every twin that `syncd twin` can start, sorted."""
    return sorted({*TWINS, *(entry.name for entry in entry_points(group=GROUP))})


def create(name: str, **options: Any) -> Twin:
    """A twin by name, not yet started; `options` are those of its class. Raises ValueError for a name that does not exist."""
    if name in TWINS:
        module, _, cls = TWINS[name].partition(":")
        made: Callable[..., Twin] = getattr(import_module(module), cls)
        return made(**options)
    for entry in entry_points(group=GROUP, name=name):
        try:
            made = entry.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"the twin {name} ({entry.value}) does not load: {error}; install what it needs"
            ) from error
        return made(**options)
    raise ValueError(f"there is no twin called {name!r}; there are: {', '.join(names())}")


def serve(
    name: str,
    port: int = 0,
    faults: str | Path | Iterable[Mapping[str, Any]] | None = None,
    log_path: str | Path | None = None,
    latency: float = 0.0,
    ready: Callable[[Twin], None] | None = None,
    **options: Any,
) -> None:
    """Runs the twin `name` in the foreground (the command `syncd twin`). `faults`: a plan or its file; `log_path`: the journal;
    `options`: more of the twin's own.

    `ready` is called with the twin once connections are accepted. Raises ValueError (FaultPlanError) for an unknown
    name or a bad plan.
    """
    from syncd.twins.faults import load

    entries = load(Path(faults)) if isinstance(faults, str | Path) else list(faults or ())
    twin = create(name, journal=log_path, faults=entries, latency=latency, **options)
    twin.run(port, ready=None if ready is None else lambda url: ready(twin))
