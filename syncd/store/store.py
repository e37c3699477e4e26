"""The open store: the database and the parts built on it.

The daemon opens one; commands beside it open their own on the same database.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from syncd.store.cursors import Cursors, Sources
from syncd.store.database import Database, utc_now
from syncd.store.jobs import Jobs
from syncd.store.leases import Leases
from syncd.store.receipts import Receipts
from syncd.store.schema import leases
from syncd.store.upsert import upsert

if TYPE_CHECKING:
    from syncd.http.lockout import LoginBackoff
    from syncd.store.journal.journal import Journal
    from syncd.store.limits import StoredAllowances, StoredRates
    from syncd.store.tokens import StoredTokens
    from syncd.store.vendor_secrets import VendorSecrets

__all__ = ["Store", "utc_now"]


class Store(Database):
    """One open database with its journal, cursors, receipts, jobs, leases and tokens. Threads may share it."""

    def close(self) -> None:
        """Commits what waits in the journal and closes every connection."""
        if "journal" in self.__dict__:
            self.journal.close()
        self.engine.dispose()

    def probe(self) -> None:
        """Commits a trifle to disk, for `/readyz`. Raises StoreUnavailable."""
        row = {"name": "probe", "holder": self.holder, "claim": "", "expires_at": 0}
        changes = {"holder": self.holder, "claim": str(self.now())}
        self.apply(lambda connection: connection.execute(upsert(self, leases, row, changes)))

    @cached_property
    def journal(self) -> Journal:
        from syncd.store.journal.journal import Journal

        return Journal(self)

    @cached_property
    def cursors(self) -> Cursors:
        return Cursors(self)

    @cached_property
    def sources(self) -> Sources:
        return Sources(self)

    @cached_property
    def receipts(self) -> Receipts:
        return Receipts(self)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self, self.leases)

    @cached_property
    def leases(self) -> Leases:
        return Leases(self)

    @cached_property
    def refusals(self) -> LoginBackoff:
        """The brake on refused credentials, shared by all who share the database."""
        from syncd.http.lockout import LoginBackoff
        from syncd.store.login_refusals import StoredRefusals

        return LoginBackoff(StoredRefusals(self, lambda *credentials: self.tokens.mark(*credentials)), clock=self.clock)

    @cached_property
    def vendor_secrets(self) -> VendorSecrets:
        """What vendors gave to verify their webhooks by, encrypted like tokens."""
        from syncd.store.vendor_secrets import VendorSecrets

        return VendorSecrets(self, self.cursors, lambda: self.tokens)

    @cached_property
    def rates(self) -> StoredRates:
        """The buckets of vendor accounts, shared by all who share the database."""
        from syncd.store.limits import StoredRates

        return StoredRates(self)

    @cached_property
    def allowances(self) -> StoredAllowances:
        """What the accounts of sources have left."""
        from syncd.store.limits import StoredAllowances

        return StoredAllowances(self)

    @cached_property
    def tokens(self) -> StoredTokens:
        """Encrypted tokens. The key is looked for when the first token is; `tokens.check()` does so at start."""
        from syncd.store.tokens import StoredTokens

        return StoredTokens(self, self.leases, self._key_source)
