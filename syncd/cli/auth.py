"""`auth`: interactive sign-in at a vendor for a source or destination, in a browser; the refresh token is stored."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd import registry
from syncd.cli.completing import signers
from syncd.cli.session import Session, session
from syncd.errors import Failure, SyncdError, UsageError

if TYPE_CHECKING:
    from syncd.capabilities import SignIn
    from syncd.http.oauth import Token
    from syncd.signin.flow import SignInAttempt
    from syncd.store import Store

PORT = 8421
LOOK_EVERY = 0.25
"""Seconds: how soon Ctrl-C ends the wait for the browser."""


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("auth")(auth)


@dataclass(frozen=True)
class SignInTarget:
    """Whom is signed in for."""

    role: registry.Role
    name: str
    type: str
    sign_in: SignIn


def auth(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="the name of a source or destination", autocompletion=signers)
    ],
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="the browser comes back to http://localhost:PORT/callback")
    ] = PORT,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="print the address instead of opening it")] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="for a server without a browser: paste what a browser elsewhere ends at")
    ] = False,
    wait: Annotated[str, typer.Option("--wait", metavar="D", help="give up after this long: 30s, 5m")] = "5m",
    forget: Annotated[
        bool, typer.Option("--forget", help="remove the stored sign-in, and revoke it at the vendor")
    ] = False,
) -> None:
    """Signs in at a vendor in a browser, for NAME.

    NAME is a source or destination. The refresh token is stored encrypted; a running daemon uses it at once.
    """
    from syncd.durations import parse_duration

    here = session(context)
    try:
        seconds = parse_duration(wait).total_seconds()
    except ValueError as error:
        raise UsageError(f"--wait: {error}") from None
    signer = _signer(here, name)
    with here.store() as store:
        store.tokens.check_key()
        if forget:
            _forget(here, store, signer)
            return
        if paste:
            token = _by_hand(here, store, signer, port)
        else:
            token = _by_browser(here, store, signer, port, seconds, opens=not no_browser)
    _say(here, signer, token)


def _signer(here: Session, name: str) -> SignInTarget:
    """Whom NAME means. Raises UsageError for a name that does not exist, or that has no interactive sign-in."""
    from syncd.capabilities import SignsIn
    from syncd.service.assembly import connector_of

    loaded, settings = here.seen, here.settings
    entries: dict[registry.Role, Any] = {"source": settings.sources, "destination": settings.destinations}
    section, dot, bare = name.partition(".")
    wanted: list[tuple[registry.Role, str]] = [(role, name) for role in registry.ROLES if name in entries[role]]
    if not wanted and dot:
        wanted = [(role, bare) for role in registry.ROLES if section == f"{role}s" and bare in entries[role]]
    if not wanted:
        known = tuple(dict.fromkeys([*settings.sources, *settings.destinations]))
        near = registry.closest(name, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}"
        raise UsageError(f"no source or destination {name!r}; {hint}")
    found: list[SignInTarget] = []
    refused = ""
    for role, one in wanted:
        kind = entries[role][one].type
        built = connector_of(loaded, role, one)
        try:
            if not isinstance(built, SignsIn):
                raise UsageError(f"{role} {one} ({kind}): this connector has no browser sign-in")
            found.append(SignInTarget(role, one, kind, built.sign_in()))
        except UsageError as error:
            refused = refused or str(error)
    if not found:
        raise UsageError(refused)
    if len(found) > 1:
        raise UsageError(f"{name!r} is a source and a destination; write sources.{name} or destinations.{name}")
    return found[0]


def _begin(signer: SignInTarget, port: int) -> SignInAttempt:
    from syncd.signin.flow import PATH, begin

    return begin(signer.sign_in, f"http://localhost:{port}{PATH}")


def _by_browser(here: Session, store: Store, signer: SignInTarget, port: int, seconds: float, *, opens: bool) -> Token:
    """Waits for the browser to come back, and shows the outcome once the token is durable."""
    from syncd.signin.callback_server import listening
    from syncd.signin.flow import PATH, read_redirect

    with listening(port, PATH) as callback:
        attempt = _begin(signer, port)
        _show(here, signer, attempt, opens=opens)
        until, visit = time.monotonic() + seconds, None
        while visit is None:
            left = until - time.monotonic()
            if left <= 0:
                raise SyncdError(_nobody_came(signer, attempt, seconds))
            visit = callback.wait(min(left, LOOK_EVERY))
        try:
            code = read_redirect(signer.sign_in, attempt, visit.query)
            token = _exchange(signer.sign_in, attempt, code)
            _keep(store, signer, token)
        except BaseException as error:
            why = str(error) if isinstance(error, SyncdError | Failure) else "it was interrupted"
            visit.show("Not signed in", f"{signer.name}: {why}", good=False)
            raise
        visit.show("Signed in", f"syncd may use {signer.type} for {signer.name}. You can close this page.", good=True)
        return token


def _nobody_came(signer: SignInTarget, attempt: SignInAttempt, seconds: float) -> str:
    from syncd.signin.flow import remedy

    return (
        f"no browser came back within {seconds:g} s; if it showed an error: "
        f"{remedy(signer.sign_in, 'redirect_uri_mismatch', attempt.redirect)}. On a server without a browser use --paste"
    )


def _show(here: Session, signer: SignInTarget, attempt: SignInAttempt, *, opens: bool) -> None:
    """Opens the address in a browser, or prints it on a machine without one."""
    _show_scopes(here, signer)
    if opens and _opened(attempt.url):
        here.out.say(f"your browser asks you to let syncd in for {signer.name}; if it did not open, go to")
    else:
        here.out.say(f"to sign in for {signer.name}, open in a browser on this machine")
    here.out.say(attempt.url)


def _show_scopes(here: Session, signer: SignInTarget) -> None:
    """What syncd asks the vendor for, and why."""
    reasons = signer.sign_in.reasons
    if reasons:
        here.out.say("syncd asks for:")
        for scope in signer.sign_in.scopes:
            here.out.say(f"  {scope}  {reasons.get(scope, '')}".rstrip())


def _opened(url: str) -> bool:
    """Whether a graphical browser took the address. A text browser would take the terminal instead."""
    import os
    import webbrowser

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


def _by_hand(here: Session, store: Store, signer: SignInTarget, port: int) -> Token:
    """A browser elsewhere, and what it ends at pasted here."""
    from syncd.signin.flow import LONGEST_REDIRECT, read_pasted

    attempt = _begin(signer, port)
    _show_scopes(here, signer)
    here.out.say(f"to sign in for {signer.name}, open in a browser anywhere")
    here.out.say(attempt.url)
    here.out.say(
        f"at the end it is sent to {attempt.redirect}?…, which will not load there; copy that whole address, paste it "
        "here and press Enter:"
    )
    code = read_pasted(signer.sign_in, attempt, sys.stdin.readline(LONGEST_REDIRECT + 1))
    token = _exchange(signer.sign_in, attempt, code)
    _keep(store, signer, token)
    return token


def _exchange(sign_in: SignIn, attempt: SignInAttempt, code: str) -> Token:
    """Code for token, in one call. Raises SyncdError."""
    from datetime import UTC, datetime

    from syncd.http.client import Deadlines, HttpClient
    from syncd.signin.flow import exchange_body, read_token

    client = HttpClient(sign_in.token_url, deadlines=Deadlines(connect=10, read=30, total=45))
    try:
        answer = client.request(
            "POST",
            "",
            body=exchange_body(sign_in, attempt, code),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        return read_token(sign_in, attempt.redirect, answer, datetime.now(UTC))
    except Failure as failure:
        raise SyncdError(f"the vendor could not be asked for the token ({failure}); run the command again") from None
    finally:
        client.close()


def _keep(store: Store, signer: SignInTarget, token: Token) -> None:
    """The token, durable; then every running daemon is notified."""
    from syncd.signin.watcher import announce

    try:
        store.tokens.put(signer.sign_in.grant, token)
    except Failure as failure:
        raise SyncdError(f"signed in, but not stored: {failure}; run the command again") from None
    announce(store, signer.role, signer.name, signer.sign_in.grant)


def _forget(here: Session, store: Store, signer: SignInTarget) -> None:
    from syncd.signin.revocation import revoke
    from syncd.signin.watcher import announce

    try:
        token = store.tokens.stored(signer.sign_in.grant)
        gone = store.tokens.forget(signer.sign_in.grant)
    except Failure as failure:
        raise SyncdError(f"not removed: {failure}; run the command again") from None
    announce(store, signer.role, signer.name, signer.sign_in.grant)
    revoked = revoke(signer.sign_in, token) if gone and token is not None else None
    if here.as_json:
        about = {"name": signer.name, "role": signer.role, "type": signer.type, "forgotten": gone}
        here.out.record(
            about | {"revoked": revoked.done if revoked else False, "vendor": revoked.said if revoked else ""}
        )
    elif revoked is not None:
        here.out.say(f"{signer.name}: the stored sign-in was removed; {revoked.said}")
    else:
        here.out.say(f"{signer.name}: no sign-in was stored")


def _say(here: Session, signer: SignInTarget, token: Token) -> None:
    if here.as_json:
        about = {"name": signer.name, "role": signer.role, "type": signer.type, "signed_in": True}
        here.out.record(about | {"expires_at": token.expires_at, "renews": bool(token.refresh)})
    else:
        here.out.say(f"{signer.name}: signed in")
