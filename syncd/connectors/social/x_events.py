"""Mentions and direct messages on X, from either kind of webhook and from the API: one shape, one id, one signal. Pure.

Facts: docs.x.com, X API v2 (Post, User, DmEvent), X Activity API (event payloads), Account Activity API (the older envelope with
`for_user_id`, posts and users of version 1). Ids: id of the post, id of the DM event, on every route. A post's id contains its
time (Snowflake). X writes & < > in texts as HTML entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

from syncd.connector import Context
from syncd.connectors.social.fields import Fields, id_of, inner, rows_of, text_of, time_of
from syncd.errors import Malformed
from syncd.signals import Route, Signal, derive_id, make_person
from syncd.texts.titles import titled

SITE = "https://x.com"
EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657000, UTC)
"""Where the milliseconds in ids begin."""
MENTIONS = ("post.mention.create", "post.reply.create", "post.quote.create")
"""Event types of the X Activity API that are mentions; several may come for one post."""
MESSAGE = "dm.received"

Users = Mapping[str, Fields]


@dataclass(frozen=True)
class XReader:
    """Makes the signals of one account; `user` is its id."""

    user: str
    context: Context

    def mention(self, post: Fields, users: Users, received_at: datetime, route: Route, where: str) -> Signal | str:
        """A post as version 2 of the API has it, or why it is not a signal. Raises Malformed."""
        id_, author = _snowflake(post, where), id_of(post.get("author_id"))
        if author == self.user:
            return "own"
        kinds = {
            text_of(row.get("type")) for row in rows_of(post.get("referenced_tweets") or post.get("referenced_posts"))
        }
        if "retweeted" in kinds:
            return "repost"
        username = text_of(users.get(author, {}).get("username"))
        url = f"{SITE}/{username or 'i'}/status/{id_}"
        text = inner(post, "note_tweet").get("text") or post.get("text")
        conversation = id_of(post.get("conversation_id"))
        data = {"post_id": id_, "conversation_id": conversation, "kind": ", ".join(sorted(kinds - {""}))}
        return self._signal(
            "x.mentioned",
            id_,
            (author, users),
            time_of(post.get("created_at"), f"{where}, created_at"),
            text_of(text),
            (url, f"{SITE}/intent/post?in_reply_to={id_}"),
            f"x:{conversation or id_}",
            data,
            received_at,
            route,
        )

    def message(self, event: Fields, users: Users, received_at: datetime, route: Route, where: str) -> Signal | str:
        """A DM event as version 2 of the API has it, or why it is not a signal. Raises Malformed."""
        kind = text_of(event.get("event_type"))
        if kind != "MessageCreate":
            if not kind:
                raise Malformed(f"{where}, event_type: missing")
            return f"DM event {kind[:40]}"
        id_, sender = _snowflake(event, where), id_of(event.get("sender_id"))
        if sender == self.user:
            return "own"
        if not sender:
            raise Malformed(f"{where}, sender_id: missing")
        conversation = id_of(event.get("dm_conversation_id")) or _conversation(sender, self.user)
        url, text = f"{SITE}/messages/{conversation}", text_of(event.get("text"))
        return self._signal(
            "x.messaged",
            id_,
            (sender, users),
            time_of(event.get("created_at"), f"{where}, created_at"),
            text or ("[attachment]" if event.get("attachments") else ""),
            (url, url),
            f"x:{conversation}",
            {"dm_event_id": id_, "conversation_id": conversation},
            received_at,
            route,
        )

    def _signal(
        self,
        type_: str,
        native: str,
        who: tuple[str, Users],
        at: datetime | None,
        text: str,
        links: tuple[str, str],
        thread: str,
        data: dict[str, str],
        received_at: datetime,
        route: Route,
    ) -> Signal:
        author, users = who
        profile = users.get(author, {})
        person = make_person(
            name=unescape(text_of(profile.get("name"))),
            handles={"x": author} if author else {},
            region=self.context.region,
        )
        username = text_of(profile.get("username"))
        named = person.name or (f"@{username}" if username else "")
        kept = {**data, "username": username}
        return Signal(
            id=derive_id("x", self.user, type_, native),
            type=type_,
            source=self.context.name,
            occurred_at=at or snowflake_time(native),
            received_at=received_at,
            **(titled(type_, who=named) if named else titled(f"{type_}.bare")),
            text=unescape(text),
            url=links[0],
            reply=links[1],
            person=person,
            data={name: value for name, value in kept.items() if value},
            thread=thread,
            route=route,
        )


def _snowflake(row: Fields, where: str) -> str:
    """The id of a post or DM event. Raises Malformed."""
    id_ = id_of(row.get("id"))
    if not (id_.isascii() and id_.isdigit() and len(id_) < 20):
        raise Malformed(f"{where}, id: {id_[:40]!r} is not an id of X")
    return id_


def snowflake_time(id_: str) -> datetime:
    """When the post or DM event with this id was made."""
    return EPOCH + timedelta(milliseconds=int(id_) >> 22)


def _conversation(one: str, other: str) -> str:
    """The id of a conversation of two, the lower user id first."""
    return "-".join(sorted((one, other), key=lambda id_: (len(id_), id_)))


def users_of(value: Any) -> dict[str, Fields]:
    """User id -> user, of `includes.users` (a list), or of the map in a webhook about messages, whose users may be wrapped in
    `data` or be of version 1 (`screen_name`)."""
    if isinstance(value, dict):
        rows = [{"id": id_, **(inner(row, "data") or row)} for id_, row in value.items() if isinstance(row, dict)]
    else:
        rows = [dict(row) for row in rows_of(value)]
    return {id_of(row.get("id")): {**row, "username": row.get("username") or row.get("screen_name")} for row in rows}


def as_post(status: Fields) -> tuple[Fields, Users]:
    """A post of version 1 as one of version 2, and its author."""
    author = inner(status, "user")
    user = {
        "id": id_of(author.get("id_str") or author.get("id")),
        **{k: author.get(k) for k in ("name", "screen_name")},
    }
    text = inner(status, "extended_tweet").get("full_text") or status.get("full_text") or status.get("text")
    post = {"id": id_of(status.get("id_str") or status.get("id")), "text": text, "author_id": user["id"]}
    kinds = {"retweeted_status": "retweeted", "quoted_status": "quoted", "in_reply_to_status_id_str": "replied_to"}
    referenced = [{"type": kind} for name, kind in kinds.items() if status.get(name)]
    return {**post, "referenced_tweets": referenced}, users_of([user])


def as_dm_event(event: Fields) -> Fields:
    """A message of version 1, as webhooks of both kinds have it, as a DM event of version 2."""
    created, kind = inner(event, "message_create"), text_of(event.get("type"))
    data = inner(created, "message_data")
    return {
        "id": event.get("id"),
        "event_type": "MessageCreate" if kind == "message_create" else kind,
        "created_at": event.get("created_timestamp"),
        "sender_id": created.get("sender_id"),
        "text": data.get("text"),
        "attachments": data.get("attachment"),
    }
