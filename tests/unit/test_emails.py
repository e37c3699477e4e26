"""Addresses in their usual wrapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.identity.emails import ReadAddress as A
from syncd.identity.emails import normal_email, read_email, tidy, unguarded
from syncd.signals import make_person

WRAPPED: list[tuple[str, A]] = [
    (" Anna@Example.COM ", A("anna@example.com")),
    ("<a@b.c>", A("a@b.c")),
    ("a@b@c", A()),
    ("a b@c.d", A()),
    ("nobody", A()),
    ("@b", A()),
    ("a@", A()),
    ("a\0@b.c", A()),
    ("Otto Cell <otto@k.example>", A("otto@k.example", "Otto Cell")),
    ('"Kern, Eva" <eva2@k.example>', A("eva2@k.example", "Kern, Eva")),
    ("Kern, Eva <eva2@k.example>", A("eva2@k.example", "Kern, Eva")),
    ("mailto:mail@k.example?subject=Hi%20a@b", A("mail@k.example")),
    ("MAILTO:a%40b.example", A("a@b.example")),
    ("zw\u200b@k.exa\u200bmple", A("zw@k.example")),
    ("\ufeffa@b.de", A("a@b.de")),
    ("a@b.de; c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de, c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de / c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de ::: c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("A B <a@b.de>; C D <c@d.de>", A("a@b.de", "A B", ("c@d.de",))),
    ("a@b.de\nc@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de;", A("a@b.de")),
    ("a@b.de.", A("a@b.de")),
    ("'a@b.de'", A("a@b.de")),
    ("“a@b.de”", A("a@b.de")),
    ('="a@b.de"', A("a@b.de")),
    ("'@b.de", A()),
    ("[a@b.de](mailto:a@b.de)", A("a@b.de")),
    ("a@b.de<mailto:a@b.de>", A("a@b.de")),
    ("a@b.de <a@b.de>", A("a@b.de")),
    ('<a href="mailto:a@b.de">a@b.de</a>', A("a@b.de")),
    ("a@b.de (Eva Kern)", A("a@b.de", "Eva Kern")),
    ("a@b.de (work)", A("a@b.de")),
    ("E-Mail: a@b.de", A("a@b.de")),
    ("a&#64;b.de", A("a@b.de")),
    ("&lt;a@b.de&gt;", A("a@b.de")),
    ("Eva &lt;a@b.de&gt;", A("a@b.de", "Eva")),
    ("a＠b.de", A("a@b.de")),
    ("ＡＢ@b.de", A("ab@b.de")),
    ("jörg@müller.de", A("jörg@müller.de")),
    ("a\u00a0@b.de", A()),
    ("\u00a0a@b.de\u00a0", A("a@b.de")),
    ("=?utf-8?q?J=C3=B6rg?= <j@b.de>", A("j@b.de", "Jörg")),
    ("o'neil@b.ie", A("o'neil@b.ie")),
    ("a@localhost", A("a@localhost")),
    ("john smith@x.de", A()),
    ("n/a", A()),
    ("a@b.de und c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("smtp:a@b.de", A("a@b.de")),
    ("Eva <mailto:a@b.de>", A("a@b.de", "Eva")),
    ("Eva [a@b.de]", A("a@b.de", "Eva")),
    ("mailto:a@b.de,c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("<a@b.de>, <c@d.de>", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de; nonsense", A()),
    ("a@b.de,", A("a@b.de")),
    ("<<a@b.de>>", A("a@b.de")),
    ("\u200ea@b.de\u200f", A("a@b.de")),
    ("a@b.de; a@b.de", A("a@b.de")),
    ("a.b@c.de <a.b@c.de>", A("a.b@c.de")),
    ("a@b.de>", A("a@b.de")),
    ("Eva Kern a@b.de", A()),
    ("'a@b.de", A("a@b.de")),
    ('"a@b.de" <a@b.de>', A("a@b.de")),
    ('"eva.kern"@b.de', A()),
    ('"boss@b.de" <eva@b.de>', A("eva@b.de")),
    ("boss@b.de <eva@b.de>", A("eva@b.de")),
    ("'eva@b.de' via Sales <sales@b.de>", A("sales@b.de")),
    ('"boss@b.de via Sales" <sales@b.de>', A("sales@b.de")),
    ('"boss@b.de" <eva@b.de>; c@d.de', A("eva@b.de", "", ("c@d.de",))),
    ("c@d.de, boss@b.de <eva@b.de>", A("c@d.de", "", ("eva@b.de",))),
    ("Eva <<eva@b.de>>", A("eva@b.de", "Eva")),
    ("Eva <eva @b.de>", A("eva@b.de", "Eva")),
    ("=?utf-8?q?Eva_<eva@b.de>?=", A("eva@b.de", "Eva")),
    ("eva@b.de}", A("eva@b.de")),
    ("{eva@b.de}", A("eva@b.de")),
    ("eva@b.de%20", A("eva@b.de")),
    ("eva@b.de!", A("eva@b.de")),
    ("eva@b.de\\n", A("eva@b.de")),
    ("a@b..de", A()),
    ("a@.de", A()),
    ("a@b,de", A()),
    ("Eva Kern (eva@b.de)", A("eva@b.de", "Eva Kern")),
    ('["eva@b.de"]', A("eva@b.de")),
    ("a@b.de，c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de、c@d.de", A("a@b.de", "", ("c@d.de",))),
    ("a@b.de；c@d.de", A("a@b.de", "", ("c@d.de",))),
]


@pytest.mark.parametrize(("text", "address"), WRAPPED)
def test_an_address_is_unwrapped(text: str, address: A) -> None:
    assert read_email(text) == address


def test_several_are_not_one() -> None:
    assert normal_email("a@b.example; c@d.example") == ""
    assert normal_email("mailto:A@b.example") == "a@b.example"


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    found = read_email(text)
    assert found.email == "" or found.email.count("@") == 1
    assert found.email == normal_email(found.email)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('="01234"', "01234"),
        ('= "a ""b"" c"', 'a "b" c'),
        ("'01234", "01234"),
        ("'+84912345678", "+84912345678"),
        ("'=SUM(A1)", "=SUM(A1)"),
        ("'t Hooft", "'t Hooft"),
        ("\u200b An\u00a0", "An"),
        ("two\nlines", "two\nlines"),
        ("=1+1", "=1+1"),
        ('=HYPERLINK("https://k.example";"Ann Kern")', "Ann Kern"),
        ('=HYPERLINK("mailto:ann@k.example","Ann")', "Ann <mailto:ann@k.example>"),
        ('=HYPERLINK("mailto:ann@k.example","ann@k.example")', "ann@k.example"),
    ],
)
def test_the_guard_of_a_spreadsheet_is_taken_off(cell: str, text: str) -> None:
    assert unguarded(cell) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("M&uuml;ller &amp; Co", "Müller & Co"),
        ("O&#39;Brien", "O'Brien"),
        ("AT&T; x", "AT&T; x"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_text_without_entities_and_unseen_marks(text: str, plain: str) -> None:
    assert tidy(text) == plain


def test_a_person_takes_the_name_that_stands_beside_the_address() -> None:
    person = make_person(email='"Kern, Eva" <eva@k.example>')
    assert (person.name, person.first_name, person.last_name, person.email) == (
        "Eva Kern",
        "Eva",
        "Kern",
        "eva@k.example",
    )
    assert make_person(name="Else", email="Eva <eva@k.example>").name == "Else"
    assert make_person(name="Eva Kern <eva@k.example>").email == "eva@k.example"
    assert make_person(name='="Ex Form"').name == "Ex Form"
    both = make_person(email="a@k.example; b@k.example")
    assert (both.email, both.raw) == ("a@k.example", {"email": "a@k.example; b@k.example"})
