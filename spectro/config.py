"""Configuration of a whole run: the stages' dataclasses, and how they are executed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from spectro.clustering.config import ClusterConfig
from spectro.formats.fingerprint import FORMAT_VERSION, digest
from spectro.formats.run_parts import CONTROL, nbeta_folder
from spectro.models.components import spelt
from spectro.models.config import PACKAGED, ModelConfig, ScoringConfig
from spectro.predict.config import UpsampleConfig
from spectro.sampling.config import (
    ChainConfig,
    ObservableConfig,
    QuerySplit,
    require_observable_names,
)
from spectro.sampling.control import Control, known_control
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted, nbeta_name
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from spectro.storage.credentials import refuse_credentials
from spectro.storage.locations import local_path, path_or_name, path_or_url, resolve_location
from spectro.susceptibility.estimator import Baseline, EstimatorConfig
from spectro.tokens.config import MoreConfig, Source, TokensConfig
from spectro.views.page.config import ReportConfig
from spectro.work.config import BY_FINGERPRINT, RunConfig

SamplerConfig = Reweighted | Mala | Exponential | Psgld | Sgld | Gaussian
CONTROL_SEED = 2**62
"""Added to the run's seed for its control."""


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Configuration of one run."""

    model: ModelConfig
    """Which model."""
    tokens: TokensConfig
    """Which tokens are measured, sampled from, and evaluated on."""
    sampler: SamplerConfig
    """Update rule of the chains."""
    chain: ChainConfig
    """Length and number of the chains."""
    run: RunConfig
    """Where and how it is executed."""
    components: list[str] = field(default_factory=lambda: ["*"])
    """Names or patterns of the components, `l0h1`, `l*mlp`, `l*attn`, `l0h1.q`, `embed`, `*`, or
    definitions by names of parameters, `norms=.*norm.*`: columns of χ come in this order
    (docs/components.md)."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    """What of the arithmetic may be approximated, within a measured error."""
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    """How sums become susceptibilities."""
    observables: dict[str, ObservableConfig] = field(default_factory=dict)
    """Further observables by name: losses of chosen tokens or functions of logits, whose covariance
    with the loss of every token is a column, `influence_<name>`, for each component."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """How clusters are found."""
    report: ReportConfig = field(default_factory=ReportConfig)
    """What the page shows."""
    control: Control = Control.DEFAULT
    """Whether nβ = 0 is measured and clustered too, in `<run.uri>/control`, and along which draws:
    `shared` (the run's own, at no cost), `independent`, `none`, `default` (the first possible)."""
    seed: int = 0
    """Keys all randomness of the chains."""
    more: MoreConfig | None = None
    """Tokens to add to a run that is there; they are measured along its own draws."""
    upsample: UpsampleConfig | None = None
    """The measured run that χ is predicted from (`spectro upsample`); None: χ is measured."""

    def __post_init__(self) -> None:
        available = self.tokens.num_sampling_sequences * len(self.tokens.subsets)
        if "chain.batch_size" not in self.without_effect() and self.chain.batch_size > available:
            raise ValueError(
                f"chain.batch_size is {self.chain.batch_size}, but the sampling set has "
                f"{available} sequences (tokens.num_sampling_sequences × subsets)"
            )
        if not isinstance(self.sampler, Gaussian):
            self.chain.require_burnin()
        if not self.components:
            raise ValueError("components is empty: give names or patterns, such as '*'")
        require_observable_names(self.observables)
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2^63), found {self.seed}")
        object.__setattr__(self, "control", known_control(self.control, self.sampler))
        refuse_credentials(to_dict(self))
        if self.run.uri == BY_FINGERPRINT:
            uri = f"{resolve_location(self.run.root, 'run.root')}/{self.own_name()}"
            object.__setattr__(self, "run", dataclasses.replace(self.run, uri=uri))

    def own_name(self) -> str:
        """Name of the run that these settings are: model, sampler, fingerprint (ADR 051).

        Two settings have the same name if and only if one run directory would take both, however
        their paths are written.
        """
        model_name = _placed_model(self.model).name_or_path
        model = {"name": model_name, "revision": self.model.revision}
        if self.model.gguf_file is not None:
            model["gguf_file"] = self.model.gguf_file
        tokens = to_dict(_placed_tokens(self.tokens))
        inputs = {
            "inputs": {**self.inputs(), "tokens": tokens},
            "model": model,
            "cluster": to_dict(self.cluster),
        }
        short = re.sub(r"[^A-Za-z0-9.]+", "-", model_name.split("/")[-1])
        return f"{short.strip('-')}-{to_dict(self.sampler)['kind']}-{digest(inputs)[:10]}"

    @cached_property
    def sisters(self) -> dict[str, PipelineConfig]:
        """Parts at other nβ along the run's own draws, the control first → what each of them is.

        A part is what a separate run at that nβ, with the same seed, would be.
        """
        sampler = self.sampler
        if not isinstance(sampler, Reweighted):
            return {}
        shared = [0.0] if self.control is Control.SHARED else []
        wanted = [*shared, *(nbeta for nbeta in sampler.also_nbeta if nbeta > 0 or not shared)]
        return {
            nbeta_folder(nbeta_name(nbeta)): dataclasses.replace(
                self, sampler=sampler.at(nbeta), control=Control.NONE
            )
            for nbeta in wanted
        }

    @cached_property
    def parts(self) -> dict[str, PipelineConfig]:
        """All measurements of the run: folder → configuration, its own first, under ``""``."""
        own: dict[str, PipelineConfig] = {"": self, **self.sisters}
        return own | {CONTROL: self.as_control()} if self.control is Control.INDEPENDENT else own

    def as_control(self) -> PipelineConfig:
        """The same measurement with exact draws at nβ = 0: the run's own draws, or others.

        The seed of others is another one: with the same noise, run and control would agree for
        that reason.
        """
        if self.control is Control.SHARED:
            return self.sisters[CONTROL]
        sampler = self.sampler
        return dataclasses.replace(
            self,
            sampler=Gaussian(gamma=sampler.gamma, antithetic=getattr(sampler, "antithetic", True)),
            control=Control.NONE,
            seed=(self.seed + CONTROL_SEED) % 2**63,
        )

    @property
    def with_stability(self) -> bool:
        """Whether clusters are also looked for in both halves of the chains."""
        return self.cluster.stability and self.run.keep_halves and self.chain.num_chains > 1

    def inputs(self) -> dict[str, Any]:
        """What determines χ and which tokens have one, but for the digest of the model's weights.

        `chain_inputs` of it determine χ; the other fields only say how many tokens the run began
        with, and how they are cut into shards. Added tokens (`more`) are not among them.
        """
        plain = to_dict(self)
        model = {name: plain["model"][name] for name in ("dtype", "precision")}
        names = ("tokens", "scoring", "estimator", "seed")
        idle = self.without_effect()
        chain = {name: v for name, v in plain["chain"].items() if f"chain.{name}" not in idle}
        return {
            "format": FORMAT_VERSION,
            "model": model,
            "components": [spelt(pattern) for pattern in self.components],
            "chain": chain,
            **{name: plain[name] for name in names},
            "sampler": {k: v for k, v in plain["sampler"].items() if _is_input(k, v)},
            **({"observables": plain["observables"]} if self.observables else {}),
            **({"upsample": self.upsample.inputs()} if self.upsample else {}),
        }

    def without_effect(self) -> dict[str, str]:
        """Settings of `chain` that do nothing here → why; they are not among the inputs.

        They cannot be refused by their values, for a run's control has them too.
        """
        names: list[str] = []
        why = "its draws are exact and no chain is stepped"
        if isinstance(self.sampler, Gaussian):
            names += _OF_STEPS
        elif isinstance(self.sampler, Mala):
            why = "each step sees the whole evaluation set, never a minibatch"
        else:
            return {}
        if self.estimator.baseline is not Baseline.UNPAIRED:
            names.append("batch_size")
        reason = f"with the {to_dict(self.sampler)['kind']} sampler: {why}"
        return {f"chain.{name}": reason for name in names}


