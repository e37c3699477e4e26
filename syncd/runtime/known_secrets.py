"""The secrets this process knows, and masking them in whatever text a vendor's answer brings.

Settings, tokens and the HTTP client call `learn`; `Failure`, `SyncdError` and the log call `mask`: a vendor, or a proxy before
it, may echo our request in its error message. Nothing here logs or returns a secret.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "******"
SHORTEST = 6
WORDLIKE = 12
"""Shorter secrets, and those of fewer than WORDLIKE small letters only, are masked nowhere: ordinary texts contain them."""
RECOGNISED = 16
"""So many first characters of a form are recognised when the rest was cut off."""
MOST_TOKENS = 500
"""Access tokens are renewed every hour: the oldest are forgotten. Configured secrets are not."""
_SCHEME = re.compile(r"bearer|basic|digest|[a-z]+-oauthtoken", re.IGNORECASE)
"""The name of a way to sign in, which stands before a secret and is none."""
SECRET_KEYS = (
    "authorization",
    "password",
    "secret",
    "token",
    "assertion",
    "api_key",
    "apikey",
    "api-key",
    "code_verifier",
    "signature",
)
"""Parts of the names of headers, parameters and form fields whose values are secrets."""

_guard = threading.Lock()
_kept: dict[str, tuple[str, ...]] = {}
_from_vendors: dict[bytes, None] = {}
_passing: OrderedDict[str, tuple[str, ...]] = OrderedDict()


def learn(*secrets: str, passing: bool = False) -> None:
    """Remembers secrets for `mask`. `passing`: they are replaced in time (access tokens)."""
    for secret in secrets:
        text = secret.strip()
        wordlike = len(text) < WORDLIKE and text.isalpha() and text.islower()
        if len(text) < SHORTEST or wordlike or _SCHEME.fullmatch(text) or text in _kept or text in _passing:
            continue
        with _guard:
            if not passing:
                _kept[text] = _forms(text)
                continue
            _passing[text] = _forms(text)
            while len(_passing) > MOST_TOKENS:
                _passing.popitem(last=False)


def learn_from_vendor(*secrets: str) -> None:
    """Remembers secrets that a vendor gave us: for `mask`, and for `mask_body`."""
    learn(*secrets)
    with _guard:
        for secret in secrets:
            if len(secret) >= WORDLIKE:
                _from_vendors[secret.encode("utf-8", "surrogatepass")] = None


def mask_body(body: bytes) -> bytes:
    """A webhook's body without the secrets that vendors gave us: some send them with every event, as proof."""
    for secret in list(_from_vendors):
        body = body.replace(secret, MASK.encode())
    return body


def learn_named(values: Iterable[tuple[str, str]], *, passing: bool = True) -> None:
    """Remembers the values among these (name, value) whose names are a secret's; of an Authorization header each word."""
    for name, value in values:
        lowered = name.lower()
        if any(key in lowered for key in SECRET_KEYS):
            learn(value, *(value.split() if "authorization" in lowered else ()), passing=passing)


def learn_settings(model: Any) -> None:
    """Remembers the secrets of a pydantic model (`SecretStr`, alone or in lists and mappings): of a URL its password, of a
    private key its lines, but not the path of a key's file."""
    for name in type(model).model_fields:
        for secret in _secrets_in(getattr(model, name)):
            if "-----BEGIN" in secret:
                learn(*(line for line in secret.splitlines() if not line.startswith("-----")))
            elif "://" in secret:
                learn(unquote(urlsplit(secret).password or ""))
            elif name != "private_key":
                learn(secret)


def _secrets_in(value: Any) -> Iterator[str]:
    if hasattr(value, "get_secret_value"):
        yield str(value.get_secret_value())
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _secrets_in(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _secrets_in(one)


def mask(text: str) -> str:
    """The text without any secret known, in any of its usual encodings, also where its end was cut off."""
    if len(text) < SHORTEST or not (_kept or _passing):
        return text
    with _guard:
        forms = [form for known in (*_kept.values(), *_passing.values()) for form in known]
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    beginnings: dict[str, list[str]] = {}
    for form in forms:
        if len(form) > RECOGNISED and form[:RECOGNISED] in text:
            beginnings.setdefault(form[:RECOGNISED], []).append(form)
    for beginning, longer in beginnings.items():
        text = _without(text, beginning, longer)
    return text


def _without(text: str, beginning: str, forms: Iterable[str]) -> str:
    """The text without this beginning and whatever follows it as in one of the forms."""
    start = text.find(beginning)
    while start >= 0:
        end = start + max(_shared(text, start, form) for form in forms)
        text = text[:start] + MASK + text[end:]
        start = text.find(beginning, start + len(MASK))
    return text


def _shared(text: str, start: int, form: str) -> int:
    """How many characters of the form stand in the text from `start` on."""
    length = 0
    for one, other in zip(text[start : start + len(form)], form, strict=False):
        if one != other:
            break
        length += 1
    return length


def _forms(secret: str) -> tuple[str, ...]:
    """The secret as it may be echoed, the longest first: plain, escaped for URLs, JSON and HTML, in base64 and hex."""
    raw = secret.encode("utf-8", "surrogatepass")
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), escaped, escaped.replace("/", "\\/")}
    forms |= {form.lower() for form in forms if "%" in form} | {repr(secret)[1:-1]}
    forms |= {html.escape(secret), html.escape(secret, quote=False), raw.hex(), raw.hex().upper()}
    for encoded in _base64(raw):
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_"), quote(encoded, safe="")}
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True))


def _base64(raw: bytes) -> Iterable[str]:
    """What base64 makes of it wherever it stands in a longer text: without the characters that its neighbours share."""
    yield base64.b64encode(raw).decode().rstrip("=")
    if len(raw) < RECOGNISED // 2:
        return
    for before in (0, 1, 2):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        first = -(-before * 8 // 6)
        whole = (before + len(raw)) * 8 // 6
        yield encoded[first:whole]
