"""Amazon SNS posting to us: the envelope, its signature, the certificates that verify it, and the confirmation of a subscription.

Facts: docs.aws.amazon.com, "Verifying the signatures of Amazon SNS messages". Anybody's topic signs validly with the same
certificates, so only the topics of the configuration count, and only addresses of their own region are asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from syncd.connector import Request, Verifier
from syncd.errors import Failure, KeyUnavailable, Malformed, Misconfigured, NotAuthentic, Transient
from syncd.http.client import HttpClient
from syncd.http.json_text import parse
from syncd.signatures.shared_secret import unbase64

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
_SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_OF_CONFIRMATIONS = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_ALGORITHMS: Mapping[str, type[hashes.SHA1 | hashes.SHA256]] = {"1": hashes.SHA1, "2": hashes.SHA256}
"""SignatureVersion -> digest of the RSA signature."""
_ARN = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_.-]{1,256}")
MOST_WANTED = 4
"""Certificates that are fetched at a time."""


def envelope_of(request: Request) -> dict[str, Any]:
    """Raises Malformed."""
    try:
        body = parse(request.body).value
    except ValueError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("Type"), str):
        raise Malformed("the body is not a message of SNS")
    return body


def check_arn(arn: str) -> str:
    """Raises ValueError."""
    if not _ARN.fullmatch(arn):
        raise ValueError("not the ARN of an SNS topic; it looks like arn:aws:sns:eu-west-1:123456789012:mail-events")
    return arn


def is_of_topic(url: Any, arn: str) -> bool:
    """Whether an address is SNS' own, by https, in the topic's region."""
    found = _ARN.fullmatch(arn)
    if found is None or not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    hosts = {f"sns.{found['region']}.amazonaws.com{end}" for end in ("", ".cn")}
    return parts.scheme == "https" and parts.netloc in hosts


class SnsCertificates:
    """The certificates that were asked for, by their addresses. `base_url`: a stand-in that is asked in place of SNS, or ""."""

    def __init__(self, base_url: str = "") -> None:
        self._base_url = base_url
        self._known: dict[str, x509.Certificate] = {}
        self._wanted: set[str] = set()

    def key(self, url: str, now: datetime) -> rsa.RSAPublicKey:
        """Raises KeyUnavailable for one that is not here yet (`fetch` brings it), NotAuthentic for one that does not count."""
        held = self._known.get(url)
        if held is None or not _is_valid(held, now):
            if len(self._wanted) < MOST_WANTED:
                self._wanted.add(url)
            raise KeyUnavailable("the certificate that SNS signs with is not fetched yet")
        key = held.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise NotAuthentic("the certificate has no RSA key")
        return key

    def fetch(self, now: datetime) -> list[str]:
        """Brings what was asked for; a line for each that cannot be used. Raises a Failure."""
        faults: list[str] = []
        failed: Failure | None = None
        while self._wanted:
            url = self._wanted.pop()
            try:
                held = x509.load_pem_x509_certificate(get(url, self._base_url))
            except Failure as error:  # anybody can invent an address: it must not hold up the others
                failed = error
            except ValueError:
                faults.append("the certificate of SNS cannot be read")
            else:
                if _is_valid(held, now):
                    self._known[url] = held
                else:
                    faults.append("the certificate of SNS is not valid now; is this machine's clock right?")
        if failed is not None:
            raise failed
        return faults


def get(url: str, base_url: str) -> bytes:
    """What SNS answers at one of its addresses. Raises a Failure."""
    parts = urlsplit(url)
    client = HttpClient(base_url or f"https://{parts.netloc}")
    try:
        answer = client.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
    finally:
        client.close()
    if answer.ok:
        return answer.body
    trouble = Misconfigured if 400 <= answer.status < 500 and answer.status != 429 else Transient
    raise trouble(f"SNS answers HTTP {answer.status}", code=str(answer.status))


def sns_verifier(topics: Sequence[str], certificates: SnsCertificates) -> Verifier:
    def verify(request: Request, now: datetime) -> None:
        try:
            sent = envelope_of(request)
        except Malformed as error:
            raise NotAuthentic(str(error)) from None
        arn, url = sent.get("TopicArn"), sent.get("SigningCertURL")
        if not isinstance(arn, str) or arn not in topics:
            raise NotAuthentic("it is not from a topic in topic_arn")
        if not isinstance(url, str) or not is_of_topic(url, arn) or not urlsplit(url).path.endswith(".pem"):
            raise NotAuthentic("SigningCertURL is not an address of SNS in the topic's region")
        algorithm = _ALGORITHMS.get(str(sent.get("SignatureVersion")))
        if algorithm is None:
            raise NotAuthentic("a SignatureVersion that is not known")
        try:
            signature = unbase64(str(sent.get("Signature")))
        except ValueError:
            raise NotAuthentic("the signature is not base64") from None
        try:
            key = certificates.key(url, now)
            key.verify(signature, signed_text(sent), padding.PKCS1v15(), algorithm())
        except InvalidSignature:
            raise NotAuthentic("the signature does not match") from None

    return verify


def signed_text(sent: Mapping[str, Any]) -> bytes:
    """What SNS signs: each name and value on a line of its own. Raises NotAuthentic for a value that is not a text."""
    names = _SIGNED if sent.get("Type") == NOTIFICATION else _SIGNED_OF_CONFIRMATIONS
    held = [(name, sent[name]) for name in names if sent.get(name) is not None]
    if not all(isinstance(value, str) for _, value in held):
        raise NotAuthentic("a signed value is not a text")
    return "".join(f"{name}\n{value}\n" for name, value in held).encode("utf-8", "surrogatepass")


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
