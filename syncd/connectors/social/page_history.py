"""What stood on a Facebook page: its posts and their comments, and the messages of its conversations, by the Graph API.

A list of posts is filtered by the time of the post, not of its comments. Therefore the comments on all posts of `look_back` are
read, up to 50 with their post in one call. Every method raises a Failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from syncd.connectors.social.fields import Fields, id_of, inner, rows_of, time_of
from syncd.connectors.social.meta_api import GraphApi
from syncd.errors import Malformed
from syncd.time_cursor import ItemMark, mark_of

_COMMENT = "id,message,from,created_time,permalink_url"
_NEWEST = "order(reverse_chronological)"
_POSTS = (
    f"id,message,created_time,from,permalink_url,is_published,comments.filter(stream).{_NEWEST}.limit(50){{{_COMMENT}}}"
)
_MESSAGE = "id,message,from,created_time"


class PageRow(NamedTuple):
    """A row of the Graph API. `kind`: the switch of its signal."""

    kind: str
    fields: Fields

    @property
    def at(self) -> datetime | None:
        """None for a row without a time that can be read."""
        try:
            return time_of(self.fields.get("created_time"), "created_time")
        except Malformed:
            return None

    def before(self, until: datetime) -> bool:
        return self.at is None or self.at < until


def mark(row: PageRow) -> ItemMark | None:
    return mark_of(f"{row.kind}:{id_of(row.fields.get('id'))}", row.at)


class PageHistory:
    """The rows of one page, at or after a time."""

    def __init__(self, api: GraphApi, page: str, look_back: timedelta) -> None:
        self._api = api
        self._page = page
        self._look_back = look_back

    def stories(self, since: datetime) -> Iterator[PageRow]:
        """Posts, and comments on the posts of `look_back` before `since`."""
        begin = str(int((since - self._look_back).timestamp()))
        for posts in self._api.pages(f"/{self._page}/feed", fields=_POSTS, since=begin, limit="50"):
            for post in posts:
                comments = self._comments(post, since)
                bare = {name: value for name, value in post.items() if name != "comments"}
                yield from _since([PageRow("posted", bare), *comments], since)

    def _comments(self, post: Fields, since: datetime) -> list[PageRow]:
        """The comments on a post, as far back as `since`: those that came with it, or else all of their own list."""
        id_, held = id_of(post.get("id")), inner(post, "comments")
        rows = rows_of(held.get("data"))
        if "next" in inner(held, "paging") and not _reaches(rows, since):
            path = f"/{id_}/comments"
            own = self._api.pages(path, filter="stream", order="reverse_chronological", fields=_COMMENT, limit="100")
            rows = self._until(own, since)
        return [PageRow("commented", {**row, "post": id_}) for row in rows]

    def messages(self, since: datetime) -> Iterator[PageRow]:
        """Messages of all conversations that have one since then."""
        fields = f"id,updated_time,messages.limit(25){{{_MESSAGE}}}"
        for conversations in self._api.pages(f"/{self._page}/conversations", fields=fields, limit="25"):
            for conversation in conversations:
                path = f"/{id_of(conversation.get('id'))}/messages"
                nested = rows_of(inner(conversation, "messages").get("data"))
                if "next" in inner(inner(conversation, "messages"), "paging") and not _reaches(nested, since):
                    nested = self._until(self._api.pages(path, fields=_MESSAGE, limit="100"), since)
                yield from _since([PageRow("messaged", row) for row in nested], since)
            updated = [PageRow("", {"created_time": one.get("updated_time")}).at for one in conversations]
            if any(at is not None and at < since for at in updated):
                return

    def try_reading(self) -> None:
        """One call that needs the permissions of `stories`."""
        self._api.one(f"/{self._page}/feed", fields=_POSTS, limit="1")

    def _until(self, pages: Iterator[list[dict[str, Any]]], since: datetime) -> list[Fields]:
        """The rows of pages that are newest first, down to `since`."""
        rows: list[Fields] = []
        for page in pages:
            rows += page
            if _reaches(page, since):
                break
        return rows


def _reaches(rows: Sequence[Fields], since: datetime) -> bool:
    """Whether one of the rows is older than `since`."""
    return any((at := PageRow("", row).at) is not None and at < since for row in rows)


def _since(rows: list[PageRow], since: datetime) -> Iterator[PageRow]:
    return (row for row in rows if (at := row.at) is None or at >= since)
