"""Logs: one JSON object a line (or readable lines on a terminal), on stderr, UTC; stdlib loggers go the same way.

The daemon and the commands call `set_up_logs` once. Keys that name secrets are masked whoever logs them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import orjson

from syncd.lean import without

with without("rich"):  # it would print tracebacks with every local variable, and what they hold
    import structlog

SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key", "private_key", "signature", "cookie")
QUIET = {"apscheduler": logging.ERROR, "alembic": logging.WARNING, "urllib3": logging.ERROR, "uvicorn": logging.WARNING}
"""Libraries that would say at INFO what we say ourselves."""


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces the value of every key that names a secret."""
    for key in event:
        if any(word in key.lower() for word in SECRET_WORDS) and event[key]:
            event[key] = "******"
    return event


def set_up_logs(*, level: str = "info", stream: TextIO | None = None, as_json: bool | None = None) -> None:
    """Configures structlog and stdlib logging. `as_json` None: readable on a terminal, JSON elsewhere."""
    out = stream or sys.stderr
    plain = out.isatty() if as_json is None else not as_json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
        structlog.processors.format_exc_info,
    ]
    if plain:
        renderer: Any = structlog.dev.ConsoleRenderer(colors=out.isatty())
        shared.remove(structlog.processors.format_exc_info)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_dumps)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,  # a logger may have been used before logs are set up, in tests and by imports
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, number))


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str).decode()
