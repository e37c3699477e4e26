"""Fetches a vendor's JWKS for the sources whose webhooks carry a JSON Web Token. Called outside the request path."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from syncd.errors import Misconfigured, Transient
from syncd.http.client import HttpClient, throttled
from syncd.signatures.jwt import KeySet

LEAST_GAP = timedelta(seconds=30)


class JwksKeys:
    """`keys` as last fetched from `url`. Anybody can invent a key id, so it is asked at most once in LEAST_GAP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._base, self._path = (
            f"{parts.scheme}://{parts.netloc}",
            url.removeprefix(f"{parts.scheme}://{parts.netloc}"),
        )
        self.keys = KeySet()
        self._asked: datetime | None = None
        self._faults: list[str] = []

    def fetch(self, now: datetime) -> list[str]:
        """Refills the keys; returns what is wrong with those that cannot be used, a line each. Raises a Failure, keeping the old
        ones, when the vendor does not give them."""
        if self._asked is not None and timedelta(0) <= now - self._asked < LEAST_GAP:
            return self._faults
        self._asked = now
        client = HttpClient(self._base)
        try:
            answer = client.request("GET", self._path or "/")
        finally:
            client.close()
        if (slow := throttled(answer, now)) is not None:
            raise slow
        if not answer.ok:
            trouble = Misconfigured if 400 <= answer.status < 500 else Transient
            raise trouble(
                f"the key document {self._base}{self._path} answers HTTP {answer.status}", code=str(answer.status)
            )
        try:
            self._faults = self.keys.load(answer.body, now)
        except ValueError as error:
            raise Transient(f"{self._base}{self._path}: {error}", code="jwks") from None
        return self._faults
