"""Logs: one JSON object a line (or readable lines on a terminal), on stderr, UTC; stdlib loggers go the same way.

The daemon and the commands call `set_up_logs` once. Keys that name secrets are masked whoever logs them.
"""

from __future__ import annotations

import logging
import re
import sys
import uuid
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO

import orjson

from syncd.runtime.known_secrets import mask
from syncd.runtime.lazy_imports import hide_optional

with hide_optional("rich"):  # it would print tracebacks with every local variable, and what they hold
    import structlog

SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key", "private_key", "signature", "cookie")
QUIET = {"apscheduler": logging.ERROR, "alembic": logging.WARNING, "urllib3": logging.ERROR, "uvicorn": logging.WARNING}
"""Libraries that would say at INFO what we say ourselves."""


detailed = False
"""Whether lines of single signals are written (level debug): who would write thousands a second looks here first."""

REQUEST: ContextVar[MutableMapping[str, Any] | None] = ContextVar("request", default=None)
"""The ASGI scope of the webhook being answered in this task."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def add_request(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names the webhook request that a line is about: by the X-Request-Id that a proxy gave it, else by one of our own."""
    scope = REQUEST.get()
    if scope is not None:
        if "syncd.request" not in scope:
            told = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
            scope["syncd.request"] = told.decode() if _REQUEST_ID.fullmatch(told) else uuid.uuid4().hex[:16]
        event["request"] = scope["syncd.request"]
    return event


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces the value of every key that names a secret."""
    for key in event:
        if any(word in key.lower() for word in SECRET_WORDS) and event[key]:
            event[key] = "******"
    return event


def mask_known_secrets(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks every secret that this process knows, wherever a text of the line holds it. Lines of single signals (debug)
    hold no text of a vendor."""
    if method != "debug":
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = mask(value)
    return event


def set_up_logs(*, level: str = "info", stream: TextIO | None = None, as_json: bool | None = None) -> None:
    """Configures structlog and stdlib logging. `as_json` None: readable on a terminal, JSON elsewhere."""
    global detailed
    out = stream or sys.stderr
    plain = out.isatty() if as_json is None else not as_json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
        structlog.processors.format_exc_info,
        mask_known_secrets,
    ]
    if plain:
        renderer: Any = structlog.dev.ConsoleRenderer(colors=out.isatty())
        shared.remove(structlog.processors.format_exc_info)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_dumps)
    number = logging.getLevelNamesMapping()[level.upper()]
    detailed = number <= logging.DEBUG
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
