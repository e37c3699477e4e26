"""The whole plug-in contract: what a source or a destination is, what it is lent, and what it hands back.

Connector modules import this and `syncd.errors`, `syncd.signals`, `syncd.http.client`, `syncd.http.oauth`,
`syncd.signatures.verifier`,
`syncd.matching`; nothing else of syncd. They hold no threads and no clock of their own and keep no state outside what they
return: everything durable travels in a `Batch` and is committed by the intake in one transaction.

A connector is registered by an entry point of group `syncd.connectors` named `source.TYPE` or `destination.TYPE`, whose
object is a `Connector`. Its module is imported only when the configuration names the type.
"""

from __future__ import annotations

from syncd.connector.declaration import (
    CHANGES,
    CONTRACT,
    Ability,
    Connector,
    ConnectorSettings,
    Context,
    Prompt,
    Role,
    SignalSpec,
    Source,
)
from syncd.connector.destination import (
    Allowance,
    Call,
    DealPick,
    Destination,
    DestinationDefaults,
    Idempotency,
    Link,
    Lookup,
    MatchField,
    Outcome,
    PersonMatch,
    PersonQuery,
    Usage,
    Write,
    WriteKind,
    Written,
)
from syncd.connector.source import (
    Backfillable,
    Batch,
    BulkHintSource,
    FormerId,
    Hint,
    HintSource,
    KeyFetchingSource,
    NotYet,
    PollingSource,
    Reparsing,
    Reply,
    Request,
    UnparsedItem,
    Verifier,
    WebhookSource,
)
from syncd.signal_types import Direction

__all__ = [
    "CHANGES",
    "CONTRACT",
    "Ability",
    "Allowance",
    "Backfillable",
    "Batch",
    "BulkHintSource",
    "Call",
    "Connector",
    "ConnectorSettings",
    "Context",
    "DealPick",
    "Destination",
    "DestinationDefaults",
    "Direction",
    "FormerId",
    "Hint",
    "HintSource",
    "Idempotency",
    "KeyFetchingSource",
    "Link",
    "Lookup",
    "MatchField",
    "NotYet",
    "Outcome",
    "PersonMatch",
    "PersonQuery",
    "PollingSource",
    "Prompt",
    "Reparsing",
    "Reply",
    "Request",
    "Role",
    "SignalSpec",
    "Source",
    "UnparsedItem",
    "Usage",
    "Verifier",
    "WebhookSource",
    "Write",
    "WriteKind",
    "Written",
]
