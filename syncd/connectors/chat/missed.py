"""What the signals of missed chats have in common, whatever the vendor."""

from __future__ import annotations

from typing import Any

from syncd.signals import Person
from syncd.texts.titles import titled

TYPE = "chat.missed"


def title_of(person: Person) -> Any:
    """The three fields of a Signal that are its title: who waited, as far as that is known."""
    who = person.name or person.email or person.phone
    return titled(TYPE, who=who) if who else titled(f"{TYPE}.bare")
