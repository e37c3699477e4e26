"""The columns of real exports, by the header lines that those programs write. The rows are our own."""

from __future__ import annotations

import pytest

from syncd.connector import Context
from syncd.connectors.files.headers import ID_NAMES, candidates, columns, guess, meaning
from syncd.connectors.files.rows import signal_of
from syncd.http.oauth import MemoryTokens
from syncd.signals import Signal
from tests.mails import MOMENT

OUTLOOK_EN = (
    "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,Job Title,Business Street,"
    "Business Street 2,Business City,Business State,Business Postal Code,Business Country/Region,Home Street,"
    "Home City,Home Postal Code,Other Street,Assistant's Phone,Business Fax,Business Phone,Business Phone 2,"
    "Callback,Car Phone,Company Main Phone,Home Fax,Home Phone,ISDN,Mobile Phone,Other Phone,Pager,"
    "Primary Phone,E-mail Address,E-mail Type,E-mail Display Name,E-mail 2 Address,E-mail 3 Address,Notes,"
    "Web Page"
)
OUTLOOK_DE = (
    "Anrede,Vorname,Weitere Vornamen,Nachname,Suffix,Firma,Abteilung,Position,Straße geschäftlich,"
    "Straße geschäftlich 2,Ort geschäftlich,Region geschäftlich,Postleitzahl geschäftlich,"
    "Land/Region geschäftlich,Straße privat,Ort privat,Postleitzahl privat,Fax geschäftlich,"
    "Telefon geschäftlich,Telefon geschäftlich 2,Telefon Firma,Telefon (privat),Mobiltelefon,Weiteres Telefon,"
    "Haupttelefon,E-Mail-Adresse,E-Mail-Typ,E-Mail: Angezeigter Name,E-Mail 2: Adresse,Webseite"
)
OUTLOOK_FR = (
    "Titre,Prénom,Deuxième prénom,Nom,Suffixe,Société,Service,Titre (2),Rue (bureau),Rue (bureau) 2,"
    "Ville (bureau),Dép/Région (bureau),Code postal (bureau),Pays/Région (bureau),Rue (domicile),"
    "Ville (domicile),Code postal (domicile),Téléphone de l'assistant(e),Télécopie (bureau),"
    "Téléphone (bureau),Téléphone 2 (bureau),Téléphone (domicile),Tél. mobile,Adresse de messagerie,"
    "Type de messagerie,Nom complet de l'adresse de messagerie,Adresse de messagerie 2,Page Web"
)
OUTLOOK_ZH = (
    "英文称谓,名,中间名,姓,中文称谓,单位,部门,职务,商务地址 街道,商务地址 街道 2,商务地址 市/县,"
    "商务地址 省/市/自治区,商务地址 邮政编码,商务地址 国家/地区,住宅地址 街道,住宅地址 市/县,"
    "住宅地址 邮政编码,助理的电话,商务传真,商务电话,商务电话 2,单位主要电话,住宅电话,移动电话,其他电话,寻呼机,"
    "电子邮件地址,电子邮件类型,电子邮件显示名称,电子邮件 2 地址,附注,网页"
)
OUTLOOK_VI = (
    "Danh xưng,Tên,Tên đệm,Họ,Hậu tố,Công ty,Phòng ban,Chức danh,Phố (Cơ quan),Thành phố (Cơ quan),"
    "Tỉnh (Cơ quan),Mã Bưu chính (Cơ quan),Quốc gia/Vùng (Cơ quan),Phố (Nhà riêng),Thành phố (Nhà riêng),"
    "Fax Cơ quan,Điện thoại Cơ quan,Điện thoại Nhà riêng,Điện thoại Di động,Địa chỉ Email,Kiểu Email,"
    "Địa chỉ Email 2,Trang Web"
)
GOOGLE_OLD = (
    "Name,Given Name,Additional Name,Family Name,Yomi Name,Name Prefix,Name Suffix,Initials,Nickname,Birthday,"
    "Gender,Location,Occupation,Notes,Language,Photo,Group Membership,E-mail 1 - Type,E-mail 1 - Value,"
    "E-mail 2 - Type,E-mail 2 - Value,Phone 1 - Type,Phone 1 - Value,Phone 2 - Type,Phone 2 - Value,"
    "Address 1 - Type,Address 1 - Formatted,Address 1 - Street,Address 1 - City,Address 1 - PO Box,"
    "Address 1 - Region,Address 1 - Postal Code,Address 1 - Country,Organization 1 - Type,"
    "Organization 1 - Name,Organization 1 - Title,Organization 1 - Department,Website 1 - Type,"
    "Website 1 - Value"
)
GOOGLE_NEW = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Name Prefix,Name Suffix,Nickname,File As,"
    "Organization Name,Organization Title,Organization Department,Birthday,Notes,Photo,Labels,"
    "E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value,"
    "Address 1 - Label,Address 1 - Formatted,Address 1 - Street,Address 1 - City,Address 1 - Region,"
    "Address 1 - Postal Code,Address 1 - Country,Website 1 - Label,Website 1 - Value"
)
THUNDERBIRD = (
    "First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Screen Name,Work Phone,"
    "Home Phone,Fax Number,Pager Number,Mobile Number,Home Address,Home Address 2,Home City,Home State,"
    "Home ZipCode,Home Country,Work Address,Work Address 2,Work City,Work State,Work ZipCode,Work Country,"
    "Job Title,Department,Organization,Web Page 1,Web Page 2,Notes"
)
ZOHO = (
    "Record Id,Contact Owner,Lead Source,First Name,Last Name,Account Name.id,Account Name,Email,Title,"
    "Department,Phone,Home Phone,Other Phone,Fax,Mobile,Assistant,Mailing Street,Other Street,Mailing City,"
    "Other City,Mailing State,Mailing Zip,Mailing Country,Secondary Email,Created Time"
)
SALESFORCE = (
    "Salutation,First Name,Last Name,Title,Account Name,Mailing Street,Mailing City,Mailing State/Province,"
    "Mailing Zip/Postal Code,Mailing Country,Phone,Fax,Mobile,Email,Account Owner"
)
DATA_LOADER = (
    "Id,AccountId,LastName,FirstName,Salutation,MailingStreet,MailingCity,MailingPostalCode,MailingCountry,"
    "Phone,HomePhone,MobilePhone,Email,Title"
)

