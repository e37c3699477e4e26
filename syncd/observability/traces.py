"""OpenTelemetry spans, when the extra `otel` is installed and the OTEL_* environment says where they go; else nothing.

`syncd run` calls `set_up`. A signal's trace id is its own id: what one process stored and another sends meets in one trace,
without a column for it. Promise: when off, nothing is imported and a span costs a look at one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, Self
from uuid import UUID

from syncd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

OFF = frozenset({"none", "false"})


class Traced(Protocol):
    """What spans are made by: `_Tracer`, or nothing."""

    def request(self, source: str, headers: Iterable[tuple[bytes, bytes]]) -> Any: ...

    def span(self, name: str, signals: Sequence[str], attributes: Mapping[str, Any]) -> Any: ...

    def signal(self, id: UUID, source: str) -> None: ...

    def attempt(self, id: str, attributes: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


active: Traced | None = None


class _NoSpan:
    """A span that records nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set_attribute(self, name: str, value: object) -> None:
        return None


NOTHING = _NoSpan()


def span(name: str, *, signals: Sequence[str] = (), **attributes: Any) -> Any:
    """A context manager; what happens within belongs to this span. `signals`: ids it is linked to. Attributes must hold
    names and numbers only: no secret, nobody's address."""
    return NOTHING if active is None else active.span(name, signals, attributes)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces: an OTLP endpoint is named, and they are not switched off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter in OFF:
        return False
    named = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return bool(named) or exporter == "otlp"


def set_up(environ: Mapping[str, str], *, exporter: Any = None) -> bool:
    """Begins to trace if that is wanted (or an `exporter` is given); True when it does. Raises UsageError when it is wanted
    and cannot be had."""
    global active
    if exporter is None and not wanted(environ):
        return False
    try:
        from syncd.observability.otel import Tracer
    except ImportError as error:
        raise UsageError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set and OpenTelemetry is not installed: pip install 'syncd[otel]', or unset it"
        ) from error
    active = Tracer(exporter)
    return True


def shut_down() -> None:
    """Sends what waits and traces no more."""
    global active
    if active is not None:
        before, active = active, None
        before.close()


@contextmanager
def request(source: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """A webhook request, as a child of the caller's own trace (W3C traceparent) if it sent one."""
    if active is None:
        yield
        return
    with active.request(source, headers):
        yield
