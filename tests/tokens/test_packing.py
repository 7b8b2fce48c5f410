"""Packing against a slow, obvious one."""

import numpy as np
import pytest

from spectro.tokens.packing import encode_stream, num_samples, sample
from tests.tokens.byte_tokenizer import EOT, VOCAB, encode


def obvious_samples(documents, context):
    stream = []
    for text in documents:
        stream += encode([text])[0] + [EOT]
    samples = []
    while len(stream) >= context + 1:
        samples.append(stream[: context + 1])
        stream = stream[context:]
    return samples


@pytest.mark.parametrize("context", [1, 3, 7, 64])
def test_samples_overlap_by_one_and_documents_end_in_eot(context):
    documents = ["hello", "", "a", "the quick brown fox jumps", "x" * 50]
    stream = encode_stream(documents, encode, eot_id=EOT, vocab_size=VOCAB, enough=lambda n: False)
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
        endless(), encode, eot_id=EOT, vocab_size=VOCAB, enough=lambda n: n >= 1000
    )
    assert 1000 <= len(stream) < 1200
    assert len(read) < 130


@pytest.mark.parametrize("num_ids, expected", [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2)])
def test_number_of_samples(num_ids, expected):
    assert num_samples(num_ids, 4) == expected


def test_no_documents_give_an_empty_stream():
    stream = encode_stream([], encode, eot_id=EOT, vocab_size=VOCAB, enough=lambda n: False)
    assert stream.shape == (0,)


@pytest.mark.parametrize("bad", [[5, 300], [-1]])
def test_ids_outside_the_vocabulary_are_refused(bad):
    with pytest.raises(ValueError, match="vocabulary is 0 to 256"):
        encode_stream(
            ["x"], lambda texts: [bad], eot_id=EOT, vocab_size=VOCAB, enough=lambda n: False
        )
