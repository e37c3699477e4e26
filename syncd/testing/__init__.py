"""For connector authors: conformance suites that a test file inherits, and connectors made to hurt.

    class TestAcme(WebhookConformance, PollingConformance):
        @pytest.fixture
        def vendor(self) -> Vendor: ...      # makes events happen at a stand-in of the vendor
        @pytest.fixture
        def connect(self, vendor): ...       # builds the source afresh, as after a restart

A destination's test inherits `DestinationConformance` with the fixtures `crm` and `connect`; one that finds companies also
`CompanyConformance`.
"""

from syncd.testing.company_kit import CompanyConformance, CompanyCrm
from syncd.testing.destination_kit import Crm, DestinationConformance
from syncd.testing.ledger import SourceLedger
from syncd.testing.source_kit import (
    BackfillConformance,
    HintConformance,
    PollingConformance,
    WebhookConformance,
)
from syncd.testing.subscription_kit import SubscriptionConformance
from syncd.testing.vendor import TwinVendor, Vendor
from syncd.twins.fake_vendor import FakeVendor

__all__ = [
    "BackfillConformance",
    "CompanyConformance",
    "CompanyCrm",
    "Crm",
    "DestinationConformance",
    "FakeVendor",
    "HintConformance",
    "SourceLedger",
    "PollingConformance",
    "SubscriptionConformance",
    "TwinVendor",
    "Vendor",
    "WebhookConformance",
]
