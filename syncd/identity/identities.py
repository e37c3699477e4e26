"""A person's identities as text: `email:…`, `phone:…`, `handle:NETWORK:ID`, and which e-mail addresses are a role's. Pure.

`Person.identities` makes them, whoever reads one from an operator or the configuration parses it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from syncd.identity.emails import normal_email
from syncd.identity.phones import normal_phone

EMAIL, PHONE, HANDLE = "email:", "phone:", "handle:"
LONGEST = 300
"""Characters of an identity: a handle that makes a longer one is data, not an identity."""


def handle_identities(handles: Mapping[str, str]) -> Iterator[str]:
    """`handle:NETWORK:ID` of each handle that can be one, by network in alphabetical order. The network is lower-cased; the id
    stays as the network spells it, because some tell upper and lower case apart (LINE, Zalo)."""
    for network, id_ in sorted(handles.items()):
        network, id_ = network.strip().lower(), id_.strip()
        identity = f"{HANDLE}{network}:{id_}"
        if network and id_ and ":" not in network and len(identity) <= LONGEST and identity.isprintable():
            yield identity


def split_handle(identity: str) -> tuple[str, str]:
    """(network, id) of `handle:NETWORK:ID`; ("", "") for any other text."""
    if not identity.startswith(HANDLE):
        return "", ""
    network, _, id_ = identity.removeprefix(HANDLE).partition(":")
    return network, id_


def normal_identity(text: str, region: str | None = None) -> str:
    """The identity that a text names, "" for none: an e-mail address, a phone number (without a country: of the `region`), or an
    identity as syncd shows it."""
    text = text.strip()
    if text.lower().startswith(HANDLE):
        network, _, id_ = text[len(HANDLE) :].partition(":")
        return next(handle_identities({network: id_}), "")
    bare = re.sub(r"^(email|phone):", "", text, flags=re.IGNORECASE)
    if email := normal_email(bare):
        return f"{EMAIL}{email}"
    phone = normal_phone(bare, region)
    return f"{PHONE}{phone}" if phone else ""


def is_role(identity: str) -> bool:
    """Whether it is the e-mail address of a role or team (info@, sales@), which several people use."""
    local, at, _ = identity.removeprefix(EMAIL).partition("@")
    return bool(at) and identity.startswith(EMAIL) and local.partition("+")[0] in _ROLES


_ROLES = frozenset(
    """
    abuse accounting accounts admin administrator administration billing booking bookings careers commercial compras
    contact contacto contact-us contactus customercare customer-service customerservice enquiries enquiry facturacion
    feedback finance frontdesk hallo hello help helpdesk hola hostmaster hr info infos information inquiries inquiry
    invoice invoices it jobs kontakt mail marketing media newsletter noc no-reply noreply office oficina order orders
    post postmaster presse press procurement purchasing reception recepcion recruiting recruitment reservations root
    sales security service services shop support team tech technik ventas vente vertrieb webmaster welcome buchhaltung
    baogia cskh dathang hotro ketoan kinhdoanh lienhe muahang nhansu tuyendung vanphong
    """.split()  # noqa: SIM905
)
"""Local parts. RFC 2142 names abuse, hostmaster, info, marketing, noc, postmaster, sales, security, support and webmaster; the
others are what companies use beside them, in English, German, French, Spanish and Vietnamese."""
