"""Was it really the vendor? The verifiers made from signature styles (`syncd.signatures.styles`).

Webhook sources call `verifier(style, secrets)` once (`syncd.signatures.shared_secret` and `syncd.signatures.jwt` make
the other kinds); the
intake runs the result on every request before anything is parsed. Failure policy: closed. A missing header, a bad
encoding, a wrong length or a stale time raises NotAuthentic, with a reason for the log that never holds a secret, and
nothing else is ever raised. Signatures are computed over the raw bytes and compared in constant time.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import orjson

from syncd.connector import Request, Verifier
from syncd.errors import NotAuthentic
from syncd.signatures.checks import DIGESTS, Check, checks_of
from syncd.signatures.shared_secret import as_bytes, same, unbase64
from syncd.signatures.styles import STYLES, Encoding, Style, Unit

__all__ = ["FORM", "STYLES", "Encoding", "Style", "Unit", "check_secrets", "check_style", "verifier"]

_PART = re.compile(r"\{(\w+)\}")
_NAMES = ("body", "timestamp", "id", "method", "url", "form")
_MOST_SIGNATURES = 16
_MOST_PAIRS = 32
_NO_MATCH = "{}: the signature does not match (another secret, or another body or URL)"
_MOST_FIELDS = 1000
_BOUND_IDS = 10_000
FORM = "application/x-www-form-urlencoded"


# ------------------------------------------------------------------------------------------------------ signatures


def verifier(style: Style | str, secrets: Sequence[str]) -> Verifier:
    """The verifier of one style; a request is authentic under any of the `secrets` (rotation). Raises ValueError for a
    style that cannot work or a secret that is not a key of its kind."""
    row = STYLES[style] if isinstance(style, str) else style
    checks = checks_of(row, secrets)
    signed_parts = _compile(row)
    if _covers_the_body_alone(row, signed_parts):
        return _of_the_body(row, checks[row.algorithm])
    bound: dict[str, bytes] = {}

    def verify(request: Request, now: datetime) -> None:
        places = _Places(request, row.also)
        text = places.read(row.signature)
        told = _named_values(row, text) if row.pairs else []
        stamp = _stamp(row, told, places)
        if stamp:
            _check_age(stamp, row.unit, row.tolerance, now)
        named = {"timestamp": stamp, "id": places.read(row.id) if row.id else "", "method": request.method}
        candidates = _candidates_among(row, told) if row.pairs else _candidates(row, text)
        for signed in _signed(signed_parts, request, named):
            if any(check(signed, sent) for algorithm, sent in candidates for check in checks.get(algorithm, ())):
                break
        else:
            raise NotAuthentic(_NO_MATCH.format(row.name))
        if row.binds:
            _bind(bound, named["id"], request.body)

    verify.covers_url = any(kind == "url" for kind, _ in signed_parts)  # type: ignore[attr-defined]
    return verify


def covers_url(verify: Verifier) -> bool:
    """Whether what it checks is signed over the URL, which must then be known as the sender sees it."""
    return getattr(verify, "covers_url", False) is True


def _covers_the_body_alone(row: Style, signed: Sequence[tuple[str, str]]) -> bool:
    plain = not (row.timestamp or row.id or row.versions or row.binds or row.pairs or row.also)
    return plain and row.signature.startswith("header:") and list(signed) == [("body", "")]


def _of_the_body(row: Style, checks: Sequence[Check]) -> Verifier:
    """The commonest style, a header that signs the body, without the detours of the general one."""
    header = row.signature.removeprefix("header:")
    name = header.lower()

    def verify(request: Request, now: datetime) -> None:
        text = request.headers.get(name, "").strip()
        if not text:
            raise NotAuthentic(f"no {header} in the headers")
        ((_, sent),) = _candidates(row, text)
        for check in checks:
            if check(request.body, sent):
                return
        raise NotAuthentic(_NO_MATCH.format(row.name))

    return verify


def check_secrets(style: Style | str, secrets: Sequence[str]) -> None:
    """Raises ValueError, without showing it, for a secret that is not a key of this style."""
    checks_of(STYLES[style] if isinstance(style, str) else style, secrets)


def check_style(style: Style) -> None:
    """Raises ValueError for an adapted style that names parts it cannot fill or does not cover the body."""
    _compile(style)


def _candidates(row: Style, text: str) -> list[tuple[str, bytes]]:
    """The signatures a header carries, decoded, each with its algorithm; an unknown version is passed over."""
    if not row.versions:
        if not text.startswith(row.prefix):
            raise NotAuthentic(f"{row.name}: the signature does not begin with {row.prefix!r}")
        return [(row.algorithm, _decode(row, row.algorithm, text.removeprefix(row.prefix)))]
    words = text.split(" ")
    if len(words) > _MOST_SIGNATURES:
        raise NotAuthentic(f"{row.name}: more than {_MOST_SIGNATURES} signatures")
    found: list[tuple[str, bytes]] = []
    for word in words:
        version, comma, encoded = word.partition(",")
        if not comma:
            raise NotAuthentic(f"{row.name}: a signature without a version")
        if version in row.versions:
            algorithm = row.versions[version]
            found.append((algorithm, _decode(row, algorithm, encoded)))
    if not found:
        raise NotAuthentic(f"{row.name}: no signature of a known version ({', '.join(row.versions)})")
    return found


def _named_values(row: Style, text: str) -> list[tuple[str, str]]:
    """The values of a header such as `t=…,v1=…`, in their order."""
    assert row.pairs is not None
    parts = [part.strip() for part in text.split(row.pairs.separator)]
    if len(parts) > _MOST_PAIRS:
        raise NotAuthentic(f"{row.name}: more than {_MOST_PAIRS} values in the signature")
    return [(name.strip(), value.strip()) for name, sign, value in (part.partition("=") for part in parts) if sign]


def _stamp(row: Style, told: Sequence[tuple[str, str]], places: _Places) -> str:
    """The signed time, "" for a style without."""
    if row.timestamp:
        return places.read(row.timestamp)
    if row.pairs is None or not row.pairs.timestamp:
        return ""
    stamps = {value for name, value in told if name == row.pairs.timestamp}
    if len(stamps) != 1 or "" in stamps:
        raise NotAuthentic(f"{row.name}: the signature has not one {row.pairs.timestamp}=")
    return stamps.pop()


def _candidates_among(row: Style, told: Sequence[tuple[str, str]]) -> list[tuple[str, bytes]]:
    assert row.pairs is not None
    values = [value for name, value in told if name == row.pairs.signature]
    if not values:
        raise NotAuthentic(f"{row.name}: the signature has no {row.pairs.signature}=")
    found: list[tuple[str, bytes]] = []
    for value in values[:_MOST_SIGNATURES]:
        try:
            found.append((row.algorithm, _decode(row, row.algorithm, value.removeprefix(row.prefix))))
        except NotAuthentic:
            if len(values) == 1:
                raise
    return found


def _decode(row: Style, algorithm: str, text: str) -> bytes:
    try:
        raw = _DECODERS[row.encoding](text)
    except ValueError:
        raise NotAuthentic(f"{row.name}: the signature is not {row.encoding}") from None
    wanted = DIGESTS.get(algorithm)
    if wanted is not None and len(raw) != wanted:
        raise NotAuthentic(f"{row.name}: the signature has {len(raw)} bytes, {algorithm} has {wanted}")
    return raw


def _unbase64url(text: str) -> bytes:
    return unbase64(text.replace("-", "+").replace("_", "/"), padded=False)


_DECODERS: dict[Encoding, Callable[[str], bytes]] = {
    "hex": binascii.unhexlify,
    "base64": unbase64,
    "base64url": _unbase64url,
}


# ----------------------------------------------------------------------------------------------- what is signed


def _compile(row: Style) -> list[tuple[str, str]]:
    """`signed` as (kind, text) parts; kind "" is a literal. Raises ValueError for a name it cannot fill."""
    parts: list[tuple[str, str]] = []
    for index, text in enumerate(_PART.split(row.signed)):
        if index % 2 == 0:
            parts += [("", text)] if text else []
            continue
        if text not in _NAMES:
            raise ValueError(
                f"signed: unknown part {{{text}}}; there are {', '.join(f'{{{name}}}' for name in _NAMES)}"
            )
        carried = bool(getattr(row, text, True)) or (text == "timestamp" and row.pairs and row.pairs.timestamp)
        if not carried:
            raise ValueError(f"signed: {{{text}}} needs a header that carries it")
        parts.append((text, ""))
    if not row.binds and not {"body", "form"} & {kind for kind, _ in parts}:
        raise ValueError("signed: a signature that covers neither {body} nor {form} proves nothing about the body")
    return parts


def _signed(parts: list[tuple[str, str]], request: Request, named: Mapping[str, str]) -> Iterator[bytes]:
    """What may have been signed: one text, or one per spelling of the URL."""
    kinds = {kind for kind, _ in parts}
    form = _form(request) if "form" in kinds else b""
    for url in _spellings(request.url) if "url" in kinds else ("",):
        values = {"body": request.body, "form": form, "url": as_bytes(url)}
        yield b"".join(
            as_bytes(literal) if not kind else values[kind] if kind in values else as_bytes(named[kind])
            for kind, literal in parts
        )


def _form(request: Request) -> bytes:
    """Sorted pairs of a form body. Another body is not in the signed text: the signed URL must carry its SHA-256."""
    if request.content_type == FORM:
        fields = [pair for pair in request.body.split(b"&") if pair]
        if len(fields) > _MOST_FIELDS:
            raise NotAuthentic("the form body has too many fields")
        split = (field.replace(b"+", b" ").partition(b"=") for field in fields)
        pairs = {(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in split}  # whatever its charset
        return b"".join(name + value for name, value in sorted(pairs))
    sent = [value for name, value in request.query if name == "bodySHA256"]
    if len(sent) != 1 or not same(sent[0].lower(), hashlib.sha256(request.body).hexdigest()):
        raise NotAuthentic("the body is not a form, and the URL's bodySHA256 does not match it")
    return b""


def _spellings(url: str) -> tuple[str, ...]:
    """The URL with and without its port: vendors sign either."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.netloc
    except ValueError:
        raise NotAuthentic("the request's URL cannot be read") from None
    bare = host.rpartition(":")[0] if port is not None else host
    full = host if port is not None else f"{host}:{443 if parts.scheme == 'https' else 80}"
    return urlunsplit(parts._replace(netloc=bare)), urlunsplit(parts._replace(netloc=full))


