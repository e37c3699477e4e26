"""The Bitrix24 destination before its twin: people, records, comments, to-dos, notifications, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncd.capabilities import MissingField
from syncd.cli import run
from syncd.connector import AccountQuery, DealPick, Link, Lookup, MatchField, PersonMatch, Write, WriteKind, Written
from syncd.connectors.crm.bitrix24 import Bitrix24
from syncd.errors import AuthExpired, Failure, Misconfigured, RateLimited, Rejected, Scope, StaleReference
from syncd.twins.bitrix24.fields import ItemField
from syncd.twins.bitrix24.twin import Bitrix24Twin
from tests.bitrix24_crm import Connect, answers, comment, connecting, lead, person, push, todo
from tests.browser import free_port, signing_in

WEB = [{"typeId": "WEB", "valueType": "WORK", "value": "https://www.acme.example/"}]


@pytest.fixture
def twin() -> Iterator[Bitrix24Twin]:
    with Bitrix24Twin(rate=1000.0, burst=1000.0) as running:
        yield running


@pytest.fixture
def connect(twin: Bitrix24Twin) -> Iterator[Connect]:
    yield from connecting(twin)


@pytest.fixture
def crm(connect: Connect) -> Bitrix24:
    return connect()


def calls(twin: Bitrix24Twin) -> int:
    return int(twin.counts["calls"])


def found(crm: Bitrix24, *people: Any, **more: Any) -> list[tuple[str, str] | None]:
    return [(one.object, one.id) if one else None for one in crm.resolve(people, **more)]


# ----------------------------------------------------------------------------------------------------------- people


def test_people_are_found_by_any_address_and_number(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    fm = [{"typeId": "EMAIL", "valueType": "HOME", "value": "An.Private@example.com"}]
    an = twin.add("contact", lastName="An", email="an@example.com", mobile="0912 345 678", fm=fm)
    binh = twin.add("lead", lastName="Binh", phone="+84 91 234 5679")
    people = [person("an@example.com"), person("an.private@example.com"), person(phone="+84912345678")]
    assert found(crm, *people) == [("Contact", an)] * 3
    assert found(crm, person(phone="+84912345679"), person("x@example.com")) == [("Lead", binh), None]


def test_a_contact_counts_before_a_lead_and_the_oldest_of_several(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    twin.add("lead", lastName="An", email="an@example.com")
    first = twin.add("contact", lastName="An", email="an@example.com")
    twin.add("contact", lastName="An", email="an@example.com")
    assert found(crm, person("an@example.com")) == [("Contact", first)]


def test_twenty_duplicates_in_one_object_hide_no_other(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    for _ in range(25):
        twin.add("lead", lastName="An", email="an@example.com")
    contact = twin.add("contact", lastName="An", email="an@example.com")
    assert found(crm, person("an@example.com")) == [("Contact", contact)]


def test_a_converted_lead_is_its_contact(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    id_ = twin.add("lead", name="An", lastName="Nguyen", email="an@example.com", companyTitle="Acme")
    made = twin.convert(f"L_{id_}")
    only_leads = person("an@example.com", objects=("Lead",))
    (hit,) = crm.resolve([only_leads])
    assert hit is not None
    assert (hit.object, hit.id, hit.role) == ("Contact", str(made["contact"]), "contact")
    assert hit.account == Link("Company", str(made["company"]))


def test_deals_are_those_of_the_person_then_of_the_company(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    company = int(twin.add("company", title="Acme"))
    an = int(twin.add("contact", lastName="An", email="an@example.com", companyId=company))
    twin.add("contact", lastName="Binh", email="binh@example.com", companyId=company)
    twin.add("contact", lastName="Chi", email="chi@example.com")
    twin.add("deal", title="lost", contactId=an, stageId="LOSE")
    theirs = twin.add("deal", title="theirs", contactId=an)
    firms = twin.add("deal", title="firm's", companyId=company)
    people = [person(f"{name}@example.com") for name in ("an", "binh", "chi")]
    hits = [hit for hit in crm.resolve(people, deals=DealPick.NEWEST) if hit]
    assert [hit.deal for hit in hits] == [Link("Deal", theirs), Link("Deal", firms), None]
    assert [hit.open_deal for hit in hits] == [True, True, False]


def test_companies_by_site_and_name(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    acme = twin.add("company", title="Acme", fm=WEB)

    def query(*terms: MatchField) -> AccountQuery:
        return AccountQuery("a", (Lookup("Company", terms),))

    site = MatchField("web", "acme.example", domain=True)
    name = MatchField("title", "Acme", name=True)
    another = MatchField("web", "other.example", domain=True)
    hits = crm.resolve_accounts([query(site), query(name), query(another), query(another, name)])
    assert [hit.id if hit else None for hit in hits] == [acme, acme, None, None]


@pytest.mark.parametrize(
    "text", ["' OR 1=1", "a&b=c@x.example", "%@%", "[x]@x.example", "ü@x.example", "$result[a][b]@x.example"]
)
def test_hostile_addresses_find_nobody(twin: Bitrix24Twin, crm: Bitrix24, text: str) -> None:
    twin.add("contact", lastName="An", email="an@example.com")
    assert found(crm, person(text), person("an@example.com")) == [None, ("Contact", "1")]


# ---------------------------------------------------------------------------------------------------------- records


def test_what_is_written_is_found_by_its_key(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    (made,) = push(crm, lead(1))
    assert made == Written("1", created=True)
    assert crm.find("Lead", "originId", [lead(1).key, lead(2).key]) == {lead(1).key: "1"}
    assert crm.keying("Lead", "originId").kind is WriteKind.FINDABLE


def test_text_survives_the_way(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    text = "A&B #1 + 50% 'quoted' \"x\" \n$result[c0000][item] ü 漢 😀"
    push(crm, lead(1, fields={"comments": text, "email": "o'neil+tag@example.com"}))
    record = twin.records("lead")[0]
    assert record["comments"].replace("\u200b", "") == text
    assert record["email"] == "o'neil+tag@example.com"


def test_a_field_that_bitrix24_would_drop_holds_its_rule(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    good, bad = push(crm, lead(1), lead(2, fields={"ufCrmMissing": "x"}))
    assert isinstance(good, Written)
    assert isinstance(bad, Misconfigured)
    assert (bad.scope, bad.field) == (Scope.RULE, "ufCrmMissing")
    assert len(twin.records("lead")) == 1
    assert twin.stats()["ignored_fields"] == []


def test_a_field_made_meanwhile_is_seen_after_a_minute(twin: Bitrix24Twin, connect: Connect) -> None:
    clock = [datetime.now(UTC)]
    crm, write = connect(clock=lambda: clock[0]), lead(1, fields={"ufCrmSize": "x"})
    assert isinstance(push(crm, write)[0], Misconfigured)
    twin.add_field(1, ItemField("ufCrmSize", "string", uf="UF_CRM_SIZE", label="Size"))
    assert isinstance(push(crm, write)[0], Misconfigured)
    clock[0] += timedelta(seconds=61)
    assert isinstance(push(crm, write)[0], Written)


def test_a_bad_value_harms_only_its_record_and_names_its_field(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    good, bad, other = push(crm, lead(1), lead(2, fields={"stageId": "NOWHERE"}), lead(3))
    assert isinstance(good, Written)
    assert isinstance(other, Written)
    assert isinstance(bad, Rejected)
    assert bad.field


def test_numbers_and_addresses_are_added_once(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    an = twin.add("contact", lastName="An", email="an@example.com", phone="0912 345 678")
    more = Write(key="u", object="Contact", id=an, fields={"phone": "0912345678", "email": "an2@example.com"})
    for _ in range(2):
        assert push(crm, more) == [Written(an, created=False)]
    entries = twin.records("contact")[0]["fm"]
    assert [one["value"] for one in entries] == ["an@example.com", "0912 345 678", "an2@example.com"]


def test_a_portal_in_simple_mode_gets_no_leads() -> None:
    with Bitrix24Twin(mode=2) as running:
        for build in connecting(running):
            crm = build()
            (refused,) = push(crm, lead(1))
            assert isinstance(refused, Misconfigured)
            assert "simple CRM mode" in str(refused)
            assert running.records("lead") == []
            assert any("no leads" in one.message for one in crm.check_online())
            fields = {"lastName": "An", "email": "an@example.com"}
            assert isinstance(
                push(crm, Write(key="k", object="Contact", key_field="originId", fields=fields))[0], Written
            )


@pytest.mark.parametrize("object_", ["Leads", "Task", "Dynamic_x"])
def test_an_unknown_object_holds_its_rule(crm: Bitrix24, object_: str) -> None:
    (refused,) = push(crm, Write(key="k", object=object_, key_field="originId", fields={"title": "x"}))
    assert isinstance(refused, Misconfigured)
    assert refused.scope is Scope.RULE


# ---------------------------------------------------------------------------------------------- comments and to-dos


def test_comments_and_to_dos_are_found_beside_their_record(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    on, other = Link("Contact", twin.add("contact", lastName="An")), Link("Lead", twin.add("lead", lastName="B"))
    writes = [comment(n, on if n % 2 else other) for n in range(4)]
    push(crm, *writes, todo(1, on))
    assert crm.find_beside(writes) == {write.key: str(n + 1) for n, write in enumerate(writes)}
    assert crm.find_beside([todo(1, on), todo(2, on)]) == {todo(1, on).key: "1"}
    assert crm.find_beside([comment(0, on)]) == {}


def test_a_comment_is_found_on_a_later_page(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    on = Link("Contact", twin.add("contact", lastName="An"))
    push(crm, *(comment(n, on) for n in range(120)))
    before = calls(twin)
    assert crm.find_beside([comment(0, on)]) == {comment(0, on).key: "1"}
    assert calls(twin) - before == 3
    assert crm.find_beside([comment(119, on)]) == {comment(119, on).key: "120"}
    assert calls(twin) - before == 4


@pytest.mark.parametrize("make", [comment, todo])
def test_a_record_that_is_gone_is_looked_for_again(twin: Bitrix24Twin, crm: Bitrix24, make: Any) -> None:
    on = Link("Contact", twin.add("contact", lastName="An"))
    gone, good = push(crm, make(1, Link("Contact", "99")), make(2, on))
    assert isinstance(gone, StaleReference)
    assert gone.field
    assert isinstance(good, Written)


def test_a_notification_goes_to_whoever_is_responsible(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    user = twin.add("user", NAME="Mai")
    on = Link("Contact", twin.add("contact", lastName="An", assignedById=int(user)))
    tell = Write(key="n", object="system", notification=True, fields={"MESSAGE": "Call"}, links={"person": on})
    named = msgspec.structs.replace(tell, key="m", fields={"MESSAGE": "Call", "USER_ID": "1"})
    assert all(isinstance(one, Written) for one in push(crm, tell, named))
    assert [one["USER_ID"] for one in twin.records("notification")] == [int(user), 1]
    (gone,) = push(crm, msgspec.structs.replace(tell, key="g", links={"person": Link("Contact", "99")}))
    assert isinstance(gone, StaleReference)
    (refused,) = push(crm, msgspec.structs.replace(tell, object="Telephony"))
    assert isinstance(refused, Misconfigured)


# ----------------------------------------------------------------------------------------------------- users, schema


def test_only_active_employees_take_turns(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    gone = twin.add("user", ACTIVE=False)
    guest = twin.add("user", USER_TYPE="extranet")
    assert crm.users(["1", gone, guest, "77", "x"]) == {"1": True, gone: False, guest: False, "77": False, "x": False}


def test_objects_are_described(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    described = {
        name: {one.name: one for one in fields} for name, fields in crm.describe(["Lead", "Todo", "X"]).items()
    }
    assert set(described) == {"Lead", "Todo"}
    lead_fields = described["Lead"]
    assert lead_fields["stageId"].values is not None
    assert "NEW" in lead_fields["stageId"].values
    assert not lead_fields["createdTime"].creatable
    assert lead_fields["phone"].type == "phone"
    assert described["Todo"]["deadline"].required


def test_custom_fields_are_made_and_others_explained(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    needs = [
        MissingField(object="Lead", field="ufCrmShoeSize", type="number"),
        MissingField(object="Lead", field="titel"),
        MissingField(object="Comment", field="TEXT"),
        MissingField(object="Company", field="ufCrmKey", key=True),
    ]
    assert [one.by_hand for one in crm.prepare(needs, dry=True)] == [False, True, True, True]
    made = list(crm.prepare(needs))
    assert [one.done for one in made] == [True, False, False, False]
    assert "UF_CRM_SHOE_SIZE" in made[0].message
    assert "originId" in made[3].message
    (again,) = crm.prepare(needs[:1])
    assert (again.done, again.message) == (True, "Lead.ufCrmShoeSize is there")
    assert isinstance(push(crm, lead(1, fields={"ufCrmShoeSize": 42.5}))[0], Written)


# ------------------------------------------------------------------------------------------------- limits and sign-in


def test_a_methods_limit_inside_a_batch_leaves_the_others(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    on = Link("Contact", twin.add("contact", lastName="An"))
    twin.operating.book("hook-1-twin", "crm.timeline.comment.add", 500.0)
    limited, made = push(crm, comment(1, on), todo(1, on))
    assert isinstance(limited, RateLimited)
    assert limited.scope == "crm.timeline.comment.add"
    assert isinstance(made, Written)
    before = calls(twin)
    with pytest.raises(RateLimited):
        push(crm, comment(2, on))
    assert calls(twin) == before  # known without a call


def test_four_hundred_seconds_are_not_exceeded(connect: Connect) -> None:
    with Bitrix24Twin(rate=1000.0, burst=1000.0, seconds={"crm.timeline.comment.add": 9.0}) as running:
        on = Link("Contact", running.add("contact", lastName="An"))
        for build in connecting(running):
            crm = build()
            results = answers(crm, *(comment(n, on) for n in range(50)))
            assert sum(isinstance(one, Written) for one in results) == 50
            (limited,) = answers(crm, comment(99, on))
            assert isinstance(limited, RateLimited)
            assert running.operating.busiest()["crm.timeline.comment.add"] <= 480


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("query_limit", RateLimited),
        ("overload", Misconfigured),
        ("internal", Failure),
        ("no_auth", Misconfigured),
        ("payment", Misconfigured),
        ("deleted", Misconfigured),
        ("moved", Misconfigured),
        ("scope", Misconfigured),
    ],
)
def test_a_refused_batch(twin: Bitrix24Twin, crm: Bitrix24, fault: str, expected: type[Failure]) -> None:
    push(crm, lead(0))
    twin.plan.add([{"on": "batch", "do": fault, "times": 1}])
    (failed,) = answers(crm, lead(1))
    assert isinstance(failed, expected)
    assert "twin" not in str(failed).replace("twin owner", "")
    assert isinstance(push(crm, lead(1))[0], Written)


def test_a_webhook_that_was_removed(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    twin.access.revoke(1, "twin")
    (failed,) = answers(crm, lead(1))
    assert isinstance(failed, Misconfigured)
    assert "webhook" in str(failed)


def test_an_application_refreshes_its_token(twin: Bitrix24Twin) -> None:
    from syncd.connector import Context
    from syncd.connectors.crm.bitrix24 import Bitrix24Settings
    from syncd.http.oauth import MemoryTokens, Token

    auth = {"client_id": "local.1", "client_secret": "hush-hush"}
    given = {"portal": twin.url, "oauth_url": twin.url, "auth": auth}
    tokens = MemoryTokens()
    crm = Bitrix24(Bitrix24Settings.model_validate(given), Context(name="crm", tokens=tokens))
    with pytest.raises(Misconfigured, match="syncd auth crm"):
        push(crm, lead(1))
    old = Token(access="x", refresh="first", expires_at=datetime.now(UTC) - timedelta(hours=1))
    tokens.token(crm.sign_in().grant, lambda held: old)
    assert isinstance(push(crm, lead(1))[0], Written)
    twin.expire_tokens()
    assert isinstance(push(crm, lead(2))[0], Written)
    twin.plan.add([{"on": "batch", "do": "expired"}])
    with pytest.raises((AuthExpired, Misconfigured)):
        push(crm, lead(3))
    crm.close()


# ------------------------------------------------------------------------------------------------------------- costs


def test_calls_for_many_people(twin: Bitrix24Twin, crm: Bitrix24) -> None:
    for n in range(100):
        twin.add("contact", lastName=f"P{n}", email=f"p{n}@example.com")
    before = calls(twin)
    hits = crm.resolve([person(f"p{n}@example.com") for n in range(110)])
    assert sum(isinstance(hit, PersonMatch) for hit in hits) == 100
    assert calls(twin) - before == 5  # 110 addresses, 100 contacts, 10 addresses among leads
    push(crm, lead(0))
    before = calls(twin)
    push(crm, *(comment(n, Link("Lead", "1")) for n in range(100)))
    assert calls(twin) - before == 2


def test_an_application_signs_in_and_writes(twin: Bitrix24Twin, tmp_path: Path) -> None:
    """`syncd auth`, as an operator does it; then the token that it kept is used and replaced."""
    port = free_port()
    twin.access.redirect = f"http://localhost:{port}/callback"
    (tmp_path / "config.yaml").write_text(
        f"""
