"""Fields with several values: Salesforce has one text with semicolons between them (object reference, field types), Zoho CRM an
array (zoho.md); COQL may say the same as one text [UNVERIFIED], so both forms are read."""

from __future__ import annotations

from typing import Any


def items(value: Any) -> list[str]:
    """The values of a field as the CRM returned it, or as they are about to be sent; [] when it is empty."""
    parts = value if isinstance(value, list | tuple) else str(value or "").split(";")
    return [text for part in parts if (text := str(part).strip())]
