"""What AWS's error codes mean to a caller, whoever asked."""

from __future__ import annotations

from autotrader.domain.errors import (
    AutotraderError,
    ConfigurationError,
    NotFound,
    Rejected,
    Throttled,
    Unreachable,
)

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and each service's own page.
_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestThrottled",
    }
)
_LATER = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "OperationAborted",
        "RequestTimeout",
        "ServerException",
        "ServiceUnavailable",
    }
)
_NOT_FOUND = ("NotFound", "NotFoundException", "NoSuchBucket", "NoSuchKey", "NotFoundFault", "404")
_THROTTLE_SECONDS = 5.0
_SERVER_ERROR = 500


def explained(doing: str, code: str, message: str, status: int) -> AutotraderError:
    """The error of ours that an answer of AWS is.

    Parameters
    ----------
    doing : str
        Such as `scale service trading-blue`.
    status : int
        Of HTTP; 0 if unknown.
    """
    line = f"cannot {doing}: AWS said {code}: {message}"
    if code in _CREDENTIALS:
        return ConfigurationError(f"{line}: renew the credentials of this shell")
    if code in _THROTTLED:
        return Throttled(line, retry_after_seconds=_THROTTLE_SECONDS)
    if code.endswith(_NOT_FOUND):
        return NotFound(line)
    if code in _LATER or status >= _SERVER_ERROR:
        return Unreachable(line)
    return Rejected(line)
