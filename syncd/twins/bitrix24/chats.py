"""Messenger: chats of CRM records, their members and messages, and notifications.

Used by methods.py. The chat of a record is the one with its ENTITY_TYPE and ENTITY_ID; nothing makes that pair unique [DOC].
"""

from __future__ import annotations

from typing import Any

from syncd.twins.bitrix24 import phpdata
from syncd.twins.bitrix24.portal import Bitrix24Portal
from syncd.twins.bitrix24.rest import Bitrix24Error, RestAnswer, RestCall, RestMethod, as_int
from syncd.twins.state import Record

MESSAGES, MOST_MESSAGES = 20, 50
"""Messages of one answer: where nothing is said, and at most."""


def get(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.chat.get: null for a chat that is not there, for a missing parameter, for a misspelt one. Of several, one."""
    type_, id_ = call.any_case("ENTITY_TYPE"), call.any_case("ENTITY_ID")
    found = portal.store.find("chat", "ENTITY", f"{type_}:{id_}") if type_ and id_ else []
    return RestAnswer({"ID": min(row["ID"] for row in found)} if found else None)


def add(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.chat.add: the caller owns it and is in it; without ENTITY_… it belongs to no record."""
    users = [id_ for id_ in map(as_int, phpdata.values(call.any_case("USERS"))) if portal.user(id_) is not None]
    members = list(dict.fromkeys([call.user, *users]))
    type_, id_ = call.any_case("ENTITY_TYPE"), call.any_case("ENTITY_ID")
    entity = f"{type_}:{id_}" if type_ and id_ else ""
    made = create(portal, call.user, members, entity, str(call.any_case("TITLE") or ""))
    if call.any_case("MESSAGE"):
        say(portal, made["ID"], call.user, str(call.any_case("MESSAGE")))
    return RestAnswer(made["ID"])


def create(
    portal: Bitrix24Portal, owner: int, members: list[Any], entity: str, title: str, closed: bool = False
) -> Record:
    """A chat. `closed`: only its owner may add members."""
    id_ = portal.new_id("chat")
    made = {"ID": id_, "OWNER": owner, "MEMBERS": members, "ENTITY": entity, "TITLE": title or f"Chat {id_}"}
    made |= {"CLOSED": closed, "FROM": {}}
    portal.store.put("chat", str(id_), made)
    return made


def say(portal: Bitrix24Portal, chat: int, author: int, text: str) -> int:
    """A message in a chat; author 0: the system."""
    id_ = portal.new_id("message")
    row = {"ID": id_, "CHAT_ID": chat, "AUTHOR_ID": author, "DATE": portal.stamp(), "TEXT": text}
    portal.store.put("message", str(id_), row)
    return id_


def _chat(portal: Bitrix24Portal, call: RestCall) -> Record:
    given = as_int(call.any_case("CHAT_ID"))
    if not given:
        raise Bitrix24Error("CHAT_ID_EMPTY", "Chat ID can't be empty")
    found = portal.store.get("chat", str(given))
    if found is None:
        raise Bitrix24Error("ACCESS_ERROR", "Action unavailable", 403)
    return found


def add_users(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.chat.user.add: by a member with the right. New members see nothing of before, unless HIDE_HISTORY is N."""
    held = _chat(portal, call)
    if call.user not in held["MEMBERS"]:
        raise Bitrix24Error("ACCESS_ERROR", "Action unavailable", 403)
    if held["CLOSED"] and call.user != held["OWNER"]:
        raise Bitrix24Error("ACCESS_DENIED_EXTEND", "You don't have enough permissions to add users to this chat", 403)
    hidden = str(call.any_case("HIDE_HISTORY") or "Y").upper() != "N"
    join(portal, held, [as_int(one) for one in phpdata.values(call.any_case("USERS"))], hidden, call.user)
    return RestAnswer(True)


def join(portal: Bitrix24Portal, held: Record, users: list[Any], hidden: bool, by: int) -> None:
    """Users become members; those who are there already, or nowhere, are left out."""
    new = [id_ for id_ in dict.fromkeys(users) if id_ not in held["MEMBERS"] and portal.user(id_) is not None]
    if not new:
        return
    from_ = held["FROM"] | ({str(id_): portal.new_id("message") for id_ in new} if hidden else {})
    portal.store.put("chat", str(held["ID"]), {**held, "MEMBERS": [*held["MEMBERS"], *new], "FROM": from_})
    for id_ in new:
        say(portal, held["ID"], 0, f"[USER={by} REPLACE][/USER] invited [USER={id_} REPLACE][/USER] to the chat")


def users(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.chat.user.list: empty for a caller who is not in the chat."""
    held = _chat(portal, call)
    return RestAnswer(held["MEMBERS"] if call.user in held["MEMBERS"] else [])


def _dialog(portal: Bitrix24Portal, call: RestCall) -> tuple[str, Record | None]:
    """(DIALOG_ID, chat): no chat for the id of a user."""
    given = str(call.any_case("DIALOG_ID") or "")
    return given, portal.store.get("chat", given.removeprefix("chat")) if given.startswith("chat") else None


def add_message(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.message.add: into a chat one is in, or to a user."""
    given, held = _dialog(portal, call)
    text = str(call.any_case("MESSAGE") or "").strip()
    if not text and not call.any_case("ATTACH"):
        raise Bitrix24Error("MESSAGE_EMPTY", "Message can't be empty")
    if not given.startswith("chat"):
        if not (as_int(given) or 0) > 0:
            raise Bitrix24Error("USER_ID_EMPTY", "User ID can't be empty")
        if portal.user(as_int(given)) is None:
            raise Bitrix24Error("USER_NOT_FOUND", "User not found")
        return RestAnswer(say(portal, 0, call.user, text))
    if held is None:
        raise Bitrix24Error("CHAT_ID", "Error creating message")
    if call.user not in held["MEMBERS"]:
        raise Bitrix24Error("ACCESS_ERROR", "Action unavailable", 403)
    system = str(call.any_case("SYSTEM") or "N").upper() == "Y"
    return RestAnswer(say(portal, held["ID"], 0 if system else call.user, text))


def messages(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.dialog.messages.get: of a chat one is in, the newest first."""
    given, held = _dialog(portal, call)
    if not given:
        raise Bitrix24Error("DIALOG_ID_EMPTY", "Dialog ID can't be empty")
    if held is None or call.user not in held["MEMBERS"]:
        raise Bitrix24Error("ACCESS_ERROR", "You do not have access to the specified dialog", 403)
    limit = min(as_int(call.any_case("LIMIT")) or MESSAGES, MOST_MESSAGES)
    last, first = as_int(call.any_case("LAST_ID")), as_int(call.any_case("FIRST_ID"))
    since = max(held["FROM"].get(str(call.user), 0), first or 0)
    rows = [
        r
        for r in portal.store.find("message", "CHAT_ID", held["ID"])
        if r["ID"] > since and (not last or r["ID"] < last)
    ]
    rows.sort(key=lambda r: int(r["ID"]), reverse=not first)
    found = sorted(rows[:limit], key=lambda r: int(r["ID"]), reverse=True)
    told = [_shown(row) for row in found]
    return RestAnswer({"chat_id": held["ID"], "messages": told, "users": [], "files": []})


def _shown(row: Record) -> dict[str, Any]:
    system = not row["AUTHOR_ID"]
    return {
        "id": row["ID"],
        "chat_id": row["CHAT_ID"],
        "author_id": row["AUTHOR_ID"],
        "date": row["DATE"],
        "text": row["TEXT"],
        "unread": False,
        "uuid": None,
        "replaces": [],
        "params": {"NOTIFY": "N"} if system else {},
        "disappearing_date": None,
    }


def notify(portal: Bitrix24Portal, call: RestCall) -> RestAnswer:
    """im.notify.system.add, im.notify.personal.add: false where nothing was made. A TAG takes the place of an older
    notification; by a webhook it counts only together with CLIENT_ID."""
    user = as_int(call.any_case("USER_ID")) or 0
    text = str(call.any_case("MESSAGE") or "").strip()
    if user <= 0:
        raise Bitrix24Error("USER_ID_EMPTY", "User ID can't be empty")
    if not text:
        raise Bitrix24Error("MESSAGE_EMPTY", "Message can't be empty")
    receiver = portal.user(user)
    if receiver is None or not receiver["ACTIVE"]:
        return RestAnswer(False)
    client = call.any_case("CLIENT_ID")
    tag = f"{client or 'app'}:{call.any_case('TAG')}" if call.any_case("TAG") and (client or call.app) else ""
    for row in list(portal.store.table("notification").records.values()) if tag else []:
        if row["TAG"] == tag and row["USER_ID"] == user:
            portal.store.put("notification", str(row["ID"]), None)
    id_ = portal.new_id("notification")
    made = {"ID": id_, "USER_ID": user, "MESSAGE": text, "TAG": tag, "AUTHOR_ID": call.user, "DATE": portal.stamp()}
    portal.store.put("notification", str(id_), made)
    return RestAnswer(id_)


METHODS = {
    "im.chat.get": RestMethod(get, ("im",)),
    "im.chat.add": RestMethod(add, ("im",), 0.1),
    "im.chat.user.add": RestMethod(add_users, ("im",), 0.05),
    "im.chat.user.list": RestMethod(users, ("im",)),
    "im.message.add": RestMethod(add_message, ("im",), 0.05),
    "im.dialog.messages.get": RestMethod(messages, ("im",)),
    "im.notify.system.add": RestMethod(notify, ("im",), 0.05),
    "im.notify.personal.add": RestMethod(notify, ("im",), 0.05),
}
