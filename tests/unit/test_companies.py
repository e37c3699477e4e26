"""Companies: domains in whatever form they are written, providers that identify nobody, identities."""

from __future__ import annotations

import pytest

from syncd.identity.companies import Company, company_named, company_of, host_of, own_domain, registered, shared_domains


@pytest.mark.parametrize(
    ("website", "domain"),
    [
        ("https://www.Example.com/about?x=1", "example.com"),
        ("http://example.com", "example.com"),
        ("www.example.com/", "example.com"),
        ("EXAMPLE.COM.", "example.com"),
        ("shop.example.co.uk:8080", "example.co.uk"),
        ("https://example.com.vn", "example.com.vn"),
        ("www.an.vn", "an.vn"),
        ("https://user@mail.example.de/", "example.de"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("", ""),
        ("n/a", ""),
        ("localhost", ""),
        ("http://[bad", ""),
        ("192.168.1.1", ""),
    ],
)
def test_a_website_in_any_form_is_its_registered_domain(website: str, domain: str) -> None:
    assert registered(host_of(website)) == domain


@pytest.mark.parametrize(
    "host",
    [
        "gmail.com",
        "yahoo.com.vn",
        "fpt.vn",
        "qq.com",
        "web.de",
        "mail.ru",
        "example.wordpress.com",
        "facebook.com",
        "orange.fr",
    ],
)
def test_a_domain_of_a_provider_identifies_no_company(host: str) -> None:
    assert own_domain(host) == ""


def test_own_providers_are_added() -> None:
    assert own_domain("mail.isp.example") == "isp.example"
    assert own_domain("mail.isp.example", {"isp.example"}) == ""


def test_no_shared_domain_is_a_whole_ending() -> None:
    assert not {"com", "vn", "co.uk", "com.vn", ""} & shared_domains()
    assert all("." in domain and domain == domain.lower().strip() for domain in shared_domains())


def test_the_company_of_a_person() -> None:
    made = company_of(name="An Co", email="bob@sales.an.example", phone="+84912345678", data=None)
    assert made == Company(name="An Co", domain="an.example")
    assert made.identity == "company:domain:an.example"
    assert company_of(name="An  CO", email="bob@gmail.com", phone="", data=None).identity == "company:name:an co"
    assert company_of(name="", email="bob@gmail.com", phone="", data=None).identity == ""


def test_the_company_that_a_signal_is_about() -> None:
    data = {"website": "http://www.an.example/vi", "city": "Huế", "parent": "Group", "row": {"x": 1}, "state": None}
    made = company_of(name="An Co", email="an@gmail.com", phone="+84912345678", data=data)
    assert made == Company(
        name="An Co",
        domain="an.example",
        website="http://www.an.example/vi",
        phone="+84912345678",
        city="Huế",
        parent="Group",
    )
    on_facebook = company_of(name="An Co", email="info@an.example", phone="", data={"website": "facebook.com/an"})
    assert on_facebook.domain == "an.example"


@pytest.mark.parametrize(
    ("text", "company"),
    [
        ("https://www.Holding.example/about", Company(domain="holding.example")),
        ("holding.example", Company(domain="holding.example")),
        ("an@holding.example", Company(domain="holding.example")),
        ("Booking.com", Company(name="Booking.com")),
        ("  Nguyễn   & Sons ", Company(name="Nguyễn & Sons")),
        ("st. gobain", Company(name="st. gobain")),
        ("gmail.com", Company()),
        ("own.example", Company()),
        ("", Company()),
    ],
)
def test_a_company_is_named_by_its_domain_or_its_name(text: str, company: Company) -> None:
    assert company_named(text, {"own.example"}) == company
