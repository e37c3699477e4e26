"""What the modules that pack writes for a CRM raise for a value that cannot be sent."""

from __future__ import annotations


class Unsendable(ValueError):
    """A value that JSON or the CRM has no form for; `field` is where it stands."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
