"""The fields of a delivery status (RFC 3464, RFC 6533) to failed recipients, however damaged. `bounces` calls it.

Pure. Mail servers leave out the blank line between recipients, misspell a field, wrap a reply without indenting it, or
write the fields as plain text: a group therefore begins where a field of its kind repeats, and a line that is not a field
continues the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from syncd.connectors.mail.addresses import parse_addresses
from syncd.connectors.mail.message import RawMessage, children, part_text
from syncd.connectors.text import clean, decode, decode_header, unbase64
from syncd.signals import normal_email

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})

_LINES_CAP = 5000
_NAMES = {
    # As written -> the field of RFC 3464 section 2.3 it means.
    "original-recipient": "original-recipient",
    "final-recipient": "final-recipient",
    "x-actual-recipient": "x-actual-recipient",
    "action": "action",
    "status": "status",
    "diagnostic-code": "diagnostic-code",
    "disposition": "disposition",  # RFC 8098
    **dict.fromkeys(
        (
            "reporting-mta", "arrival-date", "remote-mta", "last-attempt-date", "final-log-id", "will-retry-until",
            "original-envelope-id", "received-from-mta", "dsn-gateway", "reporting-ua", "original-message-id",
            "content-transfer-encoding", "content-length", "content-type", "content-description", "localized-action",
        ),
        "other",
    ),
}  # fmt: skip
_STARTS_GROUP = frozenset({"original-recipient", "final-recipient", "action"})
_FIELD = re.compile(r"\s{0,3}([A-Za-z][A-Za-z \-]{2,40}?)\s?:(?!//)\s*(.*)")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]{40,}")
_XTEXT = re.compile(r"\+([2-7][0-9A-F])")  # RFC 3461 section 4
_UNICODE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 section 3
_FAILED = re.compile(r"fail|error|expired|undeliver|bounce|permanent|rejected", re.IGNORECASE)
_OTHER_ACTIONS = re.compile(r"delay|deliver|relay|expand|deferr|warning|transient|success", re.IGNORECASE)


@dataclass
class Group:
    """The fields of one recipient, by their names in RFC 3464."""

    fields: dict[str, str] = field(default_factory=dict)

    @property
    def final(self) -> str:
        return typed_address(self.fields.get("final-recipient", "")) or typed_address(
            self.fields.get("x-actual-recipient", "")
        )

    @property
    def recipient(self) -> str:
        """The address we wrote to, as far as the group says it."""
        return typed_address(self.fields.get("original-recipient", "")) or self.final

    @property
    def status(self) -> str:
        return self.fields.get("status", "")

    @property
    def diagnostic(self) -> str:
        """The reply of the server, with its type (``smtp; 550 ...``)."""
        return decode_header(self.fields.get("diagnostic-code", ""))

    @property
    def has_action(self) -> bool:
        return bool(self.fields.get("action"))

    @property
    def failed(self) -> bool:
        """Whether the group reports a failure: its Action says so, or, without a known one, its Status is of class 5."""
        action = self.fields.get("action", "")
        if _OTHER_ACTIONS.match(action):
            return False
        return bool(_FAILED.match(action)) or self.status.startswith("5")


def read_groups(texts: Iterable[str]) -> list[Group]:
    """The groups of recipients in texts that hold the fields of a delivery status, in order."""
    return [group for text in texts for group in _groups(text) if _names_recipient(group)]


def status_text(part: RawMessage) -> str:
    """The text of a delivery status part. The parser made sub-messages of its groups; those in base64 are decoded."""
    inside = children(part)
    blocks = [_block_text(block) for block in inside] if inside else [part_text(part)]
    return "\n\n".join(_unpacked(block) for block in blocks)


def typed_address(value: str) -> str:
    """`rfc822; Ann@Example.com` -> `ann@example.com`; also forms without a type and those of RFC 6533."""
    kind, semicolon, address = value.partition(";")
    address = decode_header(address if semicolon else value).strip()
    if semicolon and kind.strip().lower() == "utf-8":
        address = _UNICODE.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), address)
    address = (
        _XTEXT.sub(lambda found: chr(int(found[1], 16)), address) if "+2B" in address or "+3D" in address else address
    )
    found = parse_addresses(clean(address))
    return found[0].email if found else normal_email(address)


def _names_recipient(group: Group) -> bool:
    return not _STARTS_GROUP.isdisjoint(group.fields) and len(group.fields) > 1


def _groups(text: str) -> Iterator[Group]:
    group, last = Group(), ""
    for line in clean(text).split("\n")[:_LINES_CAP]:
        if not line.strip():
            last = ""
            continue
        found = _FIELD.match(line)
        name = _field_name("-".join(found[1].lower().split())) if found else ""
        if not found or not name:
            if last and last != "other":
                group.fields[last] = f"{group.fields[last]} {line.strip()}"[:2000]
            continue
        if name in _STARTS_GROUP and name in group.fields:
            following = Group()
            if last == "original-recipient" and name == "final-recipient":
                following.fields[last] = group.fields.pop(last)
            yield group
            group = following
        last = name
        group.fields.setdefault(name, found[2].strip())
    yield group


@lru_cache(maxsize=256)
def _field_name(written: str) -> str:
    """The field that a name means, also with a letter lost or changed on the way, ``""`` for none."""
    near = get_close_matches(written, _NAMES, n=1, cutoff=0.85) if 4 <= len(written) <= 30 else []
    return _NAMES.get(written) or (_NAMES[near[0]] if near else "")


def _block_text(block: RawMessage) -> str:
    fields = "\n".join(f"{name}: {value}" for name, value in block.raw_items())
    rest = block.get_payload()
    return f"{fields}\n{rest}" if isinstance(rest, str) else fields


def _unpacked(text: str) -> str:
    """Text as it stands, or what its base64 says where a filter on the way encoded the fields."""
    packed = text.strip()
    if not _BASE64.fullmatch(packed):
        return text
    return decode(unbase64(packed.encode("ascii", "ignore")))
