"""Companies as signals tell of them: a name, the domain they are known by, and what else is said. Pure.

A company is identified by its own domain, otherwise by its name. A domain that many companies share (a mailbox provider, a site
with pages of others) identifies none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import msgspec

SECOND_LEVELS = frozenset(
    "ac adv asso biz co com edu ed firm gen go gob gouv gov govt gv id ind inf info int k12 ltd me mil muni name ne net nhs nic"  # noqa: SIM905
    " nom or org plc press pro sch school store tm web".split()
)
"""Labels that stand before a country's own ending and belong to nobody: example.co.uk, example.com.vn (IANA's and the registries'
second levels in use; the few that a country names otherwise make a domain one label longer)."""
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


class Company(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One company. `domain`: its registered domain, "" for a shared or unknown one; `website`, `phone` and the address as they
    were given; `parent`: the name of the company it belongs to."""

    name: str = ""
    domain: str = ""
    website: str = ""
    phone: str = ""
    street: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    parent: str = ""

    @property
    def identity(self) -> str:
        """What it is cached and keyed by: `company:domain:…`, else `company:name:…`, else ""."""
        if self.domain:
            return f"company:domain:{self.domain}"
        return f"company:name:{folded_name(self.name)[:300]}" if self.name else ""


COMPANY_PARTS = frozenset((*Company.__struct_fields__, "identity"))
"""What an expression may name of a company."""
_GIVEN = ("street", "city", "state", "postal_code", "country")


def company_of(
    *, name: str, email: str, phone: str, data: Mapping[str, Any] | None, shared: Collection[str] = frozenset()
) -> Company:
    """The company of a person with this address, or, with `data`, the company that a signal is about (its website, address and
    parent are in its data). `shared`: more domains that identify no company."""
    mailed = own_domain(email.rpartition("@")[2], shared)
    if data is None:
        return Company(name=name, domain=mailed)
    texts = {key: value.strip() for key, value in data.items() if isinstance(value, str)}
    website = texts.get("website", "")
    named = own_domain(texts.get("domain") or host_of(website), shared)
    told = {key: texts[key] for key in (*_GIVEN, "parent") if texts.get(key)}
    return Company(name=name, domain=named or mailed, website=website, phone=phone, **told)


def company_named(text: str, shared: Collection[str] = frozenset()) -> Company:
    """The company that a text names: a website, or a domain in lower case, else the company's name. One without an identity for
    a domain that many share."""
    text = " ".join(text.split())
    host = host_of(text) if "://" in text or (text == text.lower() and " " not in text) else ""
    if registered(host):
        return Company(domain=own_domain(host, shared))
    return Company(name=text)


def folded_name(name: str) -> str:
    """A company's name for comparing: without case and needless blanks."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def host_of(website: str) -> str:
    """The host of a website in whatever form it was written (`https://www.example.com/about`, `www.example.com`), "" if none."""
    text = website.strip()
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
    return host.rstrip(".").lower()


def registered(host: str) -> str:
    """The domain that was registered: the last two labels of a host, three below a country's second level. "" for what is not
    a host name."""
    try:
        plain = (
            host.strip().rstrip(".").lower().encode("idna").decode()
            if not host.isascii()
            else host.strip().rstrip(".").lower()
        )
    except UnicodeError:
        return ""
    if not _HOST.fullmatch(plain) or plain.replace(".", "").isdigit():
        return ""
    labels = plain.split(".")
    wide = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in SECOND_LEVELS
    return ".".join(labels[-3 if wide else -2 :])


def own_domain(host: str, shared: Collection[str] = frozenset()) -> str:
    """The registered domain of a host, "" for one that many share."""
    domain = registered(host)
    everybodys = {*parents_of(host), domain}
    return (
        "" if not domain or not everybodys.isdisjoint(shared_domains()) or not everybodys.isdisjoint(shared) else domain
    )


def parents_of(host: str) -> list[str]:
    """A host and the domains above it, down to two labels."""
    labels = host.strip().rstrip(".").lower().split(".")
    return [".".join(labels[at:]) for at in range(len(labels) - 1)]


@cache
def shared_domains() -> frozenset[str]:
    """The shipped list (shared_domains.txt)."""
    text = files("syncd.identity").joinpath("shared_domains.txt").read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)
