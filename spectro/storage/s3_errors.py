"""Maps errors of the S3 client and server to exceptions: taken, absent, refused, transient.

Messages hold codes and names only: texts of client and server may quote access keys and
signatures.
"""

from __future__ import annotations

from botocore import exceptions as client_errors
from botocore.parsers import ResponseParserError

from spectro.storage.backend import OtherVersionError
from spectro.storage.retry import TransientError

ERRORS = (client_errors.ClientError, client_errors.BotoCoreError, ResponseParserError)
"""All errors of the client."""
TAKEN = {"PreconditionFailed", "412"}
TRANSIENT = {
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
    "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling",
    "ThrottlingException", "TooManyRequests", "XAmzContentChecksumMismatch",
}  # fmt: skip
TRANSIENT_STATUS = {408, 409, 429, 500, 502, 503, 504}
TRANSIENT_CLASSES = (
    client_errors.HTTPClientError,  # resets, closed connections, timeouts of reading
    client_errors.ConnectionError,  # refused, timeouts of connecting, names not found
    client_errors.IncompleteReadError,
    client_errors.ChecksumError,
    client_errors.FlexibleChecksumError,
    client_errors.CredentialRetrievalError,
    client_errors.MetadataRetrievalError,
    ResponseParserError,  # an answer cut short
)
WRONG = "wrong credentials for this endpoint (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
EXPIRED = "the credentials have expired"
ELSEWHERE = "the bucket is in another region (AWS_DEFAULT_REGION)"
CAUSES = {
    "InvalidAccessKeyId": WRONG,
    "SignatureDoesNotMatch": WRONG,
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "InvalidToken": EXPIRED,
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "AuthorizationHeaderMalformed": ELSEWHERE,
    "PermanentRedirect": ELSEWHERE,
    "301": ELSEWHERE,
}
"""Likely cause, by a refusal's code."""
NOT_ALLOWED = "the credentials of the environment, or the bucket's policy, do not allow it"
NOT_UNDERSTOOD = "this server does not know, or does not allow, such a request"
SETTING_ERRORS = (
    client_errors.NoCredentialsError,
    client_errors.PartialCredentialsError,
    client_errors.ProfileNotFound,
    client_errors.ParamValidationError,
)
"""Errors of the client whose text names settings, never their values."""


class TakenError(Exception):
    """An object of this name exists."""


class AbsentError(Exception):
    """The multipart upload does not exist."""


def as_builtin_error(error: Exception, what: str, path: str) -> Exception:
    """The exception to raise for an error of the client."""
    if isinstance(error, TRANSIENT_CLASSES):
        return TransientError(type(error).__name__)
    if isinstance(error, client_errors.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return error_of_code(code, status, what, path)
    text = (
        str(error).splitlines()[0] if isinstance(error, SETTING_ERRORS) else "its setting is wrong"
    )
    kind = PermissionError if isinstance(error, client_errors.NoCredentialsError) else ValueError
    return kind(
        f"s3://{path}: {what} could not be sent: {type(error).__name__}: {text} "
        "(the environment is expected to hold credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID, …)"
    )


def error_of_code(code: str, status: int, what: str, path: str) -> Exception:
    """The exception for a server's code and HTTP status (0: unknown)."""
    place = f"s3://{path}"
    if code in TAKEN or status == 412:
        return TakenError(place)
    if code == "NoSuchUpload":
        return AbsentError(place)
    if code == "NoSuchBucket":
        bucket = path.partition("/")[0]
        return ValueError(
            f"{place}: {what} found no bucket {bucket!r}: is it misspelt, or the endpoint "
            "(AWS_ENDPOINT_URL) another one than expected?"
        )
    if code in ("NoSuchKey", "NotFound") or status == 404:
        return FileNotFoundError(place)
    if code == "InvalidRange" or status == 416:
        return OtherVersionError("it is shorter than expected")
    if code in TRANSIENT or status in TRANSIENT_STATUS:
        return TransientError(f"{code} (HTTP {status})" if status else code)
    if code in ("NotImplemented", "MethodNotAllowed") or status in (405, 501):
        return ValueError(
            f"{place}: {what} is not supported by this server ({code}): conditional PUT "
            "(If-None-Match) and uploads in parts are needed"
        )
    found = f"{place}: {what} was refused: {code}{f' (HTTP {status})' if status else ''}"
    if status in (401, 403) or code in CAUSES or code in ("AccessDenied", "403"):
        return PermissionError(f"{found}; likely cause: {CAUSES.get(code, NOT_ALLOWED)}")
    return ValueError(f"{found}; likely cause: {NOT_UNDERSTOOD}")
