"""A whole small run whose tokenizer is of SentencePiece's kind: every view shows its own text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from jobs.cluster_table import cluster_table
from spectro.analysis.patterns import NAMES
from spectro.config import PipelineConfig
from spectro.formats import tokens
from spectro.models.config import ModelConfig
from spectro.pipeline.run import Goal, run_pipeline
from spectro.storage.store import Store
from spectro.tokens.display.vocabulary import display
from spectro.views.across import across
from spectro.views.map.config import MapConfig
from spectro.views.map.write import write_map
from spectro.views.matrix import types_of
from spectro.views.query.config import Window
from spectro.views.query.lookups import find
from spectro.views.query.query import Query
from spectro.views.run_view import RunView
from spectro.views.text.from_run import document_of_sequence, document_of_text
from spectro.views.text.page import page_data
from spectro.views.token_contexts import lit_tokens, vocabulary_of
from spectro.work.progress import Progress
from tests.report.made_tokenizers import CORPUS, tokenizer
from tests.report.read_map import read_map
from tests.run.made_runs import page_objects

MakeConfig = Callable[..., PipelineConfig]
LLAMA = tokenizer("llama")
TEXT = "The naïve cats 😀 are\n    walking on <b>"


@pytest.fixture(scope="module")
def llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random model with more ids than its tokenizer has."""
    folder = tmp_path_factory.mktemp("llama") / "model"
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(LLAMA) + 4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        bos_token_id=LLAMA.eos_token_id,
        eos_token_id=LLAMA.eos_token_id,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    LLAMA.save_pretrained(folder)
    return folder


@pytest.fixture
def run(make_config: MakeConfig, llama_dir: Path, text_dir: Path) -> PipelineConfig:
    """A run of the text whose words the tokenizer knows, to its page."""
    folder = text_dir.parent / "known"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("\n".join(CORPUS * 8))
    made = make_config(model=ModelConfig(name_or_path=str(llama_dir), device="cpu"))
    source = dataclasses.replace(made.tokens.subsets["code"], path=str(folder))
    config = dataclasses.replace(
        made, tokens=dataclasses.replace(made.tokens, subsets={"known": source})
    )
    run_pipeline(config, Progress(), goal=Goal.REPORT)
    return config


def own(ids: np.ndarray) -> str:
    """What the tokenizer says after a token that is no white space, which is taken off again."""
    before = LLAMA.get_vocab()["x"]
    said = LLAMA.decode([before, *ids.tolist()], skip_special_tokens=False)
    return str(said[1:])


def shown(text: str) -> str:
    return "".join(display(char.encode()) for char in text)


def test_every_view_shows_the_text_that_was_measured(run: PipelineConfig, tmp_path: Path) -> None:
    view, store = RunView(run.run.uri), Store(run.run.uri)
    ids = tokens.read_split(store, "probe").ids_ST1
    words = json.loads(page_objects(store)["vocabulary.json"])
    assert "".join(words[i] or "" for i in ids[0]) == shown(own(ids[0]))
    known = vocabulary_of(view)
    last = np.arange(1, 7) * view.context - 1
    for lit, row in zip(lit_tokens(view, last, known), ids, strict=True):
        assert "".join((*lit.before, lit.y)) == shown(own(row))
    types = types_of(view, np.arange(len(ids) * view.context), known)
    starts = np.array([NAMES[0] in own for own in types])  # word start
    y = LLAMA.convert_ids_to_tokens(ids[:, 1:].reshape(-1).tolist())
    assert all(start for start, entry in zip(starts, y, strict=True) if entry[1:].isalpha()
               and entry[0] == "▁")  # fmt: skip
    assert starts.any() and not starts.all()
    _require_lookups(view)
    _require_text(view, run)
    found = read_map(write_map(view, MapConfig(landmarks=20)).store.root)
    assert "".join(found.vocabulary[i] or "" for i in ids[0]) == shown(own(ids[0]))
    table = cluster_table(run, store).columns[-1]
    assert "␣" in "".join(str(cell) for cell in table.cells)


def _require_lookups(view: RunView) -> None:
    the, y = LLAMA.get_vocab()["▁the"], np.asarray(view.labels(["token"])["token"])
    assert (y == the).any()
    with Query(view, lambda: vocabulary_of(view)) as query:
        table = find(query, " the", Window(before=2, after=0)).table.to_pydict()
        is_it = [i for i, m in zip(table["token_id"], table["match"], strict=True) if m == "is"]
        assert is_it == np.flatnonzero(y == the).tolist()
        assert set(table["y"]) <= {"␣the", "␣they"}
        texts = query.table("select text, string from vocabulary where token = ?", the)
        assert texts.to_pylist() == [{"text": "␣the", "string": " the"}]
        (note,) = find(query, "😀", Window()).notes
        assert note.endswith("the tokenizer writes it as 5 tokens: ␣ ⟨F0⟩ ⟨9F⟩ ⟨98⟩ ⟨80⟩.")
    assert across([view.uri], "the").runs[0].num_occurrences == (y == the).sum()
    with pytest.raises(ValueError, match="the tokenizer writes it as 3 tokens: ␣sit t ed"):
        across([view.uri], "sitted")


def _require_text(view: RunView, config: PipelineConfig) -> None:
    """Of a sequence, and of a text that begins where the tokenizer begins."""
    made = document_of_text(view, config, TEXT, "a text")
    assert made.piece_N is not None and b"".join(map(bytes, made.piece_N)).decode() == TEXT  # type: ignore[arg-type]
    data = page_data(made)
    said = [data["pieces"][index] for index in data["tokens"]]
    assert said[0] == "The" and said[-1] == ">" and "\ue000F0\ue001" in said
    read = document_of_sequence(view, 2)
    assert "".join(read.shown_N) == shown(own(read.token_N))
