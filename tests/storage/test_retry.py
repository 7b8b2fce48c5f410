"""How long, how often, and what comes out of it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from spectro.storage.retry import (
    RetryPolicy,
    StorageUnavailableError,
    TransientError,
    call_with_retries,
)
from spectro.storage.s3_errors import AbsentError, TakenError, as_builtin_error, error_of_code

QUICK = RetryPolicy(first_seconds=0.0, longest_seconds=0.0)


def test_pauses_grow_up_to_the_longest_and_differ() -> None:
    policy = RetryPolicy(first_seconds=1.0, longest_seconds=6.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (5000, 6.0)):
        pauses = [policy.pause(failures) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1


def test_the_standard_policy_ends_within_minutes() -> None:
    """Were every answer immediate, and every pause as short as can be."""
    standard = RetryPolicy()
    longest = [min(standard.longest_seconds, standard.first_seconds * 2**k) for k in range(60)]
    shortest_total = [sum(longest[:k]) / 2 for k in range(60)]
    attempts = sum(total <= standard.total_seconds for total in shortest_total)
    assert 8 <= attempts <= 30
    assert standard.total_seconds <= 180


def test_a_call_is_repeated_while_it_may_pass() -> None:
    answers = iter([TransientError("a"), TransientError("b"), 7])

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert call_with_retries(call, "GET x", QUICK) == 7
    assert next(answers, None) is None


def test_other_errors_come_out_at_once() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise PermissionError("no")

    with pytest.raises(PermissionError, match="no"):
        call_with_retries(call, "GET x", QUICK)
    assert calls == [1]


def test_the_end_of_policy_names_object_and_reason() -> None:
    def call() -> None:
        raise TransientError("SlowDown")

    with pytest.raises(StorageUnavailableError, match=r"GET x: .* SlowDown at the last of 1 att"):
        call_with_retries(call, "GET x", RetryPolicy(total_seconds=0))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, TransientError),
        ("InternalError", 0, TransientError),
        ("anything", 502, TransientError),
        ("429", 429, TransientError),
        ("RequestTimeout", 400, TransientError),
        ("BadDigest", 400, TransientError),
        ("ConditionalRequestConflict", 409, TransientError),
        ("PreconditionFailed", 412, TakenError),
        ("412", 412, TakenError),
        ("NoSuchUpload", 404, AbsentError),
        ("NoSuchKey", 404, FileNotFoundError),
        ("404", 404, FileNotFoundError),
        ("NoSuchBucket", 404, ValueError),
        ("NotImplemented", 501, ValueError),
        ("EntityTooLarge", 400, ValueError),
        ("AccessDenied", 403, PermissionError),
        ("AccessDenied", 0, PermissionError),
        ("403", 403, PermissionError),
        ("ExpiredToken", 400, PermissionError),
        ("PermanentRedirect", 301, PermissionError),
    ],
)
def test_what_a_servers_code_means(code: str, status: int, kind: type[Exception]) -> None:
    answer = {
        "Error": {"Code": code, "Message": "secret"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    found = as_builtin_error(ClientError(answer, "PutObject"), "PUT", "bucket/x")
    assert type(found) is kind
    assert type(error_of_code(code, status, "PUT", "bucket/x")) is kind
    assert "secret" not in str(found)


def test_what_the_clients_own_errors_mean() -> None:
    late = ReadTimeoutError(endpoint_url="http://user:secret@host")
    assert isinstance(as_builtin_error(late, "GET", "b/x"), TransientError)
    assert "secret" not in str(as_builtin_error(late, "GET", "b/x"))
    assert isinstance(as_builtin_error(NoCredentialsError(), "GET", "b/x"), PermissionError)
