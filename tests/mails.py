"""Mails for tests: an ordinary one with any header changed, delivery reports, and a corpus of broken ones."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

MOMENT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def mail(
    number: int = 1,
    *,
    at: datetime = MOMENT,
    body: str | bytes = "Hello,\r\n\r\nplease call me.\r\n",
    **headers: str | None,
) -> bytes:
    """A plain mail. Keyword names become headers (`reply_to` -> Reply-To); None leaves one out."""
    fields: dict[str, str | None] = {
        "from": f"Ann Buyer <ann{number}@customer.example>",
        "to": "sales@ourcompany.example",
        "subject": f"Question {number}",
        "message_id": f"<mail-{number}@customer.example>",
        "date": format_datetime(at),
        "mime_version": "1.0",
        "content_type": "text/plain; charset=utf-8",
        **headers,
    }
    raw = body if isinstance(body, bytes) else body.encode()
    lines = [f"{name.replace('_', '-').title()}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + raw


def delivery_report(*recipients: str, number: int = 1, original: bool = True, **headers: str | None) -> bytes:
    """A multipart/report; each recipient is the text of its field group."""
    groups = "\r\n\r\n".join(group.strip().replace("\n", "\r\n") for group in recipients)
    returned = (
        "--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <sent-1@ourcompany.example>\r\nSubject: Our offer\r\n"
        "References: <root@customer.example>\r\n\r\nDear\r\n"
        if original
        else ""
    )
    body = (
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; mx.example\r\n\r\n{groups}\r\n\r\n{returned}--b--\r\n"
    )
    fields: dict[str, str | None] = {
        "from": "Mail Delivery System <MAILER-DAEMON@mx.example>",
        "subject": "Undelivered Mail Returned to Sender",
        "message_id": f"<report-{number}@mx.example>",
        "return_path": "<>",
        "auto_submitted": "auto-replied",
        "content_type": 'multipart/report; report-type=delivery-status; boundary="b"',
        **headers,
    }
    return mail(number, at=MOMENT, body=body, **fields)


FAILED = """
Original-Recipient: rfc822;Bob@Customer.example
Final-Recipient: rfc822; bob.internal@customer.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <bob@customer.example>: no such user
"""

DELAYED = """
Final-Recipient: rfc822; slow@customer.example
Action: delayed
Status: 4.4.1
"""


def _nested(depth: int) -> bytes:
    opening = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(depth))
    return b"From: a@b.example\r\n" + opening + b"Content-Type: text/plain\r\n\r\ndeep\r\n"


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "one newline": b"\n",
    "no headers": b"just words\r\nand more\r\n",
    "no body": b"From: a@b.example",
    "only a body": b"\r\n\r\nbody",
    "nul bytes": b"From: a\0@b.example\r\nSubject: n\0ul\r\n\r\nbo\0dy\0",
    "all bytes": bytes(range(256)) * 20,
    "8-bit headers": "From: Jörg <j@b.example>\r\nSubject: Grüße\r\n\r\nx".encode("latin-1"),
    "utf-8 headers": "From: Jörg <j@b.example>\r\nSubject: Grüße\r\n\r\nx".encode(),
    "unknown charset": b"Content-Type: text/plain; charset=x-klingon\r\n\r\n\xe4",
    "codec that is no charset": b"Content-Type: text/plain; charset=zlib\r\n\r\nx\x9c",
    "charset with a nul": b"Content-Type: text/plain; charset=\"utf\0-8\"\r\n\r\nx",
    "punycode bomb": b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a-" + b"z" * 50_000,
    "utf-7 surrogates": b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-",
    "charset that is a tuple": b"Content-type:;charset*\n\x80",
    "broken base64": b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n####abc=d",
    "broken quoted-printable": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=\r\n=E4=",
    "unknown transfer encoding": b"Content-Transfer-Encoding: rot13\r\n\r\nuryyb",
    "broken uuencode": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 \xff\r\n~~~~\r\n",
    "no boundary": b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nhi\r\n--x--",
    "empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nhi\r\n----',
    "boundary never closed": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>hi",
    "boundary never found": b"Content-Type: multipart/mixed; boundary=x\r\n\r\nwords",
    "boundary in itself": b'Content-Type: multipart/mixed; boundary="x\r\n\ty"\r\n\r\n--x\r\n\r\nhi',
    "rfc822 without content": b"Content-Type: message/rfc822\r\n\r\n",
    "rfc822 in base64": b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nSGk=",
    "external body": b"Content-Type: message/external-body\r\n\r\n",
    "partial": b"Content-Type: message/partial; number=1; total=x\r\n\r\nhi",
    "deep nesting": _nested(80),
    "absurd nesting": _nested(5000),
    "digest of digests": b"Content-Type: multipart/digest; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 5000,
    "many parts": b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\na\r\n" * 20_000,
    "huge header": b"Subject: " + b"x" * 2_000_000 + b"\r\n\r\nhi",
    "many headers": b"X-A: b\r\n" * 50_000 + b"\r\nhi",
    "many recipients": b"To: " + b"a@b.example, " * 50_000 + b"\r\n\r\nhi",
    "open comments": b"From: " + b"(" * 50_000 + b"\r\n\r\nhi",
    "open angles": b"To: " + b"<" * 50_000 + b"\r\n\r\nhi",
    "quotes": b"To: " + b'"\\' * 25_000 + b"\r\n\r\nhi",
    "broken words": b"Subject: =?utf-8?b?w6Q?= =?x?q?=ff=?= =?utf-8?b?=?= =?=?=\r\n\r\nhi",
    "many words": b"Subject: " + b"=?utf-8?q?=C3?= =?utf-8?q?=A4?= " * 5000 + b"\r\n\r\nhi",
    "open words": b"Subject: " + b"=?a?b?" * 20_000 + b"\r\n\r\nhi",
    "broken parameters": b"Content-Type: text/plain; charset*=x'y'%zz; name*0*=a; name*x=b; =;;\r\n\r\nhi",
    "bad rfc2231 charset": b"Content-Disposition: attachment; filename*=klingon''%E4\r\nContent-Type: a/b\r\n\r\nhi",
    "header without colon": b"From a@b Sat\r\nnonsense\r\nSubject: s\r\n\r\nhi",
    "only continuation": b" folded\r\n\tfolded\r\n\r\nhi",
    "bare carriage returns": b"From: a@b.example\rSubject: s\r\rhi",
    "garbage date": b"Date: Foo, 99 Bar 99999 99:99:99 +9999999\r\n\r\nhi",
    "overflowing date": b"Date: Mon, 1 Jan 9999 23:59:59 -2359\r\n\r\nhi",
    "html soup": b"Content-Type: text/html\r\n\r\n<table><tr><td colspan=999999999>" + b"<b><table>" * 3000 + b"&#xD800;&#0;x",
    "deep html": b"Content-Type: text/html\r\n\r\n" + b"<div><ul><li>" * 10_000 + b"x",
    "html with declaration": b'Content-Type: text/html\r\n\r\n<?xml version="1.0" encoding="utf-16"?><p>x</p>',
    "empty html": b"Content-Type: text/html\r\n\r\n<!-- -->",
    "open tags": b"Content-Type: text/html\r\n\r\n" + b"<" * 100_000,
    "open scripts": b"Content-Type: text/html\r\n\r\n" + b"<script>" * 20_000,
    "newlines": b"Content-Type: text/plain\r\n\r\n" + b"\r\n" * 100_000,
    "attributions": b"Content-Type: text/plain\r\n\r\n" + b"Am Montag schrieb " * 5000 + b"\r\n" + b"On 1 wrote:\r\n" * 5000,
    "report without recipients": delivery_report(""),
    "report in base64": delivery_report("x").replace(b"-status\r\n", b"-status\r\nContent-Transfer-Encoding: base64\r\n"),
    "report of nothing": b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b--",
    "robot without report": b"From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\n\r\n" + b"<a@b.example>:\r\n" * 2000,
}  # fmt: skip
