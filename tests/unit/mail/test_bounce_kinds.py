"""Hard or soft by code and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.connectors.mail.bounce_kinds import find_status, hardness


@pytest.mark.parametrize("status", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.310"])
def test_codes_of_bad_addresses(status: str) -> None:
    assert hardness(status) == "hard"


@pytest.mark.parametrize(
    "status",
    [
        *("5.1.7", "5.1.8", "5.2.0", "5.2.2", "5.2.3", "5.2.4", "5.3.0", "5.3.4", "5.3.5", "5.4.1", "5.4.4", "5.4.6"),
        *(
            "5.5.2",
            "5.6.0",
            "5.6.1",
            "5.7.0",
            "5.7.1",
            "5.7.9",
            "5.7.25",
            "5.7.26",
            "5.7.509",
            "5.7.606",
            "4.4.7",
            "4.2.2",
        ),
    ],
)
def test_codes_of_good_addresses(status: str) -> None:
    assert hardness(status) == "soft"


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind"),
    [
        # An unknown user beats the code for policy, system, network, a try later.
        ("5.7.1", "550 5.7.1 <x@y.example>: Recipient address rejected: User unknown", "hard"),
        ("4.1.1", "450 4.1.1 unknown user", "hard"),
        ("5.3.0", "553 5.3.0 No such user here", "hard"),
        ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied.", "hard"),
        ("5.5.0", "550 Requested action not taken: mailbox unavailable", "hard"),
        ("5.0.0", "The email account that you tried to reach does not exist", "hard"),
        # Words of a refusal beat the code for a bad address; its own text does not.
        ("5.1.1", "550 5.1.1 IP address blacklisted by recipient", "soft"),
        ("5.1.1", "552 sorry, mailbox is over quota temporarily", "soft"),
        ("5.1.3", "553 http://www.spamhaus.org/query/bl?ip=192.0.2.222", "soft"),
        ("5.1.1", "550 5.1.1 see https://klient.example/policy/blocked", "hard"),
        ("5.1.1", "550 5.1.1 <spam.blocked@klient.example>", "hard"),
        # A refused sender is not the recipient's fault, whatever it is called.
        ("5.1.8", "550 5.1.8 unknown user sales@ourcompany.example", "soft"),
        (
            "5.1.0",
            "SMTP error from remote mail server after MAIL FROM:<a@b.example>: 553 b.example does not exist",
            "soft",
        ),
        ("", "550 Sender verify failed: no such user", "soft"),
        # Replies without a code.
        ("", "550 User unknown", "hard"),
        ("", "550", "hard"),
        ("", "551 not here", "hard"),
        ("", "552 whatever", "soft"),
        ("", "554 Transaction failed", "soft"),
        ("", "451 local problem", "soft"),
        ("", "550 Rejected", "soft"),
        ("5.0.0", "503 Improper sequence of commands", "soft"),
        ("", ">>> MAIL FROM:<a@b.example> <<< 550 messages from 192.0.2.9 weren't sent", "soft"),
        ("", "5.1.0 - Unknown address error 550-'5.7.1 <a@b.example>... Access denied'", "soft"),
        ("5.2.1", "The user is receiving mail at a rate that prevents additional messages", "soft"),
        ("", "Your message wasn't delivered because the address couldn't be found. Check it and try again.", "hard"),
        # Hosts.
        ("", "DNS lookup failure: host cx.klient.example not found", "hard"),
        (
            "5.4.4",
            "Host or domain name not found. Name service error for name=x.example type=A: Host not found",
            "hard",
        ),
        ("", "Unrouteable address", "hard"),
        ("", "Name service error: Host not found, try again", "soft"),
        ("5.4.6", "too many hops", "soft"),
        # No words, no code.
        ("", "", "hard"),
        ("5.0.0", "", "hard"),
    ],
)
def test_words_and_codes_together(status: str, diagnostic: str, kind: str) -> None:
    assert hardness(status, diagnostic) == kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Unbekannter Empfänger", "hard"),
        ("Empfängeradresse existiert nicht", "hard"),
        ("Utilisateur inconnu", "hard"),
        ("L'adresse indiquée n'existe pas", "hard"),
        ("El usuario no existe", "hard"),
        ("Utente sconosciuto", "hard"),
        ("Usuário inexistente", "hard"),
        ("Gebruiker onbekend", "hard"),
        ("Пользователь не найден", "hard"),
        ("收件人不存在", "hard"),
        ("查無此人：找不到使用者", "hard"),
        ("ユーザーが見つかりません", "hard"),
        ("존재하지 않는 사용자", "hard"),
        ("Das Postfach ist voll", "soft"),
        ("La boîte de réception est pleine", "soft"),
        ("El buzón está lleno", "soft"),
        ("La casella è piena", "soft"),
        ("A caixa postal está cheia", "soft"),
        ("Почтовый ящик переполнен", "soft"),
        ("邮箱空间不足", "soft"),
        ("メールボックスが一杯です", "soft"),
        ("메일함 용량 초과", "soft"),
    ],
)
def test_words_of_many_languages(words: str, kind: str) -> None:
    assert hardness("", words) == kind


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("552-5.2.2 full", "5.2.2"),
        ("5.0.0 (552 5.2.2)", "5.2.2"),
        ("host 192.5.1.1 said 550", ""),
        ("version 5.5.2653.19", ""),
        ("2.0.0 ok", ""),
        ("#5.1.1", "5.1.1"),
        ("550 5.7.606, refused", "5.7.606"),
    ],
)
def test_a_code_is_no_number_of_a_host_or_a_version(text: str, status: str) -> None:
    assert find_status(text) == status


@given(st.text(), st.text(max_size=5000))
def test_any_text_has_a_kind(status: str, diagnostic: str) -> None:
    assert hardness(status, diagnostic) in {"hard", "soft"}
