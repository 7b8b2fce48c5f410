"""Preconditions of upsampling: which measured runs cannot be learnt from (ADR 071)."""

from __future__ import annotations

from collections.abc import Sequence

from spectro.config import PipelineConfig
from spectro.formats import run_dir, tokens
from spectro.formats.derived_objects import TOKENS
from spectro.formats.fingerprint import FORMAT_VERSION
from spectro.formats.product import SUMMARY_NAME, measured_shards, moments_name
from spectro.formats.run_dir import RunFile
from spectro.formats.tokens import MARKER, TokensInfo, require_tokens
from spectro.measure.tokenise import added_sources, sources_at, tokenizer_of
from spectro.predict.config import PredictConfig, UpsampleConfig
from spectro.storage.checksummed_json import read_sealed
from spectro.storage.store import Store
from spectro.susceptibility.summary import CHAIN_STATISTICS, NOT_IN_EARLIER_RUNS
from spectro.tokens.build import build_more
from spectro.work.model_info import ModelInfo

MIN_SHARDS = 2
"""Token shards that a run must have: one to learn from, one that judges."""


def learnt_from(config: PipelineConfig, predict: PredictConfig) -> UpsampleConfig:
    """The measured run of a configuration, as what an upsampled run learns from.

    Raises ValueError, in one line, for a run that is not finished, that is itself predicted, that
    an earlier version measured, or of which no draws can be held out.
    """
    store = Store(config.run.uri)
    file = run_dir.require(store)
    if config.upsample is not None:
        raise ValueError(
            f"{store.uri} is itself predicted, from {config.upsample.source}: learn from that run"
        )
    info = _finished(store)
    _require_this_format(store, file)
    _require_held_out(store, config, info)
    return UpsampleConfig(
        source=store.uri,
        fingerprint=file.fingerprint,
        probe_sha256=info.probe_sha256,
        num_shards=info.splits["probe"].num_shards,
        predict=predict,
    )


def _finished(store: Store) -> TokensInfo:
    """The tokens of a run that has measured all of them."""
    if not (store.exists(MARKER) and store.exists(SUMMARY_NAME)):
        raise ValueError(_unfinished(store, "it has no summary of all its tokens"))
    info = tokens.read_info(store)
    num_shards = info.splits["probe"].num_shards
    there = sum(1 for size in measured_shards(store).values() if size)
    if there < num_shards or read_sealed(store, SUMMARY_NAME).get(TOKENS) != info.probe_sha256:
        raise ValueError(_unfinished(store, f"{there} of {num_shards} token shards are measured"))
    return info


def _unfinished(store: Store, why: str) -> str:
    return (
        f"{store.uri} is not measured to the end ({why}): go on with it first "
        f"(spectro resume run.uri={store.uri})"
    )


def _require_this_format(store: Store, file: RunFile) -> None:
    """Raise ValueError for a run whose summary lacks what that of the new run takes over."""
    found, summary = file.inputs.get("format"), read_sealed(store, SUMMARY_NAME)
    lacking = [name for name in CHAIN_STATISTICS if name not in (*summary, *NOT_IN_EARLIER_RUNS)]
    if found == FORMAT_VERSION and not lacking:
        return
    why = f"its summary has no {lacking[0]}" if lacking else f"format {found}"
    raise ValueError(
        f"{store.uri} was measured by another version of spectro ({why}, expected format "
        f"{FORMAT_VERSION}): measure it anew with this one to learn from it"
    )


def _require_held_out(store: Store, config: PipelineConfig, info: TokensInfo) -> None:
    """Raise ValueError unless token shards and draws can be held out."""
    num_shards = info.splits["probe"].num_shards
    if num_shards < MIN_SHARDS:
        raise ValueError(
            f"{store.uri} has {num_shards} token shard: at least {MIN_SHARDS} are needed, for "
            "predictions are judged on shards that they have not learnt from; measure with a "
            "smaller tokens.sequences_per_shard, or more tokens"
        )
    without = [n for n in range(num_shards) if "halves" not in read_sealed(store, moments_name(n))]
    if without:
        why = (
            "it has one chain"
            if config.chain.num_chains < 2
            else "it was measured with run.keep_halves=false"
        )
        raise ValueError(
            f"{store.uri} keeps no susceptibilities of two halves of its chains for token shard "
            f"{without[0]} ({why}): predictions are judged along draws that they have not "
            "learnt from; measure with two chains or more and run.keep_halves=true"
        )


def check_upsampled(config: PipelineConfig, model: ModelInfo) -> None:
    """Refuse a measured run that has changed since, or that another model was measured for.

    Raises ValueError, in one line.
    """
    if (upsample := config.upsample) is None:
        return
    source = Store(upsample.source)
    file = run_dir.require(source)
    if file.fingerprint != upsample.fingerprint:
        raise ValueError(
            f"{source.uri} is another run than the one that was learnt from (fingerprint "
            f"{file.fingerprint[:16]}, expected {upsample.fingerprint[:16]})"
        )
    require_tokens(source, tokens.read_info(source), upsample.probe_sha256)
    known = file.inputs.get("model_weights")
    if known != model.weights_sha256:
        raise ValueError(
            f"{source.uri} was measured for another model than {config.model.name_or_path!r} is "
            f"now (digest of its weights {str(known)[:16]}, found {model.weights_sha256[:16]}): "
            "features of one model do not predict the susceptibilities of another"
        )


def check_same_text(
    config: PipelineConfig, source: Store, subsets: Sequence[str], vocab_size: int
) -> None:
    """Refuse new sequences of subsets whose text or tokenizer is not that of the measured run.

    The order of a subset's sequences only grows (ADR 014), so its first probe sequence, read again,
    must be among those that were measured. Raises ValueError, in one line.
    """
    info = tokens.read_info(source)
    counts, own = info.splits["probe"].counts, config.tokens.subsets
    first = {
        name: config.tokens.first_probe_sequence if name in own else 0
        for name in subsets
        if counts.get(name)
    }
    if not first:
        return
    encode, eot_id = tokenizer_of(config.model, vocab_size)
    again, _ = build_more(
        config.tokens,
        added_sources(config, info),
        {name: range(start, start + 1) for name, start in first.items()},
        tuple(first),
        encode,
        eot_id,
        vocab_size,
        open_url=sources_at(config),
    )
    wanted = {
        ids.tobytes(): again.subset_names[subset]
        for ids, subset in zip(again.ids_ST1, again.subset_S, strict=True)
    }
    for shard in range(info.splits["probe"].num_shards):
        _, there = tokens.read_shard(source, "probe", shard, info)
        for ids in there.ids_ST1:
            wanted.pop(ids.tobytes(), None)
        if not wanted:
            return
    raise ValueError(
        f"subset {min(wanted.values())!r} does not give the sequences that {source.uri} has "
        f"measured: is its text another one now, or the tokenizer of "
        f"{config.model.name_or_path!r}?"
    )
