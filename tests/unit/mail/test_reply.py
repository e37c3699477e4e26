"""The newest part of a mail, in the ways mail programs quote."""

from __future__ import annotations

import pytest

from syncd.connectors.mail.reply import latest_reply

INTRODUCTIONS = [
    "On Tue, 3 May 2026 at 10:00, Ann Buyer <ann@x.example> wrote:",
    "On Tue, 3 May 2026 at 10:00, Ann Buyer\n<ann@x.example> wrote:",
    "Am 03.05.2026 um 10:00 schrieb Ann Buyer <ann@x.example>:",
    "Le mar. 3 mai 2026 à 10:00, Ann <ann@x.example> a écrit :",
    "El mar, 3 may 2026 a las 10:00, Ann (<ann@x.example>) escribió:",
    "Il giorno mar 3 mag 2026 alle ore 10:00 Ann <ann@x.example> ha scritto:",
    "Op di 3 mei 2026 om 10:00 schreef Ann <ann@x.example>:",
    "Em ter., 3 de mai. de 2026 às 10:00, Ann <ann@x.example> escreveu:",
    "Den tis 3 maj 2026 kl 10:00 skrev Ann <ann@x.example>:",
    "Vào Th 3, 3 thg 5, 2026 vào lúc 10:00 Ann <ann@x.example> đã viết:",
    "вт, 3 мая 2026 г. в 10:00, Ann <ann@x.example> написал(а):",
    "2026年5月3日(火) 10:00 Ann <ann@x.example>のメール:",
    "-----Original Message-----\nFrom: Ann",
    "________________________________\nFrom: Ann <ann@x.example>\nSent: Tuesday\nTo: Us\nSubject: Hi",
    "Von: Ann\nGesendet: Dienstag, 3. Mai 2026\nAn: Wir\nBetreff: Hallo",
    "*From:* Ann\n*Sent:* Tuesday\n*To:* Us",
    "Từ: Ann\nĐã gửi: x\nĐến: Us\nChủ đề: Hi",
]


@pytest.mark.parametrize("introduction", INTRODUCTIONS)
def test_what_stands_above_the_quotation(introduction: str) -> None:
    assert latest_reply(f"Yes please.\n\nTomorrow?\n\n{introduction}\n> older\n> words\n") == "Yes please.\n\nTomorrow?"


def test_answers_below_and_between_the_quotation_are_kept() -> None:
    below = "On 3 May 2026 Ann wrote:\n> How many?\nThree.\n> When?\nMonday."
    assert latest_reply(below) == "Three.\nMonday."
    assert latest_reply(f"Hello,\n{below}") == "Hello,\nThree.\nMonday."


def test_signatures_go() -> None:
    assert latest_reply("Fine.\n-- \nAnn Buyer\nphone 1") == "Fine."
    assert latest_reply("Fine.\n\nSent from my iPhone") == "Fine."


@pytest.mark.parametrize(
    "text",
    [
        "From: here to eternity we love your product.\nBuy.",
        "My boss wrote:\nbuy three.",
        "Order:\nTo: the moon",
        "one -- two",
        "-----\nnothing above",
    ],
)
def test_what_only_looks_like_a_quotation_stays(text: str) -> None:
    assert latest_reply(text) == text


def test_a_forward_or_a_bare_quotation_comes_back_whole() -> None:
    forward = "---------- Forwarded message ---------\nFrom: Ann <a@x.example>\nDate: x\nSubject: y\n\nBuy three."
    assert latest_reply(forward) == forward
    assert latest_reply("> only\n> quoted") == "> only\n> quoted"
    assert latest_reply("-- \nonly a signature") == "--\nonly a signature"
