"""Ids, people and exclusions: what everything else is keyed by."""

from datetime import UTC, datetime
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.signals import (
    CATALOGUE,
    NAMESPACE,
    Exclusions,
    Person,
    Route,
    Signal,
    decode_signal,
    derive_id,
    encode,
    frame,
    known_types,
    make_person,
    normal_email,
    normal_phone,
    place_of,
    split_name,
    utc,
)

parts = st.lists(st.text(max_size=12), min_size=4, max_size=4)


@given(parts, parts)
def test_two_different_events_never_share_an_id(one: list[str], other: list[str]) -> None:
    assert (derive_id(*one) == derive_id(*other)) == (one == other)


@given(parts)
def test_an_id_is_the_uuid_of_version_5(one: list[str]) -> None:
    assert derive_id(*one) == uuid5(NAMESPACE, frame("signal", *one))


def test_ids_are_fixed_for_ever() -> None:
    assert str(derive_id("twilio", "AC1", "call.missed", "CA1")) == "92754851-3094-5d81-b65a-d313f11946eb"
    assert derive_id("mail", "", "email.received", "<a@b>") == derive_id("mail", "", "email.received", "<a@b>")


def test_frames_do_not_run_together() -> None:
    assert frame("a", "bc") != frame("ab", "c")


def test_every_type_knows_its_place() -> None:
    assert [place_of(kind) for kind in known_types()] == [
        (channel, switch) for channel, switches in CATALOGUE.items() for switch in switches
    ]
    assert place_of("custom.order") == ("custom", "order")
    for wrong in ("order", "custom.", "email.written", ""):
        with pytest.raises(ValueError, match="unknown signal type"):
            place_of(wrong)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" Anna@Example.COM ", "anna@example.com"),
        ("<a@b.c>", "a@b.c"),
        ("a@b@c", ""),
        ("a b@c.d", ""),
        ("nobody", ""),
        ("@b", ""),
        ("a@", ""),
        ("a\0@b.c", ""),
    ],
)
def test_emails(written: str, expected: str) -> None:
    assert normal_email(written) == expected


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("0912 345 678", "VN", "+84912345678"),
        ("+1 (415) 867-5309", None, "+14158675309"),
        ("0912 345 678", None, ""),
        ("anonymous", "US", ""),
        ("+266696687", None, ""),
        ("911", "US", ""),
        ("", "US", ""),
    ],
)
def test_phones(written: str, region: str | None, expected: str) -> None:
    assert normal_phone(written, region) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Nguyen Van An", ("Nguyen Van", "An")),
        ("Doe, Jane", ("Jane", "Doe")),
        ("Cher", ("", "Cher")),
        ("", ("", "")),
        ("a, b, c", ("a, b,", "c")),
    ],
)
def test_names(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name) == expected


def test_a_person_is_completed_and_keeps_what_could_not_be_read() -> None:
    person = make_person(name="Jane\r\nDoe\x00", email="Jane@X.Example", phone="anonymous", region="US")
    assert (person.name, person.first_name, person.last_name) == ("Jane Doe", "Jane", "Doe")
    assert person.identity == "email:jane@x.example"
    assert person.raw == {"phone": "anonymous"}
    assert make_person(first_name="A", last_name="B").name == "A B"
    assert make_person(phone="+14158675309").identity == "phone:+14158675309"
    assert Person().identity == ""


@given(st.text(), st.text(), st.text(), st.sampled_from([None, "US", "VN", "ZZ"]))
def test_no_text_of_a_vendor_breaks_a_person(name: str, email: str, phone: str, region: str | None) -> None:
    person = make_person(name=name, email=email, phone=phone, region=region)
    assert "\n" not in person.name
    assert person.email == person.email.lower()


def test_exclusions_cover_subdomains_and_addresses() -> None:
    ours = Exclusions.of(["@Ourcompany.com"], ["NoReply@example.com"])
    assert ours.covers(Person(email="a@ourcompany.com"))
    assert ours.covers(Person(email="a@mail.ourcompany.com"))
    assert ours.covers(Person(email="noreply@example.com"))
    assert not ours.covers(Person(email="a@notourcompany.com"))
    assert not ours.covers(Person(phone="+14158675309"))


@given(st.text(), st.dictionaries(st.text(max_size=5), st.integers(-(2**53), 2**53)))
def test_a_signal_survives_the_store(title: str, data: dict[str, int]) -> None:
    moment = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
    signal = Signal(
        id=derive_id("t", "", "custom.x", title),
        type="custom.x",
        source="s",
        occurred_at=moment,
        received_at=moment,
        title=title,
        data=data,
        person=Person(email="a@b.c"),
        route=Route.POLL,
    )
    assert decode_signal(encode(signal)) == signal
    assert signal.channel == "custom"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        utc(datetime(2026, 1, 1))  # noqa: DTZ001
