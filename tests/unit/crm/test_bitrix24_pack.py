"""Bitrix24's commands: fifty a batch, values that survive the query string, and what is refused before it is sent."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Link, Write
from syncd.connectors.crm.bitrix24 import pack
from syncd.connectors.crm.bitrix24.client import COMMANDS
from syncd.connectors.crm.bitrix24.commands import Commands, Reference, command, national
from syncd.connectors.crm.bitrix24.objects import row_of
from syncd.connectors.crm.bitrix24.setup import _name
from syncd.connectors.crm.record import Unsendable
from syncd.errors import Rejected

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
KEY = "0b8c2e9e-3a51-5f0e-8a55-1d2f3c4b5a69"


def record(write: Write) -> dict[str, Any]:
    return pack.record_of(write, pack.target_of(write), zone=ZONE)


def comment(text: str = "Hello", **more: Any) -> Write:
    fields = {"COMMENT": text}
    links = {"ENTITY_ID": Link("Lead", "7")}
    return Write(key=KEY, object="Comment", key_field="ref", fields=fields, links=links, **more)


def todo(**fields: Any) -> Write:
    return Write(key=KEY, object="Todo", key_field="ref", fields=fields, links={"ownerId": Link("Contact", "5")})


def decoded(text: str) -> dict[str, str]:
    return dict(parse_qsl(text.partition("?")[2], keep_blank_values=True))


@given(st.text())
def test_any_text_comes_out_of_the_query_string_as_it_went_in(text: str) -> None:
    try:
        made = command("m", {"fields": {"TITLE": text}})
    except UnicodeEncodeError:  # half a surrogate pair, which packing refuses
        return
    assert decoded(made)["fields[TITLE]"].replace("\u200b", "") == text.replace("\u200b", "")


def test_a_customers_text_refers_to_no_other_command() -> None:
    text = "pay $result[c0000][item][id] now"
    assert "$result" not in decoded(command("m", {"a": text}))["a"]
    assert decoded(command("m", {"a": Reference("$result[c0000][x]")}))["a"] == "$result[c0000][x]"


def test_nested_values_as_php_reads_them() -> None:
    made = command("crm.item.list", {"filter": {"@id": ["1", "2"]}, "select": ["*"], "on": True, "none": None})
    assert decoded(made) == {"filter[@id][0]": "1", "filter[@id][1]": "2", "select[0]": "*", "on": "Y", "none": ""}


def test_a_new_lead() -> None:
    fields = {"title": "An", "email": "a@x.example", "phone": "+84912345678", "mobile": ["+84912345679"]}
    made = record(Write(key=KEY, object="Lead", key_field="originId", fields=fields))
    assert made["method"] == "crm.item.add"
    assert made["parameters"]["entityTypeId"] == 1
    sent = made["parameters"]["fields"]
    assert (sent["originatorId"], sent["originId"]) == ("syncd", KEY)
    assert sorted((one["typeId"], one["valueType"], one["value"]) for one in sent["fm"].values()) == [
        ("EMAIL", "WORK", "a@x.example"),
        ("PHONE", "MOBILE", "+84912345679"),
        ("PHONE", "WORK", "+84912345678"),
    ]


def test_an_update_keeps_the_key() -> None:
    made = record(Write(key=KEY, object="Dynamic_1036", key_field="originId", fields={"title": "x"}, id="9"))
    assert made == {
        "method": "crm.item.update",
        "parameters": {"entityTypeId": 1036, "fields": {"title": "x"}, "id": "9"},
    }


def test_a_comment_ends_with_its_key() -> None:
    sent = record(comment())["parameters"]["fields"]
    assert sent == {"COMMENT": "Hello\n\nref: 0b8c2e9e3a51", "ENTITY_ID": "7", "ENTITY_TYPE": "lead"}
    assert pack.refs_in(sent["COMMENT"]) == [pack.ref_of(KEY)]
    again = record(msgspec.structs.replace(comment(), id="33"))
    assert again["method"] == "crm.timeline.comment.update"
    assert again["parameters"] == {"id": "33", "fields": {"COMMENT": "Hello\n\nref: 0b8c2e9e3a51"}}


@pytest.mark.parametrize("text", ["[b]x[/b]", "[url=http://x.example]y[/url]", "[user=5]me[/user]", "[*]"])
def test_no_bb_code_of_a_customer_is_carried_out(text: str) -> None:
    sent = record(comment(text))["parameters"]["fields"]["COMMENT"]
    assert "\u200b" in sent
    assert sent.replace("\u200b", "").startswith(text)


def test_brackets_that_are_no_code_stay() -> None:
    assert pack.plain("[1] a[0] [ ]") == "[1] a[0] [ ]"


@pytest.mark.parametrize(
    ("deadline", "sent"),
    [
        (date(2026, 1, 16), "2026-01-16T18:00:00+07:00"),
        ("2026-01-16", "2026-01-16T18:00:00+07:00"),
        ("2026-01-16T08:30:00+02:00", "2026-01-16T08:30:00+02:00"),
        (datetime(2026, 1, 16, 8, 30, tzinfo=UTC), "2026-01-16T08:30:00+00:00"),
        (datetime(2026, 1, 16, 8, 30), "2026-01-16T08:30:00+07:00"),  # noqa: DTZ001  # a naive time is the zone's
    ],
)
def test_a_to_do_is_due_in_the_configured_zone(deadline: Any, sent: str) -> None:
    made = record(todo(title="Call", deadline=deadline))
    assert made["method"] == "crm.activity.todo.add"
    assert made["parameters"]["deadline"] == sent
    assert made["parameters"] | {"deadline": ""} == {
        "title": "Call",
        "description": "ref: 0b8c2e9e3a51",
        "ownerId": "5",
        "ownerTypeId": 3,
        "deadline": "",
    }


@pytest.mark.parametrize(
    ("write", "field"),
    [
        (todo(title="Call"), "deadline"),
        (todo(deadline="soon"), "deadline"),
        (msgspec.structs.replace(comment(), links={}), "ENTITY_ID"),
        (Write(key=KEY, object="Contact", id="5", clear=("phone",)), "phone"),
    ],
)
def test_what_cannot_be_sent_names_its_field(write: Write, field: str) -> None:
    with pytest.raises(Unsendable) as refused:
        record(write)
    assert refused.value.field == field


def test_fifty_commands_a_batch_whatever_their_objects() -> None:
    writes = [
        msgspec.structs.replace(comment() if n % 3 else todo(deadline=date(2026, 1, 1)), key=f"{n}") for n in range(120)
    ]
    calls = pack.packer(ZONE).pack(writes)
    assert [len(call.writes) for call in calls] == [COMMANDS, COMMANDS, 20]
    assert sorted(int(write.key) for call in calls for write in call.writes) == list(range(120))


def test_half_a_surrogate_pair_harms_only_its_write() -> None:
    good, bad = comment(), msgspec.structs.replace(comment("\ud800"), key="2")
    (call,) = pack.packer(ZONE).pack([good, bad])
    refused = call.payload.refused[call.writes.index(bad)]
    assert isinstance(refused, Rejected)
    assert refused.field == "COMMENT"


# --------------------------------------------------------------------------------------------------------- look-ups


def test_a_number_is_asked_for_with_and_without_its_country() -> None:
    assert national("+84912345678") == ["+84912345678", "0912345678"]
    (asked,) = Commands().people("Lead", (), {"phone": ["+84912345678"]}, phone=True)
    assert decoded(asked) == {
        "type": "PHONE",
        "values[0]": "+84912345678",
        "values[1]": "0912345678",
        "entity_type": "LEAD",
    }


def test_each_address_is_a_command_of_its_own() -> None:
    asked = list(Commands().people("Contact", (), {"email": ["a@x.example", "b@x.example"]}, phone=False))
    assert [decoded(one)["values[0]"] for one in asked] == ["a@x.example", "b@x.example"]


def test_a_field_of_the_portals_own_is_asked_for_fifty_values_at_once() -> None:
    values = [str(n) for n in range(70)]
    asked = list(Commands().people("Contact", (), {"ufCrmNumber": values}, phone=False))
    assert [len([name for name in decoded(one) if "ufCrmNumber" in name]) for one in asked] == [50, 20]


def test_a_row_has_all_addresses_and_numbers() -> None:
    fm = [
        {"id": 1, "typeId": "PHONE", "valueType": "MOBILE", "value": "0912345678"},
        {"id": 2, "typeId": "EMAIL", "valueType": "WORK", "value": "A@x.example"},
        {"id": 3, "typeId": "EMAIL", "valueType": "HOME", "value": "b@x.example"},
    ]
    row = row_of({"id": 7, "name": "An", "lastName": None, "fm": fm, "contactId": 0, "stageId": "NEW"})
    assert (row["id"], row["fullName"], row["converted"]) == ("7", "An", False)
    assert (row["email"], row["phone"], row["mobile"], row["web"]) == (
        ["A@x.example", "b@x.example"],
        ["0912345678"],
        ["0912345678"],
        [],
    )


@pytest.mark.parametrize(
    ("lead", "followed"),
    [
        ({"stageId": "CONVERTED", "contactId": 5}, True),
        ({"stageId": "CONVERTED", "contactId": 0}, False),
        ({"stageId": "NEW", "isConvert": "Y", "contactId": 5}, True),
        ({"stageId": "NEW", "isConvert": None, "contactId": 5}, False),
        ({"stageId": "JUNK", "contactId": 5}, False),
    ],
)
def test_a_lead_that_became_a_contact_is_known_by_its_stage(lead: dict[str, Any], followed: bool) -> None:
    assert row_of({"id": 1, **lead})["converted"] is followed


def test_the_code_of_a_custom_field() -> None:
    assert _name("ufCrmShoeSize") == "UF_CRM_SHOE_SIZE"
