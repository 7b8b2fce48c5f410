"""The pilot of a calibration: model, tokens, responses at each γ, and an estimate per setting."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from spectro.analysis.patterns import Traits, pattern_types
from spectro.calibrate.choose import Split, choose
from spectro.calibrate.law import fit
from spectro.calibrate.measures import Labels, measure
from spectro.calibrate.responses import Float64, Responses, losses_of_draws, measure_responses
from spectro.calibrate.setting import Setting
from spectro.config import PipelineConfig
from spectro.measure.checkpoint_copy import on_this_machine
from spectro.measure.sampled_groups import groups_of
from spectro.measure.tokenise import sources_at, tokenizer_of
from spectro.models.config import ScoringConfig
from spectro.models.engine import Engine, engine_of
from spectro.models.load import load_model, load_tokenizer
from spectro.models.size import ModelSize
from spectro.models.token_ids import check_ids
from spectro.planning.calibration.config import CalibrateConfig
from spectro.planning.calibration.cost import CostModel, pilot_flops, sampler_of, with_split
from spectro.planning.device_costs import Device
from spectro.planning.measure_rates import measure_rates
from spectro.planning.rates import TERA, Rates
from spectro.sampling.effective_sample_size import ess_of_weights
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.pilot.damage import DAMAGED, damage
from spectro.sampling.pilot.importance_weights import importance_weights
from spectro.sampling.pilot.pilot_sizes import NUM_PILOT_DRAWS
from spectro.sampling.pilot.posterior_moments import NUM_DAMAGE_DRAWS
from spectro.sampling.reweighted import Reweighted
from spectro.susceptibility.measurement import MeasuredModel
from spectro.tokens.build import build
from spectro.tokens.display.token_texts import TokenTexts

PILOT_NEIGHBOURS = 3
"""k of the pilot. The 3 nearest of 8 192 tokens are as near as the 24 nearest of 65 536: a pilot
of few tokens sees with a small k what a run sees with a larger one (ADR 074)."""
NESTED = (4, 2, 1)
"""The nested sets of tokens are the pilot's over these."""


