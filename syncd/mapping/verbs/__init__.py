"""The kinds of rule, one class each. A new one is a module here and an entry of `VERBS`."""

from __future__ import annotations

from syncd.mapping.parts import RuleVerb
from syncd.mapping.verbs.assign import ASSIGN
from syncd.mapping.verbs.convert import CONVERT
from syncd.mapping.verbs.create import CREATE
from syncd.mapping.verbs.notify import NOTIFY
from syncd.mapping.verbs.observe import OBSERVE
from syncd.mapping.verbs.update import UPDATE
from syncd.mapping.verbs.upsert import UPSERT

VERBS: dict[str, RuleVerb] = {verb.word: verb for verb in (UPSERT, CREATE, UPDATE, ASSIGN, CONVERT, OBSERVE, NOTIFY)}
"""By the key that names it in the YAML."""

__all__ = ["ASSIGN", "CONVERT", "CREATE", "NOTIFY", "OBSERVE", "UPDATE", "UPSERT", "VERBS"]
