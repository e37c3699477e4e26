"""A mail of a mailbox's twin as it came: `raw` of its record, or a plain one made of `from`, `to`, `subject` and `text`."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from syncd.twins.state import Record


def as_mime(record: Record, id_: str, received: datetime) -> bytes:
    if "raw" in record:
        return str(record["raw"]).encode()
    made = EmailMessage()
    made["From"], made["To"] = record.get("from", ""), record.get("to", "sales@ourcompany.example")
    made["Subject"], made["Message-ID"] = record.get("subject", ""), f"<{id_}@customer.example>"
    made["Date"] = format_datetime(received.astimezone(UTC))
    made.set_content(record.get("text", "Hello"))
    return made.as_bytes()