EXPORTS: list[tuple[str, dict[str, str]]] = [
    (
        OUTLOOK_EN,
        {
            "email": "E-mail Address",
            "phone": "Primary Phone",
            "mobile": "Mobile Phone",
            "job_title": "Job Title",
            "street": "Business Street",
            "city": "Business City",
            "postal_code": "Business Postal Code",
            "state": "Business State",
            "country": "Business Country/Region",
            "company": "Company",
            "website": "Web Page",
        },
    ),
    (
        OUTLOOK_DE,
        {
            "email": "E-Mail-Adresse",
            "phone": "Telefon geschäftlich",
            "mobile": "Mobiltelefon",
            "job_title": "Position",
            "street": "Straße geschäftlich",
            "city": "Ort geschäftlich",
            "postal_code": "Postleitzahl geschäftlich",
            "first_name": "Vorname",
            "last_name": "Nachname",
        },
    ),
    (
        OUTLOOK_FR,
        {
            "email": "Adresse de messagerie",
            "phone": "Téléphone (bureau)",
            "mobile": "Tél. mobile",
            "job_title": "Titre (2)",
            "street": "Rue (bureau)",
            "city": "Ville (bureau)",
            "postal_code": "Code postal (bureau)",
            "country": "Pays/Région (bureau)",
            "first_name": "Prénom",
            "company": "Société",
        },
    ),
    (
        OUTLOOK_ZH,
        {
            "email": "电子邮件地址",
            "phone": "商务电话",
            "mobile": "移动电话",
            "job_title": "职务",
            "street": "商务地址 街道",
            "city": "商务地址 市/县",
            "postal_code": "商务地址 邮政编码",
            "country": "商务地址 国家/地区",
            "first_name": "名",
            "last_name": "姓",
            "company": "单位",
            "website": "网页",
        },
    ),
    (
        OUTLOOK_VI,
        {
            "email": "Địa chỉ Email",
            "phone": "Điện thoại Cơ quan",
            "mobile": "Điện thoại Di động",
            "job_title": "Chức danh",
            "street": "Phố (Cơ quan)",
            "city": "Thành phố (Cơ quan)",
            "postal_code": "Mã Bưu chính (Cơ quan)",
            "first_name": "Tên",
            "last_name": "Họ",
            "company": "Công ty",
        },
    ),
    (
        GOOGLE_OLD,
        {
            "email": "E-mail 1 - Value",
            "phone": "Phone 1 - Value",
            "name": "Name",
            "first_name": "Given Name",
            "last_name": "Family Name",
            "company": "Organization 1 - Name",
            "job_title": "Organization 1 - Title",
            "street": "Address 1 - Street",
            "city": "Address 1 - City",
            "state": "Address 1 - Region",
            "postal_code": "Address 1 - Postal Code",
            "country": "Address 1 - Country",
            "website": "Website 1 - Value",
        },
    ),
    (
        GOOGLE_NEW,
        {
            "email": "E-mail 1 - Value",
            "phone": "Phone 1 - Value",
            "first_name": "First Name",
            "company": "Organization Name",
            "job_title": "Organization Title",
            "street": "Address 1 - Street",
            "website": "Website 1 - Value",
        },
    ),
    (
        THUNDERBIRD,
        {
            "email": "Primary Email",
            "phone": "Work Phone",
            "mobile": "Mobile Number",
            "name": "Display Name",
            "street": "Work Address",
            "city": "Work City",
            "postal_code": "Work ZipCode",
            "company": "Organization",
            "website": "Web Page 1",
        },
    ),
    (
        ZOHO,
        {
            "email": "Email",
            "phone": "Phone",
            "mobile": "Mobile",
            "job_title": "Title",
            "company": "Account Name",
            "street": "Mailing Street",
            "city": "Mailing City",
            "postal_code": "Mailing Zip",
        },
    ),
    (
        SALESFORCE,
        {
            "email": "Email",
            "phone": "Phone",
            "job_title": "Title",
            "company": "Account Name",
            "state": "Mailing State/Province",
            "postal_code": "Mailing Zip/Postal Code",
        },
    ),
    (
        DATA_LOADER,
        {
            "email": "Email",
            "phone": "Phone",
            "mobile": "MobilePhone",
            "street": "MailingStreet",
            "postal_code": "MailingPostalCode",
            "last_name": "LastName",
        },
    ),
]


