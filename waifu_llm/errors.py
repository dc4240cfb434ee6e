"""What can go wrong, one class for each error code of the protocol.

WaifuError
├── Unexpected          1   a fault of ours, or one that nobody foresaw
├── Authorization       2   the provider refuses the key, or there is none
├── InvalidPrompt       3   the messages cannot be answered as they are
├── InvalidProvider     4   no such provider
├── InvalidModel        5   no such model
├── Timeout             6   no token in time
├── Interrupted         7   somebody asked for silence
├── NotLoaded           8   nothing is loaded that could answer
├── InvalidMessage      9   the request breaks the protocol
│   └── NotFound        9   what it names is not there
├── RateLimited        10   the provider asks to wait
├── Overloaded         11   our own queue is full
├── ProviderCrashed    12   the provider's process ended
├── InstallFailed      13   the provider's environment could not be made
├── NotInstalled       14   not installed, and installing is turned off
├── Unavailable        15   the provider's server is down or out of reach
├── ContextTooLong     16   the conversation does not fit the model
├── ContentFiltered    17   the provider refuses the content
├── QuotaExceeded      18   the account has no credit left
├── OutOfMemory        19   the model does not fit this machine
├── Unsupported        20   this provider cannot do what was asked
├── Forbidden          21   this client may not do that
└── Busy               22   not now: the thing is in use

Every message is one or two sentences for the person in front of the application: what went
wrong, then what to do.
"""

from __future__ import annotations

from typing import ClassVar


class WaifuError(Exception):
    """Base of all errors that a client is told about."""

    code: ClassVar[str] = "UNEXPECTED"
    number: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms


class Unexpected(WaifuError):
    code, number = "UNEXPECTED", 1


class Authorization(WaifuError):
    code, number = "AUTHORIZATION", 2


class InvalidPrompt(WaifuError):
    code, number = "INVALID_PROMPT", 3


class InvalidProvider(WaifuError):
    code, number = "INVALID_PROVIDER", 4


class InvalidModel(WaifuError):
    code, number = "INVALID_MODEL", 5


class Timeout(WaifuError):
    code, number, retryable = "TIMEOUT", 6, True


class Interrupted(WaifuError):
    code, number = "INTERRUPT", 7


class NotLoaded(WaifuError):
    code, number = "NOT_LOADED", 8


class InvalidMessage(WaifuError):
    code, number = "INVALID_MESSAGE", 9


class NotFound(InvalidMessage):
    """Its own word only where an API has one."""


class RateLimited(WaifuError):
    code, number, retryable = "RATE_LIMITED", 10, True


class Overloaded(WaifuError):
    code, number, retryable = "OVERLOADED", 11, True


class ProviderCrashed(WaifuError):
    code, number, retryable = "PROVIDER_CRASHED", 12, True


class InstallFailed(WaifuError):
    code, number, retryable = "INSTALL_FAILED", 13, True


class NotInstalled(WaifuError):
    code, number = "NOT_INSTALLED", 14


class Unavailable(WaifuError):
    code, number, retryable = "UNAVAILABLE", 15, True


class ContextTooLong(WaifuError):
    code, number = "CONTEXT_TOO_LONG", 16


class ContentFiltered(WaifuError):
    code, number = "CONTENT_FILTERED", 17


class QuotaExceeded(WaifuError):
    code, number = "QUOTA_EXCEEDED", 18


class OutOfMemory(WaifuError):
    code, number = "OUT_OF_MEMORY", 19


class Unsupported(WaifuError):
    code, number = "UNSUPPORTED", 20


class Forbidden(WaifuError):
    code, number = "FORBIDDEN", 21


class Busy(WaifuError):
    code, number, retryable = "BUSY", 22, True


BY_CODE: dict[str, type[WaifuError]] = {kind.code: kind for kind in WaifuError.__subclasses__()}


def from_code(code: str, message: str, retry_after_ms: int | None = None) -> WaifuError:
    """The error that a provider named by its code; a code that we do not know is Unexpected."""
    kind = BY_CODE.get(code, Unexpected)
    return kind(message, retry_after_ms=retry_after_ms)