secret_key: a key for the tokens of this test
database: sqlite:///./syncd.db
sources: {{inbox: {{type: maildir, path: .}}}}
destinations:
  crm: {{type: bitrix24, portal: "{twin.url}", oauth_url: "{twin.url}", auth: {{client_id: local.1, client_secret: hush}}}}
"""
    )
    with signing_in(tmp_path, "crm", "--port", str(port)) as auth:
        browser = auth.browser()
        assert browser.query["redirect_uri"] == twin.access.redirect
        browser.follow(browser.decide())
        code, _, told = auth.end()
    assert code == 0, told
    before = twin.access.issued
    assert run(["--config", str(tmp_path / "config.yaml"), "check", "--online", "crm"]) in (0, 1)
    assert twin.counts["cmd:crm.settings.mode.get"] > 0
    assert twin.access.issued == before


def test_the_webhooks_secret_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    secret = "q8w7e6r5t4z3u2i1"
    with Bitrix24Twin(rate=1000.0, burst=1000.0, secret=secret) as running:
        for connect in connecting(running):
            crm = connect()
            push(crm, lead(1))
            for fault in (
                {"do": "error", "status": 400, "code": "X", "message": f"bad call /rest/1/{secret}/batch"},
                {"do": "reset"},
                {"do": "html"},
                {"do": "moved"},
            ):
                running.plan.add([{"on": "batch", "times": 1, **fault}])
                (failed,) = answers(crm, lead(2))
                assert isinstance(failed, Failure)
                assert secret not in f"{failed} {failed!r} {failed.message}"
            assert secret not in repr(crm._settings)
            assert secret not in crm.url("Lead", "1")
    assert secret not in caplog.text


def test_the_members_of_a_department_are_its_active_employees(twin: Bitrix24Twin, connect: Connect) -> None:
    sales = [twin.add("user", NAME=f"S{n}", UF_DEPARTMENT=[5]) for n in range(60)]
    twin.add("user", NAME="Away", UF_DEPARTMENT=[5], ACTIVE=False)
    twin.add("user", NAME="Other", UF_DEPARTMENT=[6])
    assert connect().members("department", "5") == sales
    assert connect().members("department", "77") == []
