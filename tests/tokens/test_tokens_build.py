"""Sampling: disjoint, keyed, repeatable, and clear about what is missing."""

import dataclasses
import json

import numpy as np
import pytest

from spectro.tokens.build import build, build_more
from spectro.tokens.config import Source, SourceKind, TokensConfig
from spectro.tokens.overlap import REPEATED
from spectro.tokens.sources.source_report import DOCUMENTS, SourceReport
from tests.tokens.byte_tokenizer import EOT, VOCAB, decode, encode


@pytest.fixture
def folder(tmp_path):
    """Forty documents; counting words make every sample of 17 ids another one."""
    for i in range(40):
        words = " ".join(f"{i:02d}w{n:02d}" for n in range(48))
        (tmp_path / f"doc{i:02d}.txt").write_text(words)
    return tmp_path


def config_for(folder, **changes):
    source = Source(kind=SourceKind.TEXT_FOLDER, path=str(folder))
    settings = {
        "subsets": {"one": source, "two": source},
        "context": 16,
        "num_probe_sequences": 12,
        "num_sampling_sequences": 9,
        "num_evaluation_sequences": 5,
        "pool_sequences": 1000,
    }
    return TokensConfig(**{**settings, **changes})


def rows(sequences, subset):
    return {tuple(ids) for ids in sequences.ids_ST1[sequences.subset_S == subset].tolist()}


def test_shapes_counts_and_names(folder):
    splits = build(config_for(folder), encode, EOT, VOCAB)
    for part, count in ((splits.probe, 12), (splits.sampling, 9), (splits.evaluation, 5)):
        assert part.ids_ST1.shape == (2 * count, 17)
        assert part.ids_ST1.dtype == np.int32
        assert part.subset_S.dtype == np.int16
        assert np.bincount(part.subset_S).tolist() == [count, count]
        assert part.subset_names == ("one", "two")


def test_splits_are_disjoint_and_come_from_the_text(folder):
    config = config_for(folder)
    splits = build(config, encode, EOT, VOCAB)
    stream = [i for f in sorted(folder.iterdir()) for i in (*encode([f.read_text()]).ids[0], EOT)]
    samples = {tuple(stream[k : k + 17]) for k in range(0, len(stream) - 16, 16)}
    assert len(samples) > 2 * config.num_sequences
    drawn = [rows(p, 0) for p in (splits.probe, splits.sampling, splits.evaluation)]
    assert set.union(*drawn) <= samples
    # every sample of this text is another one, so equal rows would be one position drawn twice
    assert len(set.union(*drawn)) == sum(map(len, drawn))


def test_the_same_config_gives_the_same_bytes_and_another_seed_does_not(folder):
    config = config_for(folder)
    first, again = (build(config, encode, EOT, VOCAB) for _ in range(2))
    other = build(dataclasses.replace(config, seed=1), encode, EOT, VOCAB)
    assert np.array_equal(first.probe.ids_ST1, again.probe.ids_ST1)
    assert np.array_equal(first.probe.subset_S, again.probe.subset_S)
    assert not np.array_equal(first.probe.ids_ST1, other.probe.ids_ST1)


def test_a_further_subset_leaves_the_others_as_they_were(folder):
    config = config_for(folder)
    fewer = dataclasses.replace(config, subsets={"two": config.subsets["two"]})
    both = build(config, encode, EOT, VOCAB)
    alone = build(fewer, encode, EOT, VOCAB)
    assert rows(both.probe, 1) == rows(alone.probe, 0)
    assert rows(both.sampling, 1) == rows(alone.sampling, 0)


def test_subsets_of_one_text_are_sampled_independently(folder):
    splits = build(config_for(folder), encode, EOT, VOCAB)
    assert rows(splits.probe, 0) != rows(splits.probe, 1)


