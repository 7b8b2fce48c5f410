"""The whole engine on the pretended device: a CPU's bits, no hidden transfer, few launches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spectro.models.components import Group
from spectro.models.config import Precision
from spectro.sampling.checkpoint import Checkpoint, Checkpoints
from spectro.sampling.config import ChainConfig
from spectro.sampling.mala import Mala
from spectro.sampling.reweighted import Reweighted, Sampler
from spectro.sampling.samplers import Exponential, Gaussian, Psgld, Sgld
from spectro.susceptibility.measurement import MeasuredModel, scored_chain
from tests.device.measured import (
    Arrays,
    Settings,
    cuda_sizes_on_cpu,
    groups,
    measure,
    measured_llama,
    measured_model,
    probe_ids,
)
from tests.device.pretended_device import Card, pretended_cuda

SAMPLERS: dict[str, Sampler] = {
    "gaussian": Gaussian(),
    "reweighted": Reweighted(),
    "sgld": Sgld(),
    "psgld": Psgld(step_size=1e-3),
    "exponential": Exponential(step_size=1e-3),
    "sampled softmax": Exponential(step_size=1e-3, vocabulary_sample=16),
    "mala": Mala(),
}
EMBED, LAYER, UNEMBED, FULL = groups()
LIST_SIZE = 3
"""K, of a vocabulary of 61: the top-K softmax is used."""
CASES = [
    *((name, Precision.FLOAT32, 0, group) for name in SAMPLERS for group in (EMBED, LAYER)),
    *(("psgld", Precision.FLOAT32, 0, group) for group in (UNEMBED, FULL)),
    *(("gaussian", p, k, LAYER) for p in Precision for k in (0, LIST_SIZE)),
    *(("exponential", p, LIST_SIZE, g) for p in Precision for g in (LAYER, UNEMBED)),
    *(("sampled softmax", p, LIST_SIZE, LAYER) for p in Precision),
    ("mala", Precision.BFLOAT16, LIST_SIZE, EMBED),
    ("reweighted", Precision.TF32, LIST_SIZE, EMBED),
]

ONCE = {
    "to device models/token_ids.py check_ids": 3,  # sampling, evaluation and measured sequences
    "read models/groups.py loss_headroom": 1,
    "to device susceptibility/score.py _moved": 2,  # weights of all draws; sums of the one batch
    "to host susceptibility/score.py _moved": 1,  # sums
}
PASSES = 3
"""Passes over the evaluation set without gradient: the pilot's, and one of each chain's block."""
STEPS = 7
"""Steps of the chains of `Settings`: 3 of burn-in, one for the first draw, three more."""
PER_STEP = {
    "to device sampling/chain_batch.py _minibatches": 1,  # which sequences
    "read models/token_loss.py losses": 1,  # whether a loss is beyond 69 nats
}
PER_SAMPLED_STEP = {
    "to device sampling/chain_batch.py _minibatches": 1,
    "to host models/sampled_softmax.py _clean": 1,  # whether statistics are known
    "to device models/sampled_softmax.py systematic_sample": 1,  # where samples start
}
LAUNCHES_PER_PASS, LAUNCHES_PER_LAYER = 130, 55
"""Of a step, forward and backward, whatever the number of sequences and chains."""
LAUNCHES_PER_BLOCK = {"sgld": 10, "psgld": 20, "exponential": 27, "mala": 48}
"""Of a step, for each block of weights of each chain: displacement, noise and update."""
LAUNCHES_PER_DRAW_AND_BLOCK = 2
"""Noise of a pair of draws, its scale and sign, twice."""


def identical(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array, equal_nan=True), name


@pytest.mark.parametrize(
    ("sampler", "precision", "list_size", "group"),
    [pytest.param(*case, id="-".join([*map(str, case[:3]), case[3].name])) for case in CASES],
)
def test_the_device_gives_the_bits_of_a_cpu(
    sampler: str, precision: Precision, list_size: int, group: Group
) -> None:
    """Pilot, chains and scoring; where CUDA has other blocks, noise and rounding, so has the
    CPU here (`cuda_sizes_on_cpu`)."""
    settings = Settings(sampler=SAMPLERS[sampler])
    with cuda_sizes_on_cpu():
        expected = measure(measured_model("cpu", precision, list_size=list_size), settings, group)
    with pretended_cuda():
        own = measured_model("cuda", precision, list_size=list_size)
        identical(measure(own, settings, group), expected)


@pytest.mark.parametrize("sampler", ["gaussian", "psgld"])
@pytest.mark.parametrize("precision", Precision)
def test_a_llama_has_the_bits_of_a_cpu(sampler: str, precision: Precision) -> None:
    settings = Settings(sampler=SAMPLERS[sampler])
    for index in range(2):  # the tied embedding; a layer with shared keys and values
        with cuda_sizes_on_cpu():
            own = measured_llama("cpu", precision)
            group = own.model.shape.groups(["embed", "l1*"], with_full=False)[index]
            expected = measure(own, settings, group)
        with pretended_cuda():
            identical(measure(measured_llama("cuda", precision), settings, group), expected)


@pytest.mark.parametrize("sampler", ["gaussian", "psgld", "sampled softmax"])
def test_every_transfer_is_known(sampler: str) -> None:
    """Of a whole measurement: a transfer from anywhere else, or once more, fails."""
    with pretended_cuda() as card:
        own = measured_model("cuda")
        card.reset()
        measure(own, Settings(sampler=SAMPLERS[sampler]), LAYER)
    expected = ONCE | {"to host sampling/evaluate.py next_batch": PASSES}
    reads = 5 + PASSES + 1  # headroom and pilot, whose clean losses count too; scoring
    if sampler != "gaussian":
        of_step = PER_STEP if sampler == "psgld" else PER_SAMPLED_STEP
        expected |= {name: STEPS * number for name, number in of_step.items()}
        expected["to host sampling/component_trace.py numbers"] = 2 * len(LAYER.components)
    if sampler == "psgld":
        reads += STEPS
    found = dict(card.moves)
    found.pop("read models/sampled_softmax.py inclusion_probabilities", 0)  # see below
    assert found == expected | {"read models/token_loss.py losses": reads}


@dataclasses.dataclass
class Steps:
    """Chains of a group that step on the device."""

    sampler: Sampler
    group: Group
    num_chains: int = 1
    batch_size: int = 2
    num_layers: int = 3
    num_before: int = 1
    """Steps that are not counted."""

    def counted(self, num_steps: int) -> tuple[int, dict[str, int]]:
        """Launches and transfers of so many steps."""
        with pretended_cuda() as card:
            own = measured_model("cuda", num_layers=self.num_layers)
            chain = ChainConfig(
                num_chains=self.num_chains,
                num_draws=4,
                num_burnin_steps=self.num_before + num_steps,
                steps_between_draws=1,
                batch_size=self.batch_size,
            )
            return self._count(own, chain, card, num_steps)

    def _count(
        self, own: MeasuredModel, config: ChainConfig, card: Card, num_steps: int
    ) -> tuple[int, dict[str, int]]:
        names = [component.name for component in self.group.components]
        chains = own.chains(self.group, Settings(sampler=self.sampler, chain=config), {})
        numbers = range(self.num_chains)
        recorders = {chain: chains._recorder(chain) for chain in numbers}
        stepping = chains._stepping(names)
        state = stepping._start(names, list(numbers))
        for step in range(self.num_before + num_steps):
            if step == self.num_before:
                card.reset()
            stepping._advance(state, recorders, dict.fromkeys(numbers))
        return card.launches, dict(card.moves)

    @property
    def num_blocks(self) -> int:
        part = measured_model("cpu", num_layers=self.num_layers).part(self.group)
        return sum(len(part.weights(c.name)) for c in self.group.components)


@pytest.mark.parametrize("sampler", LAUNCHES_PER_BLOCK)
@pytest.mark.parametrize("group", [EMBED, LAYER, UNEMBED, FULL], ids=lambda group: group.name)
def test_launches_and_transfers_of_a_step_are_bounded(sampler: str, group: Group) -> None:
    for num_chains, num_layers in ((1, 3), (2, 6)):
        steps = Steps(SAMPLERS[sampler], group, num_chains=num_chains, num_layers=num_layers)
        launches, moves = steps.counted(2)
        num_passes = num_chains if group in (UNEMBED, FULL) else 1
        bound = num_passes * (LAUNCHES_PER_PASS + LAUNCHES_PER_LAYER * num_layers)
        bound += LAUNCHES_PER_BLOCK[sampler] * steps.num_blocks * num_chains
        assert launches <= 2 * bound
        expected = {"read models/token_loss.py losses": 2 * num_passes}
        if sampler != "mala":
            expected["to device sampling/chain_batch.py _minibatches"] = 2
        assert moves == expected


@pytest.mark.parametrize("sampler", ["exponential", "sampled softmax"])
def test_more_sequences_are_no_more_launches(sampler: str) -> None:
    """Once all sequences were met: their sampled softmax is kept."""
    two, four = (
        Steps(SAMPLERS[sampler], LAYER, batch_size=size, num_before=15).counted(5)
        for size in (2, 4)
    )
    assert two == four
    if sampler == "sampled softmax":
        assert two[1] == {name: 5 * number for name, number in PER_SAMPLED_STEP.items()}


def test_statistics_of_new_sequences_are_read_once_for_all() -> None:
    """Six sequences in one minibatch: the host asks once whether their probabilities are found."""
    with pretended_cuda() as card:
        own = measured_model("cuda")
        softmax = own.model.sampled_softmax(16)
        assert softmax is not None
        sequences = own.sampling_ids
        card.reset()
        softmax.batch(sequences, [0.5] * len(sequences))
        assert card.moves["read models/sampled_softmax.py inclusion_probabilities"] == 1
        card.reset()
        softmax.batch(sequences, [0.5] * len(sequences))
        assert not any(name.startswith("read") for name in card.moves)


def test_scoring_launches_little_for_a_draw_and_transfers_nothing() -> None:
    found = {}
    with pretended_cuda() as card:
        own = measured_model("cuda")
        for num_draws in (8, 16):
            chain = ChainConfig(num_chains=1, num_draws=num_draws)
            settings = Settings(sampler=Gaussian(), chain=chain)
            pilot = own.pilot(LAYER, settings)
            results = own.chains(LAYER, settings, pilot).run([0])
            scored = {c: scored_chain(r.draws, r.components) for c, r in results.items()}
            probe = probe_ids(own)
            card.reset()
            own.score(LAYER, scored, probe, pilot)
            found[num_draws] = card.launches, dict(card.moves)
        num_blocks = sum(len(own.part(LAYER).weights(c.name)) for c in LAYER.components)
    (few, moves), (many, same_moves) = found[8], found[16]
    assert many - few <= 8 * num_blocks * LAUNCHES_PER_DRAW_AND_BLOCK
    assert moves == same_moves


class _Interrupted(Exception):
    pass


@pytest.mark.parametrize("sampler", ["exponential", "mala", "sampled softmax"])
def test_chains_resume_from_a_checkpoint_of_the_device(sampler: str) -> None:
    """Checkpoints leave the device and come back; the bits are those of a run without a stop."""
    settings = Settings(sampler=SAMPLERS[sampler])
    kept: list[Checkpoint] = []

    def keep_on_host(position: int, snapshot: Checkpoint) -> None:
        tensors = {name: tensor.cpu() for name, tensor in snapshot.tensors.items()}
        kept.append(Checkpoint(tensors=tensors, values=snapshot.values))
        if len(kept) == 4:
            raise _Interrupted

    with pretended_cuda():
        own = measured_model("cuda")
        whole = measure(own, settings, LAYER, chain_checkpoints=Checkpoints())
        with pytest.raises(_Interrupted):
            due = Checkpoints(due=lambda: True, save=keep_on_host)
            measure(own, settings, LAYER, chain_checkpoints=due)
        again = measure(
            measured_model("cuda"),
            settings,
            LAYER,
            chain_checkpoints=Checkpoints(resume=kept[-1]),
        )
    identical(again, whole)


def test_scoring_resumes_on_the_device() -> None:
    settings = Settings(sampler=Gaussian(), chain=ChainConfig(num_chains=2, num_draws=8))
    kept: list[Checkpoint] = []

    def keep_two(position: int, snapshot: Checkpoint) -> None:
        kept.append(snapshot)
        if len(kept) == 2:
            raise _Interrupted

    with pretended_cuda():
        own = measured_model("cuda", rows=96)  # 8 sequences: several passes
        whole = measure(own, settings, LAYER)
        with pytest.raises(_Interrupted):
            due = Checkpoints(due=lambda: True, save=keep_two)
            measure(own, settings, LAYER, score_checkpoints=due)
        assert all(tensor.device.type == "cpu" for tensor in kept[-1].tensors.values())
        resume = Checkpoints(resume=kept[-1])
        identical(measure(own, settings, LAYER, score_checkpoints=resume), whole)


@pytest.mark.parametrize("sampler", ["gaussian", "exponential", "mala"])
def test_batches_are_halved_where_memory_runs_out(
    sampler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A card with a third of what the largest pass takes: the same to rounding, and said."""
    settings = Settings(sampler=SAMPLERS[sampler])
    with pretended_cuda() as card:
        own = measured_model("cuda")
        resident = card.held
        whole = measure(own, settings, LAYER)
        peak = card.peak - resident
        del own
    assert "out of memory" not in caplog.text
    with pretended_cuda(memory_bytes=resident + peak // 3) as card:
        own = measured_model("cuda")
        halved = measure(own, settings, LAYER)
        assert own.stepping_budget.rows < 2**14
    assert "out of memory: going on with" in caplog.text
    for name, array in whole.items():
        if not name.startswith("pilot"):
            np.testing.assert_allclose(halved[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_what_does_not_fit_at_all_is_the_devices_own_error() -> None:
    with pretended_cuda(memory_bytes=10**6) as card:
        own = measured_model("cuda")
        card.memory_bytes = card.held
        with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
            own.score(EMBED, {}, probe_ids(own), {})
