"""What the website of the demo sends: one event of each type of the catalogue that no other source of the demo makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANNA = {"email": "anna.nguyen@lotus.example", "name": "Anna Nguyen"}
TOM = {"email": "tom.baker@mill.example", "name": "Tom Baker"}
BINH = {"email": "binh.le@lamp.example", "handles": {"facebook": "7231001"}, "name": "Binh Le"}
CHI = {"email": "chi.vo@reed.example", "handles": {"x": "99120045"}, "name": "Chi Vo"}
VY = {"handles": {"facebook": "7231002"}, "name": "Vy Ho"}
"""Nothing but a handle is known of Vy, and the shipped mappings look nobody up by it: the table says so."""


@dataclass(frozen=True)
class DemoEvent:
    """One event of a signal type; `said` is what its CloudEvent's data has beside the person."""

    type: str
    title: str
    person: Mapping[str, Any]
    said: Mapping[str, Any] = field(default_factory=dict)


EVENTS = (
    DemoEvent("email.sent", "Sent: Our offer", ANNA, {"text": "Here is our offer for 200 users."}),
    DemoEvent("email.opened", "Opened: Our offer", TOM),
    DemoEvent("email.clicked", "Clicked a link in: Our offer", TOM, {"url": "https://www.example.com/prices"}),
    DemoEvent("call.answered", "Answered a call of 4 min", TOM),
    DemoEvent("call.placed", "Called for 2 min", ANNA),
    DemoEvent("message.sent", "WhatsApp message to Anna Nguyen", ANNA, {"text": "We deliver to Huế too."}),
    DemoEvent("chat.answered", "Answered chat of Tom Baker", TOM, {"text": "Yes, it prints on both sides."}),
    DemoEvent("meeting.held", "Meeting: product tour", TOM),
    DemoEvent("campaign.opened", "Opened the campaign Spring", ANNA),
    DemoEvent("campaign.clicked", "Clicked in the campaign Spring", ANNA, {"url": "https://www.example.com/spring"}),
    DemoEvent("campaign.bounced", "Campaign Spring did not arrive", TOM, {"text": "550 5.1.1 no such user"}),
    DemoEvent(
        "chat.missed",
        "Missed chat",
        {"email": "lan.pham@tea.example", "name": "Lan Pham"},
        {"text": "Is anybody there?"},
    ),
    DemoEvent(
        "message.received",
        "Message on WhatsApp",
        {"phone": "+84987654321", "name": "Hoa Do"},
        {"text": "Do you deliver to Huế?"},
    ),
    DemoEvent("ticket.created", "Ticket 101: printer is broken", TOM),
    DemoEvent("ticket.commented", "Comment on ticket 101", TOM, {"text": "It is the one on floor 3."}),
    DemoEvent("ticket.replied", "Reply on ticket 101", TOM, {"text": "Thank you, it prints again."}),
    DemoEvent("ticket.overdue", "Ticket 102 is overdue", ANNA),
    DemoEvent("ticket.escalated", "Ticket 102 was escalated", ANNA),
    DemoEvent("ticket.rated", "Rated ticket 101: good", TOM),
    DemoEvent("facebook.posted", "Posted on the page", BINH, {"text": "Best tea in town."}),
    DemoEvent("facebook.commented", "Commented on a post", BINH, {"text": "Is there a shop in Hanoi?"}),
    DemoEvent("facebook.liked", "Liked a post", VY),
    DemoEvent("facebook.messaged", "Sent a message on Facebook", BINH, {"text": "What does it cost?"}),
    DemoEvent("x.mentioned", "Mentioned us on X", CHI, {"text": "@ourcompany well done"}),
    DemoEvent("x.messaged", "Sent a direct message on X", CHI, {"text": "Can we talk?"}),
    DemoEvent("contact.changed", "Changed in the address book", ANNA, {"job_title": "Buyer", "city": "Huế"}),
    DemoEvent(
        "account.changed",
        "Company in a list",
        {"company": "Rice & Co", "email": "info@rice.example"},
        {"website": "https://www.rice.example", "city": "Huế"},
    ),
    DemoEvent("contact.deleted", "Deleted in the address book", TOM),
    DemoEvent("web.visited", "Visited https://www.example.com/prices", ANNA),
)
