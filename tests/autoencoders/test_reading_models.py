"""Vectors at hooks, against transformers' own; positions of tokens of other tokenizers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from spectro.autoencoders.alignment import UNREAD, by_characters, same_ids, with_beginning
from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.config import ReadAt, TopKConfig
from spectro.autoencoders.hooks import Hook, HookReader, Site
from spectro.autoencoders.reconstruction import (
    Reconstruction,
    check_reconstruction,
    sparse_rows,
)
from spectro.autoencoders.train import train_top_k

SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}


def models() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    neox = GPTNeoXConfig(**SMALL, num_attention_heads=2, max_position_embeddings=32)
    llama = LlamaConfig(**SMALL, num_attention_heads=4, num_key_value_heads=2)
    gpt2 = GPT2Config(vocab_size=40, n_embd=16, n_inner=24, n_layer=3, n_head=2, n_positions=32)
    return {
        "neox": GPTNeoXForCausalLM(neox).eval(),
        "llama": LlamaForCausalLM(llama).eval(),
        "gpt2": GPT2LMHeadModel(gpt2).eval(),
    }


@pytest.mark.parametrize("family", ["neox", "llama", "gpt2"])
def test_vectors_are_those_of_transformers(family: str) -> None:
    """The stream by `output_hidden_states`; what a layer adds sums to the stream."""
    model = models()[family]
    ids_BT = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states = model(ids_BT, output_hidden_states=True).hidden_states

    def read(site: Site, layer: int) -> torch.Tensor:
        return HookReader(model, Hook(site=site, layer=layer))(ids_BT)

    torch.testing.assert_close(read(Site.RESID_PRE, 1), states[1])
    torch.testing.assert_close(read(Site.RESID_POST, 1), states[2])
    added = read(Site.ATTN_OUT, 1) + read(Site.MLP_OUT, 1)
    torch.testing.assert_close(added, states[2] - states[1], atol=1e-5, rtol=1e-4)


def test_heads_values_give_what_attention_adds() -> None:
    model = models()["neox"]
    ids_BT = torch.arange(8)[None]
    z = HookReader(model, Hook(site=Site.ATTN_Z, layer=2))(ids_BT)
    out = HookReader(model, Hook(site=Site.ATTN_OUT, layer=2))(ids_BT)
    dense = model.base_model.layers[2].attention.dense
    torch.testing.assert_close(torch.nn.functional.linear(z, dense.weight, dense.bias), out)


def test_centred_vectors_have_no_mean() -> None:
    model = models()["gpt2"]
    hook = Hook(site=Site.RESID_POST, layer=0)
    ids_BT = torch.arange(6)[None]
    plain, centred = HookReader(model, hook)(ids_BT), HookReader(model, hook, centred=True)(ids_BT)
    torch.testing.assert_close(centred, plain - plain.mean(dim=-1, keepdim=True))


def test_layers_above_are_not_run() -> None:
    model = models()["neox"]
    reader = HookReader(model, Hook(site=Site.RESID_POST, layer=0))
    seen = []
    handle = model.base_model.layers[1].register_forward_hook(lambda *_: seen.append(1))
    reader(torch.arange(4)[None])
    handle.remove()
    assert not seen
    assert not model.base_model.layers[0]._forward_hooks


def test_hooks_that_a_model_lacks_are_refused() -> None:
    model = models()["neox"]
    with pytest.raises(ValueError, match="layers 0 to 2"):
        HookReader(model, Hook(site=Site.RESID_POST, layer=3))
    del model.base_model.layers[1].mlp
    with pytest.raises(ValueError, match="has no module mlp"):
        HookReader(model, Hook(site=Site.MLP_OUT, layer=1))


IDS_ST1 = np.array([[5, 6, 7, 8], [9, 5, 5, 1]])


def test_the_same_tokenizer_reads_the_same_ids() -> None:
    target = same_ids(IDS_ST1, ReadAt.TARGET)
    assert [row.tolist() for row in target.ids] == IDS_ST1.tolist()
    assert target.position_ST.tolist() == [[1, 2, 3]] * 2
    assert same_ids(IDS_ST1, ReadAt.CONTEXT).position_ST.tolist() == [[0, 1, 2]] * 2


def test_a_beginning_moves_positions_and_the_context_cuts_them() -> None:
    found = with_beginning(same_ids(IDS_ST1, ReadAt.TARGET), 9, 4)
    assert [row.tolist() for row in found.ids] == [[9, 5, 6, 7], [9, 5, 5, 1]]
    assert found.position_ST.tolist() == [[2, 3, UNREAD], [1, 2, 3]]  # it begins with 9 itself


def chunks(size: int) -> object:
    """A tokenizer of pieces of so many characters; ids are their numbers."""

    def tokenize(text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        spans = [(i, min(i + size, len(text))) for i in range(0, len(text), size)]
        return list(range(len(spans))), spans

    return tokenize


def test_tokens_are_aligned_by_characters() -> None:
    pieces = [b"ab", b"c", b"defg", None]
    #   text: ab c defg | end | c      chunks of 2: ab cd ef g   |   c
    ids_ST1 = np.array([[0, 1, 2, 3, 1]])
    target = by_characters(ids_ST1, pieces, chunks(2), 99, ReadAt.TARGET)  # type: ignore[arg-type]
    assert target.ids[0].tolist() == [0, 1, 2, 3, 99, 0]
    assert target.position_ST.tolist() == [[1, 3, 4, 5]]  # c in "cd", g, the end, c
    context = by_characters(ids_ST1, pieces, chunks(2), 99, ReadAt.CONTEXT)  # type: ignore[arg-type]
    #   before c: "ab"; before defg: "ab", for "cd" is not whole; before the end: "g"; then the end
    assert context.position_ST.tolist() == [[0, 0, 3, 4]]


def test_characters_of_several_bytes_are_aligned() -> None:
    """A token may end within a character; bytes that are no text count one each."""
    first, last = "é".encode()[:1], "é".encode()[1:]
    pieces = [b"a", first, last, b"b", b"\xff"]
    ids_ST1 = np.array([[0, 1, 2, 4, 3]])
    found = by_characters(ids_ST1, pieces, chunks(1), None, ReadAt.TARGET)  # type: ignore[arg-type]
    assert found.ids[0].size == 4  # a, é, a byte that is no text, b
    assert found.position_ST.tolist() == [[1, 1, 2, 3]]
    context = by_characters(ids_ST1, pieces, chunks(1), None, ReadAt.CONTEXT)  # type: ignore[arg-type]
    assert context.position_ST.tolist() == [[0, 0, 1, 2]]


def test_a_row_before_any_text_is_not_read() -> None:
    pieces = [b"a", None]
    ids_ST1 = np.array([[1, 0, 0]])
    found = by_characters(ids_ST1, pieces, chunks(2), None, ReadAt.CONTEXT)  # type: ignore[arg-type]
    assert found.position_ST.tolist() == [[UNREAD, UNREAD]]  # "aa" is one token there


def test_a_document_without_text_has_no_target() -> None:
    """Its tokens are not read at the last position of the document before."""
    pieces = [b"ab", b"", None]
    ids_ST1 = np.array([[0, 2, 1, 1]])
    found = by_characters(ids_ST1, pieces, chunks(2), 99, ReadAt.TARGET)  # type: ignore[arg-type]
    assert found.position_ST.tolist() == [[1, UNREAD, UNREAD]]


def test_reconstruction_sums_add_up() -> None:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(90, 5, generator=rng) + 3
    decoded = x + 0.3 * torch.randn(90, 5, generator=rng)
    parts = [Reconstruction.of(x[i : i + 20], decoded[i : i + 20], 7) for i in range(0, 90, 20)]
    total = parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
    fvu = float((x - decoded).square().sum() / (x - x.mean(0)).square().sum())
    assert total.fvu == pytest.approx(fvu, rel=1e-4)
    assert total.l0 == pytest.approx(5 * 7 / 90)
    again = Reconstruction.of_arrays(total.arrays())
    assert (again.fvu, again.l0, again.num) == (total.fvu, total.l0, total.num)
    check_reconstruction(total, "x")
    with pytest.raises(ValueError, match="of the variance"):
        check_reconstruction(Reconstruction.of(x, torch.zeros_like(x), 7), "x")
    with pytest.raises(ValueError, match="not finite"):
        check_reconstruction(Reconstruction.of(x, x * torch.nan, 7), "x")


def test_sparse_rows_are_the_nonzero_features() -> None:
    f_nF = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    count, index, value = sparse_rows(f_nF)
    assert (count.tolist(), index.tolist()) == ([2, 0, 1], [1, 2, 0])
    assert value.tolist() == [2.0, 1.0, 3.0]


def test_training_finds_planted_directions() -> None:
    """Activations are sums of two of 24 directions: TopK with k = 2 finds nearly all of them."""
    rng = torch.Generator().manual_seed(3)
    truth_GD = torch.nn.functional.normalize(torch.randn(24, 16, generator=rng), dim=1)

    def batch() -> torch.Tensor:
        chosen = torch.rand(512, 24, generator=rng).topk(2, dim=1).indices
        size = torch.rand(512, 2, 1, generator=rng) + 0.5
        return (truth_GD[chosen] * size).sum(dim=1)

    config = TopKConfig(num_features=32, k=2, learning_rate=5e-3, dead_tokens=5000, k_aux=4)
    found: Autoencoder = train_top_k((batch() for _ in range(1200)), 1200, batch(), config)
    assert found.kind is ActivationKind.TOP_K
    torch.testing.assert_close(found.w_dec_FD.norm(dim=1), torch.ones(32))
    cosine_G = (truth_GD @ found.w_dec_FD.T).max(dim=1).values
    assert float((cosine_G > 0.9).float().mean()) >= 0.75
    x_nD = batch()
    f_nF = found.features(x_nD)
    assert Reconstruction.of(x_nD, found.decode(f_nF, x_nD), 0).fvu < 0.2
