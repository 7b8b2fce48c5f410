"""Packing against a slow, obvious one."""

import numpy as np
import pytest

from spectro.tokens.packing import INNER_ENDS, Encoded, encode_stream, num_samples, sample
from spectro.tokens.sources.source_report import SourceReport
from spectro.tokens.unknown import UNKNOWN, UnknownTokens, count_unknown
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode


def obvious_samples(documents, context):
    stream = []
    for text in documents:
        stream += encode([text]).ids[0] + [EOT]
    samples = []
    while len(stream) >= context + 1:
        samples.append(stream[: context + 1])
        stream = stream[context:]
    return samples


@pytest.mark.parametrize("context", [1, 3, 7, 64])
def test_samples_overlap_by_one_and_documents_end_in_eot(context):
    documents = ["hello", "", "a", "the quick brown fox jumps", "x" * 50]
    stream = encode_stream(
        documents,
        encode,
        eot_id=EOT,
        vocab_size=VOCAB,
        enough=lambda n: False,
        report=SourceReport(),
    )
    count = num_samples(len(stream), context)
    found = sample(stream, np.arange(count), context)
    assert found.dtype == np.int32
    assert found.tolist() == obvious_samples(documents, context)


def test_reading_stops_when_there_is_enough():
    read = []

    def endless():
        while True:
            read.append(1)
            yield "some text"

    stream = encode_stream(
        endless(),
        encode,
        eot_id=EOT,
        vocab_size=VOCAB,
        enough=lambda n: n >= 1000,
        report=SourceReport(),
    )
    assert 1000 <= len(stream) < 1200
    assert len(read) < 130


@pytest.mark.parametrize("num_ids, expected", [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2)])
def test_number_of_samples(num_ids, expected):
    assert num_samples(num_ids, 4) == expected


def test_no_documents_give_an_empty_stream():
    stream = encode_stream(
        [], encode, eot_id=EOT, vocab_size=VOCAB, enough=lambda n: False, report=SourceReport()
    )
    assert stream.shape == (0,)


@pytest.mark.parametrize("bad", [[5, 300], [-1]])
def test_ids_outside_the_vocabulary_are_refused(bad):
    with pytest.raises(ValueError, match="vocabulary is 0 to 256"):
        encode_stream(
            ["x"],
            lambda texts: Encoded([bad], UnknownTokens(), "bad"),
            eot_id=EOT,
            vocab_size=VOCAB,
            enough=lambda n: False,
            report=SourceReport(),
        )


def test_unknown_characters_are_counted_up_to_a_tenth_and_refused_above():
    """Each batch of 16 documents of 10 characters has 16 unknown ones, exactly a tenth."""

    def encode_some(texts):
        return Encoded([[5]] * len(texts), UnknownTokens(num_chars=160, num_unknown=16), "a/model")

    report, enough = SourceReport(), lambda n: n >= 64
    stream = encode_stream(
        ["x"] * 99, encode_some, eot_id=0, vocab_size=9, enough=enough, report=report
    )
    assert (len(stream), report.counts[UNKNOWN]) == (64, 32)
    message = "tokenizer of 'a/model' has no tokens for 17 of the first 160 characters"
    with pytest.raises(ValueError, match=message):
        encode_stream(
            ["x"],
            lambda texts: Encoded([[5]], UnknownTokens(num_chars=160, num_unknown=17), "a/model"),
            eot_id=0,
            vocab_size=9,
            enough=enough,
            report=report,
        )


def test_ids_of_end_of_text_within_documents_are_counted():
    report = SourceReport()
    encode_stream(
        ["x"],
        lambda texts: Encoded([[5, 0, 6, 0]], UnknownTokens(), "m"),
        eot_id=0,
        vocab_size=9,
        enough=lambda n: True,
        report=report,
    )
    assert report.counts == {INNER_ENDS: 2}


@pytest.mark.parametrize(
    ("text", "spans", "known", "expected"),
    [
        ("a bc d", [(0, 1), (2, 4), (5, 6)], [1, 1, 1], (4, 0)),
        ("a bc d", [(0, 1), (2, 4), (5, 6)], [1, 0, 1], (4, 2)),  # unknown
        ("a bc d", [(0, 1), (5, 6)], [1, 1], (4, 2)),  # left out
        ("a bc d", [(0, 4), (2, 4), (2, 3)], [1, 0, 1], (4, 1)),  # one by another token too
        ("\U0001f600", [(0, 1)] * 4, [1] * 4, (1, 0)),  # four bytes of one character
        (" \n", [], [], (0, 0)),
        ("", [], [], (0, 0)),
    ],
)
def test_characters_by_the_spans_of_tokens(text, spans, known, expected):
    found = count_unknown(text, spans, np.array(known, dtype=bool))
    assert (found.num_chars, found.num_unknown) == expected
