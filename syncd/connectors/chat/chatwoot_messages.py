"""A message of Chatwoot as a signal: from which network it came, who wrote it, what it says. Pure.

Facts: Chatwoot's source (github.com/chatwoot/chatwoot, app/models/message.rb, contact.rb, presenters/conversations, 4.x) and
developers.chatwoot.com. A webhook writes `message_type` as a word and times in ISO 8601, the API as numbers; a customer's message
is `incoming`, one of an agent, a bot or a campaign `outgoing` (a private note too), one that Chatwoot makes `activity` or
`template`. An agent's message has a `sender` of type user, or none and `external_echo` if it was written in the app of the
network; one of an automation or a campaign names it (Message#human_response? counts the same).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from syncd.connector import Context
from syncd.connectors.social.fields import Fields, fields_of, id_of, inner, rows_of, text_of, time_of
from syncd.errors import Malformed
from syncd.signals import Person, Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

TYPE = "message.received"
SENT = "message.sent"
KINDS: Mapping[str, str] = {"0": "incoming", "1": "outgoing", "2": "activity", "3": "template"}
"""`message_type` of the API -> of a webhook."""
NETWORKS: Mapping[str, tuple[str, str]] = {
    "Channel::Whatsapp": ("whatsapp", "WhatsApp"),
    "Channel::FacebookPage": ("facebook", "Facebook"),
    "Channel::Instagram": ("instagram", "Instagram"),
    "Channel::Telegram": ("telegram", "Telegram"),
    "Channel::Line": ("line", "LINE"),
    "Channel::TwitterProfile": ("x", "X"),
    "Channel::Tiktok": ("tiktok", "TikTok"),
    "Channel::Sms": ("sms", "SMS"),
    "Channel::TwilioSms": ("sms", "SMS"),
    "Channel::WebWidget": ("web", "Website"),
    "Channel::Email": ("email", "Email"),
    "Channel::Api": ("api", ""),
}
"""Kind of inbox -> network, and its name for readers; "" for the inbox's own name."""
NO_IDS = frozenset({"web", "email", "api", "sms", ""})
"""Networks in which a contact's id is one that Chatwoot made up, or the address or number that the person is known by anyhow."""
_BY_PHONE = frozenset({"whatsapp", "sms"})
_MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d{1,4}")
"""What Chatwoot calls a visitor of a website who gave no name ("ancient-river-912")."""
_PHONE = re.compile(r"(?:whatsapp:)?\+?(\d{6,15})")


class Inboxes(msgspec.Struct, frozen=True):
    """What the configuration says of inboxes: the only ones that are read (empty: all), the network behind an inbox of Chatwoot's
    API, and whether emails are read too."""

    only: frozenset[str] = frozenset()
    networks: Mapping[str, str] = {}
    emails: bool = False


class Account(msgspec.Struct, frozen=True):
    """Whose messages: `id` in Chatwoot, `name` in the ids of signals, and the address of the installation."""

    id: str
    name: str
    url: str


def network_of(conversation: Fields, inboxes: Inboxes) -> tuple[str, str]:
    """The network of a conversation and its name for readers, "" if it is not known."""
    named = inboxes.networks.get(id_of(conversation.get("inbox_id")))
    if named:
        return named, ""
    channel = text_of(conversation.get("channel")) or text_of(inner(conversation, "meta").get("channel"))
    source = _source_id(conversation)
    if source.startswith("whatsapp:"):
        return NETWORKS["Channel::Whatsapp"]
    return NETWORKS.get(channel, (channel.removeprefix("Channel::").lower(), ""))


