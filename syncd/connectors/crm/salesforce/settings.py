"""The keys of a `type: salesforce` destination, as typed models: their descriptions become the docs.

Validation here is offline; what only Salesforce can tell comes out of the token endpoint as Misconfigured.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from syncd.connectors.accounts.salesforce import SalesforceAccount

OLDEST = (52, 0)
"""The duplicate-rule header needs v52, collections upsert v46."""


class SalesforceSettings(SalesforceAccount):
    """A Salesforce org that records are written to."""

    api_version: Annotated[str, Field(description="REST API version, v52.0 or later")] = "v62.0"
    composite: Annotated[bool, Field(description="send five collections per call (1,000 records instead of 200)")] = (
        True
    )
    duplicate_rules: Annotated[
        Literal["obey", "allow_save"],
        Field(description="allow_save saves in spite of duplicate rules that only alert; blocking rules always block"),
    ] = "obey"
    auto_assign: Annotated[
        bool | str,
        Field(description="assignment rules for new leads and cases: false, true, or the id of a rule"),
    ] = False

    @field_validator("api_version", mode="before")
    @classmethod
    def _version(cls, value: object) -> str:
        match = re.fullmatch(r"v?(\d{2,3})(?:\.(\d))?", str(value).strip())
        if match is None:
            raise ValueError(f"{value!r} is not an API version; write it like v62.0")
        number = (int(match[1]), int(match[2] or 0))
        if number < OLDEST:
            raise ValueError(f"API {value} is too old; v52.0 is the oldest that works")
        return f"v{number[0]}.{number[1]}"
