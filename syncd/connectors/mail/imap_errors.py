"""What IMAP servers say when they refuse, as failure classes: one table. `imap_session` raises what it gives.

Sources: RFC 5530 response codes; the texts of Gmail, Microsoft 365, Yahoo and Dovecot.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from syncd.connectors.text import one_line, shorten
from syncd.errors import Failure, Misconfigured, RateLimited, Transient

LOGIN_PAUSE = 900.0
"""Seconds to keep away from a host that says we ask too often: the big ones count over a quarter of an hour."""
BANDWIDTH_PAUSE = 3600.0
"""Gmail counts bytes and commands by the hour and the day (support.google.com, "Gmail bandwidth limits")."""
CONNECTIONS_PAUSE = 300.0
"""Somebody else's connections have to end first."""

_TOLD = re.compile(r"backoff time:?\s*(\d{1,9})\s*(milli)?s", re.IGNORECASE)
"""Microsoft 365 says for how long: `Request is throttled. Suggested Backoff Time: 299961 milliseconds`."""

# The first pattern that a throttling text fits tells how many seconds to keep away, where the server does not.
_PAUSES: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), seconds)
    for pattern, seconds in (
        (r"\[OVERQUOTA\]|bandwidth|exceeded command", BANDWIDTH_PAUSE),
        (r"simultaneous|connections|maximum number of", CONNECTIONS_PAUSE),
        (r"", LOGIN_PAUSE),
    )
)

# The first entry that matches the server's text decides: (pattern, class, hint for a person).
_TABLE: tuple[tuple[re.Pattern[str], type[Failure], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, hint)
    for pattern, kind, hint in (
        (
            r"\[(?:LIMIT|THROTTLED|OVERQUOTA)\]|bandwidth limits|rate.?limit|throttl|too many|maximum number of|backoff time",
            RateLimited,
            "",
        ),
        (r"\[(?:UNAVAILABLE|INUSE|SERVERBUG)\]|temporar|try again|not connected|backend|internal error", Transient, ""),
        (
            r"application-specific password|app password|WEBALERT|web login required|less secure",
            Misconfigured,
            "make an app password at the mail host and set it as password",
        ),
        (r"\[EXPIRED\]", Misconfigured, "the password has expired; set a new one"),
        (r"\[PRIVACYREQUIRED\]|plaintext|LOGINDISABLED", Misconfigured, "set tls: implicit or tls: starttls"),
        (
            r"\[(?:AUTHENTICATIONFAILED|AUTHORIZATIONFAILED)\]|invalid credentials|login failed|authentication failed",
            Misconfigured,
            "check username and password; many hosts want an app password and IMAP switched on for the mailbox",
        ),
        (
            r"\[(?:NOPERM|CONTACTADMIN|PRIVACYREQUIRED)\]|permission denied",
            Misconfigured,
            "ask the host's administrator",
        ),
    )
)
_CODE = re.compile(r"\[([A-Z]{2,}[A-Z0-9-]*)[^\]]*\]")


def server_text(error: BaseException) -> str:
    """What the server said, as one bounded line, without imaplib's dressing."""
    said = error.args[0] if error.args else str(error)
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    found = re.fullmatch(r"b(['\"])(.*)\1", text, re.DOTALL)
    return shorten(one_line(found[2] if found else text), 300)


def refusal(where: str, error: BaseException, otherwise: type[Failure]) -> Failure:
    """The failure for a server's NO or BAD; `otherwise` for a text that the table does not list."""
    text = server_text(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    kind, hint = next(((kind, hint) for pattern, kind, hint in _TABLE if pattern.search(text)), (otherwise, ""))
    message = f"{where}: the server says: {text}" + (f"; {hint}" if hint else "")
    if kind is RateLimited:
        return RateLimited(message, code=code, retry_after=pause_of(text))
    if kind is Transient:
        return Transient(message, code=code, known=otherwise is not kind or bool(code))
    return Misconfigured(message, code=code)


def pause_of(text: str) -> float:
    """Seconds to keep away from a host that says this."""
    told = _TOLD.search(text)
    if told:
        return max(int(told[1]) / (1000 if told[2] else 1), 1.0)
    return next(seconds for pattern, seconds in _PAUSES if pattern.search(text))


def speaks_of_us(error: BaseException) -> bool:
    """Whether a NO to a fetch is about our pace or our session, not about the mail that was asked for."""
    text = server_text(error)
    return _is_throttling(text) or re.search(r"not connected|backoff", text, re.IGNORECASE) is not None


def _is_throttling(text: str) -> bool:
    return next((kind for pattern, kind, _ in _TABLE if pattern.search(text)), None) is RateLimited


def broken(where: str, error: BaseException, complaints: str = "") -> Failure:
    """The failure for a connection that could not be made or was lost. `complaints`: what the server said before."""
    if _is_throttling(complaints):
        return refusal(where, imaplib.IMAP4.abort(complaints), Transient)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured(
            f"{where}: its certificate is not trusted ({error.verify_message}); check host, or set ca_file", code="tls"
        )
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return Misconfigured(f"{where}: no TLS at this port; set tls: starttls or another port", code="tls")
    if isinstance(error, socket.gaierror):
        return Transient(f"{where}: the host name is not known ({error.strerror}); check host", code="dns")
    if isinstance(error, imaplib.IMAP4.abort):
        text = server_text(error)
        if _is_throttling(text):
            return refusal(where, error, Transient)
        return Transient(f"{where}: the connection was lost: {text}", code="lost")
    detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Transient(f"{where}: no answer: {detail}", code="lost")


@contextmanager
def translated(where: str, otherwise: type[Failure] = Transient) -> Iterator[None]:
    """Turns what the mail library and the network raise into failures."""
    try:
        yield
    except (imaplib.IMAP4.abort, OSError, EOFError) as error:
        raise broken(where, error) from error
    except imaplib.IMAP4.error as error:
        raise refusal(where, error, otherwise) from error
    except (ValueError, LookupError, TypeError, AssertionError) as error:  # the library met an answer it cannot parse
        raise Transient(
            f"{where}: an answer that is not IMAP: {shorten(one_line(str(error)), 200)}", code="protocol"
        ) from error
