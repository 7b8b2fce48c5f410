"""Small tokenizers of every kind, made without network, as Hugging Face models have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import CLIPTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

END = "<|end|>"
CORPUS = (
    "She said: the naïve cats are sitting on the mat.\n\n    def walking(x):\n\treturn x * 17\n",
    "He said that the dogs don't sit; they were running, walking and sitting (all day).",
    "The end of the chapter. She walked on and on. 2024 was the year, they said.",
) * 4
TEXTS = (
    "She said the cats are sitting.",
    " the  end\n\n    def f(x):\n\treturn x",
    "naïve 漢字 😀😀 e\u0301 the mat",
    "  ",
    "the",
    f"the end{END}She walked",
    "don't (sit), 17",
)
"""With CJK, emoji, combining marks, line ends, indentation, several spaces, an added token."""
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def wrapped(made: Tokenizer, **names: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, **names)


def trained(made: Tokenizer, trainer: Any) -> Tokenizer:
    made.train_from_iterator(CORPUS, trainer)
    return made


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2, GPT-NeoX."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return wrapped(
        trained(
            made,
            trainers.BpeTrainer(
                vocab_size=400,
                initial_alphabet=alphabet,
                special_tokens=[END],
                show_progress=False,
            ),
        )
    )


def byte_fallback(normalizer: Any, pre_tokenizer: Any, decoder: Any) -> PreTrainedTokenizerFast:
    """BPE of SentencePiece: characters that it does not know are bytes, as line ends here."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    names = ["<unk>", "<s>", END, *BYTES]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=names, show_progress=False)
    made.train_from_iterator([" ".join(text.split()) for text in CORPUS], trainer)
    content = json.loads(made.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] not in BYTES]
    made = Tokenizer.from_str(json.dumps(content))  # bytes are ordinary entries, as in Llama's file
    if normalizer is not None:
        made.normalizer = normalizer
    made.pre_tokenizer, made.decoder = pre_tokenizer, decoder
    return wrapped(made, unk_token="<unk>", bos_token="<s>")


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    """Mistral and later ones: a Metaspace before, a Metaspace after."""
    after = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme, split=False)]
    )
    before = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=True)
    return byte_fallback(None, before, after)


def llama() -> PreTrainedTokenizerFast:
    """Llama 2: spaces are replaced by the normalizer, and one is stripped at the end."""
    before = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    after = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return byte_fallback(before, None, after)


def unigram() -> PreTrainedTokenizerFast:
    """T5, XLM-R: white space is one space, other than in the text."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", END], unk_token="<unk>", show_progress=False
    )
    return wrapped(trained(made, trainer), unk_token="<unk>")


def word_piece(*, cleanup: bool = True) -> PreTrainedTokenizerFast:
    """BERT, without case."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##", cleanup=cleanup)
    special = ["[UNK]", "[CLS]", "[SEP]", END]
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    made = trained(made, trainer)
    made.add_tokens([AddedToken("plain added")])
    return wrapped(made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def word_level() -> PreTrainedTokenizerFast:
    """Words and marks, no decoder: tokens are joined by spaces."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[UNK]", END], show_progress=False)
    return wrapped(trained(made, trainer), unk_token="[UNK]")


def end_of_word() -> PreTrainedTokenizerFast:
    """GPT-1, CharBPE: `</w>` ends a word."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=180,
        special_tokens=["<unk>", END],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    return wrapped(trained(made, trainer), unk_token="<unk>")


def clip() -> CLIPTokenizer:
    """Bytes and `</w>` at once; its class decodes by itself."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*alphabet, *(f"{char}</w>" for char in alphabet), "th", "the</w>", "in", "ing</w>"]
    entries += ["<|startoftext|>", END]
    merges = [("t", "h"), ("th", "e</w>"), ("i", "n"), ("in", "g</w>")]
    vocab = {entry: index for index, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocab, merges=merges, eos_token=END, pad_token=END, unk_token=END)


class Slow(PreTrainedTokenizer):
    """Python alone: letters, and words that begin with _."""

    def __init__(self, **names: Any) -> None:
        self._all = {chr(code): code - 32 for code in range(32, 127)} | {"_the": 95, "_cat": 96}
        super().__init__(unk_token="?", eos_token="~", **names)

    @property
    def vocab_size(self) -> int:
        return len(self._all)

    def get_vocab(self) -> dict[str, int]:
        return dict(self._all)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        found: list[str] = []
        for word in text.split(" "):
            found += [f"_{word}"] if f"_{word}" in self._all else list(word)
        return found

    def _convert_token_to_id(self, token: str) -> int:
        return self._all.get(token, self._all["?"])

    def _convert_id_to_token(self, index: int) -> str:
        return next(token for token, own in self._all.items() if own == index)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        said = (f" {t[1:]}" if len(t) > 1 and t[0] == "_" else t for t in tokens)
        return "".join(said).removeprefix(" ")


KINDS: dict[str, Callable[[], Any]] = {
    "byte level": byte_level,
    "llama": llama,
    "metaspace always": partial(metaspace, "always"),
    "metaspace first": partial(metaspace, "first"),
    "metaspace never": partial(metaspace, "never"),
    "unigram": unigram,
    "word piece": word_piece,
    "word piece, no cleanup": partial(word_piece, cleanup=False),
    "word level": word_level,
    "end of word": end_of_word,
    "clip": clip,
    "slow": Slow,
}


@cache
def tokenizer(kind: str) -> Any:
    """Made once."""
    return KINDS[kind]()