@pytest.mark.parametrize(("line", "expected"), EXPORTS)
def test_the_columns_of_an_export(line: str, expected: dict[str, str]) -> None:
    headers = line.split(",")
    found = {what: headers[place] for what, place in guess(headers, "contact").items()}
    assert {what: found.get(what) for what in expected} == expected


@pytest.mark.parametrize(
    ("header", "what"),
    [
        *[
            ("邮箱", "email"),
            ("联系电话", "phone"),
            ("手机号", "mobile"),
            ("公司名称", "company"),
            ("姓名", "name"),
            ("职位", "job_title"),
        ],
        *[
            ("電子信箱", "email"),
            ("行動電話", "mobile"),
            ("メールアドレス", "email"),
            ("携帯電話", "mobile"),
            ("氏名", "name"),
        ],
        *[
            ("会社名", "company"),
            ("이메일", "email"),
            ("휴대폰", "mobile"),
            ("회사명", "company"),
            ("성명", "name"),
            ("직책", "job_title"),
        ],
        *[("Chức danh", "job_title"), ("Số điện thoại", "phone"), ("Họ và tên", "name"), ("Công ty", "company")],
        *[
            ("Электронная почта", "email"),
            ("Мобильный телефон", "mobile"),
            ("ФИО", "name"),
            ("Рабочий телефон", "phone"),
        ],
        *[
            ("Correo electrónico", "email"),
            ("Móvil", "mobile"),
            ("Teléfono del trabajo", "phone"),
            ("Indirizzo e-mail", "email"),
        ],
        *[
            ("Cellulare", "mobile"),
            ("Telemóvel", "mobile"),
            ("Endereço de e-mail", "email"),
            ("Sobrenome", "last_name"),
        ],
        *[
            ("Adres e-mail", "email"),
            ("Imię", "first_name"),
            ("Nazwisko", "last_name"),
            ("Příjmení", "last_name"),
            ("E-posta", "email"),
        ],
        *[
            ("Fax", ""),
            ("E-Mail* (Pflichtfeld)", "email"),
            ("Business Fax", ""),
            ("E-mail Type", ""),
            ("Assistant's Phone", ""),
            ("Contact Owner", ""),
            ("Notes", ""),
        ],
    ],
)
def test_a_name_in_any_language(header: str, what: str) -> None:
    assert meaning(header, "contact") == what


def test_business_goes_before_home_and_an_empty_cell_gives_way() -> None:
    headers = ["Home Phone", "E-mail 2", "Business Phone", "E-mail", "Home City", "Business City"]
    found = candidates(headers, "contact")
    assert (found["phone"], found["email"], found["city"]) == ([2, 0], [3, 1], [5, 4])
    assert made(headers, ["0228 171717", "b@k.example", "", "", "Bonn", ""]).person.phone == "+49228171717"
    assert made(headers, ["", "b@k.example", "", "", "Bonn", ""]).data["city"] == "Bonn"


