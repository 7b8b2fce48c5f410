"""Token sequences of a run, and those that are added to it later (ADR 014, ADR 049)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spectro.config import PipelineConfig, to_dict
from spectro.formats import fingerprint, run_dir, tokens
from spectro.formats.more_tokens import known_sources, subset_names, write_more
from spectro.formats.tokens import TokensInfo, copy_tokens
from spectro.measure.checkpoint_copy import on_this_machine
from spectro.measure.encoder import Encoder
from spectro.measure.resident_model import ResidentModel
from spectro.measure.units import MoreTokensUnit, TokensUnit
from spectro.models.config import ModelConfig
from spectro.models.load import load_tokenizer, read_config
from spectro.models.size import ModelSize
from spectro.models.size_of_config import size_of_config
from spectro.storage.local_copies import open_url
from spectro.storage.locations import is_uri
from spectro.storage.store import Store
from spectro.tokens.build import build, build_more
from spectro.tokens.config import Source, SourceKind
from spectro.tokens.display.terminal_text import plain_string
from spectro.tokens.packing import Encode
from spectro.tokens.sources.remote import OpenUrl
from spectro.tokens.sources.source_report import SourceReport
from spectro.work.stage import OnProgress, ShouldStop
from spectro.work.units import Unit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def token_units(store: Store, config: PipelineConfig) -> list[Unit]:
    """The run's own tokens, and the addition that is asked for and not there yet.

    Raises ValueError, in one line, for an addition that cannot be, and for a source that would
    read the run's own files.
    """
    own = TokensUnit()
    is_made = store.exists(tokens.MARKER)
    if store.is_local and not is_made:
        _check_sources(store, config.tokens.subsets)
    if config.more is None:
        return [own]
    if store.is_local:
        _check_sources(store, config.more.subsets)
    addition, info = 1, known_tokens(store, config)
    if info is not None:
        addition = len(info.additions) + 1
        if not added_parts(config, info):
            return [own]
    return [own, MoreTokensUnit(addition=addition, needs=(own,))]


def known_tokens(store: Store, config: PipelineConfig) -> TokensInfo | None:
    """The run's tokens, or those that an upsampled run will begin with; None where none are known.

    Raises DamagedObjectError.
    """
    if store.exists(tokens.MARKER):
        return tokens.read_info(store)
    return None if config.upsample is None else tokens.read_info(Store(config.upsample.source))


def _check_sources(store: Store, sources: Mapping[str, Source]) -> None:
    """Raise ValueError for a folder of text that holds the run's folder, which grows meanwhile."""
    run = Path(store.root).resolve()
    for name, source in sources.items():
        if source.kind is not SourceKind.TEXT_FOLDER:
            continue
        folder, (*above, last) = Path(str(source.path)).resolve(), source.pattern.split("/")
        is_read = above[:1] == ["**"] and fnmatchcase(run_dir.NAME, last)
        below = run.relative_to(folder).parts if run.is_relative_to(folder) else (".",)
        if is_read and not any(part.startswith(".") for part in below):
            raise ValueError(
                f"subset {name!r}: the folder {source.path} holds the run's own folder {run}, "
                "whose files would be read as text: give another run.uri, or a pattern such as "
                "'**/*.txt'"
            )


def added_sources(config: PipelineConfig, info: TokensInfo) -> dict[str, Source]:
    """Sources of the subsets that are to be added to.

    Raises ValueError if a known subset is given another source.
    """
    own = config.tokens.subsets
    if config.more is None or not config.more.subsets:
        return own
    known = {name: to_dict(source) for name, source in own.items()} | known_sources(info)
    asked = {name: to_dict(source) for name, source in config.more.subsets.items()}
    old = {name: known[name] for name in asked if name in known}
    found = fingerprint.differences(old, {name: asked[name] for name in old})
    if found:
        raise ValueError(
            f"more.subsets: the run has a subset of that name from another source "
            f"({'; '.join(found)}): give another name, or the same source"
        )
    return config.more.subsets


def added_parts(config: PipelineConfig, info: TokensInfo) -> dict[str, range]:
    """Subset → which sequences of its order are added; without those that have enough."""
    if config.more is None:
        return {}
    found = {}
    for name in added_sources(config, info):
        start = config.tokens.first_probe_sequence if name in config.tokens.subsets else 0
        there = info.splits["probe"].counts.get(name, 0)
        if config.more.num_probe_sequences > there:
            found[name] = range(start + there, start + config.more.num_probe_sequences)
    return found


def read_lines(units: Collection[Unit], store: Store) -> list[str]:
    """A line for each source of which the done units skipped, cut or replaced anything."""
    if not units:
        return []
    info = tokens.read_info(store)
    reports: list[tuple[str, SourceReport]] = []
    for unit in units:
        if isinstance(unit, TokensUnit):
            reports += info.reports.items()
        elif isinstance(unit, MoreTokensUnit) and unit.addition <= len(info.additions):
            reports += info.reports_of(unit.addition).items()
    found = [(name, report) for name, report in reports if report.has_more_than_documents]
    return [plain_string(f"subset {name}: {report.line}") for name, report in found]


