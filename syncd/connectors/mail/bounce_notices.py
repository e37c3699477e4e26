"""Bounces that a sending service mails as JSON: Amazon SES through SNS. `bounces` calls it.

Pure. Documented by AWS, "Amazon SNS notification contents for Amazon SES" and "event publishing". Complaints and deliveries
are notices too and name no failed recipient.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from syncd.connectors.mail.bounce_kinds import Kind, hardness
from syncd.connectors.text import one_line
from syncd.signals import normal_email

_TYPES = frozenset({"bounce", "complaint", "delivery", "deliverydelay", "reject", "send", "open", "click"})
_KINDS: dict[str, Kind] = {"permanent": "hard", "transient": "soft", "undetermined": "soft"}


@dataclass(frozen=True)
class Notice:
    """`failures`: (recipient, kind, status, diagnostic) each. `original`: headers of the mail that was sent."""

    failures: list[tuple[str, Kind, str, str]] = field(default_factory=list)
    original: dict[str, list[str]] = field(default_factory=dict)


def read_notice(text: str) -> Notice | None:
    """The notice that a mail's text begins with, None for any other text."""
    found = _object(text)
    if isinstance(message := found.get("Message"), str):  # without "raw message delivery" SNS wraps it
        found = _object(message)
    kind = str(found.get("notificationType") or found.get("eventType") or "").lower()
    if kind not in _TYPES or not isinstance(found.get("mail"), dict):
        return None
    headers = found["mail"].get("commonHeaders")
    original = {
        name: [one_line(headers[key])]
        for name, key in (("subject", "subject"), ("message-id", "messageId"))
        if isinstance(headers, dict) and isinstance(headers.get(key), str)
    }
    bounce = found.get("bounce")
    return Notice(_failures(bounce) if kind == "bounce" and isinstance(bounce, dict) else [], original)


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a text begins with, empty for any other text."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _failures(bounce: dict[str, Any]) -> list[tuple[str, Kind, str, str]]:
    recipients = bounce.get("bouncedRecipients")
    failures: list[tuple[str, Kind, str, str]] = []
    for entry in recipients if isinstance(recipients, list) else []:
        if not isinstance(entry, dict) or not (address := normal_email(str(entry.get("emailAddress") or ""))):
            continue
        status, diagnostic = (one_line(str(entry.get(key) or "")) for key in ("status", "diagnosticCode"))
        kind = _KINDS.get(str(bounce.get("bounceType")).lower(), "hard")
        failures.append((address, hardness(status, diagnostic) if status or diagnostic else kind, status, diagnostic))
    return failures
