"""Byte-level BPE tokenizer in the manner of GPT-NeoX, trained on a sample of the mixture."""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from spectro.pretrain.text import GroupText

END_OF_TEXT = "<|endoftext|>"
_CHUNK_CHARS = 20_000


def _sample(
    texts: dict[str, GroupText], weights: dict[str, float], num_chars: int
) -> Iterator[str]:
    total = sum(weights.values())
    for name, text in texts.items():
        left = int(num_chars * weights[name] / total)
        for document in text.train:
            if left <= 0:
                break
            chunk = document[: min(left, _CHUNK_CHARS)]
            left -= len(chunk)
            yield chunk


def train_tokenizer(
    texts: dict[str, GroupText], weights: dict[str, float], *, vocab_size: int, num_chars: int
) -> Tokenizer:
    """Train on the first documents of each group, in proportion to its weight.

    `<|endoftext|>` has id 0; every byte has a token, so any text can be encoded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(texts, weights, num_chars), trainer)
    if tokenizer.get_vocab_size() != vocab_size or tokenizer.token_to_id(END_OF_TEXT) != 0:
        raise ValueError(
            f"tokenizer has {tokenizer.get_vocab_size()} entries, expected {vocab_size}: "
            "is there too little text?"
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_positions: int) -> None:
    """Write the files from which AutoTokenizer loads the folder offline."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        model_max_length=max_positions,
        clean_up_tokenization_spaces=False,
    )
    wrapped.save_pretrained(folder)
    # transformers 5 writes its own name of the class, which transformers 4 does not know
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2) + "\n")