def make_tokens(
    unit: TokensUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Read, pack and put the run's own tokens; an upsampled run begins with those measured."""
    if (upsample := resident.config.upsample) is not None:
        copy_tokens(Store(upsample.source), resident.root, upsample.probe_sha256)
        return
    config = resident.config.tokens
    vocab_size = model_size(resident.config).vocab_size
    encode, eot_id = tokenizer_of(resident.config.model, vocab_size)
    splits = build(
        config,
        encode,
        eot_id,
        vocab_size,
        progress=on_progress,
        open_url=sources_at(resident.config),
    )
    tokens.write_tokens(
        resident.root,
        splits,
        vocab_size=vocab_size,
        sequences_per_shard=config.sequences_per_shard,
    )


def add_tokens(
    unit: MoreTokensUnit, resident: ResidentModel, on_progress: OnProgress, should_stop: ShouldStop
) -> None:
    """Read, pack and put an addition; nothing if another driver has just put the same."""
    config, info = resident.config, tokens.read_info(resident.root)
    parts, sources = added_parts(config, info), added_sources(config, info)
    if config.more is None or not parts:
        return
    vocab_size = model_size(resident.config).vocab_size
    encode, eot_id = tokenizer_of(resident.config.model, vocab_size)
    names = subset_names(info, tuple(config.tokens.subsets), tuple(parts))
    sequences, reports = build_more(
        config.tokens,
        sources,
        parts,
        names,
        encode,
        eot_id,
        vocab_size,
        progress=on_progress,
        open_url=sources_at(config),
    )
    info = write_more(
        resident.root,
        unit.addition,
        sequences,
        config=to_dict(config.more),
        sources={name: to_dict(sources[name]) for name in parts},
        sequences_per_shard=config.more.sequences_per_shard or config.tokens.sequences_per_shard,
        reports=reports,
    )
    if added_parts(config, info):
        raise ValueError(
            f"{resident.root.uri}: another driver has just added other tokens to this run; the "
            "same command adds what is missing now"
        )


def sources_at(config: PipelineConfig) -> OpenUrl:
    """What opens a run's sources at URLs; their copies are in `run.scratch`."""
    return partial(open_url, scratch=config.run.scratch)


def model_size(config: PipelineConfig) -> ModelSize:
    """Size of a run's model by its config alone, checked; of a local folder also its weights'
    headers. Raises ValueError, FileNotFoundError or OSError, in one line.
    """
    local = on_this_machine(config.model, config.run.scratch, weights=False)
    has_weights = not is_uri(config.model.name_or_path)
    return size_of_config(read_config(local, has_weights=has_weights))


def tokenizer_of(model: ModelConfig, vocab_size: int) -> tuple[Encode, int]:
    """Texts → ids; the id of end-of-text. The model's weights are not needed.

    Raises ValueError, in one line, for a tokenizer that cannot be used, or that has ids beyond
    the model's vocabulary.
    """
    tokenizer = load_tokenizer(on_this_machine(model, None, weights=False))
    name = model.name_or_path
    encode = Encoder(tokenizer, name)
    if not encode(["text"]).ids[0]:
        raise ValueError(
            f"the tokenizer of {name!r} has no vocabulary: "
            "is tokenizer.json missing beside the checkpoint?"
        )
    eot, eot_id = _end_of_text(tokenizer, name)
    if eot_id >= vocab_size:
        raise ValueError(
            f"the tokenizer of {name!r} has the end-of-text {eot!r} with id "
            f"{eot_id}, but the model's vocabulary is 0 to {vocab_size - 1}: was it added after "
            "training? Give the tokenizer that the model was trained with"
        )
    # transformers gives a GGUF file's tokenizer further tokens; no text is written so
    added = tokenizer.get_added_vocab() if model.gguf_file is not None else ()
    vocab = tokenizer.get_vocab().items()
    if beyond := {t: i for t, i in vocab if i >= vocab_size and t not in added}:
        token, own_id = min(beyond.items(), key=lambda pair: pair[1])
        raise ValueError(
            f"the tokenizer of {name!r} has {len(beyond)} ids beyond the model's vocabulary of "
            f"{vocab_size}, such as {token!r} with id {own_id}: do tokenizer and model belong "
            "together?"
        )
    return encode, eot_id


def _end_of_text(tokenizer: PreTrainedTokenizerBase, name: str) -> tuple[str, int]:
    """The token between documents and its id: end of text, or, of a tokenizer without one, what it
    puts at the beginning of a text or between two.
    """
    for kind in ("eos", "bos", "sep"):
        token_id = getattr(tokenizer, f"{kind}_token_id")
        if token_id is not None:
            token = str(getattr(tokenizer, f"{kind}_token"))
            if kind != "eos":
                logger.info("documents end with %s: the tokenizer has no end-of-text", token)
            return token, int(token_id)
    raise ValueError(
        f"the tokenizer of {name!r} has no end-of-text token, and none for the beginning of a text "
        "or between two: documents cannot be packed as the model was trained; name one as "
        "eos_token in the tokenizer_config.json of a copy"
    )
