"""The stages of a measurement: tokens, pilot, chains, tiles, assembly."""

from __future__ import annotations

from spectro.formats.product import SUMMARY_NAME
from spectro.measure.units import (
    AssemblyUnit,
    ChainUnit,
    MoreTokensUnit,
    PilotUnit,
    SummaryUnit,
    TileUnit,
    TokensUnit,
    measured_units,
)
from spectro.work.stage import REMAKE, Goal, ObjectKind, Stage

VERIFICATION = "spectro.measure.verification"
WITH_MOMENTS = "the assembly/part-NNNNN.json that names it; the run makes both again"
BESIDE_ROWS = r"assembly/part-\1.json"

TOKENS = Stage(
    name="tokens",
    goal=Goal.TOKENS,
    run={
        TokensUnit: "spectro.measure.tokenise:make_tokens",
        MoreTokensUnit: "spectro.measure.tokenise:add_tokens",
    },
    objects=(
        ObjectKind(
            name="tokens",
            read_marker=f"{VERIFICATION}:shards_of_tokens",
            check=f"{VERIFICATION}:check_sequences",
            compare=f"{VERIFICATION}:compare_sequences",
            needs_tokens=False,
            damaged="delete it and the marker that names it (tokens/tokens.json, or the "
            "addition's tokens/more-NNN.json): the same sources give the same again",
        ),
    ),
)
PILOT = Stage(
    name="pilot",
    goal=Goal.SAMPLE,
    run={PilotUnit: "spectro.measure.pilot:measure_pilot"},
    objects=(ObjectKind(name="pilots", damaged=f"{REMAKE} when chains need it"),),
)
CHAINS = Stage(
    name="chains",
    goal=Goal.SAMPLE,
    run={ChainUnit: "spectro.measure.chains:run_chains"},
    objects=(
        ObjectKind(name="chains", read_marker=f"{VERIFICATION}:blocks_of_chain", damaged=REMAKE),
        ObjectKind(
            name="draws",
            named_by=(r"(chains/[^/]+/\d+)/[^/]+", r"\1.json"),
            may_vanish=True,
            damaged="delete it and its chain's marker (chains/<group>/<chain>.json); the run makes "
            "both again",
        ),
        ObjectKind(
            name="checkpoints",
            may_vanish=True,
            damaged="delete it; its unit goes on from an earlier one, or from its start",
        ),
    ),
    incomplete="spectro.formats.chain_records:incomplete",
    leftovers="spectro.measure.leftovers:leftovers_of_chains",
)
TILES = Stage(
    name="tiles",
    goal=Goal.SAMPLE,
    run={TileUnit: "spectro.measure.tiles:run_tile"},
    objects=(
        ObjectKind(
            name="tiles", check=f"{VERIFICATION}:check_tile", may_vanish=True, damaged=REMAKE
        ),
    ),
    leftovers="spectro.measure.leftovers:leftovers_of_tiles",
)
ASSEMBLY = Stage(
    name="assembly",
    goal=Goal.SAMPLE,
    run={
        AssemblyUnit: "spectro.measure.assembly:assemble_shard",
        SummaryUnit: "spectro.measure.assembly:summarise",
    },
    units=measured_units,
    objects=(
        ObjectKind(
            name="rows",
            check=f"{VERIFICATION}:check_rows",
            compare=f"{VERIFICATION}:compare_rows",
            damaged=f"delete it and {WITH_MOMENTS}",
        ),
        ObjectKind(
            name="halves",
            check=f"{VERIFICATION}:check_halves",
            compare=f"{VERIFICATION}:compare_halves",
            named_by=(r"halves/part-(\d+)\.parquet", BESIDE_ROWS),
            damaged=f"delete it and {WITH_MOMENTS}",
            missing=f"delete {WITH_MOMENTS}",
        ),
        ObjectKind(
            name="moments",
            read_marker=f"{VERIFICATION}:parquet_of_shard",
            damaged="delete it and the susceptibilities/part-NNNNN.parquet of its number; the run "
            "makes both again",
        ),
        ObjectKind(
            name="summary",
            read_marker=f"{VERIFICATION}:keep_summary",
            compare=f"{VERIFICATION}:compare_summary",
            damaged=REMAKE,
        ),
    ),
    completed_by=SUMMARY_NAME.replace(".", r"\."),
    owns_folder=False,
)
STAGES = (TOKENS, PILOT, CHAINS, TILES, ASSEMBLY)
