"""The OAuth scopes that a connector asks for, as data: what each is for, in which setups, and which call takes it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from syncd.errors import Misconfigured, Scope


@dataclass(frozen=True)
class ScopeUse:
    """A scope and why it is asked for. `only`: the kind of configuration that alone needs it, "" for every one; `call`: METHOD
    and path of the call that takes it, "" where that is not told; `beside`: a scope that this call takes as well.
    `of_rules`: its lack holds the rules that need it, not the connector."""

    scope: str
    why: str
    only: str = ""
    call: str = ""
    beside: str = ""
    of_rules: bool = False

    @property
    def named(self) -> str:
        """As an operator reads it."""
        return f"{self.scope} (and {self.beside})" if self.beside else self.scope


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
        return self._use(method, path).named

    def lacking(self, method: str, path: str, *, code: str, remedy: str, configured: bool) -> Misconfigured:
        """The failure of a call that was refused for lack of its scope. `configured`: the token comes from the configuration, so
        that no interactive sign-in helps."""
        use = self._use(method, path)
        scope = Scope.RULE if use.of_rules else Scope.DESTINATION
        text = f"the sign-in lacks the scope {use.named}; {remedy}"
        return Misconfigured(text, code=code, scope=scope, sign_in=not (use.of_rules or configured))

    def _use(self, method: str, path: str) -> ScopeUse:
        call = f"{method} {path.partition('?')[0]}"
        return next((one for one in self.uses if one.call == call), ScopeUse(self.usual, ""))
