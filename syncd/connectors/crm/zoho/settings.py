"""The keys of a `type: zoho` destination, as a typed model: their descriptions become the docs.

Validation here is offline; what only Zoho can tell comes out of the accounts host or the first call as Misconfigured.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from syncd.connectors.accounts.zoho import ZohoAccount
from syncd.connectors.crm.zoho.scopes import SCOPES

Automation = Literal["workflow", "approval", "blueprint"]
CLOSED_STAGES = ("Closed Won", "Closed Lost", "Closed Lost to Competition", "Closed-Lost to Competition")
OLDEST, NEWEST = 5, 8
"""COQL of 2,000 rows and `duplicate_record` in errors are there from v5 on; v8 is what zoho.md describes."""


class ZohoSettings(ZohoAccount):
    """A Zoho CRM account that records are written to."""

    api_version: Annotated[str, Field(description="CRM API version, v5 to v8")] = "v8"
    trigger: Annotated[
        tuple[Automation, ...] | None,
        Field(description="automations that syncd's writes trigger; [] for none; default: all, as Zoho does"),
    ] = None
    lar_id: Annotated[
        str, Field(pattern=r"^\d*$", description="id of the assignment rule that distributes new leads; default: none")
    ] = ""
    closed_stages: Annotated[
        tuple[str, ...], Field(min_length=1, description="stages in which a deal is no longer open")
    ] = CLOSED_STAGES
    daily_credits: Annotated[
        int | None,
        Field(
            gt=0,
            description="the account's API credits in 24 hours, which Zoho's API does not report (for `quota: 60%`)",
        ),
    ] = None
    needs: Annotated[
        tuple[Literal["notify", "owners"], ...],
        Field(description="kinds of rule for which `syncd auth` asks for scopes of their own"),
    ] = ()

    @field_validator("api_version", mode="before")
    @classmethod
    def _version(cls, value: object) -> str:
        match = re.fullmatch(r"v?(\d{1,2})(?:\.0)?", str(value).strip())
        if match is None or not OLDEST <= int(match[1]) <= NEWEST:
            raise ValueError(
                f"{value!r} is not a version of Zoho's API that syncd speaks; write v{OLDEST} to v{NEWEST}"
            )
        return f"v{int(match[1])}"

    @property
    def scopes(self) -> dict[str, str]:
        """Scope -> what this configuration needs it for."""
        return SCOPES.needed((*self.needs, "credits" if self.daily_credits is None else ""))