def _is_input(name: str, value: Any) -> bool:
    """Of a setting of the sampler; runs older than `vocabulary_sample` have none."""
    return name != "also_nbeta" and (name, value) != ("vocabulary_sample", None)


_OF_STEPS = ("steps_between_draws", "max_draw_correlation", "num_burnin_steps", "draw_dtype")
"""Fields of `chain` that act on stepped draws alone."""
PROBE_FIELDS = ("num_probe_sequences", "sequences_per_shard")
"""Fields of `tokens` that the chains know nothing of."""


def chain_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's inputs those that determine its draws and what χ is, for any token.

    All of them where observables are taken on tokens that are measured.
    """
    observed = inputs.get("observables", {}).values()
    if any(own["split"] == QuerySplit.PROBE.value for own in observed):
        return dict(inputs)
    tokens = {name: v for name, v in inputs["tokens"].items() if name not in PROBE_FIELDS}
    return {**inputs, "tokens": tokens}


def with_absolute_paths(config: PipelineConfig) -> PipelineConfig:
    """The same with every path as `resolve_location` has it: workers may have another folder."""
    more, run = config.more, config.run
    if more is not None:
        more = dataclasses.replace(more, subsets=_placed_sources(more.subsets, "more"))
    scratch = None if run.scratch is None else local_path(run.scratch, "run.scratch")
    return dataclasses.replace(
        config,
        run=dataclasses.replace(run, uri=resolve_location(run.uri), scratch=scratch),
        tokens=_placed_tokens(config.tokens),
        model=_placed_model(config.model),
        more=more,
    )


def _placed_model(model: ModelConfig) -> ModelConfig:
    name = path_or_name(model.name_or_path, "model.name_or_path", tuple(PACKAGED))
    return dataclasses.replace(model, name_or_path=name)


def _placed_tokens(tokens: TokensConfig) -> TokensConfig:
    return dataclasses.replace(tokens, subsets=_placed_sources(tokens.subsets, "tokens"))


def _placed_sources(sources: Mapping[str, Source], group: str) -> dict[str, Source]:
    return {
        name: dataclasses.replace(
            source, path=source.path and path_or_url(source.path, f"{group}.subsets.{name}.path")
        )
        for name, source in sources.items()
    }


def to_dict(value: Any) -> Any:
    """A configuration as plain values, as `run.yaml` has it; samplers carry their `kind`."""
    if isinstance(value, SamplerConfig):
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(value).__name__).lower()
        return {"kind": kind, **_fields(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
