"""What is said of an error of Redis: what it refuses, not just that it fails, and no secret."""

import socket
import ssl

import pytest
import redis
from redis._parsers import BaseParser

from operations.storage.health import explain

SCRIPT = "script: 2f3a, on @user_script:1."
ANNOTATED = "Command # 1 (SET opwatch:OOM READONLY s3cret) of pipeline caused error: "


def answered(line: str) -> redis.RedisError:
    """Return the error that redis-py makes of a server's line."""
    error: redis.RedisError = BaseParser.parse_error(line)  # type: ignore[no-untyped-call]
    return error


def annotated(error: redis.RedisError) -> redis.RedisError:
    """Add the command, as a pipeline does."""
    error.args = (ANNOTATED + str(error),)
    return error


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("READONLY You can't write against a read only replica.", "read-only replica (READONLY)"),
        ("READONLY You can't write against a read only replica. " + SCRIPT, "read-only replica (READONLY)"),
        (
            "ERR Error running script (call to f_2f3a): @user_script:1: @user_script: 1: -READONLY You can't write.",
            "read-only replica (READONLY)",
        ),
        ("@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", "full (OOM)"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "full (OOM)"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "disk (MISCONF)"),
        ("NOREPLICAS Not enough good replicas to write.", "(NOREPLICAS)"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "(MASTERDOWN)"),
        ("LOADING Redis is loading the dataset in memory", "is loading its data (LOADING)"),
        ("NOPERM User jane has no permissions to run the 'evalsha' command", "permission (NOPERM: evalsha)"),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", "permission (NOPERM)"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "password of REDIS_URL (WRONGPASS)"),
        ("NOAUTH Authentication required.", "no password (NOAUTH)"),
        ("ERR max number of clients reached", "maximum number of clients"),
    ],
)
def test_a_refusal_is_called_by_its_name(line: str, said: str) -> None:
    assert explain(answered(line)).endswith(said)
    assert explain(annotated(answered(line))).endswith(said)
    assert "jane" not in explain(answered(line))


def test_a_command_in_the_text_of_an_error_is_not_its_cause() -> None:
    assert explain(annotated(answered("WRONGTYPE Operation against a key"))) == "Redis answers an error (ResponseError)"


def certificate_error() -> OSError:
    """Return the error of a certificate for another name."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "Hostname mismatch, certificate is not valid for 's3cret.example'."
    return error


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ConnectionRefusedError(111, "s3cret"), "ConnectionRefusedError: Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "gaierror: Name or service not known"),
        (certificate_error(), "SSLCertVerificationError: Hostname mismatch"),
        (TimeoutError("s3cret"), "ConnectionError"),
        (None, "ConnectionError"),
    ],
)
def test_a_connection_that_fails_is_said_with_its_cause(cause: OSError | None, said: str) -> None:
    error = redis.ConnectionError("Error connecting to s3cret")
    error.__context__ = cause
    assert explain(error) == f"Redis does not answer ({said})"
