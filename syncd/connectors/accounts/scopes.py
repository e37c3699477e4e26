"""The OAuth scopes that a connector asks for, as data: what each is for, in which setups, and which call takes it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class ScopeUse:
    """A scope and why it is asked for. `only`: the kind of configuration that alone needs it, "" for every one; `call`: METHOD
    and path of the call that takes it, "" where that is not told; `beside`: a scope that this call takes as well."""

    scope: str
    why: str
    only: str = ""
    call: str = ""
    beside: str = ""


@dataclass(frozen=True)
class ScopeTable:
    """The scopes of one API. `usual`: of the calls that none of them names."""

    uses: tuple[ScopeUse, ...]
    usual: str = ""

    def needed(self, kinds: Collection[str] = ()) -> dict[str, str]:
        """Scope -> why, for a configuration of these kinds, in the order of the table."""
        return {one.scope: one.why for one in self.uses if not one.only or one.only in kinds}

    def of_call(self, method: str, path: str) -> str:
        """What a call takes, as an operator reads it; the query of the path does not count."""
        call = f"{method} {path.partition('?')[0]}"
        found = next((one for one in self.uses if one.call == call), ScopeUse(self.usual, ""))
        return f"{found.scope} (and {found.beside})" if found.beside else found.scope
