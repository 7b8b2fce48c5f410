"""Chain units: which chains step together, from which checkpoint, and where their draws go."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from spectro.formats import chain_records, draws
from spectro.formats.chain_names import block_name, chains_among, record_name
from spectro.formats.checkpoint_bank import CheckpointBank, chain_folder, chain_stem, stem_of
from spectro.measure.checkpoint_writer import CheckpointWriter
from spectro.measure.resident_model import ResidentModel
from spectro.measure.shared_draws import known_chains
from spectro.measure.units import ChainUnit
from spectro.sampling.checkpoint import Checkpoint
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.samplers import Blocks
from spectro.storage.background import BackgroundWriter
from spectro.storage.store import Store
from spectro.work.stage import OnProgress, ShouldStop

Missing = dict[int, chain_records.ChainRecord | None]
"""Chain to be made → its record, where tiles have used its draws before."""


def run_chains(
    unit: ChainUnit,
    resident: ResidentModel,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> None:
    """Make the chains of a unit that are not there; raises HandedBack when asked to stop."""
    for batch, missing in chain_batches(unit, resident).items():
        _run_batch(unit, resident, batch, missing, on_progress, should_stop)


def chain_batches(unit: ChainUnit, resident: ResidentModel) -> dict[tuple[int, ...], Missing]:
    """Batches of a unit's chains that step together → those of them that are missing.

    Unfinished chains step together; with all chains of the unit if an earlier attempt at the whole
    batch wrote a checkpoint or finished a chain. A chain whose draws were lost or dropped is made
    again in the batch that its record names: tiles have read these draws, so every bit must be the
    same.
    """
    store, _ = resident.of(unit)
    group = unit.group.name
    present = store.list(f"chains/{group}")
    there = chains_among(present)
    lost = chain_records.incomplete(store, present)
    found: dict[tuple[int, ...], Missing] = {}
    fresh: Missing = {}
    for chain in unit.chains:
        own = there.get((group, chain))
        if own is None or not own.done:
            fresh[chain] = None
        elif not own.marker or record_name(group, chain) in lost:
            record = chain_records.read_record(store, group, chain, or_dropped=True)
            found.setdefault(record.together, {})[chain] = record
    if fresh:
        begun = chain_stem(unit.chains) in {stem_of(name) for name in present}
        if (done := next((c for c in unit.chains if c not in fresh), None)) is not None:
            record = chain_records.read_record(store, group, done, or_dropped=True)
            begun = begun or record.together == tuple(unit.chains)
        found.setdefault(unit.chains if begun else tuple(fresh), {}).update(fresh)
    return found


def _run_batch(
    unit: ChainUnit,
    resident: ResidentModel,
    batch: tuple[int, ...],
    missing: Missing,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> None:
    """Run a batch of chains; store those that are missing."""
    store, config = resident.of(unit)
    group = unit.group.name
    pilot = chain_records.read_pilot(store, group)
    writers = {c: draws.DrawWriter(store, group, c, before) for c, before in missing.items()}
    known = known_chains(unit, group, batch, resident)
    if set(pilot) == set(known[batch[0]]):
        for chain, writer in writers.items():
            writer.finish(known[chain], 0.0, batch)
        return
    bank = CheckpointBank(store, chain_folder(group), chain_stem(batch), _digest(batch, pilot))
    with BackgroundWriter() as background:
        checkpoint_writer = CheckpointWriter(
            bank,
            background,
            config.run.checkpoint_seconds,
            should_stop,
            more=partial(_handed_over, writers),
            resumed=_resumed(store, bank, writers),
        )
        sinks = {c: partial(background.submit, writer.put) for c, writer in writers.items()}
        results = resident.chains(unit.group, config, pilot).run(
            batch,
            sinks={chain: sinks.get(chain, _there_already) for chain in batch},
            on_step=on_progress,
            checkpoints=checkpoint_writer.checkpoints(),
            left_out=frozenset(known[batch[0]]),
        )
    for chain, writer in writers.items():
        components = results[chain].components | known[chain]
        in_order = {c.name: components[c.name] for c in unit.group.components}
        writer.finish(in_order, checkpoint_writer.seconds / len(batch), batch)
    bank.remove()


def _there_already(component: str, first: int, draws: Blocks) -> None:
    """A sink for a chain whose draws are in storage."""


def _digest(batch: Sequence[int], pilot: Mapping[str, PosteriorMoments]) -> str:
    """Digest of the inputs of chains that the run's fingerprint does not cover."""
    plain = [list(batch), {name: dataclasses.asdict(moments) for name, moments in pilot.items()}]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _handed_over(writers: Mapping[int, draws.DrawWriter]) -> dict[str, Any]:
    return {"blocks": {str(c): chain_records.plain_blocks(w.blocks) for c, w in writers.items()}}


def _resumed(
    store: Store, bank: CheckpointBank, writers: Mapping[int, draws.DrawWriter]
) -> Checkpoint | None:
    """The newest checkpoint all of whose draws are there; the writers then know of them."""
    accepted: dict[int, dict[str, dict[int, Any]]] = {}

    def whole(found: Checkpoint) -> bool:
        plain = found.values["blocks"]
        if not {str(chain) for chain in writers} <= set(plain):
            return False
        blocks = {chain: chain_records.blocks_of(plain[str(chain)]) for chain in writers}
        for chain, writer in writers.items():
            present = store.list(f"chains/{writer.group}/{chain}")
            for component, infos in blocks[chain].items():
                for first, info in infos.items():
                    name = block_name(writer.group, chain, component, first, info)
                    if present.get(name) != info.size_bytes:
                        return False
        accepted.update(blocks)
        return True

    found = bank.newest(whole)
    for chain, blocks in accepted.items():
        writers[chain].blocks = blocks
    return found
