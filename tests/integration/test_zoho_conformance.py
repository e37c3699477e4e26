"""The Zoho CRM destination keeps what every destination promises, with both of its kinds of write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from syncd.connector import Destination, Lookup, MatchField, Write, WriteKind
from syncd.testing import CompanyConformance, CompanyCrm, Crm, DestinationConformance
from syncd.testing.destination_kit import write_key
from syncd.twins.zoho.twin import ZohoTwin
from tests.zoho_crm import KEY, connecting, operations, person


@pytest.fixture
def twin() -> Iterator[ZohoTwin]:
    with ZohoTwin() as running:
        yield running


class ZohoCrm(Crm):
    """The twin, in the words of the suite."""

    def __init__(self, twin: ZohoTwin, module: str) -> None:
        self.twin = twin
        self.module = module
        self.operation = "create" if module == "Tasks" else "upsert"

    def fault(self, do: str, on: str = "", **more: Any) -> None:
        self.twin.plan.add([{"on": on or self.operation, "do": do, "times": 1, **more}])

    def write(self, number: int) -> Write:
        needed = {
            "Tasks": {"Subject": f"Signal {number}"},
            "Leads": {"Last_Name": "L", "Email": f"l{number}@e.example"},
        }
        return Write(key=write_key(number), object=self.module, key_field=KEY, fields=dict(needed[self.module]))

    def bad_write(self, number: int) -> Write:
        field = {"Tasks": "Subject", "Leads": "Last_Name"}[self.module]
        return Write(key=write_key(number), object=self.module, key_field=KEY, fields={field: "x" * 300})

    def count(self, key: str) -> int:
        return sum(record.get(KEY) == key for record in self.twin.records(self.module))

    def lose_next_answer(self) -> None:
        self.fault("reset", when="after")

    def refuse_before_next_write(self) -> None:
        self.fault("internal")

    def throttle_next(self) -> None:
        self.fault("concurrency", on="*", retry_after=7)

    def expire_token(self) -> None:
        self.twin.expire_tokens()

    def refuse_every_token(self) -> None:
        self.twin.plan.add([{"on": self.operation, "do": "refuse_tokens"}])

    def garble_next_answer(self) -> None:
        self.fault("html", when="after", status=200)

    def calls(self) -> int:
        return len(operations(self.twin))

    def add_person(self, *, email: str = "", phone: str = "") -> tuple[str, str]:
        return "Contacts", self.twin.add("Contacts", Last_Name="P", **({"Email": email} if email else {"Phone": phone}))

    def lookups(self, *, email: str = "", phone: str = "") -> tuple[Lookup, ...]:
        return person(email, phone).lookups


class _Conforming(DestinationConformance):
    module: ClassVar[str] = ""

    @pytest.fixture
    def crm(self, twin: ZohoTwin) -> ZohoCrm:
        return ZohoCrm(twin, self.module)

    @pytest.fixture
    def connect(self, twin: ZohoTwin) -> Iterator[Callable[[], Destination]]:
        yield from connecting(twin)


class TestZohoTasks(_Conforming):
    kind: ClassVar[WriteKind] = WriteKind.UNIQUE
    module: ClassVar[str] = "Tasks"


class TestZohoLeads(_Conforming):
    module: ClassVar[str] = "Leads"


class ZohoCompanies(CompanyCrm):
    """The companies of the twin, in the words of the suite."""

    def __init__(self, twin: ZohoTwin) -> None:
        self.twin = twin

    def add_company(self, name: str, website: str = "") -> tuple[str, str]:
        return "Accounts", self.twin.add("Accounts", Account_Name=name, **({"Website": website} if website else {}))

    def company_lookups(self, *, name: str = "", domain: str = "") -> tuple[Lookup, ...]:
        terms = ((MatchField("Website", domain, domain=True),) if domain else ()) + (
            (MatchField("Account_Name", name, name=True),) if name else ()
        )
        return (Lookup("Accounts", terms),)

    def company_write(self, name: str, number: int) -> Write:
        return Write(key=write_key(number), object="Accounts", key_field=KEY, fields={"Account_Name": name})

    def bad_company_write(self, number: int) -> Write:
        return self.company_write("x" * 300, number)

    def count_companies(self, key: str) -> int:
        return sum(record.get(KEY) == key for record in self.twin.records("Accounts"))

    def lose_next_answer(self) -> None:
        self.twin.plan.add([{"on": "upsert", "do": "reset", "times": 1, "when": "after"}])

    def fail_next_look_up(self) -> None:
        self.twin.plan.add([{"on": "coql", "do": "internal", "times": 1}])

    def calls(self) -> int:
        return len(operations(self.twin))


class TestCompaniesOfZoho(CompanyConformance):
    @pytest.fixture
    def crm(self, twin: ZohoTwin) -> ZohoCompanies:
        return ZohoCompanies(twin)

    @pytest.fixture
    def connect(self, twin: ZohoTwin) -> Iterator[Callable[[], Destination]]:
        yield from connecting(twin)
