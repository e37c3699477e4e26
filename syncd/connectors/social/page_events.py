"""What people do on a Facebook page, from a webhook or from the Graph API: one shape, one id, one signal. Pure.

Facts: developers.facebook.com/docs/graph-api/webhooks/reference/page (feed, mention) and
…/docs/messenger-platform/reference/webhook-events.
Ids: post id, comment id, `mid` of a message; a like by what was liked and by whom, so that a like which comes as `like` and as
`reaction`, or turns into another reaction, is one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from syncd.connector import Context
from syncd.connectors.social.fields import Fields, fields_of, id_of, inner, rows_of, text_of, time_of
from syncd.connectors.social.meta_hooks import MetaEvent
from syncd.errors import Malformed
from syncd.signals import Route, Signal, derive_id, frame, make_person
from syncd.texts.titles import titled

KINDS = {
    **dict.fromkeys(("post", "status", "photo", "video", "share", "link", "album", "note"), "posted"),
    "comment": "commented",
    "like": "liked",
    "reaction": "liked",
}
"""`item` of a change of the feed -> the switch of its signal."""
SITE = "https://www.facebook.com"


class PageEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a person did. `kind`: the switch of its signal; `id`: what the signal's id is made of; `by`, `name`: who, ""
    if the payload does not say. It serialises, so that a hint can carry it."""

    kind: str
    id: str
    at: datetime
    by: str = ""
    name: str = ""
    text: str = ""
    url: str = ""
    reply: str = ""
    thread: str = ""
    data: dict[str, str] = {}


def read_event(event: MetaEvent, page: str, received_at: datetime, where: str) -> PageEvent | str:
    """An event of a webhook, or why it is not a signal. Raises Malformed."""
    value = fields_of(event.value, where)
    if event.kind in ("messaging", "standby"):
        return _message(value, page, event, received_at, where)
    if not event.kind:
        return "no event"
    field = text_of(value.get("field"))
    if not field:
        raise Malformed(f"{where}, field: missing")
    if field not in ("feed", "mention"):
        return f"field {field[:40]}"
    return _change(value.get("value"), page, event, received_at, where)


def _change(value: Any, page: str, event: MetaEvent, received_at: datetime, where: str) -> PageEvent | str:
    value = fields_of(value, f"{where}, value")
    item, verb = text_of(value.get("item")), text_of(value.get("verb"))
    kind = KINDS.get(item)
    if not item:
        raise Malformed(f"{where}, value.item: missing")
    who = inner(value, "from")
    by = id_of(who.get("id")) or id_of(value.get("sender_id"))
    if kind is None:
        return f"item {item[:40]}"
    if verb not in ("add", "edited", "edit"):
        return f"verb {verb[:40]}"
    if by == page:
        return "own"
    if value.get("published") == 0:
        return "unpublished"
    post, comment = id_of(value.get("post_id")), id_of(value.get("comment_id"))
    target = comment or post
    native = frame(target or page, by) if kind == "liked" else comment if kind == "commented" else post
    if not native or (kind == "liked" and not by):
        if kind == "liked":
            return "like by an unknown person"
        raise Malformed(f"{where}, value: a {item} without its id")
    moment = time_of(value.get("created_time"), f"{where}, value.created_time") or time_of(event.time, f"{where}, time")
    return PageEvent(
        kind=kind,
        id=native,
        at=moment or received_at,
        by=by,
        name=text_of(who.get("name")) or text_of(value.get("sender_name")),
        text=text_of(value.get("message")),
        url=f"{SITE}/{target}" if target else f"{SITE}/{page}",
        thread=post or target,
        data=_kept(
            post_id=post,
            comment_id=comment,
            parent_id=id_of(value.get("parent_id")),
            item=item,
            reaction=text_of(value.get("reaction_type")),
            link=text_of(value.get("link")) or text_of(value.get("photo")),
        ),
    )


