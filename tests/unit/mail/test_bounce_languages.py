"""Prose of mail servers in many languages, without any code."""

from __future__ import annotations

import pytest

from syncd.connectors.mail.bounces import read_report
from syncd.connectors.mail.message import parse
from tests.mails import mail

WHO = "x@klient.example"

REPORTS = [
    (
        "Non remis : Offre",
        "Échec de la remise pour les destinataires suivants :\n\n{}\nCette adresse est introuvable.",
        "hard",
    ),
    ("Unzustellbar: Angebot", "Fehler bei der Zustellung an folgende Empfänger:\n\n{}\nDas Postfach ist voll.", "soft"),
    ("Niedostarczone: Oferta", "Nie można dostarczyć do adresatów:\n\n{}\nNie znaleziono adresu e-mail.", "hard"),
    ("配信不能: 見積", "次の受信者への配信に失敗しました:\n\n{}\n宛先が見つかりません。", "hard"),
    ("无法传递: 报价", "无法将邮件传递给以下收件人:\n\n{}\n找不到该地址。", "hard"),
    ("系统退信", "您的邮件被退回\n无法发送到 {}\n退信原因\n收件人邮箱已满", "soft"),
    ("Не удалось доставить", "Не удалось доставить сообщение:\n\n{}\nПочтовый ящик получателя переполнен.", "soft"),
    ("Non recapitabile: Offerta", "Recapito non riuscito per:\n\n{}\nIndirizzo inesistente.", "hard"),
    ("No se puede entregar: Oferta", "Error de entrega a estos destinatarios:\n\n{}\nLa dirección no existe.", "hard"),
    (
        "Não é possível entregar: Oferta",
        "Falha na entrega a estes destinatários:\n\n{}\nEndereço não encontrado.",
        "hard",
    ),
    ("Onbestelbaar: Offerte", "Uw bericht kon niet worden bezorgd bij:\n{}\nHet adres is niet gevonden.", "hard"),
    ("Olevererbart: Offert", "Det gick inte att leverera till:\n\n{}\nAdressen hittades inte.", "hard"),
    ("Teslim edilemedi: Teklif", "İletiniz şu alıcılara teslim edilemedi:\n\n{}\nPosta kutusu dolu.", "soft"),
    ("메일 전송 실패", "메일을 전송하지 못했습니다.\n받는 사람: {}\n존재하지 않는 주소입니다.", "hard"),
    ("Thư không gửi được", "Không thể gửi thư đến {}: người dùng không tồn tại", "hard"),
]


@pytest.mark.parametrize(("subject", "text", "kind"), REPORTS)
@pytest.mark.parametrize("sender", ["postmaster@klient.example", "MAILER-DAEMON@klient.example"])
def test_a_report_in_any_language(subject: str, text: str, kind: str, sender: str) -> None:
    raw = mail(1, subject=subject, body=text.format(WHO), **{"from": sender})  # type: ignore[arg-type]
    assert [(bounce.recipient, bounce.kind) for bounce in read_report(parse(raw)).bounces] == [(WHO, kind)]
