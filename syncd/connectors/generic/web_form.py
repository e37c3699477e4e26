"""Forms of a web page that post to the generic webhook from the visitor's browser: where the browser goes afterwards, the field
that only robots fill in, and from which pages a post may come. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from syncd.connector import ConnectorSettings, Reply, Request, Verifier
from syncd.connectors.forms import as_dict, read_form
from syncd.errors import Malformed, NotAuthentic
from syncd.http.client import check_base_url

NEXT = "redirect"
"""The form's hidden field that chooses one of several targets."""
ROBOT = "honeypot"
"""What a dropped post is counted as."""


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, as browsers send them; "" for what has none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else ""


class WebForm(ConnectorSettings):
    """A form of a web page, which the visitor's browser posts."""

    redirect: str | list[str] = Field(
        [],
        description="where the browser goes after the post: a URL, or several, of which the form chooses one by a hidden field "
        "named `redirect`; the first is the default",
    )
    honeypot: str = Field(
        "",
        description="a field that visitors do not see: a post that fills it in comes from a robot; it is dropped, counted, and "
        "answered like any other",
    )
    origins: list[str] = Field(
        [], description="the sites whose pages may post, such as https://www.example.com; empty: any page"
    )

    @field_validator("redirect")
    @classmethod
    def _addresses(cls, urls: str | list[str]) -> list[str]:
        urls = [urls] if isinstance(urls, str) else urls
        for url in urls:
            check_base_url(url)
            if not url.isascii() or not url.isprintable() or " " in url:
                raise ValueError(f"{url!r} cannot be sent as an address; write other characters as %XX")
        return urls

    @property
    def targets(self) -> Sequence[str]:
        """Where a browser may be sent."""
        return self.redirect

    @field_validator("origins")
    @classmethod
    def _sites(cls, sites: list[str]) -> list[str]:
        for site in sites:
            if _origin(site) != site.lower().rstrip("/"):
                raise ValueError(f"{site!r} is not a site; write it like https://www.example.com, without a path")
        return [site.lower().rstrip("/") for site in sites]


def from_known_page(form: WebForm, verify: Verifier) -> Verifier:
    """The verifier, which also refuses posts of other pages. A browser always tells the page's site with a post; a robot may
    claim any."""
    if not form.origins:
        return verify

    def checked(request: Request, now: Any) -> None:
        origin = _page_of(request)
        if origin not in form.origins:
            raise NotAuthentic(f"posted by a page of {origin or 'no site'}, which web_form.origins does not have")
        verify(request, now)

    return checked


def preflight(form: WebForm, request: Request) -> Reply | None:
    """The answer to a browser that asks whether a script of a page may post; None for any other request."""
    if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
        return None
    origin = _page_of(request)
    if form.origins and origin not in form.origins:
        return Reply(status=403)
    return Reply(
        status=204,
        headers={
            **_readable(origin),
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "Content-Type",
        },
    )


def accepted(form: WebForm, request: Request) -> Reply | None:
    """What the browser gets once the post is stored, or was dropped as a robot's; None for the usual answer. A script, which asks
    for JSON, is not sent anywhere."""
    wants = request.headers.get("accept", "")
    shown = _readable(_page_of(request))
    if not form.targets or ("json" in wants and "html" not in wants):
        return Reply(body=b"ok\n", headers=shown) if shown else None
    return Reply(status=303, body=b"ok\n", headers={**shown, "Location": _target(form, request)})


def is_robots(form: WebForm, body: Any) -> bool:
    """Whether the field that visitors do not see is filled in."""
    value = body.get(form.honeypot) if form.honeypot and isinstance(body, Mapping) else None
    return bool(str(value).strip()) if value is not None else False


def _target(form: WebForm, request: Request) -> str:
    if len(form.targets) > 1:
        try:
            wanted = as_dict(read_form(request).pairs).get(NEXT)
        except Malformed:
            wanted = None
        if wanted in form.targets:
            return str(wanted)
    return form.targets[0]


def _page_of(request: Request) -> str:
    """The site of the page that posts, "" where the browser does not tell."""
    return _origin(request.headers.get("origin", "")) or _origin(request.headers.get("referer", ""))


def _readable(origin: str) -> dict[str, str]:
    """Headers that let a script of the page read the answer."""
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}
