"""Scopes as a table: what a configuration asks for, and which scope a refused call lacks."""

from __future__ import annotations

from syncd.connectors.accounts.scopes import ScopeTable, ScopeUse
from syncd.errors import Scope

TABLE = ScopeTable(
    (
        ScopeUse("records", "to write records"),
        ScopeUse("queries", "to look up", call="POST /query", beside="records"),
        ScopeUse("users", "to know owners", "owners", "GET /users", of_rules=True),
    ),
    usual="records",
)


def test_a_scope_is_asked_for_where_the_configuration_needs_it() -> None:
    assert TABLE.needed() == {"records": "to write records", "queries": "to look up"}
    assert list(TABLE.needed(["owners"])) == ["records", "queries", "users"]
    assert TABLE.needed(["other", ""]) == TABLE.needed()


def test_the_scope_of_a_call() -> None:
    assert TABLE.of_call("GET", "/users?ids=1,2") == "users"
    assert TABLE.of_call("POST", "/query") == "queries (and records)"
    assert TABLE.of_call("POST", "/users") == "records", "another method is another call"
    assert ScopeTable(()).of_call("GET", "/users") == ""


def test_what_the_lack_of_a_scope_stops() -> None:
    def lacking(path: str, *, configured: bool) -> tuple[str, Scope, bool]:
        failed = TABLE.lacking("GET", path, code="MISMATCH", remedy="sign in", configured=configured)
        return str(failed), failed.scope, failed.sign_in

    users, records = (
        "MISMATCH: the sign-in lacks the scope users; sign in",
        "MISMATCH: the sign-in lacks the scope records; sign in",
    )
    for configured in (True, False):
        assert lacking("/users?ids=1", configured=configured) == (users, Scope.RULE, False), "the rules that need it"
        assert lacking("/records", configured=configured) == (records, Scope.DESTINATION, not configured)