@dataclass(frozen=True, kw_only=True)
class AtGamma:
    """One γ of the pilot."""

    gamma: float
    """γ."""
    damage: float
    """Largest of a component."""
    damaged: str
    """Its name."""
    delta_loss_HP: Float64 | None = None
    """ΔL of independent draws, from which effective fractions are; not in pairs, for ΔL is mostly
    even, so that a pair is one draw of it. None where the model is destroyed, as `responses`."""
    responses: Responses | None = None
    """Δℓ of the pilot's tokens."""
    seconds: float = math.nan
    """What measuring them took."""


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Model and tokens."""

    config: PipelineConfig
    """Of the pilot: the run's, with fewer tokens."""
    settings: CalibrateConfig
    """What is asked for."""
    size: ModelSize
    """Of the model."""
    model: Engine
    """Resident."""
    probe: Tensor
    """int64 [S, T+1]."""
    sampling: Tensor
    """int64 [M, T+1]."""
    evaluation: Tensor
    """int64 [E, T+1]."""
    labels: Labels
    """Of the probe tokens."""

    @classmethod
    def of(cls, config: PipelineConfig, settings: CalibrateConfig) -> Pilot:
        """Load the model, read the tokens.

        Raises ValueError or FileNotFoundError, in one line, for what cannot be used.
        """
        tokens = config.tokens
        row = len(tokens.subsets) * tokens.context
        tokens = dataclasses.replace(
            tokens, num_probe_sequences=math.ceil(settings.num_tokens / row)
        )
        config = dataclasses.replace(config, tokens=tokens, observables={})
        local = on_this_machine(config.model, config.run.scratch, weights=True)
        hf_model = load_model(local)
        vocab_size = int(hf_model.config.vocab_size)
        splits = build(
            tokens, *tokenizer_of(config.model, vocab_size), vocab_size, open_url=sources_at(config)
        )
        model = engine_of(hf_model, config.model.precision, loaded=True)
        ids = splits.probe.ids_ST1
        pieces = TokenTexts(load_tokenizer(local), vocab_size).pieces
        types = pattern_types(Traits.of(pieces), ids)
        return cls(
            config=config,
            settings=settings,
            size=model.shape,
            model=model,
            probe=check_ids(model, torch.from_numpy(ids), "probe tokens"),
            sampling=check_ids(model, torch.from_numpy(splits.sampling.ids_ST1), "sampling"),
            evaluation=check_ids(model, torch.from_numpy(splits.evaluation.ids_ST1), "evaluation"),
            labels=Labels(y_N=ids[:, 1:].ravel(), pattern_NP=types.reshape(-1, types.shape[-1])),
        )

    @cached_property
    def measured(self) -> MeasuredModel:
        """Model and sequences on the measuring path, with exact losses."""
        return MeasuredModel(
            ScoringConfig(shortlist_size=0),
            model=lambda: self.model,
            sampling_ids=lambda: self.sampling,
            evaluation_ids=lambda: self.evaluation,
        )

    @property
    def num_tokens(self) -> int:
        """N."""
        return len(self.labels.y_N)

    def at_gamma(self, gamma: float, on_step: Callable[[str], None]) -> AtGamma:
        """Damage at one γ, and the responses where the model is left whole."""
        on_step(f"gamma {gamma:g}")
        groups = groups_of(
            with_split(self.config, sampler_of(self.config, gamma, 0.0), 1, 4), self.size
        )
        parts = [self.measured.part(group) for group in groups]
        scoring = self.measured.scoring({})
        shared = (self.evaluation, self._randomness, scoring)
        few_HP, names = losses_of_draws(parts, gamma, NUM_DAMAGE_DRAWS, *shared)
        headroom = self.measured.headroom
        share_H = np.array([damage(float(loss), headroom) for loss in few_HP.mean(axis=1)])
        share_H[~np.isfinite(few_HP).all(axis=1)] = np.inf
        worst = int(np.argmax(np.nan_to_num(share_H, nan=0.0, posinf=np.inf)))
        lost, name = float(share_H[worst]), names[worst]
        if lost >= DAMAGED:
            return AtGamma(gamma=gamma, damage=lost, damaged=name)
        start = time.perf_counter()
        responses = measure_responses(parts, gamma, self.settings.num_draws, self.probe, *shared)
        seconds = time.perf_counter() - start
        loss_HP, _ = losses_of_draws(parts, gamma, NUM_PILOT_DRAWS, *shared)
        return AtGamma(
            gamma=gamma,
            damage=lost,
            damaged=name,
            delta_loss_HP=loss_HP,
            responses=responses,
            seconds=seconds,
        )

    def setting(self, found: AtGamma, nbeta: float, costs: CostModel) -> Setting:
        """Judge one nβ by the weights of a γ's draws."""
        sampler = sampler_of(self.config, found.gamma, nbeta)
        least = sampler.min_effective_fraction if isinstance(sampler, Reweighted) else 0.0
        setting = Setting(
            gamma=found.gamma, nbeta=nbeta, damage=found.damage, damaged=found.damaged
        )
        if found.responses is None or found.delta_loss_HP is None:
            return setting
        fraction_H = [_fraction(loss_P, nbeta) for loss_P in found.delta_loss_HP]
        names = found.responses.components
        chained = tuple(n for n, f in zip(names, fraction_H, strict=True) if f < least)
        setting = dataclasses.replace(setting, effective_fraction=min(fraction_H), chained=chained)
        if chained:
            least_split = (self.config.tokens.sequences_per_shard, self.settings.min_draws)
            with_chains = costs.seconds(sampler, chained, *least_split)
            cost = with_chains - costs.seconds(sampler, (), *least_split)
            return dataclasses.replace(setting, chain_seconds=cost)
        sizes = [self.num_tokens // part for part in NESTED]
        draws, k = self.settings.set_sizes, PILOT_NEIGHBOURS
        preprocess = self.config.cluster.preprocess
        cells = measure(found.responses, nbeta, self.labels, sizes, draws, k, preprocess)
        law = fit(cells)
        setting = dataclasses.replace(setting, cells=tuple(cells), law=law)
        splits = self.splits(setting, costs)
        if law is None or not splits:
            return setting
        return dataclasses.replace(setting, choice=choose(splits, law))

    def require_text(self, config: PipelineConfig) -> None:
        """Read the tokens of the run that is proposed, on the machine that is to do it.

        Raises ValueError, in one line, where the text has fewer.
        """
        encode, eot_id = tokenizer_of(config.model, self.size.vocab_size)
        try:
            build(config.tokens, encode, eot_id, self.size.vocab_size, open_url=sources_at(config))
        except ValueError as error:
            raise ValueError(
                f"the budget pays more tokens than the text has ({error}); or give "
                "calibrate.max_tokens, so that the rest is spent on draws"
            ) from error

    def splits(self, setting: Setting, costs: CostModel) -> list[Split]:
        """What the budget pays at a setting."""
        sampler = sampler_of(self.config, setting.gamma, setting.nbeta)
        return costs.splits(sampler, setting.chained, self.settings)

    def device(self, rates: Rates | None, measured: Sequence[AtGamma]) -> Device:
        """Of the budget: rates that are given, or those of this machine, for forward passes the
        pilot's own where it measured any."""
        model = self.config.model
        precision = model.dtype if model.dtype == "float64" else model.precision.value
        if rates is None:
            rates = measure_rates(
                self.size, self.config.tokens.context, precision, self.model.device
            )
            if measured:
                flops = pilot_flops(
                    with_split(
                        self.config, self.config.sampler,
                        self.config.tokens.num_probe_sequences, self.settings.min_draws,
                    ),
                    self.size,
                    self.settings.num_draws,
                )  # fmt: skip
                rate = dataclasses.replace(
                    rates.at(self.size.hidden_size, precision),
                    scoring_tflops=flops / min(found.seconds for found in measured) / TERA,
                )
                rates = dataclasses.replace(rates, rates=(rate,))
        return Device(rates=rates, precision=precision, num_devices=1)

    @property
    def _randomness(self) -> KeyedRandomness:
        return KeyedRandomness(seed=self.config.seed)


def _fraction(loss_P: Float64, nbeta: float) -> float:
    """(Σω)²/(P Σω²)."""
    if not np.isfinite(loss_P).all():
        return 0.0
    return ess_of_weights(importance_weights(loss_P, nbeta, float(loss_P.min()))) / len(loss_P)
