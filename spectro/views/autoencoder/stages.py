"""What an autoencoder leaves in a run, made on request by `spectro sae`."""

from __future__ import annotations

from spectro.work.stage import ObjectKind, Stage

VERIFICATION = "spectro.views.autoencoder.verification"

AUTOENCODERS = Stage(
    name="autoencoders",
    objects=(
        ObjectKind(
            name="encodings",
            check=f"{VERIFICATION}:check_encoding",
            damaged="delete it; spectro sae makes it again",
            missing="spectro sae makes it again",
        ),
        ObjectKind(
            name="feature_matches",
            read_marker=f"{VERIFICATION}:tables_of_matches",
            check=f"{VERIFICATION}:check_table",
            damaged="delete it and what has its name beside it; spectro sae makes all again",
            missing="spectro sae makes it again, or delete the .json that names it",
        ),
    ),
)
"""Features of a run's tokens, and the match of its clusters to them (ADR 102)."""
