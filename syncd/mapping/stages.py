"""The stage and the pipeline of a conversion's deal, compared with those that the CRM has. Pure; against.py asks."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from syncd.capabilities import Pipeline
from syncd.mapping.bounds import literal
from syncd.mapping.compiler import Tree

LISTED = 10
"""Names that a hint lists."""


def wrong_stages(deal: Mapping[str, Tree], pipelines: Sequence[Pipeline]) -> Iterator[tuple[str, str, str]]:
    """(key, message, hint) of a name that is not there. A deal without a pipeline is in the first one; of what an expression
    makes nothing is known."""
    chosen = list(pipelines if "pipeline" in deal else pipelines[:1])
    if pipelines and isinstance(pipeline := literal(deal.get("pipeline")), str):
        chosen = [one for one in pipelines if _among(pipeline, one.names)]
        if not chosen:
            names = [one.names[0] for one in pipelines]
            yield "pipeline", f"{pipeline!r} is not one of the values of pipeline", _hint(pipeline, names)
    stages = [name for one in chosen for name in one.stages]
    if chosen and isinstance(stage := literal(deal.get("stage")), str) and not _among(stage, stages):
        yield "stage", f"{stage!r} is not one of the values of stage in this pipeline", _hint(stage, stages)


def _among(name: str, names: Sequence[str]) -> bool:
    return name.strip().casefold() in [one.casefold() for one in names]


def _hint(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names[:LISTED]) or 'none'}"
