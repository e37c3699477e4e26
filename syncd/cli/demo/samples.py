"""The events of the demo, as their vendors would send them: signed HTTP posts and mails dropped into a maildir.

Each `Sample` is delivered by the public door of the daemon that the demo has started; nothing here touches its insides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlencode

import requests

from syncd.cli.demo.catalogue import EVENTS

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
FORMS_SECRET = "whsec_" + base64.b64encode(b"a demo secret of 24 byte").decode()
SHOP_SECRET = "a demo secret"  # noqa: S105  the demo's own
TWILIO_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105
TWILIO_ACCOUNT = "AC" + "0" * 32
KNOWN = (
    {"FirstName": "Anna", "LastName": "Nguyen", "Email": "anna.nguyen@lotus.example", "Phone": "+84 912 345 678"},
    {"FirstName": "Tom", "LastName": "Baker", "Email": "tom.baker@mill.example", "Phone": "(415) 867-5309"},
)
"""Who is in the twin CRM before the demo starts: everybody else becomes a lead."""


@dataclass(frozen=True)
class Sample:
    """One thing that happens. `send` delivers it and returns what the door answered, for people."""

    what: str
    send: Callable[[], str]


@dataclass(frozen=True)
class DemoTargets:
    """Where the samples go: the daemon's URL, the URL it believes to be public, and the maildir it watches."""

    url: str
    public_url: str
    maildir: Path


def samples(doors: DemoTargets, now: datetime, round_: int = 0) -> Iterator[Sample]:
    """The sample events of one round; `round_` > 0 makes new ones of the same kinds."""
    mark = f"-{round_}" if round_ else ""
    answer = _survey(doors, now, mark)
    yield Sample("a survey is answered (CloudEvent, Standard Webhooks)", answer)
    yield Sample("the same delivery again: the vendor retries", answer)
    yield Sample("a demo is asked for on the website", _demo_request(doors, now, mark))
    yield Sample("an order in the shop (any JSON, HMAC)", _order(doors, now, mark))
    yield Sample("an unanswered call (Twilio, form-encoded)", _missed_call(doors, now, mark))
    yield Sample("a forged post", _forged(doors, now, mark))
    yield Sample("a customer writes a mail", lambda: _deliver(doors.maildir, bytes(_question(now, mark))))
    yield Sample(
        "an out-of-office answer: no signal", lambda: _deliver(doors.maildir, bytes(_out_of_office(now, mark)))
    )
    yield Sample("a mail of ours bounces", lambda: _deliver(doors.maildir, _bounce(now, mark)))
    yield Sample(f"{len(EVENTS)} other types in one delivery (CloudEvents batch)", _other_types(doors, now, mark))


def _cloud_event(kind: str, ident: str, now: datetime, subject: str, data: Mapping[str, object]) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "type": kind,
        "source": "https://www.example.com/forms",
        "id": ident,
        "time": now.isoformat(),
        "subject": subject,
        "datacontenttype": "application/json",
        "data": data,
    }


def _standard_webhook(doors: DemoTargets, body: bytes, ident: str, now: datetime, kind: str = ONE) -> str:
    stamp = str(int(now.timestamp()))
    key = base64.b64decode(FORMS_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": ident,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "content-type": kind,
    }
    return _post(f"{doors.url}/webhooks/forms", body, headers)


