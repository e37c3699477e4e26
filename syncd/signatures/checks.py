"""Whether a signature belongs to the signed bytes: one check for each secret, made once. `verifier` asks.

Comparison of digests takes constant time; a signature of the wrong key is an answer, never an exception.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from syncd.signatures.shared_secret import unbase64
from syncd.signatures.styles import Style

DIGESTS: dict[str, int] = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
"""Algorithms of HMAC, with the bytes of their digests."""

Check = Callable[[bytes, bytes], bool]
"""(signed bytes, signature) -> whether they belong together."""


def checks_of(row: Style, secrets: Sequence[str]) -> dict[str, list[Check]]:
    """Algorithm -> one check per secret that is a key for it. Raises ValueError, without showing it, for one that is not."""
    if not secrets or not all(secret.strip() for secret in secrets):
        raise ValueError(f"{row.name} needs a secret that is not empty")
    made: dict[str, list[Check]] = {}
    for secret in secrets:
        algorithm, key = _key(row, secret.strip())
        made.setdefault(algorithm, []).append(_check(algorithm, key))
    return made


def _key(row: Style, secret: str) -> tuple[str, bytes]:
    if row.key == "text":
        return row.algorithm, secret.encode()
    if row.key == "public_key":
        return row.algorithm, _pem_or_base64(secret)
    if secret.startswith("whsk_"):
        raise ValueError("a whsk_ key is the sender's private key; put its public half (whpk_…) here")
    algorithm = "ed25519" if secret.startswith("whpk_") else row.algorithm
    try:
        key = unbase64(secret.removeprefix("whsec_").removeprefix("whpk_"), padded=False)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("a Standard Webhooks secret is whsec_ (or whpk_) followed by base64")
    return algorithm, key


def _pem_or_base64(secret: str) -> bytes:
    lines = [line.strip() for line in secret.splitlines()]
    text = "".join(line for line in lines if not line.startswith("-----"))
    try:
        return unbase64(text)
    except ValueError:
        raise ValueError("the public key is neither PEM nor base64 of DER") from None


def _check(algorithm: str, key: bytes) -> Check:
    if algorithm in DIGESTS:
        return _digest_check(algorithm, key)
    return _public_key_check(algorithm, key)


def _digest_check(algorithm: str, key: bytes) -> Check:
    """HMAC with the key hashed once, for all requests."""
    keyed = hmac.new(key, digestmod=algorithm)

    def check(signed: bytes, sent: bytes) -> bool:
        mac = keyed.copy()
        mac.update(signed)
        return hmac.compare_digest(mac.digest(), sent)

    return check


def _public_key_check(algorithm: str, key: bytes) -> Check:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(key) if algorithm == "ed25519" else load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"the key is not a public key for {algorithm}") from None
    attempt: Callable[[bytes, bytes], None]
    if isinstance(public, ed25519.Ed25519PublicKey):
        one = public
        attempt = lambda signed, sent: one.verify(sent, signed)  # noqa: E731
    elif isinstance(public, ec.EllipticCurvePublicKey) and algorithm == "ecdsa-sha256":
        curve = public
        attempt = lambda signed, sent: curve.verify(sent, signed, ec.ECDSA(hashes.SHA256()))  # noqa: E731
    elif isinstance(public, rsa.RSAPublicKey) and algorithm == "rsa-sha256":
        modulus = public
        attempt = lambda signed, sent: modulus.verify(sent, signed, padding.PKCS1v15(), hashes.SHA256())  # noqa: E731
    else:
        raise ValueError(f"the key is not a public key for {algorithm}")

    def check(signed: bytes, sent: bytes) -> bool:
        try:
            attempt(signed, sent)
        except InvalidSignature:
            return False
        return True

    return check
