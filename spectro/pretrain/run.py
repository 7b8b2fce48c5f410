"""A whole pretraining run: read, tokenise, train, export; each part is cached and resumed."""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

from spectro.pretrain.config import PretrainConfig
from spectro.pretrain.data import tokenize
from spectro.pretrain.state import TrainState, build_state, load_checkpoint, save_checkpoint
from spectro.pretrain.text import GroupText, read_group
from spectro.pretrain.tokenizer import END_OF_TEXT, save_tokenizer, train_tokenizer
from spectro.pretrain.train import Corpus, train

logger = logging.getLogger(__name__)


def read_groups(config: PretrainConfig) -> dict[str, GroupText]:
    """All groups' documents; a text that occurs in several groups counts for the first."""
    seen: set[bytes] = set()
    texts: dict[str, GroupText] = {}
    for name, group in config.groups.items():
        texts[name] = read_group(
            name,
            group,
            seed=config.seed,
            document_bytes=config.document_bytes,
            permille=config.heldout_permille,
            seen=seen,
        )
        logger.info(
            "group %s: %d documents, %d held out",
            name, len(texts[name].train), len(texts[name].heldout),
        )  # fmt: skip
    return texts


def text_key(config: PretrainConfig) -> str:
    """Digest of the settings that the tokenizer and the token streams depend on."""
    kept = {
        "groups": {n: dataclasses.asdict(g) for n, g in config.groups.items()},
        "seed": config.seed,
        "permille": config.heldout_permille,
        "document_bytes": config.document_bytes,
        "tokenizer": config.tokenizer,
        "tokenizer_chars": config.tokenizer_chars,
        "vocab_size": config.model.vocab_size,
    }
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=8).hexdigest()


def _tokenizer(config: PretrainConfig, texts: dict[str, GroupText]) -> Tokenizer:
    """The one that is given, or one trained on the mixture.

    Raises ValueError for a vocabulary of another size than the model's.
    """
    size = config.model.vocab_size
    if config.tokenizer is None:
        weights = {n: g.weight for n, g in config.groups.items()}
        return train_tokenizer(texts, weights, vocab_size=size, num_chars=config.tokenizer_chars)
    tokenizer = Tokenizer.from_file(str(Path(config.tokenizer) / "tokenizer.json"))
    if tokenizer.get_vocab_size() != size or tokenizer.token_to_id(END_OF_TEXT) != 0:
        raise ValueError(
            f"tokenizer {config.tokenizer!r} has {tokenizer.get_vocab_size()} entries, expected "
            f"model.vocab_size={size} with {END_OF_TEXT} first: is it that of another model?"
        )
    return tokenizer


def load_or_build_corpus(config: PretrainConfig) -> tuple[Tokenizer, Corpus]:
    """Tokenizer and token streams, from `work_dir` when it holds those of the same settings."""
    cache = Path(config.work_dir) / f"text-{text_key(config)}"
    tokenizer_path, stream_path = cache / "tokenizer.json", cache / "streams.npz"
    if not stream_path.exists():
        texts = read_groups(config)
        tokenizer = _tokenizer(config, texts)
        cache.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(tokenizer_path))
        arrays = {f"train/{n}": tokenize(tokenizer, t.train) for n, t in texts.items()}
        arrays |= {f"heldout/{n}": tokenize(tokenizer, t.heldout) for n, t in texts.items()}
        np.savez(stream_path, allow_pickle=False, **arrays)
    with np.load(stream_path) as stored:
        corpus = Corpus(
            train={n: stored[f"train/{n}"] for n in config.groups},
            heldout={n: stored[f"heldout/{n}"] for n in config.groups},
        )
    return Tokenizer.from_file(str(tokenizer_path)), corpus


def training_record(config: PretrainConfig, corpus: Corpus, state: TrainState) -> dict[str, Any]:
    """What training.json says of the model; machine-specific folders are left out."""
    settings = dataclasses.asdict(config)
    for name in ("out_dir", "work_dir"):
        settings.pop(name)
    final = state.history[-1] if state.history else {}
    return {
        "induction_score": final.get("induction_score"),
        "heldout_loss": final.get("heldout_loss"),
        "heldout_loss_by_group": {
            n.removeprefix("heldout_loss/"): v for n, v in final.items() if "/" in n
        },
        "tokens_seen": state.tokens_seen,
        "finished": state.tokens_seen + config.schedule.batch_sequences * config.schedule.context
        > config.schedule.num_tokens,
        "tokens_available": {n: len(s) for n, s in corpus.train.items()},
        "config": settings,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "history": state.history,
    }


def export(config: PretrainConfig, tokenizer: Tokenizer, corpus: Corpus, state: TrainState) -> None:
    """Write the ordinary Hugging Face folder (safetensors, tokenizer) and training.json."""
    out = Path(config.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    state.model.save_pretrained(out)
    save_tokenizer(tokenizer, out, config.model.max_positions)
    record = training_record(config, corpus, state)
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def pretrain(config: PretrainConfig) -> TrainState:
    """Train to the end of the budget, exporting at every checkpoint; resumes a stopped run."""
    torch.set_num_threads(config.num_threads)
    tokenizer, corpus = load_or_build_corpus(config)
    logger.info("training tokens: %s", {n: len(s) for n, s in corpus.train.items()})
    state = build_state(config)
    checkpoint = Path(config.work_dir) / f"checkpoint-{text_key(config)}-{config.seed}.pt"
    if checkpoint.exists():
        load_checkpoint(state, checkpoint)
        logger.info("resumed at %d tokens", state.tokens_seen)

    def keep(current: TrainState) -> None:
        save_checkpoint(current, checkpoint)
        export(config, tokenizer, corpus, current)

    def keep_copy(current: TrainState) -> None:
        step = f"tokens-{current.tokens_seen}"
        current.model.save_pretrained(Path(config.work_dir) / "kept" / step)

    train(config, corpus, state, keep, keep_copy)
    return state