def test_sampling_is_uniform_over_the_pool(tmp_path):
    (tmp_path / "a.txt").write_text("".join(chr(97 + i) * 4 for i in range(20)))
    source = {"x": Source(kind=SourceKind.TEXT_FOLDER, path=str(tmp_path))}
    counts = np.zeros(20)
    for seed in range(300):
        config = TokensConfig(
            subsets=source, context=4, seed=seed, num_probe_sequences=4,
            num_sampling_sequences=1, num_evaluation_sequences=1, pool_sequences=100,
        )  # fmt: skip
        for ids in build(config, encode, EOT, VOCAB).probe.ids_ST1:
            counts[ord(decode(ids[:1])) - 97] += 1
    # 1200 draws over 20 samples: each 60 ± sqrt(300 · 0.2 · 0.8) = 6.9; five deviations
    assert abs(counts - 60).max() < 35


def test_probe_shards_hold_every_subset(folder):
    splits = build(config_for(folder), encode, EOT, VOCAB)
    assert set(splits.probe.subset_S[:12].tolist()) == {0, 1}


def test_progress_reaches_the_end(folder):
    seen = []
    build(config_for(folder), encode, EOT, VOCAB, progress=lambda done, all: seen.append(done))
    assert seen == [0, 1, 2]


def test_documents_are_limited_in_number_and_length(folder):
    one = config_for(folder, max_documents=1, num_probe_sequences=1, num_sampling_sequences=1)
    splits = build(dataclasses.replace(one, num_evaluation_sequences=1), encode, EOT, VOCAB)
    assert all("01w" not in decode(ids) for ids in splits.probe.ids_ST1)
    with pytest.raises(ValueError, match=r"needs 26 sequences of 17 ids, found 14"):
        build(config_for(folder, max_document_chars=5), encode, EOT, VOCAB)


def test_too_little_text_says_how_much_is_needed(tmp_path):
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(ValueError, match=r"subset 'one': needs 26 sequences of 17 ids, found 0"):
        build(config_for(tmp_path), encode, EOT, VOCAB)


def test_what_was_read_is_reported_by_subset(folder):
    """As many documents as the pool needs, in batches of 16: 26 sequences of 16 are 2 documents."""
    (folder / "doc00.txt").write_text("")
    (folder / ".git").mkdir()
    reports = build(config_for(folder, pool_sequences=26), encode, EOT, VOCAB).reports
    assert list(reports) == ["one", "two"]
    for report in reports.values():
        assert report.counts.pop(REPEATED) > 0  # the two read one text
        assert report.line == (
            "17 documents read, 1 hidden or cache folders skipped, 1 empty documents skipped"
        )
    cut = config_for(folder, max_documents=30, max_document_chars=100)
    report = build(cut, encode, EOT, VOCAB).reports["one"]
    assert report.counts["documents cut to max_document_chars"] == 29
    assert report.notes == ["reading ended at max_documents=30"]


def test_an_addition_is_reported_too(folder):
    config = config_for(folder)
    ids, reports = build_more(
        config, config.subsets, {"two": range(26, 30)}, ("one", "two"), encode, EOT, VOCAB
    )
    assert len(ids) == 4
    assert {name: report.line for name, report in reports.items()} == {"two": "40 documents read"}


def test_reports_go_to_plain_values_and_back():
    report = SourceReport()
    report.count(DOCUMENTS, 1234)
    assert not report.has_more_than_documents
    report.count("files that were not there", 0)
    report.note("a name \udcff")
    report.note("a name \udcff")
    assert report.has_more_than_documents
    assert report.line == r"1,234 documents read; a name \udcff"
    assert SourceReport.from_plain(json.loads(json.dumps(report.to_plain()))) == report
    assert SourceReport().line == ""


def test_empty_documents_are_no_text(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"found 0: .* 3 empty documents skipped"):
        build(config_for(tmp_path), encode, EOT, VOCAB)


def test_a_missing_folder_names_the_subset(tmp_path):
    with pytest.raises(FileNotFoundError, match="subset 'one': text_folder source"):
        build(config_for(tmp_path / "absent"), encode, EOT, VOCAB)


def test_end_of_text_outside_the_vocabulary(folder):
    with pytest.raises(ValueError, match="eot_id"):
        build(config_for(folder), encode, 300, VOCAB)
