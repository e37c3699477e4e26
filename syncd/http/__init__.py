"""The polite HTTP client for connectors: deadlines, tokens, failures by class.

Connector authors import the public names from here. They are loaded on first use: whoever needs only one submodule does not
pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.http.client import Bearer as Bearer
    from syncd.http.client import Deadlines as Deadlines
    from syncd.http.client import HttpClient as HttpClient
    from syncd.http.client import Response as Response
    from syncd.http.client import check_base_url as check_base_url
    from syncd.http.client import parse_retry_after as parse_retry_after
    from syncd.http.client import throttled as throttled
    from syncd.http.client import unclear as unclear


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(import_module("syncd.http.client"), name)
