"""Bytes to text: what is certain, what evidence decides, and that nothing is misread."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.connectors.charsets import REGIONS, WESTERN, InDoubt, codec_of, decode

LISTS: dict[tuple[str, str], str] = {
    ("cp1250", "PL"): "Wojciech Dąbrowski,Żaneta Wiśniewska,Grzegorz Brzęczyszczykiewicz,Łucja Kłos",
    ("cp1250", "CZ"): "Bořivoj Svoboda,Anežka Dvořáková,Zdeněk Křížek,Jiří Němec",
    ("cp1250", "HU"): "Őri Gergő,Fűzfa Károly,Bognár Tünde,Szűcs Zsófia",
    ("cp1251", "RU"): "Глеб Воробьёв,Лариса Гусева,Тимур Ахметов,Зоя Крылова",
    ("cp1251", "UA"): "Богдан Гриценко,Соломія Кушнір,Євгенія Панченко,Тарас Лисенко",
    ("koi8_r", "RU"): "Глеб Воробьев,Лариса Гусева,Тимур Ахметов,Зоя Крылова",
    ("cp1252", "DE"): "Wolfgang Köster,Ute Grün,Ralf Händel,Anke Weißgerber",
    ("cp1252", "FR"): "Timothée Lemaître,Solenne Crépin,Gwenaëlle Prévost,Cédric Guérard",
    ("cp1252", "ES"): "Begoña Quiñones,Ramón Cabañas,Nicolás Güemes,Concepción Milán",
    ("cp1252", "BR"): "Thaís Galvão,Otávio Cordão,Iracema Brandão,Luzia Conceição",
    ("cp1252", "SE"): "Örjan Lönnqvist,Märit Fälth,Åke Gråberg,Östen Sjödahl",
    ("cp1253", "GR"): "Λεωνίδας Ζαφειρόπουλος,Θεοδώρα Μανωλάκη,Πέτρος Σαμαράς,Ιφιγένεια Δούκα",
    ("cp1254", "TR"): "Gülçin Erdoğan,Şenol Karakuş,Hatice Kızılırmak,Uğurcan Yağcı",
    ("cp1255", "IL"): "נדב ברקוביץ,הילה סגל,אלון שושני,רונית גרינברג",
    ("cp1256", "EG"): "عبد العزيز الشافعي,رانيا البنا,حسام الدين قنديل,نجلاء فتحي",
    ("cp1257", "LT"): "Žydrūnas Šimkus,Rūta Paškevičiūtė,Vytautė Čepaitė,Ąžuolas Grigaliūnas",
    ("cp1257", "LV"): "Jānis Bērziņš,Ģirts Šķēle,Līga Āboliņa,Kārlis Ķirsis",
    ("cp874", "TH"): "ธีรเดช พูนสวัสดิ์,กนกวรรณ มีสุข,ชลธิชา บุญเรือง,วีรพงษ์ เจริญผล",
    ("gb18030", "CN"): "周晓燕,欧阳振华,郑海涛,蒋文静",
    ("big5", "TW"): "周曉燕,歐陽振華,鄭海濤,蔣文靜",
    ("cp932", "JP"): "桜庭 綾乃,榊原 健吾,ヤマモト ケンジ,西園寺 みどり",
    ("cp949", "KR"): "도경수,남궁민,표예진,곽선영",
}
"""(encoding, country) -> four people. None of them is copied from what the evidence was collected from."""
VIETNAMESE = "Khuất Thị Ngoãn,Lục Bỉnh Khiêm,Ngụy Như Ý,Đường Thế Vỹ"
ELSEWHERE = ("DE", "PL", "RU", "VN", "CN", "KR", "TR", "LT", "TH")


def cp1258(text: str) -> bytes:
    """As Windows writes Vietnamese: the letter with its hat, and the tone behind it."""
    made = b""
    for char in unicodedata.normalize("NFC", text):
        parts = unicodedata.normalize("NFD", char)
        tones = "".join(c for c in parts if c in "\u0300\u0301\u0303\u0309\u0323")
        letter = unicodedata.normalize("NFC", "".join(c for c in parts if c not in tones))
        made += (letter + tones).encode("cp1258")
    return made


def lists() -> list[tuple[str, str, bytes, str]]:
    """(encoding, country, bytes, text) of lists with one to four rows."""
    made = []
    for (codec, country), names in [*LISTS.items(), (("cp1258", "VN"), VIETNAMESE)]:
        people = names.split(",")
        for count in range(1, len(people) + 1):
            rows = [f"k{n}@list.example;{name}" for n, name in enumerate(people[-count:])]
            text = "\r\n".join(["Email;Name", *rows, ""])
            made.append((codec, country, cp1258(text) if codec == "cp1258" else text.encode(codec), text))
    return made


def other_region(country: str, at: int) -> str:
    own = REGIONS.get(country, WESTERN)
    return next(c for c in (*ELSEWHERE[at % len(ELSEWHERE) :], *ELSEWHERE) if REGIONS.get(c, WESTERN) != own)


def test_short_lists_in_any_encoding_are_read_correctly_or_refused() -> None:
    figures: Counter[tuple[str, str]] = Counter()
    for at, (codec, country, data, text) in enumerate(lists()):
        for hint, region in (("right", country), ("absent", None), ("wrong", other_region(country, at))):
            try:
                read = decode(data, region=region).text
            except InDoubt:
                figures[hint, "refused"] += 1
                continue
            assert read == text, (codec, hint, region)
            figures[hint, "correct"] += 1
    print(dict(figures))
    for hint in ("right", "absent", "wrong"):
        assert figures[hint, "correct"] > 9 * figures[hint, "refused"]


def test_a_region_that_is_wrong_never_turns_the_evidence_round() -> None:
    data = "Email;Name\r\na@x.example;Jos\xe9 Pe\xf1a\r\nb@x.example;Concepci\xf3n Mu\xf1oz\r\n".encode("cp1252")
    assert {decode(data, region=region).text for region in (None, *ELSEWHERE)} == {data.decode("cp1252")}


def test_what_fits_two_encodings_is_refused_and_both_are_shown() -> None:
    with pytest.raises(InDoubt, match=r"the encoding is not clear: .* fit about equally; say which") as caught:
        decode("Name\nKrager\xf8\n".encode("cp1252"))
    assert len(caught.value.candidates) == 2
    read = decode("Name\nKrager\xf8\n".encode("cp1252"), fallback="windows-1252")
    assert (read.text, read.how) == ("Name\nKragerø\n", "fallback")


def test_bytes_that_make_no_words_are_refused() -> None:
    with pytest.raises(InDoubt, match="the encoding is not "):
        decode(bytes(range(0x80, 0x100)) * 3)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "iso2022_jp"])
def test_marks_and_escapes_decide(codec: str) -> None:
    text = "Email;Name\r\na@list.example;田中 はな\r\n"
    assert decode(text.encode(codec), region="DE").text == text


def test_utf_8_with_a_damaged_byte_stays_utf_8() -> None:
    data = "a;Jörg Müller\nb;Łukasz Żółć\n".encode() + b"c;Ren\xe9\n" + "d;Đặng Thị\n".encode()
    read = decode(data, region="VN")
    assert read.text == "a;Jörg Müller\nb;Łukasz Żółć\nc;René\nd;Đặng Thị\n"
    assert read.encoding == "utf-8"
    assert [(damage.line, damage.raw, damage.read) for damage in read.damage] == [(3, b"\xe9", "é")]
    cut = decode("a;Nguyễn Văn Ân\nb;Nguyễ".encode()[:-1] + b"\n")
    assert cut.text == "a;Nguyễn Văn Ân\nb;Nguy\ufffd\n"
    assert cut.damage[0].line == 2


def test_a_damaged_sequence_of_two_bytes_is_reported() -> None:
    rows = [f"{n};{'周欧郑蒋谢'[n % 5]}{'晓振海文静明'[n % 6]}{'燕华涛青'[n % 4]}" for n in range(60)]
    data = "\n".join(rows).encode("gb18030") + b"\n60;\xd6\xdc\xcf\n"
    read = decode(data, region="CN")
    assert read.encoding == "gb18030"
    assert [damage.line for damage in read.damage] == [61]
    assert read.text.startswith("0;周晓燕\n1;欧振华\n")


@pytest.mark.parametrize(
    ("declared", "data", "text", "how"),
    [
        ("gb2312", "镕基".encode("gbk"), "镕基", "declared"),
        ("iso-8859-1", b"\x93a\x94 \x80", "“a” €", "declared"),
        ("ISO-8859-9", b"\xdeen", "Şen", "declared"),
        ("ks_c_5601-1987", "똠방".encode("cp949"), "똠방", "declared"),
        ("utf-8", "Jörg Müller".encode("cp1252"), "Jörg Müller", "evidence"),
        ("us-ascii", "Jörg Müller".encode(), "Jörg Müller", "utf-8"),
        ("iso-2022-jp", "田中".encode("iso2022_jp"), "田中", "escapes"),
        ("zip", b"plain", "plain", "ascii"),
        ("big5", "Jörg Müller Köln".encode(), "Jörg Müller Köln", "utf-8"),
    ],
)
def test_a_declared_charset_is_taken_unless_the_bytes_contradict_it(
    declared: str, data: bytes, text: str, how: str
) -> None:
    read = decode(data, declared=declared)
    assert (read.text, read.how) == (text, how)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF8", "utf-8"),
        ('"Windows-1252"', "cp1252"),
        ("latin1", "cp1252"),
        ("GBK", "gb18030"),
        ("x-sjis", "cp932"),
        ("cp1258", "cp1258"),
        ("rot13", ""),
        ("base64", ""),
        ("no such", ""),
        ("", ""),
    ],
)
def test_names_of_charsets(name: str, codec: str) -> None:
    assert codec_of(name) == codec


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([None, "VN", "CN", "ZZ"]))
def test_no_bytes_break_it(data: bytes, region: str | None) -> None:
    read = decode(data, region=region, fallback="cp1252")
    assert isinstance(read.text, str)
    assert all(0 <= damage.at <= len(data) for damage in read.damage)


@given(st.text(max_size=200))
def test_utf_8_of_some_length_is_utf_8(text: str) -> None:
    text += " Größe – 大きさ"
    assert decode(text.encode("utf-8", "replace")).text == text.encode("utf-8", "replace").decode().removeprefix(
        "\ufeff"
    )