class _Places:
    """Reads the places of a Style in one request; an absent or empty one is NotAuthentic."""

    def __init__(self, request: Request, also: Mapping[str, str]) -> None:
        self._request = request
        self._also = also
        self._json: Any = None

    def read(self, place: str) -> str:
        kind, _, name = place.partition(":")
        value = self._in_header(name.lower()) if kind == "header" else self._in_body(name)
        if not value:
            raise NotAuthentic(f"no {name} in the {'headers' if kind == 'header' else 'body'}")
        return value

    def _in_header(self, name: str) -> str:
        value = self._request.headers.get(name, "").strip()
        return value or self._request.headers.get(self._also.get(name, ""), "").strip()

    def _in_body(self, path: str) -> str:
        if self._json is None:
            try:
                self._json = orjson.loads(self._request.body)
            except orjson.JSONDecodeError:
                raise NotAuthentic("the body, which carries the signature, is not JSON") from None
        value = self._json
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _check_age(stamp: str, unit: Unit, tolerance: timedelta | None, now: datetime) -> None:
    moment = _moment(stamp, unit)
    if moment is None:
        raise NotAuthentic("the signature's time cannot be read")
    if tolerance is not None and abs(now - moment) > tolerance:
        raise NotAuthentic(f"signed at {moment:%Y-%m-%dT%H:%M:%SZ}, too far from our clock ({now:%Y-%m-%dT%H:%M:%SZ})")


def _moment(stamp: str, unit: Unit) -> datetime | None:
    if unit == "iso":
        try:
            moment = datetime.fromisoformat(stamp.upper())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    return _unix(int(stamp) / (1000 if unit == "ms" else 1)) if _plain_number(stamp) else None


def _plain_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def _unix(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _bind(bound: dict[str, bytes], token: str, body: bytes) -> None:
    """The same token with the same body is a retry; with another it is a forgery."""
    digest = hashlib.sha256(body).digest()
    if bound.setdefault(token, digest) != digest:
        raise NotAuthentic("this signature was used for another body before")
    if len(bound) > _BOUND_IDS:
        del bound[next(iter(bound))]
