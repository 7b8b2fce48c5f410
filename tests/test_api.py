"""`spectro.susceptibilities`: shapes, determinism, and what must not change the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model, GPTNeoXConfig, GPTNeoXForCausalLM

import spectro
from spectro.formats.product import read_product
from spectro.models.cost import memory
from spectro.storage.store import Store

SETTINGS = {
    "num_chains": 2, "num_draws": 4, "num_burnin_steps": 2, "steps_between_draws": 2,
    "batch_size": 3, "seed": 1,
}  # fmt: skip
PSGLD = spectro.Psgld(gamma=100.0, nbeta=10.0, step_size=1e-4)


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=31,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    return GPTNeoXForCausalLM(config).eval()


@pytest.fixture(scope="module")
def ids() -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    return tuple(torch.randint(0, 31, (n, 10), generator=stream) for n in (8, 5))


@pytest.fixture(scope="module")
def measured(model, ids) -> spectro.Result:
    """What the tests hold other calls against."""
    return spectro.susceptibilities(model, *ids, sampler=PSGLD, **SETTINGS)


def test_shapes_and_labels(measured, ids) -> None:
    result = measured
    assert result.components == (
        "embed",
        "l0h0",
        "l0h1",
        "l0mlp",
        "l1h0",
        "l1h1",
        "l1mlp",
        "unembed",
    )
    assert result.chi.shape == result.standard_error.shape == (5, 9, 8)
    assert result.chi.dtype == np.float32
    assert result.loss.shape == result.full_response.shape == (5, 9)
    assert result.reliability.shape == result.mean_phi.shape == result.rhat.shape == (8,)
    assert np.isfinite(result.chi).all()
    # two chains have one degree of freedom: the interval is 12.7 standard errors to either side
    assert result.num_chains == 2
    np.testing.assert_allclose(result.half_width, 12.706 * result.standard_error, rtol=1e-4)
    told = np.array(result.summary["half_width_95"]) / np.array(result.summary["standard_error"])
    np.testing.assert_allclose(told, 12.706, rtol=1e-4)
    assert result.summary["num_chains"] == [2] * 8
    assert (result.chi.std(axis=(0, 1)) > 1e-4).all()  # what tests below may overlook is 1e-6
    dataset = result.to_xarray()
    assert dataset.half_width.interval.startswith("95 % interval, Student t, 2 chains")
    assert dataset.num_chains == 2
    assert dataset.sizes == {"sequence": 5, "position": 9, "component": 8}
    np.testing.assert_array_equal(dataset.token, ids[1][:, 1:])


def test_parquet_is_the_product_and_is_never_overwritten(model, ids, tmp_path) -> None:
    settings = {**SETTINGS, "num_chains": 1}
    result = spectro.susceptibilities(model, *ids, sampler=PSGLD, **settings)
    assert result.num_chains == 1 and np.isnan(result.half_width).all()
    path = result.to_parquet(str(tmp_path / "made"))
    stored = read_product(Store(str(tmp_path / "made")))
    assert stored.components == result.components
    np.testing.assert_array_equal(stored.chi_NH, result.chi.reshape(-1, 8))
    np.testing.assert_array_equal(stored.column("token"), ids[1][:, 1:].reshape(-1))
    before = Path(path).read_bytes()
    with pytest.raises(FileExistsError):
        result.to_parquet(str(tmp_path / "made"))
    assert Path(path).read_bytes() == before


def test_loss_is_the_models_own(model, ids) -> None:
    result = spectro.susceptibilities(model, *ids, sampler=spectro.Gaussian(), **SETTINGS)
    logits = model(ids[1][:, :-1]).logits.detach()
    expected = torch.nn.functional.cross_entropy(logits.mT, ids[1][:, 1:], reduction="none")
    np.testing.assert_allclose(result.loss, expected, atol=1e-5)


def test_same_call_same_bits_and_seed_matters(model, ids, measured) -> None:
    again, other = (
        spectro.susceptibilities(model, *ids, sampler=PSGLD, **{**SETTINGS, "seed": seed})
        for seed in (1, 2)
    )
    assert again.chi.tobytes() == measured.chi.tobytes()
    assert np.abs(other.chi - measured.chi).max() > 0


def test_a_component_does_not_depend_on_its_company(model, ids, measured) -> None:
    """Noise and data are keyed by component, chain and step, never by what else is measured."""
    alone = spectro.susceptibilities(model, *ids, sampler=PSGLD, components=["l1h0"], **SETTINGS)
    column = measured.chi[..., measured.components.index("l1h0")]
    np.testing.assert_allclose(alone.chi[..., 0], column, rtol=1e-3, atol=1e-6)


def test_tokens_do_not_depend_on_their_company(model, ids, measured) -> None:
    """A draw never looks at the tokens measured: half the probe gives the same half of χ."""
    part = spectro.susceptibilities(model, ids[0], ids[1][2:4], sampler=PSGLD, **SETTINGS)
    np.testing.assert_allclose(part.chi, measured.chi[2:4], rtol=1e-3, atol=1e-6)


def test_batch_sizes_do_not_change_the_result(model, ids, measured, monkeypatch) -> None:
    monkeypatch.setattr(memory, "CPU_ROWS", 10)  # one sequence, one draw at a time
    monkeypatch.setattr(memory, "CPU_STEP_BYTES", 1)
    names = ["embed", "l1h1", "l1mlp", "unembed"]
    small = spectro.susceptibilities(model, *ids, sampler=PSGLD, components=names, **SETTINGS)
    columns = [measured.components.index(name) for name in small.components]
    np.testing.assert_allclose(small.chi, measured.chi[..., columns], rtol=1e-3, atol=1e-6)


def test_chains_together_do_not_change_the_result(model, ids) -> None:
    settings = {**SETTINGS, "num_chains": 3}
    apart = spectro.susceptibilities(model, *ids, sampler=PSGLD, **settings)
    for together in (2, 5):
        found = spectro.susceptibilities(
            model, *ids, sampler=PSGLD, chains_together=together, **settings
        )
        np.testing.assert_allclose(found.chi, apart.chi, rtol=1e-3, atol=1e-6)


def test_weights_are_left_alone(model, ids) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    spectro.susceptibilities(model, *ids, sampler=PSGLD, **SETTINGS)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_one_chain_has_no_error_bars_but_a_result(model, ids) -> None:
    settings = {**SETTINGS, "num_chains": 1}
    result = spectro.susceptibilities(model, *ids, sampler=PSGLD, **settings)
    assert np.isfinite(result.chi).all()
    assert np.isnan(result.reliability).all()


def test_one_nbeta_at_a_time(model, ids) -> None:
    several = spectro.Reweighted(nbeta=10.0, also_nbeta=(3.0, 0.0))
    with pytest.raises(ValueError, match=r"also_nbeta is \(3.0, 0.0\), one nbeta is measured"):
        spectro.susceptibilities(model, *ids, sampler=several, **SETTINGS)


def test_a_diverging_chain_is_stopped_and_named(model, ids) -> None:
    wild = spectro.Psgld(gamma=1e-3, nbeta=1e12, step_size=1e-2)
    with pytest.raises(spectro.NonFiniteLossError, match=r"component l0h0, chain 0, step \d+"):
        spectro.susceptibilities(model, *ids, sampler=wild, components=["l0h0"], **SETTINGS)


def test_half_precision_is_refused(model, ids) -> None:
    half = GPTNeoXForCausalLM(model.config).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"load it in float32"):
        spectro.susceptibilities(half, *ids, sampler=PSGLD, **SETTINGS)


def test_what_is_no_causal_language_model_is_refused_by_its_name(ids) -> None:
    headless = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=31))
    for wrong in (headless, "gpt2"):
        with pytest.raises(
            ValueError, match=f"causal language model .*found {type(wrong).__name__}"
        ):
            spectro.susceptibilities(wrong, *ids, sampler=PSGLD, **SETTINGS)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("probe_ids", torch.zeros(2, 10), "must be integers of shape"),
        ("probe_ids", torch.zeros(10, dtype=torch.int64), "must be integers of shape"),
        ("probe_ids", torch.zeros(0, 10, dtype=torch.int64), "at least one sequence"),
        ("probe_ids", torch.zeros(3, 1, dtype=torch.int64), "at least two tokens"),
        ("probe_ids", torch.full((2, 10), 31), "vocabulary is 0 to 30"),
        ("sampling_ids", torch.full((2, 10), -1), "token ids from -1"),
        ("probe_ids", torch.zeros(2, 18, dtype=torch.int64), "at most 16"),
        ("sampling_ids", torch.zeros(2, 10, dtype=torch.int64), "sampling set has 2"),
        ("num_draws", 0, "num_draws must be at least 1"),
        ("num_chains", 0, "num_chains must be at least 1"),
        ("chains_together", 0, "chains_together must be at least 1"),
        ("num_burnin_steps", -1, "num_burnin_steps must be at least 0"),
        ("components", ["l7mlp"], "selects nothing"),
    ],
)
def test_bad_input_is_one_line(model, ids, name: str, value: object, message: str) -> None:
    settings = {**SETTINGS, "sampling_ids": ids[0], "probe_ids": ids[1], name: value}
    with pytest.raises(ValueError, match=message) as caught:
        spectro.susceptibilities(model, sampler=PSGLD, **settings)
    assert "\n" not in str(caught.value)


def test_shorter_probes_have_the_chi_of_the_same_tokens(model, ids, measured) -> None:
    """Attention is causal: what follows a token does not change what is measured of it."""
    part = spectro.susceptibilities(model, ids[0], ids[1][:, :6], sampler=PSGLD, **SETTINGS)
    np.testing.assert_allclose(part.chi, measured.chi[:, :5], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation_ids": torch.zeros(2, 7, dtype=torch.int64)}, "evaluation_ids has contexts"),
        ({"components": "l0h1"}, "must be a list of names, found the text 'l0h1'"),
        ({"components": ["l0h1", "L0 h1"]}, "component 'l0h1' is given twice"),
        ({"probe_ids": torch.zeros(2, 7)}, "must be integers"),
        ({"probe_ids": torch.full((2, 7), 31)}, "token ids from 31 to 31"),
        ({"sampling_ids": torch.zeros(9, dtype=torch.int64)}, "of shape"),
    ],
)
def test_arrays_and_names_that_do_not_fit_are_refused(model, ids, change, message) -> None:
    given = {"sampling_ids": ids[0], "probe_ids": ids[1], "sampler": PSGLD, **SETTINGS}
    with pytest.raises(ValueError, match=message):
        spectro.susceptibilities(model, **{**given, **change})


def test_columns_come_in_the_order_asked_for(model, ids, measured, tmp_path) -> None:
    """To the last bit those of the model's order, each under its name, in everything returned."""
    asked = ["unembed", "l1h1", "l0*", "embed", "*"]
    found = spectro.susceptibilities(model, *ids, sampler=PSGLD, components=asked, **SETTINGS)
    names = ("unembed", "l1h1", "l0h0", "l0h1", "l0mlp", "embed", "l1h0", "l1mlp")
    assert found.components == tuple(found.summary["components"]) == names
    place = [measured.components.index(name) for name in names]
    assert place != sorted(place)
    assert np.array_equal(found.chi, measured.chi[..., place])
    assert np.array_equal(found.standard_error, measured.standard_error[..., place])
    for key, values in measured.summary.items():
        if isinstance(values, list) and key not in ("centred_reliability", "warnings"):
            assert found.summary[key] == [values[column] for column in place], key
    # row-centring takes a mean over the columns, whose last bit depends on their order
    known = measured.centred_reliability[place]
    np.testing.assert_allclose(found.centred_reliability, known, rtol=1e-9)
    for key in ("reliability", "mean_phi", "rhat"):
        np.testing.assert_array_equal(getattr(found, key), getattr(measured, key)[place])
    mine, theirs = found.to_xarray(), measured.to_xarray()
    for name in names:
        for key in ("chi", "standard_error", "reliability", "rhat"):
            assert mine[key].sel(component=name).equals(theirs[key].sel(component=name))
    found.to_parquet(str(tmp_path))
    stored = read_product(Store(str(tmp_path)))
    assert stored.components == names
    np.testing.assert_array_equal(stored.chi_NH, found.chi.reshape(-1, 8))
