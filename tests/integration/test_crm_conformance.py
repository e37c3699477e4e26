"""The Salesforce and database destinations keep what every destination promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from syncd.connector import Context, Destination, Lookup, MatchField, Write
from syncd.connectors.crm.database import DatabaseDestination, DatabaseSettings
from syncd.connectors.crm.salesforce import Salesforce, SalesforceSettings
from syncd.http.oauth import MemoryTokens
from syncd.testing import CompanyConformance, CompanyCrm, Crm, DestinationConformance
from syncd.testing.destination_kit import write_key
from syncd.twins.salesforce.twin import SalesforceTwin

KEY = "Syncd_Key__c"


def connecting(twin: SalesforceTwin) -> Iterator[Callable[[], Destination]]:
    """A function that connects to this twin, and closes what it made."""
    made: list[Salesforce] = []
    auth = {"flow": "client_credentials", "client_id": "app", "client_secret": "hush"}

    def build() -> Destination:
        settings = SalesforceSettings.model_validate({"login_url": twin.url, "auth": auth})
        made.append(Salesforce(settings, Context(name="crm", tokens=MemoryTokens(), region="VN")))
        return made[-1]

    yield build
    for one in made:
        one.close()


class SalesforceCrm(Crm):
    """The twin, in the words of the suite."""

    def __init__(self, twin: SalesforceTwin, object_: str = "Task") -> None:
        self.twin = twin
        self.object = object_

    def fault(self, do: str, on: str = "upsert_collection", **more: Any) -> None:
        self.twin.plan.add([{"on": on, "do": do, "times": 1, **more}])

    def write(self, number: int) -> Write:
        needed = {"Task": {"Subject": f"Signal {number}"}, "Lead": {"LastName": "L", "Company": "C"}}
        return Write(key=write_key(number), object=self.object, key_field=KEY, fields=dict(needed[self.object]))

    def bad_write(self, number: int) -> Write:
        field = {"Task": "Subject", "Lead": "LastName"}[self.object]
        return Write(key=write_key(number), object=self.object, key_field=KEY, fields={field: "x" * 300})

    def count(self, key: str) -> int:
        return sum(record.get(KEY) == key for record in self.twin.records(self.object))

    def lose_next_answer(self) -> None:
        self.fault("reset", when="after")

    def refuse_before_next_write(self) -> None:
        self.fault("error", status=503, code="SERVER_UNAVAILABLE", message="try again later")

    def throttle_next(self) -> None:
        self.fault("html", on="*", status=429, retry_after=7)

    def expire_token(self) -> None:
        self.twin.expire_tokens()

    def refuse_every_token(self) -> None:
        self.twin.plan.add([{"on": "upsert_collection", "do": "refuse_tokens"}])

    def garble_next_answer(self) -> None:
        self.fault("html", when="after", status=200)

    def calls(self) -> int:
        return self.twin.usage

    def add_person(self, *, email: str = "", phone: str = "") -> tuple[str, str]:
        return "Contact", self.twin.add("Contact", LastName="P", **({"Email": email} if email else {"Phone": phone}))

    def lookups(self, *, email: str = "", phone: str = "") -> tuple[Lookup, ...]:
        terms = ((MatchField("Email", email),) if email else ()) + (
            (MatchField("Phone", phone, phone=True),) if phone else ()
        )
        return tuple(Lookup(object_, terms) for object_ in ("Contact", "Lead"))


class SalesforceCompanies(CompanyCrm):
    """The companies of the twin, in the words of the suite."""

    def __init__(self, twin: SalesforceTwin) -> None:
        self.twin = twin

    def add_company(self, name: str, website: str = "") -> tuple[str, str]:
        return "Account", self.twin.add("Account", Name=name, **({"Website": website} if website else {}))

    def company_lookups(self, *, name: str = "", domain: str = "") -> tuple[Lookup, ...]:
        terms = ((MatchField("Website", domain, domain=True),) if domain else ()) + (
            (MatchField("Name", name, name=True),) if name else ()
        )
        return (Lookup("Account", terms),)

    def company_write(self, name: str, number: int) -> Write:
        return Write(key=write_key(number), object="Account", key_field=KEY, fields={"Name": name})

    def bad_company_write(self, number: int) -> Write:
        return self.company_write("x" * 300, number)

    def count_companies(self, key: str) -> int:
        return sum(record.get(KEY) == key for record in self.twin.records("Account"))

    def lose_next_answer(self) -> None:
        self.twin.plan.add([{"on": "upsert_collection", "do": "reset", "times": 1, "when": "after"}])

    def fail_next_look_up(self) -> None:
        self.twin.plan.add([{"on": "query", "do": "error", "times": 1, "status": 503, "code": "SERVER_UNAVAILABLE"}])

    def calls(self) -> int:
        return self.twin.usage


class TestCompaniesOfSalesforce(CompanyConformance):
    @pytest.fixture
    def crm(self) -> Iterator[SalesforceCompanies]:
        with SalesforceTwin() as twin:
            yield SalesforceCompanies(twin)

    @pytest.fixture
    def connect(self, crm: SalesforceCompanies) -> Iterator[Callable[[], Destination]]:
        yield from connecting(crm.twin)


class TestSalesforce(DestinationConformance):
    @pytest.fixture(params=["Task", "Lead"])
    def crm(self, request: pytest.FixtureRequest) -> Iterator[SalesforceCrm]:
        with SalesforceTwin() as twin:
            yield SalesforceCrm(twin, request.param)

    @pytest.fixture
    def connect(self, crm: SalesforceCrm) -> Iterator[Callable[[], Destination]]:
        yield from connecting(crm.twin)


class DatabaseCrm(Crm):
    """A SQLite file, in the words of the suite. It loses no answers, throttles nobody and knows no tokens."""

    cannot: ClassVar[frozenset[str]] = frozenset(
        {
            "lose_next_answer",
            "refuse_before_next_write",
            "throttle_next",
            "expire_token",
            "refuse_every_token",
            "garble_next_answer",
        }
    )

    def __init__(self, url: str) -> None:
        self.url = url

    def write(self, number: int) -> Write:
        return Write(key=write_key(number), object="signals", key_field="key", fields={"title": f"Signal {number}"})

    def bad_write(self, number: int) -> Write:
        return Write(key=write_key(number), object="signals", key_field="key", fields={"title": "half a pair \ud800"})

    def count(self, key: str) -> int:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return int(
                connection.execute(sa.text("SELECT count(*) FROM signals WHERE key = :k"), {"k": key}).scalar_one()
            )


class TestDatabase(DestinationConformance):
    knows_people: ClassVar[bool] = False

    @pytest.fixture
    def crm(self, tmp_path: Path) -> DatabaseCrm:
        return DatabaseCrm(f"sqlite:///{tmp_path / 'out.db'}")

    @pytest.fixture
    def connect(self, crm: DatabaseCrm) -> Iterator[Callable[[], Destination]]:
        made: list[DatabaseDestination] = []

        def build() -> Destination:
            made.append(DatabaseDestination(DatabaseSettings.model_validate({"url": crm.url})))
            return made[-1]

        yield build
        for one in made:
            one.close()