def read_message(
    value: Any, account: Account, inboxes: Inboxes, context: Context, now: datetime, route: Route, where: str
) -> Signal | str:
    """The signal of a message of a customer or an agent, as a webhook has it; why any other is dropped. Raises Malformed."""
    message = fields_of(value, where)
    id_, kind = id_of(message.get("id")), id_of(message.get("message_type"))
    kind = KINDS.get(kind, kind)
    if not id_ or not kind:
        raise Malformed(f"{where}: a message without its id or message_type")
    unwanted = _unwanted(message, kind)
    if unwanted:
        return unwanted
    type_ = TYPE if kind == "incoming" else SENT
    conversation = inner(message, "conversation")
    talk = id_of(conversation.get("id"))
    at = time_of(message.get("created_at"), f"{where}, created_at")
    if not talk or at is None:
        raise Malformed(f"{where}: a message without its conversation or created_at")
    inbox_id = id_of(conversation.get("inbox_id")) or id_of(inner(message, "inbox").get("id"))
    conversation = {**conversation, "inbox_id": inbox_id}
    if inboxes.only and inbox_id not in inboxes.only:
        return "another inbox"
    network, label = network_of(conversation, inboxes)
    if network == "email" and not inboxes.emails:
        return "email"
    inbox = text_of(inner(message, "inbox").get("name"))
    person = _person(inner(message, "sender") if type_ == TYPE else {}, conversation, network, context.region)
    url = f"{account.url}/app/accounts/{account.id}/conversations/{talk}"
    known = {"network": network, "inbox": inbox, "inbox_id": inbox_id, "conversation_id": talk, "message_id": id_}
    return Signal(
        id=derive_id("chatwoot", account.name, type_, id_),
        type=type_,
        source=context.name,
        route=route,
        occurred_at=at.replace(microsecond=0),  # the API knows no fractions
        received_at=now,
        text=_text(message),
        url=url,
        reply=url,
        person=person,
        data={name: held for name, held in known.items() if held},
        thread=f"chatwoot:{account.name}:{talk}",
        **_title(type_, label or inbox, person.name or person.email or person.phone),
    )


def _unwanted(message: Fields, kind: str) -> str:
    """Why a message is not a signal; "" for one that is."""
    attributes = inner(message, "content_attributes")
    if message.get("private") is True:
        return "note"
    if kind not in ("incoming", "outgoing"):
        return f"{kind[:40]} message"
    if attributes.get("deleted") is True:
        return "deleted message"
    if kind == "incoming":
        return ""
    if attributes.get("automation_rule_id") or inner(message, "additional_attributes").get("campaign_id"):
        return "automatic message"
    if inner(message, "sender").get("type") != "user" and attributes.get("external_echo") is not True:
        return "automatic message"
    return "message that failed" if message.get("status") in ("failed", 3) else ""


def _title(type_: str, network: str, who: str) -> Any:
    if network:
        code = f"{type_}.on"
        return titled(code, network=network, who=who) if who else titled(f"{code}.bare", network=network)
    return titled(type_, who=who) if who else titled(f"{type_}.bare")


def _source_id(conversation: Fields) -> str:
    """The contact's id in the network of the inbox."""
    return id_of(inner(conversation, "contact_inbox").get("source_id"))


def _person(told: Fields, conversation: Fields, network: str, region: str | None) -> Person:
    """The customer: by what is said of the sender, then what the conversation says of its contact; older versions say less."""
    contact = inner(inner(conversation, "meta"), "sender")
    known = {
        name: text_of(told.get(name)) or text_of(contact.get(name))
        for name in ("name", "email", "phone_number", "identifier")
    }
    source = _source_id(conversation)
    digits = _PHONE.fullmatch(source) if network in _BY_PHONE else None
    handles = {
        network: (digits[1] if digits else source) if network not in NO_IDS and source else "",
        "chatwoot": id_of(told.get("id")) or id_of(contact.get("id")),
        "chatwoot_user": known["identifier"],
    }
    return make_person(
        name="" if _MADE_UP.fullmatch(known["name"]) else known["name"],
        email=known["email"],
        phone=known["phone_number"] or (f"+{digits[1]}" if digits else ""),
        company=text_of(inner(contact, "additional_attributes").get("company_name")),
        handles={name: held for name, held in handles.items() if name and held},
        region=region,
    )


def _text(message: Fields) -> str:
    """What was written, and the files by their kind in brackets."""
    files = [
        f"[{text_of(one.get('file_type')) or 'file'}] {text_of(one.get('fallback_title'))}".strip()
        for one in rows_of(message.get("attachments"))
    ]
    return "\n".join(part for part in (text_of(message.get("content")), *files) if part)
