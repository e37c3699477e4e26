"""Mails about undelivered mail in the layouts of many servers (`tests/bounces/*.txt`), each with any reason."""

from __future__ import annotations

from pathlib import Path

from tests.mails import MOMENT, mail

RECIPIENT = "k.berger@klient.example"

LAYOUTS: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "bounces").glob("*.txt"))
}

REASONS: dict[str, str] = {
    # What the receiving server answered -> hard or soft.
    "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown": "hard",
    "550 No such user here": "hard",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup": "hard",
    "550 5.2.1 The email account that you tried to reach is disabled": "hard",
    "550 5.7.1 Unknown user": "hard",
    "450 4.1.1 <{rcpt}>: unknown recipient": "hard",
    "550 5.1.2 Host unknown": "hard",
    "552 5.2.2 <{rcpt}>: Mailbox full": "soft",
    "552 Requested mail action aborted: over quota": "soft",
    "550 5.7.1 Message rejected as spam by content filtering": "soft",
    "550 5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy": "soft",
    "554 5.7.1 Service unavailable; client host [192.0.2.9] blocked using zen.spamhaus.org": "soft",
    "501 5.1.8 Sender address rejected: Domain not found": "soft",
    "450 4.7.1 Greylisted, please try again later": "soft",
    "421 4.4.2 Connection timed out": "soft",
    "552 5.3.4 Message size exceeds fixed maximum message size": "soft",
    "554 5.4.6 Too many hops": "soft",
    "550 5.1.1 192.0.2.9 has sent to too many recipients this hour": "soft",
}

_COPY = f"""Received: from desk (desk.ourcompany.example [192.0.2.9])
    by mx.ourcompany.example; Mon, 16 Nov 2026 08:00:00 +0000
From: Tom Sales <sales@ourcompany.example>
To: Karl Berger <{RECIPIENT}>
Subject: Offer 7
Message-ID: <offer-7@ourcompany.example>

Dear Karl
"""


def bounce_mail(layout: str, reply: str, recipient: str = RECIPIENT, **headers: str | None) -> bytes:
    """The mail that a server of this layout sends about a recipient whom another server refused with this reply."""
    text = LAYOUTS[layout].replace("{reply}", reply).replace("{copy}", _COPY).replace("{rcpt}", recipient)
    head, _, body = text.partition("\n\n")
    own = {
        name.lower().replace("-", "_"): value for name, _, value in (line.partition(": ") for line in head.split("\n"))
    }
    fields: dict[str, str | None] = {"message_id": "<report-9@mx.isp.example>", **own, **headers}
    return mail(9, at=MOMENT, body=body.replace("\n", "\r\n"), **fields)
