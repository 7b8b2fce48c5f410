"""Sampler bias and effective draws per gradient of each sampler, component by component.

The same posterior (γ, nβ) is sampled by
    psgld        at the published step size and distance between draws (Gordon et al. 2026),
    exponential  one Gaussian step of a given size, as often as its memory asks,
    mala         Metropolis-adjusted steps on the evaluation set, tuned by the pilot,
    reweighted   independent Gaussian draws with importance weights,
and held against E[ΔL] from importance weights where they carry, else from reference chains. On the
shipped model and on a sharper one, the shipped model with its logits doubled.

    bias         mean ΔL of the chain − E[ΔL], in posterior deviations and in Monte-Carlo errors (z)
    effective    draws that the draws are worth, by ΔL (chains: Geyer's initial sequence)
    per gradient effective draws over gradients taken

`python -m benchmarks.samplers` (7 minutes on one core), `--toy` for seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks import common
from benchmarks.shapes import SHIPPED, Splits, ids_of, model_of
from spectro.models.families.gpt_neox import GPTNeoX
from spectro.models.groups import group_model
from spectro.sampling.chain import GroupChains
from spectro.sampling.component_chain import ComponentChain
from spectro.sampling.config import ChainConfig
from spectro.sampling.effective_sample_size import effective_sample_size
from spectro.sampling.keys import KeyedRandomness
from spectro.sampling.mala import Mala
from spectro.sampling.pilot import pilot as pilots
from spectro.sampling.pilot import pilot_sizes
from spectro.sampling.pilot.posterior_moments import PosteriorMoments
from spectro.sampling.pilot.sampler_bias import sampler_bias
from spectro.sampling.reweighted import (
    MIN_EFFECTIVE_FRACTION,
    Reweighted,
    Sampler,
)
from spectro.sampling.samplers import Exponential, Psgld

COMPONENTS = ["l0h0", "l1h2", "l2mlp", "l3h1", "embed", "unembed"]
PUBLISHED_STEPS = 55


def samplers(gamma: float, nbeta: float) -> dict[str, tuple[Sampler, int | None]]:
    """Name → sampler of one posterior, and its steps between draws; None: as many as it needs."""
    published = Psgld(gamma=gamma, nbeta=nbeta, step_size=1e-5, alpha=0.99, damping=0.1)
    found: dict[str, tuple[Sampler, int | None]] = {"psgld": (published, PUBLISHED_STEPS)}
    for step_size in (1e-3, 1e-2):
        exponential = Exponential(gamma=gamma, nbeta=nbeta, step_size=step_size, damping=0.1)
        found[f"exponential {step_size:g}"] = (exponential, None)
    found["mala"] = (Mala(gamma=gamma, nbeta=nbeta), None)
    found["reweighted"] = (
        Reweighted(gamma=gamma, nbeta=nbeta, min_effective_fraction=MIN_EFFECTIVE_FRACTION),
        1,
    )
    return found


def study(model: GPTNeoX, component: str, ids: Splits, options: Any) -> dict[str, Any]:
    """All samplers of one component."""
    (group,) = model.shape.groups([component], with_full=False)
    part, evaluation = group_model(model, group), ids.evaluation
    found: dict[str, Any] = {}
    posterior = Exponential(gamma=options.gamma, nbeta=options.nbeta)
    exact = pilots.run_pilot(part, posterior, evaluation, KeyedRandomness(seed=11))
    tuned = pilots.run_pilot(
        part, Mala(gamma=options.gamma, nbeta=options.nbeta), evaluation, KeyedRandomness(seed=11)
    )
    for name, (sampler, between) in samplers(options.gamma, options.nbeta).items():
        config = ChainConfig(
            num_chains=2,
            num_draws=options.draws,
            steps_between_draws=between,
            num_burnin_steps=0 if name == "reweighted" else (between or 3),
            batch_size=min(options.batch, len(ids.sampling)),
        )
        results = GroupChains(
            part=part,
            sampler=sampler,
            config=config,
            sampling_ids=ids.sampling,
            evaluation_ids=evaluation,
            randomness=KeyedRandomness(seed=1),
            pilot=tuned if isinstance(sampler, Mala) else exact,
        ).run(range(config.num_chains))
        chains = [result.components[component] for result in results.values()]
        against_exact = (
            _weighted_bias(chains, exact[component])
            if chains[0].independent
            else _bias(chains, exact[component])
        )
        gradients = sum(len(chain.step_loss) for chain in chains)
        effective = effective_sample_size(chains)
        found[name] = {
            "steps_between_draws": chains[0].steps_between_draws,
            "gradients": gradients,
            "effective_sample_size": effective,
            "effective_fraction": effective / (2 * options.draws),
            "effective_per_gradient": effective / gradients if gradients else None,
            **against_exact,
        }
    moments = exact[component]
    found["exact"] = {
        "delta_loss": moments.delta_loss,
        "delta_loss_error": moments.delta_loss_error,
        "effective_fraction": moments.effective_fraction,
    }
    return found


def _bias(chains: Sequence[ComponentChain], exact: PosteriorMoments) -> dict[str, float]:
    judged = sampler_bias(chains, exact)
    if judged is None:
        return {}
    return {"nats": judged.nats, "deviations": judged.deviations, "z": judged.z}


def _weighted_bias(chains: Sequence[ComponentChain], exact: PosteriorMoments) -> dict[str, float]:
    """Importance-weighted E[ΔL] of a run's draws against that of the study's own."""
    weight = np.concatenate([chain.weight for chain in chains])
    trace = np.concatenate([chain.delta_loss for chain in chains])
    share = weight / weight.sum()
    mean = float(share @ trace)
    pairs = (share * (trace - mean)).reshape(-1, 2).sum(axis=1)
    error = math.hypot(exact.delta_loss_error, float(np.sqrt((pairs**2).sum())))
    difference = mean - exact.delta_loss
    return {
        "nats": difference,
        "deviations": difference / exact.delta_loss_deviation,
        "z": difference / error,
    }


def sharper(model: GPTNeoX) -> GPTNeoX:
    """The same model at half its temperature: all logits doubled."""
    doubled = {model.unembed_name: 2 * model.params[model.unembed_name]}
    return model.with_params({**model.params, **doubled})


def line(component: str, name: str, row: dict[str, Any]) -> str:
    """One row of the table."""

    def text(key: str, form: str) -> str:
        value: Tensor | float | None = row.get(key)
        return "–" if value is None or value != value else format(value, form)

    return (
        f"{component:8} {name:18} {row['gradients']:6} {text('effective_fraction', '8.2f')} "
        f"{text('effective_per_gradient', '8.4f'):>8} {text('nats', '+9.4f'):>9} "
        f"{text('deviations', '+6.1f'):>6} {text('z', '+6.1f'):>6}"
    )


def main() -> None:
    """Run the study."""
    parser = common.parser(__doc__, [SHIPPED])
    parser.set_defaults(shape=SHIPPED)
    parser.add_argument("--gamma", type=float, default=30.0)
    parser.add_argument("--nbeta", type=float, default=10.0)
    parser.add_argument("--draws", type=int, default=16, help="per chain, of two chains")
    parser.add_argument("--pilot-draws", type=int, default=128)
    parser.add_argument("--evaluation", type=int, default=8, help="sequences")
    parser.add_argument("--batch", type=int, default=4, help="sequences of a minibatch")
    options = common.parse(parser)
    components = COMPONENTS
    if options.toy:
        options.draws, options.pilot_draws, options.batch = 2, 8, 1
        components = ["l1h1"]
    pilot_sizes.NUM_JUDGING_DRAWS = options.pilot_draws
    hf_model = model_of(options.shape, options.device)
    resident = GPTNeoX.from_pretrained_model(hf_model)
    ids = ids_of(
        hf_model,
        options.shape,
        sampling=64,
        evaluation=options.evaluation,
        probe=8,
        context=16 if options.toy else 128,
    )
    result: dict[str, Any] = {
        "question": "sampler bias and effective draws per gradient of each sampler",
        "settings": {"published_steps_between_draws": PUBLISHED_STEPS},
    }
    for title, model in (("shipped", resident), ("sharper", sharper(resident))):
        print(
            f"\n{title}: component, sampler, gradients, effective fraction, per gradient, "
            "bias of E[ΔL] in nats, in posterior deviations, its z"
        )
        result[title] = {}
        for component in components:
            found = result[title][component] = study(model, component, ids, options)
            for name, row in found.items():
                if name != "exact":
                    print(line(component, name, row), flush=True)
    common.write("samplers", options, result)


if __name__ == "__main__":
    main()
