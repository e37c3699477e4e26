"""Signature styles against the vendors' own vectors and their own libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import standardwebhooks
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twilio.request_validator import RequestValidator

from syncd.connector import Request
from syncd.errors import NotAuthentic
from syncd.signatures.shared_secret import basic, bearer, path
from syncd.signatures.styles import Style
from syncd.signatures.verifier import FORM
from tests.named_styles import STYLES, verifier

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
URL = "https://syncd.example.com/webhooks/x"


def request(
    body: bytes = b"", headers: dict[str, str] | None = None, *, url: str = URL, tail: str = "", kind: str = ""
) -> Request:
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    if kind:
        lowered["content-type"] = kind
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return Request(method="POST", url=url, headers=lowered, body=body, received_at=NOW, query=query, tail=tail)


def refused(style: Style | str, secret: str, asked: Request, now: datetime = NOW) -> str:
    with pytest.raises(NotAuthentic) as caught:
        verifier(style, [secret])(asked, now)
    assert secret not in str(caught.value)
    return str(caught.value)


# ---- Standard Webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC_AT = datetime.fromtimestamp(1614265330, UTC)
SPEC = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
SPEC_BODY = b'{"test": 2432232314}'


def test_the_vector_of_the_standard_webhooks_spec() -> None:
    verifier("standard_webhooks", [SECRET])(request(SPEC_BODY, SPEC), SPEC_AT)


def test_standard_webhooks_agrees_with_the_official_package() -> None:
    body = json.dumps({"name": "Nguyễn"}).encode()
    signed = standardwebhooks.Webhook(SECRET).sign("msg_1", NOW, body.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": f"{NOW.timestamp():.0f}", "webhook-signature": signed}
    verifier("standard_webhooks", [SECRET])(request(body, headers), NOW)


@pytest.mark.parametrize("off", [timedelta(minutes=5, seconds=1), timedelta(minutes=-5, seconds=-1)])
def test_a_signature_five_minutes_off_is_stale(off: timedelta) -> None:
    assert "too far from our clock" in refused("standard_webhooks", SECRET, request(SPEC_BODY, SPEC), SPEC_AT + off)


def test_a_signature_within_five_minutes_is_good() -> None:
    verifier("standard_webhooks", [SECRET])(request(SPEC_BODY, SPEC), SPEC_AT + timedelta(minutes=5))


def test_several_signatures_and_several_secrets_let_both_sides_rotate() -> None:
    signature = f"v1,{base64.b64encode(b'x' * 32).decode()} v9,whatever {SPEC['webhook-signature']}"
    other = "whsec_" + base64.b64encode(b"o" * 24).decode()
    verifier("standard_webhooks", [other, SECRET])(request(SPEC_BODY, SPEC | {"webhook-signature": signature}), SPEC_AT)
    refused("standard_webhooks", other, request(SPEC_BODY, SPEC), SPEC_AT)


def test_ed25519_signatures() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    sent = base64.b64encode(private.sign(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + SPEC_BODY)).decode()
    good = request(SPEC_BODY, SPEC | {"webhook-signature": f"v1a,{sent}"})
    verifier("standard_webhooks", [public])(good, SPEC_AT)
    refused("standard_webhooks", public, request(SPEC_BODY + b" ", good.headers | {}), SPEC_AT)  # type: ignore[operator]
    refused("standard_webhooks", public, request(SPEC_BODY, SPEC | {"webhook-signature": f"v1,{sent}"}), SPEC_AT)


@pytest.mark.parametrize(
    "signature", ["garbage", "v1,a", "v1,a,b", "v1, v1,", "v1,", ",", "v2,AAAA", "v1,é", "v1," + "A" * 44, "v1,x " * 40]
)
def test_what_breaks_the_official_package_is_only_not_authentic_here(signature: str) -> None:
    refused("standard_webhooks", SECRET, request(SPEC_BODY, SPEC | {"webhook-signature": signature}), SPEC_AT)


@pytest.mark.parametrize(
    "stamp", ["", "soon", "-1", "1e9", "1_614_265_330", "9" * 15, "9" * 400, "١٦١٤٢٦٥٣٣٠", "1614265330, 1"]
)
def test_a_time_that_cannot_be_read_is_not_authentic(stamp: str) -> None:
    refused("standard_webhooks", SECRET, request(SPEC_BODY, SPEC | {"webhook-timestamp": stamp}), SPEC_AT)


def test_a_body_that_is_no_text_is_verified_as_bytes() -> None:
    refused("standard_webhooks", SECRET, request(b"\xff\xfe", SPEC), SPEC_AT)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", "empty"),
        ("whsec_", "base64"),
        ("whsec_é", "base64"),
        ("whsk_AAAA", "private key"),
        ("whpk_AAAA", "ed25519"),
    ],
)
def test_a_secret_that_is_none_is_refused_at_load(secret: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        verifier("standard_webhooks", [secret])


# ---- Twilio

PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
TWILIO_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"


def twilio_request(signature: str, url: str = TWILIO_URL, params: list[tuple[str, str]] | None = None) -> Request:
    body = urlencode(params if params is not None else list(PARAMS.items())).encode()
    return request(body, {"X-Twilio-Signature": signature}, url=url, kind=FORM)


@pytest.mark.parametrize(
    ("signature", "url"),
    [
        ("RSOYDt4T1cUTdK1PDd93/VVr8B8=", TWILIO_URL),
        ("0ZXoZLH/DfblKGATFgpif+LLRf4=", TWILIO_URL.replace("https", "http").replace(".com", ".com:80")),
        ("kvajT1Ptam85bY51eRf/AJRuM3w=", TWILIO_URL.replace(".com", ".com:443")),
        ("kvajT1Ptam85bY51eRf/AJRuM3w=", TWILIO_URL),
        ("Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", TWILIO_URL.replace("https", "http").replace(".com", ".com:1234")),
    ],
)
def test_twilios_own_vectors(signature: str, url: str) -> None:
    verifier("twilio", ["12345"])(twilio_request(signature, url), NOW)


def test_twilios_vector_with_a_name_thrice() -> None:
    params = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
    verifier("twilio", ["12345"])(twilio_request("IK+Dwps556ElfBT0I3Rgjkr1wJU=", params=params), NOW)


def test_twilios_vector_for_a_body_that_is_no_form() -> None:
    body = b'{"property": "value", "boolean": true}'
    url = TWILIO_URL + "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    headers = {"X-Twilio-Signature": "a9nBmqA0ju/hNViExpshrM61xv4="}
    verifier("twilio", ["12345"])(request(body, headers, url=url, kind="application/json"), NOW)
    refused("twilio", "12345", request(body + b" ", headers, url=url, kind="application/json"))
    refused("twilio", "12345", request(body, headers, kind="application/json"))


def test_twilio_agrees_with_the_official_package() -> None:
    params = {"From": "+84 912", "Body": "Xin chào & tạm biệt", "Empty": ""}
    signature = RequestValidator("tok").compute_signature(URL, params)
    verifier("twilio", ["tok"])(twilio_request(signature, URL, list(params.items())), NOW)
    refused("twilio", "tik", twilio_request(signature, URL, list(params.items())))
    refused("twilio", "tok", twilio_request(signature, URL + "/other", list(params.items())))
    refused("twilio", "tok", twilio_request(signature, URL, [*params.items(), ("Extra", "1")]))


def test_a_form_of_a_million_fields_costs_nothing() -> None:
    refused("twilio", "tok", request(b"a&" * 1_000_000, {"x-twilio-signature": "AAAA" * 7}, kind=FORM))


# ---- the rest of the table

ZENDESK_SECRET = "HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA="


def test_zendesk_signs_the_time_first() -> None:
    def asked(signature: str) -> Request:
        headers = {
            "X-Zendesk-Webhook-Signature": signature,
            "X-Zendesk-Webhook-Signature-Timestamp": "2021-07-25T10:00:00Z",
        }
        return request(b'{"say": "hello"}', headers)

    verifier("zendesk", [ZENDESK_SECRET])(asked("Rry/4TtIdFyawtXXp8QdI6tlAUUQ/5kL1OTp5qo/ZIk="), NOW)
    refused("zendesk", ZENDESK_SECRET, asked("tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw="))


def mac(algorithm: str, secret: str, signed: bytes, encoding: str) -> str:
    raw = hmac.digest(secret.encode(), signed, algorithm)
    return raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("style", "header", "algorithm", "encoding", "prefix"),
    [
        ("facebook", "X-Hub-Signature-256", "sha256", "hex", "sha256="),
        ("intercom", "X-Hub-Signature", "sha1", "hex", "sha1="),
        ("x", "x-twitter-webhooks-signature", "sha256", "base64", "sha256="),
        ("typeform", "Typeform-Signature", "sha256", "base64", "sha256="),
        ("surveymonkey", "Sm-Signature", "sha1", "base64", ""),
        ("hmac", "X-Signature", "sha256", "hex", ""),
    ],
)
def test_a_style_that_signs_the_body(style: str, header: str, algorithm: str, encoding: str, prefix: str) -> None:
    body = '{"text":"chào"}'.encode()
    good = prefix + mac(algorithm, "s3cret", body, encoding)
    verifier(style, ["s3cret"])(request(body, {header: good}), NOW)
    refused(style, "s3cret", request(body + b"\n", {header: good}))
    refused(style, "0ther-s3cret", request(body, {header: good}))
    refused(style, "s3cret", request(body))
    refused(style, "s3cret", request(body, {header: good + "0"}))
    refused(style, "s3cret", request(body, {header: f"{good}, {good}"}))
    wrong = prefix + mac(algorithm, "s3cret", body, "base64" if encoding == "hex" else "hex")
    refused(style, "s3cret", request(body, {header: wrong}))


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 127, 128, 129, 300])
def test_a_key_of_any_length_signs_as_the_standard_library_does(algorithm: Any, length: int) -> None:
    secret = "k" * length  # around the hash's block, beyond which the key itself is hashed
    style = replace(STYLES["hmac"], algorithm=algorithm)
    for body in (b"", b"{}", b"x" * 1000):
        verifier(style, [secret])(request(body, {"x-signature": mac(algorithm, secret, body, "hex")}), NOW)
        refused(style, secret, request(body, {"x-signature": mac(algorithm, secret + "k", body, "hex")}))


def test_hmac_is_adapted_to_a_sender() -> None:
    style = replace(
        STYLES["hmac"],
        signature="header:X-Sig",
        algorithm="sha512",
        encoding="base64",
        signed="v0:{timestamp}:{id}:{body}",
        prefix="v0=",
        timestamp="header:x-time",
        unit="ms",
        id="header:x-id",
        tolerance=timedelta(seconds=30),
    )
    stamp = f"{NOW.timestamp() * 1000:.0f}"
    headers = {
        "x-sig": "v0=" + mac("sha512", "k3y-0f-ours", f"v0:{stamp}:7:hi".encode(), "base64"),
        "x-time": stamp,
        "x-id": "7",
    }
    verifier(style, ["k3y-0f-ours"])(request(b"hi", headers), NOW)
    refused(style, "k3y-0f-ours", request(b"hi", headers), NOW + timedelta(seconds=31))


@pytest.mark.parametrize(
    ("signed", "says"),
    [("{boddy}", "unknown part"), ("{timestamp}", "header that carries"), ("{url}", "nothing about the body")],
)
def test_a_signed_text_that_cannot_work_is_refused_at_load(signed: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        verifier(replace(STYLES["hmac"], signed=signed), ["k3y-0f-ours"])


def test_mandrill_signs_url_and_form() -> None:
    params = [("mandrill_events", '[{"event":"open"}]')]
    signature = mac("sha1", "key", (URL + "mandrill_events" + '[{"event":"open"}]').encode(), "base64")
    asked = request(urlencode(params).encode(), {"X-Mandrill-Signature": signature}, kind=FORM)
    verifier("mandrill", ["key"])(asked, NOW)


def test_crisp() -> None:
    stamp = f"{NOW.timestamp() * 1000:.0f}"
    headers = {
        "x-crisp-request-timestamp": stamp,
        "x-crisp-signature": mac("sha256", "k3y-0f-ours", f"[{stamp};hi]".encode(), "hex"),
    }
    verifier("crisp", ["k3y-0f-ours"])(request(b"hi", headers), NOW)


def test_sendgrid() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = base64.b64encode(
        private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    signature = base64.b64encode(private.sign(b"1700000000[]", ec.ECDSA(hashes.SHA256()))).decode()
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": "1700000000",
    }
    verifier("sendgrid", [public])(request(b"[]", headers), NOW)
    refused("sendgrid", public, request(b"[{}]", headers))
    with pytest.raises(ValueError, match="not a public key for rsa-sha256"):
        verifier("salesiq", [public])


def test_salesiq_with_two_live_keys_in_pem() -> None:
    old, new = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    pems = [k.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for k in (old, new)]
    signature = base64.b64encode(new.sign(b"{}", padding.PKCS1v15(), hashes.SHA256())).decode()
    verifier("salesiq", pems)(request(b"{}", {"x-siqsignature": signature}), NOW)
    with pytest.raises(NotAuthentic):
        verifier("salesiq", pems[:1])(request(b"{}", {"x-siqsignature": signature}), NOW)


def test_mailgun_signs_a_token_that_is_good_for_one_body() -> None:
    stamp = f"{NOW.timestamp():.0f}"

    def body(event: str) -> bytes:
        signature = {
            "timestamp": stamp,
            "token": "t1",
            "signature": mac("sha256", "k3y-0f-ours", f"{stamp}t1".encode(), "hex"),
        }
        return json.dumps({"signature": signature, "event-data": {"id": event}}).encode()

    check = verifier("mailgun", ["k3y-0f-ours"])
    check(request(body("a")), NOW)
    check(request(body("a")), NOW)
    with pytest.raises(NotAuthentic, match="another body"):
        check(request(body("b")), NOW)
    refused("mailgun", "k3y-0f-ours", request(body("a")), NOW + timedelta(hours=13))
    refused("mailgun", "k3y-0f-ours", request(b"[]"))
    refused("mailgun", "k3y-0f-ours", request(b'{"signature": {"timestamp": {}, "token": [], "signature": 1}}'))


# ---- shared secrets


def test_bearer() -> None:
    check = bearer(["old", "new"])
    check(request(headers={"Authorization": "Bearer new"}), NOW)
    check(request(headers={"Authorization": "bearer old"}), NOW)
    for wrong in ("new", "Bearer", "Bearer newer", "Basic new", "Bearer new, Bearer new", "Bearer né"):
        with pytest.raises(NotAuthentic):
            check(request(headers={"Authorization": wrong}), NOW)
    bearer(["k3y-0f-ours"], header="X-Api-Key", scheme="")(request(headers={"X-API-KEY": "k3y-0f-ours"}), NOW)


def test_basic() -> None:
    check = basic([("me", "pass:word")])
    check(request(headers={"Authorization": "Basic " + base64.b64encode(b"me:pass:word").decode()}), NOW)
    for wrong in ("Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff").decode(), "Basic bWU6", ""):
        with pytest.raises(NotAuthentic):
            check(request(headers={"Authorization": wrong}), NOW)


def test_a_secret_path() -> None:
    secret = hashlib.sha256(b"x").hexdigest()
    path([secret])(request(tail=secret), NOW)
    for wrong in ("", secret[:-1], secret + "/", "é"):
        with pytest.raises(NotAuthentic):
            path([secret])(request(tail=wrong), NOW)
    with pytest.raises(ValueError, match="guessed"):
        path(["short"])
