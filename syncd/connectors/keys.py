"""Types of keys that many connectors have in their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr

from syncd.http.client import check_base_url
from syncd.signatures.shared_secret import path


def _cannot_be_guessed(secret: SecretStr) -> SecretStr:
    path([secret.get_secret_value()])
    return secret


BaseUrl = Annotated[str, AfterValidator(check_base_url)]
"""The address of a vendor's API: https, or http to this machine; without a slash at the end."""
Secrets = SecretStr | list[SecretStr]
"""One secret, or a list while it is being changed, the new one first."""

PathSecret = Annotated[SecretStr, AfterValidator(_cannot_be_guessed)]
"""The last part of a webhook's address, for vendors that sign nothing: 16 characters or more."""


def secret_texts(secrets: Secrets | None) -> list[str]:
    """The secrets in their order; [] for None."""
    held = secrets if isinstance(secrets, list) else [secrets] if secrets is not None else []
    return [one.get_secret_value() for one in held]


def left_to_a_preset(key: str) -> Callable[[dict[str, Any]], None]:
    """For `ConfigDict(json_schema_extra=…)`: the key may be left out in the file, since a preset may bring it. That it is there
    at last, the model checks."""

    def optional(schema: dict[str, Any]) -> None:
        schema["required"] = [name for name in schema.get("required", ()) if name != key]

    return optional
