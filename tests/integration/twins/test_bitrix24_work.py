"""What is around the items of the Bitrix24 twin: timeline, activities, chats, notifications, older methods, custom fields."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.integration.twins.portal_calls import CONTACT, DEAL, LEAD, MAIL, PHONE, added, batch, error, listed, updated

MISSED = {"TYPE_ID": 2, "SUBJECT": "Missed call", "RESPONSIBLE_ID": 1, "COMMUNICATIONS": [{"VALUE": "+1415"}]}


def result(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


@pytest.fixture
def deal(bitrix24_twin: Bitrix24Twin, bitrix24: Any) -> int:
    """A deal that is there, and a second user with a webhook of his own: /rest/2/two/."""
    bitrix24_twin.add("user", ID=2, NAME="Two")
    bitrix24_twin.access.add_webhook(2, "two", ["crm", "im", "timeman"])
    return int(bitrix24_twin.add("deal", title="d"))


# Timeline.


def test_comments_are_written_listed_and_bound(bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int) -> None:
    contact = int(bitrix24_twin.add("contact", name="a"))
    file = ["note.txt", base64.b64encode(b"hello").decode()]
    fields = {"ENTITY_ID": deal, "ENTITY_TYPE": "deal", "COMMENT": "Asked. ref: 01ab", "FILES": [file]}
    first, second = (result(bitrix24.post("crm.timeline.comment.add", {"fields": fields})) for _ in "ab")
    assert isinstance(first, int)
    bind = {"fields": {"OWNER_ID": first, "ENTITY_ID": contact, "ENTITY_TYPE": "contact"}}
    assert result(bitrix24.post("crm.timeline.bindings.bind", bind)) is True
    query = {"filter": {"ENTITY_ID": deal, "ENTITY_TYPE": "deal"}, "select": ["ID", "COMMENT"], "order": {"ID": "DESC"}}
    rows = bitrix24.post("crm.timeline.comment.list", query).json()
    assert (rows["result"][0], rows["total"]) == ({"ID": str(second), "COMMENT": "Asked. ref: 01ab"}, 2)
    (bound,) = result(
        bitrix24.post("crm.timeline.comment.list", {"filter": {"ENTITY_ID": contact, "ENTITY_TYPE": "contact"}})
    )
    assert (bound["ENTITY_TYPE"], bound["FILES"]) == ("contact", {"1": {"name": "note.txt", "size": 5}})
    assert result(bitrix24.post("crm.timeline.comment.update", {"id": first, "fields": {"COMMENT": "new"}})) == first
    assert [c["COMMENT"] for c in bitrix24_twin.records("comment")] == ["new", "Asked. ref: 01ab"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"FIELDS": {"ENTITY_ID": 1, "ENTITY_TYPE": "deal", "COMMENT": "x"}}, "100"),
        ({"fields": {"ENTITY_TYPE": "deal", "COMMENT": "x"}}, "100"),
        ({"fields": {"ENTITY_ID": 1, "ENTITY_TYPE": "deal", "COMMENT": " "}}, "INVALID_ARG_VALUE"),
        ({"fields": {"ENTITY_ID": 9, "ENTITY_TYPE": "deal", "COMMENT": "x"}}, "OWNER_NOT_FOUND"),
    ],
)
def test_a_comment_that_is_refused(bitrix24: Any, deal: int, params: dict[str, Any], code: str) -> None:
    assert error(bitrix24.post("crm.timeline.comment.add", params)) == (400, code)


def test_log_messages_come_in_tens(bitrix24: Any, deal: int) -> None:
    fields = {"entityTypeId": DEAL, "entityId": deal, "title": "Missed call", "text": "t", "iconCode": "info"}
    for _ in range(11):
        made = result(bitrix24.post("crm.timeline.logmessage.add", {"fields": fields}))["logMessage"]
    assert (made["authorId"], made["title"]) == (1, "Missed call")
    rows = bitrix24.post("crm.timeline.logmessage.list", {"entityTypeId": DEAL, "entityId": deal}).json()
    assert (len(rows["result"]), rows["total"], rows["next"], rows["result"][0]["id"]) == (10, 11, 10, 11)
    assert error(bitrix24.post("crm.timeline.logmessage.add", {"fields": {**fields, "iconCode": ""}})) == (400, "100")


# Activities.


def test_a_to_do_with_a_deadline(bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int) -> None:
    todo = {"ownerTypeId": DEAL, "ownerId": deal, "deadline": "2026-08-19T15:00:00+02:00", "title": "Call back"}
    id_ = result(bitrix24.post("crm.activity.todo.add", {**todo, "description": "ref: 01ab", "pingOffsets": [0, 15]}))[
        "id"
    ]
    query = {"filter": {"OWNER_TYPE_ID": DEAL, "OWNER_ID": deal, "PROVIDER_ID": "CRM_TODO", ">=CREATED": "2026-01-01"}}
    (row,) = result(bitrix24.post("crm.activity.list", query))
    assert (row["ID"], row["DEADLINE"], row["RESPONSIBLE_ID"]) == (str(id_), "2026-08-19T16:00:00+03:00", "1")
    narrow = {**query, "select": ["ID", "DESCRIPTION"]}
    assert result(bitrix24.post("crm.activity.list", narrow)) == [{"ID": str(id_), "DESCRIPTION": "ref: 01ab"}]
    to_two = {"id": id_, "ownerTypeId": DEAL, "ownerId": deal, "responsibleId": 2}
    assert result(bitrix24.post("crm.activity.todo.updateResponsibleUser", to_two)) == {"id": id_}
    bitrix24_twin.complete(id_)
    refused = bitrix24.post("crm.activity.todo.updateResponsibleUser", to_two)
    assert error(refused) == (400, "CAN_NOT_UPDATE_RESPONSIBLE_USER_COMPLETED_TODO")
    assert error(bitrix24.post("crm.activity.todo.update", {**todo, "id": id_})) == (
        400,
        "CAN_NOT_UPDATE_COMPLETED_TODO",
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"deadline": None}, "100"),
        ({"deadline": "tomorrow"}, "WRONG_DATETIME_FORMAT"),
        ({"ownerId": 99}, "OWNER_NOT_FOUND"),
        ({"responsibleId": 99}, "INVALID_ARG_VALUE"),
    ],
)
def test_a_to_do_that_is_refused(bitrix24: Any, deal: int, change: dict[str, Any], code: str) -> None:
    todo = {"ownerTypeId": DEAL, "ownerId": deal, "deadline": "2026-08-19 15:00:00"}
    assert result(bitrix24.post("crm.activity.todo.add", todo))["id"]
    assert error(bitrix24.post("crm.activity.todo.add", {**todo, **change})) == (400, code)


def test_calls_of_the_older_api(bitrix24: Any, deal: int) -> None:
    call = {
        **MISSED,
        "OWNER_TYPE_ID": DEAL,
        "OWNER_ID": deal,
        "ORIGIN_ID": "s1",
        "START_TIME": "2026-08-19T10:00:00Z",
        "NOPE": 1,
    }
    id_ = result(bitrix24.post("crm.activity.add", {"fields": {**call, "COMPLETED": "Y"}}))
    result(bitrix24.post("crm.activity.add", {"fields": call}))
    (done,) = result(bitrix24.post("crm.activity.list", {"filter": {"ORIGIN_ID": "s1", "COMPLETED": "Y"}}))
    assert (done["ID"], done["STATUS"], done["START_TIME"]) == (str(id_), "2", "2026-08-19T13:00:00+03:00")
    bound = {"filter": {"BINDINGS": [{"OWNER_TYPE_ID": DEAL, "OWNER_ID": deal}], "COMPLETED": "N", "RESPONSIBLE_ID": 1}}
    (open_,) = result(bitrix24.post("crm.activity.list", bound))
    assert result(bitrix24.post("crm.activity.update", {"id": open_["ID"], "fields": {"RESPONSIBLE_ID": 2}})) is True
    assert result(bitrix24.post("crm.activity.list", bound)) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"SUBJECT": ""}, "SUBJECT"),
        ({"RESPONSIBLE_ID": 99}, "RESPONSIBLE_ID"),
        ({"TYPE_ID": 0}, "TYPE_ID"),
        ({"COMMUNICATIONS": []}, "COMMUNICATIONS"),
        ({"COMMUNICATIONS": [{"VALUE": "1"}, {"VALUE": "2"}]}, "only one communication"),
        ({"OWNER_ID": 99}, "Could not build binding"),
        ({"TYPE_ID": 6, "PROVIDER_ID": "REST_APP"}, "Application context required"),
    ],
)
def test_errors_of_the_older_api_have_no_code(bitrix24: Any, deal: int, change: dict[str, Any], text: str) -> None:
    call = {**MISSED, "OWNER_TYPE_ID": DEAL, "OWNER_ID": deal, **change}
    answer = bitrix24.post("crm.activity.add", {"fields": call}).json()
    assert answer["error"] == ""
    assert text in answer["error_description"]


# Messenger.


def test_the_chat_of_a_record_is_null_until_it_is_made_and_never_unique(bitrix24: Any, deal: int) -> None:
    pair = {"ENTITY_TYPE": "CRM", "ENTITY_ID": f"DEAL|{deal}"}
    assert result(bitrix24.post("im.chat.get", pair)) is None
    assert result(bitrix24.post("im.chat.get", {"ENTITY_TYP": "CRM"})) is None
    first, second = (result(bitrix24.post("im.chat.add", {**pair, "USERS": [2, 99], "MESSAGE": "hi"})) for _ in "ab")
    assert first != second
    assert result(bitrix24.post("im.chat.get", pair)) == {"ID": first}
    assert result(bitrix24.post("im.chat.user.list", {"CHAT_ID": first})) == [1, 2]
    loose = result(bitrix24.post("im.chat.add", {"USERS": [2]}))
    assert result(bitrix24.post("im.chat.get", pair)) == {"ID": first}
    assert loose not in (first, second)


def test_members_see_what_they_may(bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int) -> None:
    bitrix24_twin.add("user", ID=3)
    chat = result(bitrix24.post("im.chat.add", {"TYPE": "CHAT", "MESSAGE": "before"}))
    member = {"CHAT_ID": chat, "USERS": [2]}
    assert error(bitrix24.call("POST", "/rest/2/two/im.chat.user.add", json=member)) == (403, "ACCESS_ERROR")
    assert result(bitrix24.call("POST", "/rest/2/two/im.chat.user.list", json={"CHAT_ID": chat})) == []
    dialog = {"DIALOG_ID": f"chat{chat}"}
    assert error(bitrix24.call("POST", "/rest/2/two/im.message.add", json={**dialog, "MESSAGE": "x"})) == (
        403,
        "ACCESS_ERROR",
    )
    assert result(bitrix24.post("im.chat.user.add", member)) is True
    result(bitrix24.post("im.message.add", {**dialog, "MESSAGE": "after"}))
    seen = result(bitrix24.call("POST", "/rest/2/two/im.dialog.messages.get", json=dialog))["messages"]
    assert [m["text"] for m in seen if m["author_id"]] == ["after"]
    bitrix24_twin.access.add_webhook(3, "three", ["im"])
    result(bitrix24.post("im.chat.user.add", {"CHAT_ID": chat, "USERS": [3], "HIDE_HISTORY": "N"}))
    seen = result(bitrix24.call("POST", "/rest/3/three/im.dialog.messages.get", json=dialog))["messages"]
    assert [m["text"] for m in seen if m["author_id"]] == ["after", "before"]


def test_a_chat_that_users_opened_can_refuse(bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int) -> None:
    pair = {"ENTITY_TYPE": "CRM", "ENTITY_ID": f"DEAL|{deal}"}
    chat = int(bitrix24_twin.add("chat", ENTITY_ID=f"DEAL|{deal}", OWNER=2, MEMBERS=[1], CLOSED=True))
    assert result(bitrix24.post("im.chat.get", pair)) == {"ID": chat}
    refused = bitrix24.post("im.chat.user.add", {"CHAT_ID": chat, "USERS": [2]})
    assert error(refused) == (403, "ACCESS_DENIED_EXTEND")
    bitrix24_twin.add("user", ID=4)
    bitrix24_twin.invite(chat, 4)
    assert bitrix24_twin.records("deal")[0]["observers"] == [4]
    assert error(bitrix24.post("im.chat.user.add", {"USERS": [2]})) == (400, "CHAT_ID_EMPTY")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"DIALOG_ID": "chat9", "MESSAGE": "x"}, "CHAT_ID"),
        ({"DIALOG_ID": "1", "MESSAGE": " "}, "MESSAGE_EMPTY"),
        ({"DIALOG_ID": "me", "MESSAGE": "x"}, "USER_ID_EMPTY"),
        ({"DIALOG_ID": "99", "MESSAGE": "x"}, "USER_NOT_FOUND"),
    ],
)
def test_a_message_that_is_refused(bitrix24: Any, params: dict[str, Any], code: str) -> None:
    assert error(bitrix24.post("im.message.add", params)) == (400, code)


def test_a_notification_s_tag_counts_only_with_a_client_id(
    bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int
) -> None:
    bitrix24_twin.add("user", ID=3, ACTIVE=False)
    given = {"USER_ID": 2, "MESSAGE": "New lead", "TAG": "t"}
    for client in (None, None, "syncd", "syncd"):
        assert result(bitrix24.post("im.notify.system.add", {**given, "CLIENT_ID": client}))
    assert [n["TAG"] for n in bitrix24_twin.records("notification")] == ["", "", "syncd:t"]
    assert result(bitrix24.post("im.notify.system.add", {"USER_ID": 3, "MESSAGE": "x"})) is False
    assert error(bitrix24.post("im.notify.system.add", {"MESSAGE": "x"})) == (400, "USER_ID_EMPTY")


def test_who_is_online_and_at_work(bitrix24: Any, bitrix24_twin: Bitrix24Twin) -> None:
    bitrix24_twin.add("user", ID=2, NAME="Ann", STATUS="away", TIMEMAN="OPENED", ABSENT=True)
    told = result(bitrix24.post("im.user.list.get", {"ID": [2, 99], "RESULT_TYPE": "array"}))
    assert [(u["id"], u["status"], u["absent"]) for u in told] == [(2, "away", True)]
    assert result(bitrix24.post("im.user.list.get", {"ID": [2]})).keys() == {"2"}
    assert result(bitrix24.post("im.user.list.get", {"ID": [99]})) == []
    assert result(bitrix24.post("timeman.status", {"USER_ID": 2}))["STATUS"] == "OPENED"
    assert result(bitrix24.get("timeman.status"))["STATUS"] == "CLOSED"
    bitrix24_twin.add("department", ID="5", NAME="Sales")
    bitrix24_twin.add("department", ID="6", NAME="Inside sales", PARENT="5")
    assert [d["NAME"] for d in result(bitrix24.post("department.get", {"PARENT": 5}))] == ["Inside sales"]


# Older methods, custom fields.


def test_the_older_methods_have_names_of_their_own(bitrix24: Any) -> None:
    fields = {
        "TITLE": "t",
        "STATUS_ID": "IN_PROCESS",
        "OBSERVERS": [1],
        "EMAIL": [{"VALUE": MAIL["value"], "VALUE_TYPE": "WORK"}],
    }
    id_ = result(bitrix24.post("crm.lead.add", {"fields": fields}))
    assert result(bitrix24.post("crm.lead.get", {"id": id_}))["STATUS_ID"] == "IN_PROCESS"
    assert listed(bitrix24, LEAD, select=["observers", "email"]) == [
        {"id": id_, "observers": [], "email": MAIL["value"]}
    ]
    assert result(bitrix24.post("crm.lead.update", {"id": id_, "fields": {"TITLE": "u"}})) is True
    query = {"filter": {"EMAIL": MAIL["value"].upper()}, "select": ["ID", "TITLE", "EMAIL"]}
    (row,) = result(bitrix24.post("crm.lead.list", query))
    assert (row["ID"], row["TITLE"], row["EMAIL"][0]["VALUE"]) == (str(id_), "u", MAIL["value"])
    missing = {"error": "", "error_description": "Not found"}
    assert batch(bitrix24, [f"crm.deal.get?id={n}" for n in (8, 9)])["result_error"] == [missing, missing]


def test_custom_fields_are_made_by_an_administrator(bitrix24: Any, bitrix24_twin: Bitrix24Twin, deal: int) -> None:
    text = {"FIELD_NAME": "SYNCD_KEY", "USER_TYPE_ID": "string", "LABEL": "Key"}
    add = "crm.contact.userfield.add"
    assert result(bitrix24.post(add, {"fields": text})) == 1
    choice = {"FIELD_NAME": "UF_LEVEL", "USER_TYPE_ID": "enumeration", "LIST": [{"VALUE": "hot"}, {"VALUE": "cold"}]}
    assert result(bitrix24.post(add, {"fields": choice})) == 2
    told = result(bitrix24.get("crm.item.fields", entityTypeId=CONTACT))["fields"]
    assert (told["ufCrmSyncdKey"]["title"], told["ufCrmLevel"]["items"][1]) == ("Key", {"ID": "2", "VALUE": "cold"})
    item = added(bitrix24, CONTACT, name="a", ufCrmSyncdKey="k", ufCrmLevel=2, fm=[PHONE])
    assert updated(bitrix24, CONTACT, item["id"], ufCrmLevel="1")["ufCrmLevel"] == 1
    several = {"FIELD_NAME": "SEVERAL", "USER_TYPE_ID": "enumeration", "MULTIPLE": "Y", "LIST": [{"VALUE": "a"}]}
    result(bitrix24.post(add, {"fields": several}))
    assert updated(bitrix24, CONTACT, item["id"], ufCrmSeveral=[3])["ufCrmSeveral"] == [3]
    assert updated(bitrix24, CONTACT, item["id"], ufCrmSeveral=[])["ufCrmSeveral"] == [3]
    wrong = {"entityTypeId": CONTACT, "fields": {"ufCrmLevel": "hot"}}
    assert error(bitrix24.post("crm.item.add", wrong)) == (400, "CRM_FIELD_ERROR_VALUE_NOT_VALID")
    assert [f["FIELD_NAME"] for f in result(bitrix24.get("crm.contact.userfield.list"))] == [
        "UF_CRM_SYNCD_KEY",
        "UF_CRM_LEVEL",
        "UF_CRM_SEVERAL",
    ]
    assert error(bitrix24.call("POST", f"/rest/2/two/{add}", json={"fields": text})) == (400, "")
    for fields, code in (
        (text, "ERROR_CORE"),
        ({**text, "FIELD_NAME": "A" * 44}, "ERROR_CORE"),
        ({**text, "FIELD_NAME": "Ä"}, "ERROR_CORE"),
        ({**text, "FIELD_NAME": "B", "USER_TYPE_ID": "x"}, "ERROR_CORE"),
        ({"USER_TYPE_ID": "string"}, ""),
    ):
        assert error(bitrix24.post(add, {"fields": fields})) == (400, code)


def test_a_portal_comes_back_from_its_journal(tmp_path: Any, connect: Callable[..., Any]) -> None:
    def start() -> Any:
        return connect(Bitrix24Twin(journal=tmp_path / "journal"), "/rest/1/twin")

    first = start()
    result(first.post("crm.lead.userfield.add", {"fields": {"FIELD_NAME": "A", "USER_TYPE_ID": "string"}}))
    lead = added(first, LEAD, title="t", ufCrmA="x", fm=[MAIL])
    first.twin.stop()
    second = start()
    assert listed(second, LEAD, filter={"ufCrmA": "x"})[0]["id"] == lead["id"]
    assert result(second.post("crm.duplicate.findbycomm", {"type": "EMAIL", "values": [MAIL["value"]]})) == {
        "LEAD": [lead["id"]]
    }
    more = added(second, LEAD, title="u", fm=[PHONE])
    assert (more["id"], more["fm"][0]["id"]) == (lead["id"] + 1, lead["fm"][0]["id"] + 1)