def _message(value: Fields, page: str, event: MetaEvent, received_at: datetime, where: str) -> PageEvent | str:
    message, by = value.get("message"), id_of(inner(value, "sender").get("id"))
    if not isinstance(message, dict):
        named = [name for name in value if name not in ("sender", "recipient", "timestamp", "message")]
        if not named or "message" in value:
            raise Malformed(f"{where}, message: missing or not an object")
        return f"messaging {named[0][:40]}"
    if message.get("is_echo") is True or by == page:
        return "echo"
    if message.get("is_deleted") is True:
        return "deleted message"
    mid = id_of(message.get("mid"))
    if not mid or not by:
        raise Malformed(f"{where}: a message without its mid or sender")
    moment = time_of(value.get("timestamp"), f"{where}, timestamp") or time_of(event.time, f"{where}, time")
    files = attachments_of(message.get("attachments"))
    return PageEvent(
        kind="messaged",
        id=mid,
        at=moment or received_at,
        by=by,
        text="\n".join(part for part in (text_of(message.get("text")), *(f"[{kind}]" for kind, _ in files)) if part),
        reply="" if event.kind == "standby" else inbox(page),
        url=inbox(page),
        thread=f"{page}:{by}",
        data=_kept(
            mid=mid,
            attachment=next((link for _, link in files if link), ""),
            standby="yes" if event.kind == "standby" else "",
        ),
    )


def read_row(kind: str, row: Fields, page: str, where: str) -> PageEvent | str:
    """A post, a comment (with the id of its post as `post`) or a message (with its conversation as `conversation`) as the Graph
    API shows it, or why it is not a signal. Raises Malformed."""
    native, who = id_of(row.get("id")), inner(row, "from")
    by, moment = id_of(who.get("id")), time_of(row.get("created_time"), f"{where}, created_time")
    if not native or moment is None:
        raise Malformed(f"{where}: without id or created_time")
    if by == page:
        return "own"
    if kind == "posted" and not by:
        return "post by an unknown person"
    if row.get("is_published") is False:
        return "unpublished"
    event = PageEvent(
        kind=kind, id=native, at=moment, by=by, name=text_of(who.get("name")), text=text_of(row.get("message"))
    )
    if kind == "messaged":
        if not by:
            raise Malformed(f"{where}: a message without its sender")
        return msgspec.structs.replace(
            event, url=inbox(page), reply=inbox(page), thread=f"{page}:{by}", data={"mid": native}
        )
    post = id_of(row.get("post")) or native
    data = _kept(
        post_id=post,
        comment_id=native if kind == "commented" else "",
        item="comment" if kind == "commented" else "post",
    )
    url = link_of(row) or f"{SITE}/{native}"
    return msgspec.structs.replace(event, url=url, thread=post, data=data)


def completed(event: PageEvent, row: Fields) -> PageEvent:
    """The event with what an object of the Graph API says more than its webhook: a post or comment, or the profile of whoever
    wrote a message."""
    who = row if event.kind == "messaged" else inner(row, "from")
    name = text_of(who.get("name")) or " ".join(filter(None, map(text_of, map(who.get, ("first_name", "last_name")))))
    return msgspec.structs.replace(
        event,
        by=event.by or id_of(who.get("id")),
        name=event.name or name,
        text=event.text or text_of(row.get("message")),
        url=link_of(row) or event.url,
    )


def link_of(row: Fields) -> str:
    link = text_of(row.get("permalink_url"))
    return link if link.startswith("https://") else ""


def attachments_of(value: Any) -> list[tuple[str, str]]:
    """(kind, link) of the attachments of a message; the links expire."""
    return [
        (text_of(row.get("type"))[:40] or "file", text_of(inner(row, "payload").get("url"))) for row in rows_of(value)
    ]


def inbox(page: str) -> str:
    """Where the page's conversations are answered."""
    return f"https://business.facebook.com/latest/inbox/all?asset_id={page}"


def _kept(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def signal_of(event: PageEvent, page: str, context: Context, received_at: datetime, route: Route) -> Signal:
    """The signal of what a person did on the page."""
    type_ = f"facebook.{event.kind}"
    person = make_person(name=event.name, handles={"facebook": event.by} if event.by else {}, region=context.region)
    return Signal(
        id=derive_id("facebook_page", page, type_, event.id),
        type=type_,
        source=context.name,
        occurred_at=event.at,
        received_at=received_at,
        **(titled(type_, who=person.name) if person.name else titled(f"{type_}.bare")),
        text=event.text,
        url=event.url,
        reply=event.reply or ("" if event.kind == "messaged" else event.url),
        person=person,
        data={"page_id": page, **event.data},
        thread=f"facebook:{event.thread or page}",
        route=route,
    )