def test_a_cell_of_google_with_several_values() -> None:
    headers = ["Name", "E-mail 1 - Value", "Phone 1 - Value", "Website 1 - Value"]
    signal = made(
        headers,
        ["Eva Kern", "eva@k.example ::: e@h.example", "0228 171717 ::: 0171 1717171", "a.example ::: b.example"],
    )
    assert (signal.person.email, signal.person.phone) == ("eva@k.example", "+49228171717")
    assert signal.data["website"] == "a.example"


@pytest.mark.parametrize(
    ("line", "cells", "name", "first", "last"),
    [
        ("Prénom,Nom", "Eva,Kern", "Eva Kern", "Eva", "Kern"),
        ("Nom,Prénom", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Nom,Prénom,Nom complet", "Kern,Eva,Dr Eva Kern", "Dr Eva Kern", "Eva", "Kern"),
        ("Nom", "Eva Kern", "Eva Kern", "Eva", "Kern"),
        ("Nom de famille,Prénom", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Name,Vorname", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Name,First name", "Eva Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Naam,Voornaam", "van Dijk,Eva", "Eva van Dijk", "Eva", "van Dijk"),
        ("Nume,Prenume", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Namn,Förnamn", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Navn,Fornavn", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Nimi,Etunimi", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("Név,Keresztnév", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("İsim,Soyisim", "Eva,Kern", "Eva Kern", "Eva", "Kern"),
        ("Nombre,Apellido", "Eva,Kern", "Eva Kern", "Eva", "Kern"),
        ("Nombre", "Eva Kern", "Eva Kern", "Eva", "Kern"),
        ("Nome,Cognome", "Eva,Kern", "Eva Kern", "Eva", "Kern"),
        ("Nome,Sobrenome", "Eva,Kern", "Eva Kern", "Eva", "Kern"),
        ("Nome", "Eva Kern", "Eva Kern", "Eva", "Kern"),
        ("Tên,Họ", "Văn An,Nguyễn", "Nguyễn Văn An", "Văn An", "Nguyễn"),
        ("Nazwisko,Imię", "Kern,Eva", "Eva Kern", "Eva", "Kern"),
        ("이름,성", "민수,김", "김민수", "민수", "김"),
    ],
)
def test_a_bare_name_beside_one_part_is_the_other(line: str, cells: str, name: str, first: str, last: str) -> None:
    person = made([*line.split(","), "E-mail"], [*cells.split(","), "eva@k.example"]).person
    assert (person.name, person.first_name, person.last_name) == (name, first, last)


@pytest.mark.parametrize("cell", ["0171 17", "000-000-0000", "0171-O171717"])
def test_a_phone_cell_that_is_not_understood_is_reported(cell: str) -> None:
    signal = made(["E-mail", "Phone", "Mobile"], ["eva@k.example", cell, "0171 1717171"])
    assert signal.person.phone == "+491711717171"
    assert signal.data["faults"] == [f"list.csv: Phone: {cell!r} is not a phone number"]


def test_a_cell_that_only_fills_its_column_is_empty() -> None:
    headers = ["E-mail", "E-mail 2", "Name", "Phone", "Mobile", "City", "Company"]
    signal = made(headers, ["#NV", "eva@k.example", "NULL", "#N/A", "0171 1717171", "n/a", "-"])
    assert (signal.person.email, signal.person.name, signal.person.company) == ("eva@k.example", "", "")
    assert signal.person.phone == "+491711717171"
    assert not {"city", "faults"} & signal.data.keys()


def test_an_entity_is_read_in_any_column() -> None:
    signal = made(["E-mail", "Name", "City"], ["eva@k.example", "J&ouml;rg", "K&ouml;ln"])
    assert (signal.person.name, signal.data["city"]) == ("Jörg", "Köln")


def made(headers: list[str], cells: list[str]) -> Signal:
    context = Context(name="files", tokens=MemoryTokens(), region="DE")
    found = columns(headers, "contact")
    return signal_of(headers, cells, found, "contact", context, occurred_at=MOMENT, received_at=MOMENT, file="list.csv")


def test_ids_of_rows_are_made_as_in_the_first_version() -> None:
    signal = made(
        ["E-Mail", "Title", "Business Phone", "Stadt", "姓名"], ["a@k.example", "Dr.", "0228 171717", "Bonn", "王"]
    )
    assert str(signal.id) == "69c915da-a771-5fe3-95b8-4b07d2ed0355"
    assert {what for what, names in ID_NAMES.items() if "stadt" in names} == {"city"}
