"""How a CRM of no vendor is searched for many people: in stages or all at once, with the same answer; and where deals are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from syncd.connector import Link, Lookup, MatchField, PersonMatch, PersonQuery
from syncd.connectors.crm.deals import DealRows, OpenDeal
from syncd.connectors.crm.directory import Facts, PersonObjects, Row
from syncd.connectors.crm.search import Search, Stage

OBJECTS = PersonObjects(
    "id",
    {
        "Person": Facts("contact", account="company", name="name", emails=("mail",)),
        "Prospect": Facts("lead", name="name", converted=("gone",), became=("person", "company")),
    },
    "Person",
    "Company",
    folds_case=False,
)
EMAILS = [f"{name}@x.example" for name in "abc"]
PHONES = ["+84912345678", "+84912345679"]


def query(email: str, phone: str) -> PersonQuery:
    fields = (MatchField("mail", email), MatchField("phone", phone, phone=True), MatchField("other", phone, phone=True))
    return PersonQuery("x", tuple(Lookup(name, fields) for name in ("Person", "Prospect")), email)


def answer(stage: Stage, values: Mapping[str, Sequence[str]], table: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows of the table that have one of the values in its field."""
    return [row for row in table[stage.object] if any(row.get(field) in values[field] for field in values)]


rows = st.lists(
    st.fixed_dictionaries(
        {
            "mail": st.sampled_from(["", *EMAILS]),
            "phone": st.sampled_from(["", *PHONES]),
            "other": st.sampled_from(["", *PHONES]),
        }
    ),
    max_size=3,
)


@given(rows, rows, st.lists(st.builds(query, st.sampled_from(EMAILS), st.sampled_from(PHONES)), max_size=4))
def test_in_stages_or_at_once_the_same_people_are_found(
    people: list[dict[str, str]], prospects: list[dict[str, str]], wanted: list[PersonQuery]
) -> None:
    table = {
        "Person": [{"id": f"1{n}", **row} for n, row in enumerate(people)],
        "Prospect": [{"id": f"2{n}", **row} for n, row in enumerate(prospects)],
    }
    staged, at_once = Search(wanted, OBJECTS, "VN"), Search(wanted, OBJECTS, "VN")
    assert [stage.phone for stage in staged.stages] == ([False, False, True, True] if wanted else [])
    for stage in staged.stages:
        staged.learn(stage, answer(stage, staged.values(stage), table))
    everything = [(stage, at_once.values(stage)) for stage in at_once.stages]
    for stage, values in everything:
        at_once.learn(stage, answer(stage, values, table))
    assert [found and (found.object, found.id) for found in staged.found()] == [
        found and (found.object, found.id) for found in at_once.found()
    ]


def test_a_converted_record_is_the_contact_it_became() -> None:
    plain = {"id": 1, "name": "A", "company": {"id": 9, "name": "Co"}}
    assert OBJECTS.read("Person", plain) == PersonMatch(
        object="Person", id="1", role="contact", account=Link("Company", "9"), name="A"
    )
    assert OBJECTS.read("Prospect", plain) == PersonMatch(object="Prospect", id="1", role="lead", name="A")
    converted = {**plain, "gone": True, "person": "5"}
    assert OBJECTS.read("Prospect", converted) == PersonMatch(
        object="Person", id="5", role="contact", account=Link("Company", "9"), name="A"
    )
    assert OBJECTS.read("Prospect", {**plain, "gone": True}) is None
    assert OBJECTS.read("Own", {"id": "7"}) == PersonMatch(object="Own", id="7", role="contact")


def test_deals_are_told_by_rows_that_name_an_owner() -> None:
    of_person = DealRows("Roles", "who", "Person", "deal", "Deal", "open", "made", "changed", "size")
    of_company = DealRows("Deal", "company", "", "id", "Deal", "open", "made", "changed", "size")
    people = [
        PersonMatch(object="Person", id="1", role="contact", account=Link("Company", "9")),
        PersonMatch(object="Prospect", id="2", role="lead"),
    ]
    assert (of_person.owners(people), of_company.owners(people)) == (["1"], ["9"])
    assert of_person.columns == ("deal", "who", "made", "changed", "size")
    told: list[Row] = [
        {"who": "1", "deal": {"id": "5"}, "made": "2026-01-02T00:00:00Z", "size": 7},
        {"who": None, "deal": "6"},
    ]
    ((owner, deal),) = of_person.read(told)
    assert (owner, deal.link, deal.amount) == ("1", Link("Deal", "5"), 7.0)
    assert deal == OpenDeal(deal.link, datetime(2026, 1, 2, tzinfo=UTC), deal.changed, 7.0)
