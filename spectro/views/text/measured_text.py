"""A text measured along a run's draws: forward passes only, nothing is written.

Draws do not depend on the tokens that are measured (design §4), so a text gets the χ that the run
would have given it: the same draws, weights, estimator and contexts, by the same functions
(`susceptibility/measurement.py`). Last bits differ where sequences or components are computed in
other batches (design §2). No end-of-text token is put before or after a text: it may be a part of a
document.

Shapes: N tokens of the text, n windows of L positions (tokens/windows.py), M = N − 1 measured
tokens, C components.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor

from spectro.config import PipelineConfig
from spectro.formats.chain_names import dropped_name, record_name
from spectro.formats.chain_records import ChainRecord, block_names, read_pilot, read_record
from spectro.measure.resident_model import ResidentModel
from spectro.measure.tiles import stored_chain
from spectro.measure.tokenise import tokenizer_of
from spectro.models.components import Group, group_components
from spectro.models.token_ids import check_ids
from spectro.sampling.config import TokenDraws
from spectro.susceptibility.columns import TOKEN_COLUMNS, estimate
from spectro.susceptibility.estimator import ChainSums
from spectro.susceptibility.measurement import chain_sums
from spectro.tokens.packing import encode_stream
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.sources.text_bytes import FileText
from spectro.tokens.windows import Windows, windows
from spectro.views.run_view import RunView
from spectro.work.model_info import ModelInfo, model_of
from spectro.work.threads import use_threads

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class MeasuredText:
    """χ of a text's tokens but the first."""

    chi_MC: npt.NDArray[np.float32]
    """χ, nats²."""
    error_MC: npt.NDArray[np.float32]
    """Jackknife standard error over chains; NaN with one chain."""
    loss_M: npt.NDArray[np.float32]
    """ℓ at w*, nats."""
    num_chains: int
    """Chains of every component."""


