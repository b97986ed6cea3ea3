"""Every error motet raises, as one tree.

MotetError
├── ConfigError          what the operator gave cannot be served; the CLI prints one line, exits 2
│   ├── ModelError       the model directory
│   └── AdapterError     an adapter directory; HTTP 400
│       └── AdapterChanged   it is not what it was when it was first read
├── RequestError         what a client sent cannot be served; HTTP 400
│   ├── Unauthorized     HTTP 401
│   ├── Forbidden        HTTP 403
│   ├── ModelNotFound    HTTP 404
│   ├── AgentNotFound    HTTP 404
│   ├── AdapterExists
│   ├── RequestTooSlow   HTTP 408
│   ├── PayloadTooLarge  HTTP 413
│   ├── UrlTooLong       HTTP 414
│   ├── RateLimited      HTTP 429
│   └── HeadersTooLarge  HTTP 431
├── ServerError          what a client of motet gets instead of an answer
├── Unavailable          the engine is loading, has failed or is stopping; HTTP 503
│   ├── QueueFull
│   ├── TooManyConnections
│   └── Draining
├── EngineFailed         the engine has ended by itself; its log says why
└── BrokenInvariant      motet itself is wrong
    ├── InvalidTransition
    └── PageError

A message says what was wrong, with which value, and what to do.
"""


class MotetError(Exception):
    """Base of all errors of motet."""


class ConfigError(MotetError):
    """A setting, file or size given by the operator cannot be served."""


class ModelError(ConfigError):
    """The model directory cannot be served."""


class AdapterError(ConfigError):
    """The adapter directory cannot be served. Requests on it learn why: `code` is for programs."""

    code = "adapter_incompatible"


class AdapterChanged(AdapterError):
    """The files of an adapter are not what they were when they were first read."""

    code = "adapter_changed"


class RequestError(MotetError):
    """A request cannot be served. `code` is for programs, `param` names the field."""

    code = "invalid_value"
    """Of the class, where an error does not give its own."""

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None):
        super().__init__(message)
        if code is not None:
            self.code = code
        self.param = param


class Unauthorized(RequestError):
    """The request has no key that the server knows."""


class Forbidden(RequestError):
    """The key, or the place that was named, is not allowed for this."""

    code = "forbidden"


class ModelNotFound(RequestError):
    """No base model or adapter has this name."""

    code = "model_not_found"


class AgentNotFound(RequestError):
    """The key that was used has no agent of this name."""

    code = "agent_not_found"


class AdapterExists(RequestError):
    """An adapter of this name is loaded already."""

    code = "adapter_already_loaded"


class RequestTooSlow(RequestError):
    """The request did not arrive in time."""


class PayloadTooLarge(RequestError):
    """The body is larger than the server accepts."""


class UrlTooLong(RequestError):
    """The request line is longer than the server accepts."""


class RateLimited(RequestError):
    """More was asked for in a second than one client may ask for."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: int = 1):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HeadersTooLarge(RequestError):
    """The headers are larger than the server accepts."""


class ServerError(MotetError):
    """A server refused a request or broke off its answer; `status` is None if it said nothing."""

    def __init__(self, message: str, *, status: int | None = None):
        super().__init__(message)
        self.status = status


class Unavailable(MotetError):
    """The engine cannot answer now: it is loading, has failed or is stopping."""

    code = "unavailable"
    """For programs."""


class QueueFull(Unavailable):
    """More requests wait than the operator allows."""

    code = "queue_full"


class TooManyConnections(Unavailable):
    """More connections are open than the server has room for."""

    code = "too_many_connections"


class Draining(Unavailable):
    """The server finishes what it has begun, begins nothing, and then stops."""

    code = "draining"


class EngineFailed(MotetError):
    """The engine has ended by something that is no error of motet's: its log has the trace."""


class BrokenInvariant(MotetError):
    """motet broke a promise to itself: always a bug."""


class InvalidTransition(BrokenInvariant):
    """A state machine was asked for a move that its table does not have."""


class PageError(BrokenInvariant):
    """A page was freed twice, or freed while something still leases it."""


def error_named(kind: str, message: str) -> MotetError:
    """The error of a class in this module; EngineFailed for any other."""
    found = globals().get(kind)
    if isinstance(found, type) and issubclass(found, MotetError):
        return found(message)
    return EngineFailed(f"{kind}: {message}")