def _survey(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    data = {
        "person": {"email": "anna.nguyen@lotus.example", "name": "Anna Nguyen"},
        "text": "9 of 10. The invoice came late once.",
        "score": 9,
    }
    event = _cloud_event("survey.responded", f"answer-4711{mark}", now, "Survey answered: how did we do?", data)
    body = json.dumps(event).encode()
    return lambda: _standard_webhook(doors, body, f"msg_answer-4711{mark}", now)


def _demo_request(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    data = {
        "person": {"email": f"mai.tran{mark}@rice.example", "name": "Mai Tran", "company": "Rice & Co"},
        "text": "Could you show us the product next week?",
    }
    body = json.dumps(_cloud_event("demo_request", f"form-77{mark}", now, "Asks for a demo", data)).encode()
    return lambda: _standard_webhook(doors, body, f"msg_form-77{mark}", now)


def _other_types(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    events = [
        _cloud_event(event.type, f"{event.type}{mark}", now, event.title, {"person": event.person, **event.said})
        for event in EVENTS
    ]
    body = json.dumps(events).encode()
    return lambda: _standard_webhook(doors, body, f"msg_other-types{mark}", now, MANY)


def _order(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    order = {"id": f"o-1001{mark}", "at": now.isoformat(), "what": "Order o-1001 over 240 EUR"}
    body = json.dumps({**order, "mail": "tom.baker@mill.example", "name": "Tom Baker"}).encode()
    signature = hmac.new(SHOP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-shop-signature": signature, "content-type": "application/json"}
    return lambda: _post(f"{doors.url}/webhooks/shop", body, headers)


def _missed_call(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    fields = {
        "CallSid": "CA" + hashlib.md5(mark.encode(), usedforsecurity=False).hexdigest(),
        "AccountSid": TWILIO_ACCOUNT,
        "From": "+84912345678",
        "To": "+18005551212",
        "Direction": "inbound",
        "CallStatus": "no-answer",
        "Timestamp": format_datetime(now),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": "3",
    }
    signed = f"{doors.public_url}/webhooks/phones" + "".join(key + fields[key] for key in sorted(fields))
    digest = hmac.new(TWILIO_TOKEN.encode(), signed.encode(), hashlib.sha1).digest()
    headers = {
        "x-twilio-signature": base64.b64encode(digest).decode(),
        "content-type": "application/x-www-form-urlencoded",
    }
    return lambda: _post(f"{doors.url}/webhooks/phones", urlencode(fields).encode(), headers)


def _forged(doors: DemoTargets, now: datetime, mark: str) -> Callable[[], str]:
    body = json.dumps({"id": f"o-666{mark}", "at": now.isoformat(), "what": "free money"}).encode()
    headers = {"x-shop-signature": "00" * 32, "content-type": "application/json"}
    return lambda: _post(f"{doors.url}/webhooks/shop", body, headers)


def _post(url: str, body: bytes, headers: dict[str, str]) -> str:
    answer = requests.post(url, data=body, headers=headers, timeout=10)
    return f"{answer.status_code} {answer.text.strip()}"


def _question(now: datetime, mark: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Lan Pham <lan.pham@tea.example>"
    mail["To"] = "sales@ourcompany.example"
    mail["Subject"] = "Giá cho 200 người dùng?"
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<price-question{mark}@tea.example>"
    mail.set_content("Xin chào,\n\nchúng tôi cần báo giá cho 200 người dùng.\n\nLan\n")
    return mail


def _out_of_office(now: datetime, mark: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "tom.baker@mill.example"
    mail["To"] = "sales@ourcompany.example"
    mail["Subject"] = "Out of office"
    mail["Auto-Submitted"] = "auto-replied"
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<ooo{mark}@mill.example>"
    mail.set_content("I am back on Monday.\n")
    return mail


def _bounce(now: datetime, mark: str) -> bytes:
    """A delivery status notification as RFC 3464 wants it."""
    return f"""\
From: MAILER-DAEMON@mx.example
To: sales@ourcompany.example
Subject: Undelivered Mail Returned to Sender
Date: {format_datetime(now)}
Message-ID: <dsn{mark}@mx.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=="

--==
Content-Type: text/plain

The mail could not be delivered.
--==
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; anna.nguyen@lotus.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--==
Content-Type: text/rfc822-headers

Message-ID: <offer{mark}@ourcompany.example>
Subject: Our offer
To: anna.nguyen@lotus.example
--==--
""".encode()


def _deliver(maildir: Path, raw: bytes) -> str:
    """As a mail server does: written in tmp/, renamed into new/."""
    name = f"{time.time_ns()}.{os.getpid()}.{socket.gethostname()}"
    waiting = maildir / "tmp" / name
    waiting.write_bytes(raw)
    waiting.rename(maildir / "new" / name)
    return "in the maildir"