class RunDraws:
    """The draws of a run, along which other texts are measured.

    Args:
        view: the run, or its control.
        config: the configuration of the run (or of its control), as `run.yaml` has it.
    """

    def __init__(self, view: RunView, config: PipelineConfig) -> None:
        run = dataclasses.replace(config.run, uri=view.root.uri)  # it may have been moved
        self.view, self.config = view, dataclasses.replace(config, run=run)
        self.store = view.store

    @cached_property
    def resident(self) -> ResidentModel:
        """The model and the run's sequences.

        Raises ValueError, in one line, where the model cannot be loaded, is not the one that the
        run was made with, or is on another kind of device than draws from keys need.
        """
        transformers.logging.disable_progress_bar()
        made = ResidentModel(self.config)
        found = ModelInfo.of(made.hf_model)
        expected = self.view.file.inputs
        if found.weights_sha256 != expected.get("model_weights", found.weights_sha256):
            raise ValueError(
                f"the model {self.config.model.name_or_path!r} has other weights than "
                f"{self.view.uri} was measured with: has the checkpoint been replaced?"
            )
        device, kind = found.device.split(":")[0], expected.get("device_type")
        if kind not in (None, device):
            raise ValueError(
                f"{self.view.uri} was measured on {kind}, this is {device}: the same keys give "
                "other draws here, so that χ would not be the run's; measure the text on "
                f"{kind}"
            )
        use_threads(self.config.run.threads_per_worker)
        return made

    @property
    def chains(self) -> range:
        """Chains along which texts are measured: the first token shard's, so that texts compare."""
        return self.config.chain.of_shard(0)

    def groups(self, names: Sequence[str]) -> tuple[Group, ...]:
        """Groups of these columns alone, and `full` for the two-chain estimator."""
        model = model_of(self.view.file, self.view.uri)
        own = {component.name: component for component in model.select(self.config.components)}
        return group_components(
            [own[name] for name in names], with_full=self.config.estimator.kind.needs_full
        )

    def require_draws(self, names: Sequence[str]) -> None:
        """Raise ValueError, in one line, unless all draws that these components need are there."""
        for group in self.groups(names):
            present = set(self.store.list(f"chains/{group.name}"))
            for chain in self.chains:
                self._require_chain(group.name, chain, present)

    def _require_chain(self, group: str, chain: int, present: set[str]) -> None:
        uri = self.view.root.uri
        if record_name(group, chain) in present:
            lost = block_names(group, chain, self.record(group, chain)) - present
            if not lost:
                return
            raise ValueError(
                f"{self.view.uri} misses draws of {group}, such as {min(lost)}: spectro verify "
                f"run.uri={uri} says what to do"
            )
        self.view.require_draws()
        if dropped_name(group, chain) not in present:
            raise ValueError(
                f"{self.view.uri} has no draws of {group} yet: finish the run with spectro resume "
                f"run.uri={uri}"
            )
        removed = (
            f"{self.view.uri}: the draws of {group} were removed (run.keep_draws=false), and a "
            "text is measured along them"
        )
        if self.config.chain.draws is TokenDraws.PER_SHARD:
            raise ValueError(f"{removed}: it needs a run with run.keep_draws=true")
        more = 1 + max(self.view.info.splits["probe"].counts.values())
        raise ValueError(
            f"{removed}; adding tokens makes them again, and changes the run (its "
            "clusters, page and map then have to be made again): spectro sample "
            f"run.uri={uri} tokens=more more.num_probe_sequences={more} run.keep_draws=true"
        )

    def record(self, group: str, chain: int) -> ChainRecord:
        """Record of a chain of a group."""
        return read_record(self.store, group, chain)

    def tokenised(
        self, text: str, name: str, max_tokens: int | None = None
    ) -> npt.NDArray[np.int32]:
        """A text's token ids, [N], by the run's own tokenizer.

        Lone surrogates and U+0000 are replaced, as in the run's sources (`text_bytes.py`).
        Raises ValueError, in one line, for less than two tokens, or too many.
        """
        report = SourceReport()
        clean = FileText(name, report).of_string(text)
        vocab_size = int(self.resident.hf_model.config.vocab_size)
        encode, eot_id = tokenizer_of(self.resident.config.model, vocab_size)
        try:
            ids = encode_stream(
                [clean], encode, eot_id=eot_id, vocab_size=vocab_size,
                enough=lambda _: True, report=report,
            )[:-1]  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if report.line:
            logger.warning("%s: %s", name, report.line)
        if len(ids) < 2:
            raise ValueError(
                f"{name} has {len(ids)} tokens: a text needs at least two, a context and a token "
                "that it predicts"
            )
        if max_tokens is not None and len(ids) > max_tokens:
            raise ValueError(
                f"{name} has {len(ids):,} tokens, max_tokens is {max_tokens:,}: give a part of it, "
                f"or max_tokens={len(ids)}"
            )
        return ids

    def measure(
        self,
        ids_N: npt.NDArray[np.integer],
        names: Sequence[str],
        on_progress: OnProgress | None = None,
    ) -> MeasuredText:
        """χ of every token of a text but the first, for these components, in their order."""
        cut = windows(ids_N, self.view.context)
        return self.measure_windows(cut, names, on_progress)

    def measure_windows(
        self, cut: Windows, names: Sequence[str], on_progress: OnProgress | None = None
    ) -> MeasuredText:
        """χ of the known positions of some windows, row by row."""
        ids = check_ids(self.resident.model, torch.from_numpy(cut.ids_nL1), "the text")
        groups, sums = self.groups(names), dict[str, ChainSums]()
        for done, group in enumerate(groups):

            def report(scored: int, of: int, before: int = done) -> None:
                if on_progress is not None:
                    on_progress(before + scored / max(1, of), len(groups))

            sums |= self._sums(group, ids, cut.known_nL.reshape(-1), report)
        loss = self.resident.losses(ids)[cut.known_nL].astype(np.float32)
        found = estimate(
            sums, names, self.config.estimator.kind, loss, phi_offset=self._phi_offset
        ).values(TOKEN_COLUMNS)
        return MeasuredText(
            chi_MC=found["chi"].astype(np.float32),
            error_MC=found["standard_error"].astype(np.float32),
            loss_M=loss,
            num_chains=self.config.chain.num_chains,
        )

    @cached_property
    def _phi_offset(self) -> float:
        return self.resident.phi_offset(self.config)

    def _sums(
        self,
        group: Group,
        ids_nL1: Tensor,
        known_T: npt.NDArray[np.bool_],
        on_progress: Callable[[int, int], None],
    ) -> dict[str, ChainSums]:
        """Sums of a group's components over all draws, for the known positions."""
        records = {chain: self.record(group.name, chain) for chain in self.chains}
        chains = {
            chain: stored_chain(
                self.resident.part(group), self.store, group.name, chain, record, self.config
            )
            for chain, record in records.items()
        }
        pilot = read_pilot(self.store, group.name)
        tile = self.resident.score(group, chains, ids_nL1, pilot, on_progress=on_progress)
        return chain_sums(
            {name: sums.of_tokens(known_T) for name, sums in tile.items()},
            {name: [record.components[name] for record in records.values()] for name in tile},
        )
