"""All stages of a run, in the order of their work. A new stage is one line here (ADR 078)."""

from __future__ import annotations

import re

from spectro.cluster_stage.stages import CLUSTERS, NEIGHBOURS
from spectro.measure.stages import ASSEMBLY, CHAINS, PILOT, TILES, TOKENS
from spectro.storage.store import FENCE, Store
from spectro.upsampling.stages import FEATURES, PREDICTION, TRAINING
from spectro.views.autoencoder.stages import AUTOENCODERS
from spectro.views.map.stages import MAP
from spectro.views.page.stages import REPORT
from spectro.work.registry import StageRegistry
from spectro.work.stage import ObjectKind, Stage


def leftover_fences(store: Store, names: set[str]) -> set[str]:
    """Objects by which a store was tested for exclusive creation."""
    return {name for name in names if re.match(re.escape(FENCE), name)}


RUN = Stage(
    name="run",
    objects=(
        ObjectKind(name="run", is_read=False, needs_tokens=False, damaged="restore it from a copy"),
        ObjectKind(
            name="binding",
            needs_tokens=False,
            damaged="delete it; the run records its model and device again",
        ),
        ObjectKind(name="sessions", needs_tokens=False),
        ObjectKind(name="failures", needs_tokens=False),
        ObjectKind(name="logs", is_read=False, needs_tokens=False),
        ObjectKind(name="fences", is_read=False, needs_tokens=False),
    ),
    leftovers=leftover_fences,
)
"""What the run itself puts, before and beside all stages."""

STAGES = StageRegistry(
    (
        RUN,
        TOKENS,
        PILOT,
        CHAINS,
        TILES,
        FEATURES,
        TRAINING,
        PREDICTION,
        ASSEMBLY,
        NEIGHBOURS,
        CLUSTERS,
        AUTOENCODERS,
        REPORT,
        MAP,
    )
)
