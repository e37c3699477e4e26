"""The keys that every way of reading mail shares. `imap` and `maildir` extend them."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, field_validator

from syncd.connector import ConnectorSettings
from syncd.signals import normal_email


class DropBoxSettings(ConnectorSettings):
    """A secret address to which your own people copy (Bcc) or forward mail that is to be filed."""

    address: str = Field(
        description="The drop box's address, which delivers into this mailbox: an alias or a plus address that nobody guesses."
    )
    senders: tuple[str, ...] = Field(
        alias="from",
        min_length=1,
        description="Who may use it: addresses, or whole domains as `@example.com`. Mail of others to it is dropped.",
    )

    @field_validator("address")
    @classmethod
    def _one_address(cls, value: str) -> str:
        if not normal_email(value):
            raise ValueError(f"{value!r} is not an e-mail address; write it like crm-k7f3x9@example.com")
        return normal_email(value)

    @field_validator("senders")
    @classmethod
    def _addresses_or_domains(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not normal_email(f"a{value}" if value.startswith("@") else value):
                raise ValueError(f"{value!r} is neither an address nor a domain; write ann@example.com or @example.com")
        return tuple(value.lower() if value.startswith("@") else normal_email(value) for value in values)


class MailSettings(ConnectorSettings):
    """Keys of a mail source, whatever the transport."""

    max_size: ByteSize = Field(
        default=ByteSize(10_000_000),
        ge=300_000,
        description="Mails larger than this (`10MB`) are read only in their first 256 KiB: headers and the beginning of the "
        "text, with a note in `data.note`; attachments behind that are not listed. At least 300kB.",
    )
    capture: Literal["whole", "headers"] = Field(
        default="whole",
        description="`headers` keeps sender, recipients, time, the subject and the message ids: no text and no names of "
        "attachments. The text is looked at while reading (bounces, ids of mails without Message-ID) and not kept.",
    )
    lists: bool = Field(
        default=False,
        description="Also take mail of mailing lists and bulk senders (`List-Id`, `Precedence: bulk|list|junk`). Switch it on "
        "when the mailbox is fed by a list, such as a Google Group.",
    )
    auto_replies: bool = Field(
        default=False,
        description="Also take automatic mail (`Auto-Submitted`, out-of-office answers, notifications). Bounces are always "
        "recognised and make `email.bounced`; reports that name no failed recipient are always dropped.",
    )
    own_addresses: tuple[str, ...] = Field(
        default=(),
        description="Addresses the company itself sends from. Mail from them is dropped, unless it is a contact form's mail "
        "with another address in Reply-To.",
    )

    dropbox: DropBoxSettings | None = Field(
        default=None,
        description="An address by which your own people file mail: copies of what they send, and mail that they forward.",
    )

    @field_validator("own_addresses")
    @classmethod
    def _addresses(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not normal_email(value):
                raise ValueError(f"{value!r} is not an e-mail address; write it like sales@example.com")
        return tuple(normal_email(value) for value in values)
