"""Shipped field maps of the generic webhook, `preset: NAME`, for vendors that send what their users put together, and for those
of whom a webhook alone is worth reading. Data only.

Of the former the names of the fields are ours: the page of the preset says how the vendor is told to send them. Of the latter
they are the vendor's: LINE's OpenAPI description (line/line-openapi, webhook.yml), Zalo's page "Webhook", Twilio's "Request
parameters" of incoming messages; SalesIQ's were seen by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

_SURVEY: Mapping[str, Any] = {
    "format": "json",
    "signal": {
        "type": "survey.responded",
        "id": "{{ body.response_id }}",
        "occurred_at": "{{ body.submitted_at }}",
        "title": "Answered {{ body.survey or 'a survey' }}",
        "text": "{{ body.answers }}",
        "url": "{{ body.url }}",
        "person": {name: f"{{{{ body.{name} }}}}" for name in ("email", "phone", "name", "company")},
    },
}
_FRESHDESK: Mapping[str, Any] = {
    "format": "json",
    "signal": {
        "type": "{{ body.event }}",
        "types": {
            name: f"ticket.{name}" for name in ("created", "replied", "commented", "overdue", "escalated", "rated")
        },
        "title": "Ticket #{{ body.ticket_id }}: {{ body.subject }}",
        "text": "{{ body.text }}",
        "url": "{{ body.url }}",
        "thread": "{{ body.ticket_id }}",
        "person": {name: f"{{{{ body.{name} }}}}" for name in ("email", "phone", "name", "company")},
    },
}
_SALESIQ: Mapping[str, Any] = {
    "format": "json",
    "verify": {"scheme": "salesiq"},
    "signal": {
        "type": "{{ body.event }}",
        "types": {"conversation.missed": "chat.missed"},
        "id": "{{ body.entity_id or body.entity.id }}",
        "occurred_at": "{{ body.event_time }}",
        "title": "Missed chat",
        "text": "{{ body.entity.question }}",
        "thread": "{{ body.entity_id or body.entity.id }}",
        "person": {
            "name": "{{ body.entity.visitor.name }}",
            "email": "{{ body.entity.visitor.email_id or body.entity.visitor.email }}",
            "phone": "{{ body.entity.visitor.phone }}",
        },
    },
}
_LINE: Mapping[str, Any] = {
    "format": "json",
    "verify": {"scheme": "line"},
    "signal": {
        "type": "{{ item.type }}",
        "types": {"message": "message.received"},
        "each": "{{ body.events }}",
        "id": "{{ item.message.id or item.webhookEventId }}",
        "occurred_at": "{{ item.timestamp }}",
        "title": "LINE message",
        "text": "{{ item.message.text or item.message.fileName or item.message.title or item.message.type }}",
        "thread": "{{ item.source.groupId or item.source.roomId or item.source.userId }}",
        "person": {"handles": {"line": "{{ item.source.userId }}"}},
        "data": {"network": "line", "kind": "{{ item.message.type }}", "message_id": "{{ item.message.id }}"},
    },
}
_ZALO: Mapping[str, Any] = {
    "format": "json",
    "verify": {"scheme": "zalo"},
    "signal": {
        "type": "{{ body.event_name }}",
        "types": {
            f"user_send_{kind}": "message.received"
            for kind in (
                "text",
                "image",
                "link",
                "sticker",
                "gif",
                "audio",
                "video",
                "file",
                "location",
                "business_card",
            )
        },
        "id": "{{ body.message.msg_id }}",
        "occurred_at": "{{ body.timestamp }}",
        "title": "Zalo message",
        "text": "{{ body.message.text or body.message.attachments[0].payload.description or body.event_name }}",
        "thread": "{{ body.sender.id }}",
        "person": {"handles": {"zalo": "{{ body.sender.id }}"}},
        "data": {"network": "zalo", "kind": "{{ body.event_name }}", "message_id": "{{ body.message.msg_id }}"},
    },
}
_SMS: Mapping[str, Any] = {
    "format": "form",
    "verify": {"scheme": "twilio"},
    "signal": {
        "type": "message.received",
        "id": "{{ body.MessageSid or body.SmsSid }}",
        "title": "SMS from {{ body.From }}",
        "text": "{{ body.Body }}",
        "thread": "{{ body.From }}",
        "person": {"phone": "{{ body.From }}"},
        "data": {"network": "sms", "number": "{{ body.To }}", "media": "{{ body.NumMedia }}"},
    },
}
PresetName = Literal["zoho_survey", "google_forms", "freshdesk", "salesiq", "line", "zalo_oa", "twilio_sms"]
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "zoho_survey": _SURVEY,
    "google_forms": _SURVEY,
    "freshdesk": _FRESHDESK,
    "salesiq": _SALESIQ,
    "line": _LINE,
    "zalo_oa": _ZALO,
    "twilio_sms": _SMS,
}
"""Name -> keys of a `webhook` source. What stands beside `preset:` in the configuration wins, key by key."""


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a source with those of its preset beneath; unchanged without one that is known."""
    preset = PRESETS.get(str(given.get("preset")))
    return _beneath(preset, given) if preset is not None else dict(given)


def _beneath(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        one, other = below[name], above[name]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            merged[name] = _beneath(one, other)
    return merged
