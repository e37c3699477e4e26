"""Shipped field maps of the generic webhook, for vendors that send what their users put together: `preset: NAME`. Data only.

The names of the fields are ours: the page of the preset says how the vendor is told to send them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SURVEY: Mapping[str, Any] = {
    "format": "json",
    "signal": {
        "type": "survey.responded",
        "id": "{{ body.response_id }}",
        "occurred_at": "{{ body.submitted_at }}",
        "title": "Answered {{ body.survey or 'a survey' }}",
        "text": "{{ body.answers }}",
        "url": "{{ body.url }}",
        "person": {name: f"{{{{ body.{name} }}}}" for name in ("email", "phone", "name", "company")},
    },
}
PRESETS: Mapping[str, Mapping[str, Any]] = {"zoho_survey": _SURVEY, "google_forms": _SURVEY}
"""Name -> keys of a `webhook` source. What stands beside `preset:` in the configuration wins, key by key."""


def with_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a source with those of its preset beneath; unchanged without one that is known."""
    preset = PRESETS.get(str(given.get("preset")))
    return _beneath(preset, given) if preset is not None else dict(given)


def _beneath(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        one, other = below[name], above[name]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            merged[name] = _beneath(one, other)
    return merged
