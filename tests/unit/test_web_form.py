"""Forms that a visitor's browser posts: where it goes afterwards, robots, and pages that may not post."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from syncd.connector import Context, Request
from syncd.connectors.generic.webhook import CONNECTOR, Webhook, WebhookSettings
from syncd.errors import NotAuthentic
from syncd.http.oauth import MemoryTokens
from syncd.intake.webhooks import STORED, Endpoint

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SITE, THANKS, OTHER = "https://www.example.com", "https://www.example.com/thanks", "https://www.example.com/done?x=1"
FORM: dict[str, Any] = {"redirect": [THANKS, OTHER], "honeypot": "website", "origins": [SITE]}


def source(**web_form: Any) -> Webhook:
    settings = {
        "verify": {"scheme": "path", "secret": "k7f3x9q2w8e4r6t1y5u0"},
        "format": "form",
        "signal": {"type": "custom.contact", "text": "{{ body.message }}", "person": {"email": "{{ body.email }}"}},
        "web_form": {**FORM, **web_form},
    }
    return Webhook(WebhookSettings.model_validate(settings), Context(name="site", tokens=MemoryTokens()))


def post(fields: dict[str, str], method: str = "POST", **headers: str) -> Request:
    sent = {"content-type": "application/x-www-form-urlencoded", "accept": "text/html,*/*;q=0.8", "origin": SITE}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = "https://syncd.example.com/webhooks/site/k7f3x9q2w8e4r6t1y5u0"
    return Request(method, url, sent, urlencode(fields).encode(), NOW, (), "k7f3x9q2w8e4r6t1y5u0")


def test_the_browser_is_sent_to_the_page_that_the_form_chooses_among_those_configured() -> None:
    endpoint = Endpoint.of("site", source())

    def goes(fields: dict[str, str], **headers: str) -> tuple[int, str]:
        answer = endpoint.answer(post(fields, **headers), STORED)
        return answer.status, dict(answer.headers).get(b"location", b"").decode()

    assert goes({"email": "ann@example.com"}) == (303, THANKS)
    assert goes({"redirect": OTHER}) == (303, OTHER)
    for elsewhere in ("https://evil.example/", "/thanks", THANKS + "/..", "javascript:alert(1)", ""):
        assert goes({"redirect": elsewhere}) == (303, THANKS)
    assert goes({}, accept="application/json") == (200, "")
    assert goes({}, accept="*/*") == (303, THANKS)
    assert Endpoint.of("site", source(redirect=[], origins=[])).answer(post({}, origin=""), STORED) == STORED


def test_a_robot_is_dropped_counted_and_told_the_same() -> None:
    hook = source()
    robot = post({"email": "ann@example.com", "website": "https://spam.example"})
    batch = hook.parse(robot)
    assert (list(batch.signals), dict(batch.dropped)) == ([], {"honeypot": 1})
    assert hook.accepted(robot) == hook.accepted(post({"email": "ann@example.com"}))
    assert [one.person.email for one in hook.parse(post({"email": "ann@example.com", "website": " "})).signals] == [
        "ann@example.com"
    ]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", f"{SITE}.evil"])
def test_other_pages_cannot_post(origin: str) -> None:
    verify = source().verifier()
    verify(post({}), NOW)
    verify(post({}, origin="", referer=f"{SITE}/contact?a=b"), NOW)
    with pytest.raises(NotAuthentic, match=r"which web_form\.origins does not have"):
        verify(post({}, origin=origin), NOW)
    source(origins=[]).verifier()(post({}, origin=origin), NOW)


def test_a_script_of_the_page_may_ask_first_and_read_the_answer() -> None:
    hook = source()
    asks = {"access_control_request_method": "POST"}
    allowed = hook.handshake(post({}, "OPTIONS", **asks))
    assert allowed is not None
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (204, SITE)
    refused = hook.handshake(post({}, "OPTIONS", origin="https://evil.example", **asks))
    assert refused is not None
    assert refused.status == 403
    told = hook.accepted(post({}, accept="application/json"))
    assert told is not None
    assert (told.status, told.headers["Access-Control-Allow-Origin"]) == (200, SITE)
    usual = hook.handshake(post({}, "OPTIONS"))
    assert usual is not None
    assert usual.headers["Allow"] == "POST, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("redirect", "/thanks", "URL"),
        ("redirect", "https://www.example.com/a b", "cannot be sent as an address"),
        ("redirect", "http://www.example.com/", "https"),
        ("origins", ["https://www.example.com/contact"], "is not a site"),
        ("origins", ["www.example.com"], "is not a site"),
    ],
)
def test_settings_that_cannot_be_meant(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**{key: value})


def test_it_is_for_forms_alone() -> None:
    plain = {"verify": {"scheme": "none", "insecure": True}, "web_form": {}}
    with pytest.raises(ValueError, match="web_form: is for format form or json"):
        CONNECTOR.settings.model_validate(plain)
