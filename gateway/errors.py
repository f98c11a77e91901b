"""Every refusal and failure the gateway can answer with, as one tree.

Knows statuses, stable codes and whether trying again helps. Knows nothing of any protocol: the wire
modules turn these into their own bodies, and metrics count them by `code`.

    GatewayError                     500 internal
    +-- InvalidRequest               400 invalid_request
    |   +-- MalformedJson            400 malformed_json
    |   +-- MalformedHttp            400 malformed_http
    |   +-- InvalidTensor            400 invalid_tensor
    |   +-- WrongInputs              400 wrong_inputs
    |   +-- WrongOutputs             400 wrong_outputs
    |   +-- InvalidParameter         400 invalid_parameter
    |   +-- InvalidBinary            400 invalid_binary
    |   +-- BatchTooLarge            400 batch_too_large
    |   +-- Unauthenticated          401 unauthenticated
    |   +-- Forbidden                403 forbidden
    |   +-- RepositoryForbidden      403 repository_forbidden
    |   +-- ForbiddenHost            403 forbidden_host
    |   +-- NotFound                 404 not_found
    |   |   +-- ModelNotFound        404 model_not_found
    |   |   +-- VersionNotFound      404 version_not_found
    |   |   +-- ProfileNotFound      404 profile_not_found
    |   +-- MethodNotAllowed         405 method_not_allowed
    |   +-- RequestTooSlow           408 request_too_slow
    |   +-- Conflict                 409 conflict
    |   +-- Retired                  410 retired
    |   +-- PreconditionFailed       412 precondition_failed
    |   +-- PreconditionRequired     428 precondition_required
    |   +-- BodyTooLarge             413 body_too_large
    |   +-- UriTooLong               414 uri_too_long
    |   +-- UnsupportedEncoding      415 unsupported_encoding
    |   +-- UnsupportedMediaType     415 unsupported_media_type
    |   +-- HeadersTooLarge          431 headers_too_large
    |   +-- BudgetExceeded           429 budget_exceeded
    |   +-- RequestTooExpensive      429 request_too_expensive
    |   +-- UpstreamRefused          400 upstream_refused
    |   +-- ModelRefused             422 model_refused
    |   +-- BackupInvalid            422 backup_invalid
    |   +-- ConfigInvalid            422 config_invalid
    |   +-- ProfileInvalid           422 profile_invalid
    |   +-- ContractInvalid          422 contract_invalid
    |   +-- ContractViolated         422 contract_violated
    +-- Unsupported                  501 unsupported
    +-- ModelFailed                  500 model_failed
    +-- StoreFailed                  500 store_failed
    +-- UpstreamFailed               502 upstream_failed
    +-- UpstreamTimedOut             504 upstream_timed_out
    +-- RateLimited                  429 rate_limited
    |   +-- TooManyParallel          429 too_many_parallel
    |   +-- UpstreamLimited          429 upstream_limited
    +-- Unavailable                  503 unavailable
        +-- QueueFull                503 queue_full
        +-- DeadlineUnmeetable       503 deadline_unmeetable
        +-- DeadlineExpired          503 deadline_expired
        +-- ModelNotReady            503 model_not_ready
        +-- TooManyConnections       503 too_many_connections
        +-- Overloaded               503 overloaded
        +-- Draining                 503 draining
        +-- ControlUnavailable       503 control_unavailable
        +-- ArenaFull                503 arena_full
        +-- UpstreamsExhausted       503 upstreams_exhausted
        +-- LimitsUnavailable        503 limits_unavailable
"""

from __future__ import annotations

from typing import Self

# The model's fault, or that of a server that was to answer for it.
_FAILURES = frozenset({500, 502, 504})


class GatewayError(Exception):
    """Something inside went wrong; the caller did nothing wrong."""

    status: int = 500
    code: str = "internal"
    retryable: bool = False
    retry_after_s: int = 1
    """What `Retry-After` tells a caller whose request was refused with 503 or 429."""
    request_id: str = ""
    """The gateway's name for the request, where a client raises what an answer told."""

    @property
    def at_fault(self) -> bool:
        """Whether it is a failure of who was to answer: not the caller's, nor for want of room."""
        return self.status in _FAILURES

    def bare(self) -> Self:
        """The same without its way here, for whoever hands it on as a value.

        Its traceback knows each frame that it passed through, those that called them, and all that
        stood there: a body, say. Where one of these has it in a variable that is a ring, of which
        only the collector would let go, which looks seldom and counts no bytes.
        """
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


class InvalidRequest(GatewayError):
    """The request cannot be served as it is; sending it again gives the same answer."""

    status, code = 400, "invalid_request"


class MalformedJson(InvalidRequest):
    """The body is not the JSON that the protocol asks for."""

    code = "malformed_json"


class MalformedHttp(InvalidRequest):
    """The bytes on the connection are not HTTP."""

    code = "malformed_http"


class InvalidTensor(InvalidRequest):
    """A tensor's datatype, shape or values do not fit what the model declares."""

    code = "invalid_tensor"


class WrongInputs(InvalidRequest):
    """Inputs are missing, unknown or given twice."""

    code = "wrong_inputs"


class WrongOutputs(InvalidRequest):
    """An output was asked for that the model does not have, or twice."""

    code = "wrong_outputs"


class InvalidParameter(InvalidRequest):
    """A request parameter or header has the wrong type or range."""

    code = "invalid_parameter"


class InvalidBinary(InvalidRequest):
    """The binary part of a body disagrees with what its header announces."""

    code = "invalid_binary"


class BatchTooLarge(InvalidRequest):
    """One request holds more rows than the model takes in a batch."""

    code = "batch_too_large"


class Unauthenticated(InvalidRequest):
    """The request does not show who sends it: no credentials, or none that are known."""

    status, code = 401, "unauthenticated"


class Forbidden(InvalidRequest):
    """Who sends the request is known, and may not do this."""

    status, code = 403, "forbidden"


class RepositoryForbidden(InvalidRequest):
    """Loading and unloading are not allowed on this port."""

    status, code = 403, "repository_forbidden"


class ForbiddenHost(InvalidRequest):
    """The control port was asked under a name that is not its own."""

    status, code = 403, "forbidden_host"


class NotFound(InvalidRequest):
    """There is nothing at this path."""

    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    """No model has this name."""

    code = "model_not_found"


class VersionNotFound(NotFound):
    """The model is known, this version of it is not."""

    code = "version_not_found"


class ProfileNotFound(NotFound):
    """The version is known, and nobody made a reference profile of it."""

    code = "profile_not_found"


class MethodNotAllowed(InvalidRequest):
    """The path exists, but not for this method."""

    status, code = 405, "method_not_allowed"


class RequestTooSlow(InvalidRequest):
    """Head or body did not arrive within the configured time."""

    status, code = 408, "request_too_slow"


class Conflict(InvalidRequest):
    """The change contradicts what is there."""

    status, code = 409, "conflict"


class Retired(InvalidRequest):
    """The version served once, and was retired: its callers are to ask another."""

    status, code = 410, "retired"
    successor_path: str = ""
    """Where the version lies that was named in its place; empty: none was."""


class PreconditionFailed(InvalidRequest):
    """Somebody else was faster: the change was made to another revision than there is now."""

    status, code = 412, "precondition_failed"


class PreconditionRequired(InvalidRequest):
    """The request must say (`If-Match`) which revision it changes."""

    status, code = 428, "precondition_required"


class BodyTooLarge(InvalidRequest):
    """The body, or what it inflates to, passes `limits.max_body_bytes`."""

    status, code = 413, "body_too_large"


class UriTooLong(InvalidRequest):
    """The request target passes `limits.max_target_bytes`."""

    status, code = 414, "uri_too_long"


class UnsupportedEncoding(InvalidRequest):
    """The body's Content-Encoding is none that is served here."""

    status, code = 415, "unsupported_encoding"


class UnsupportedMediaType(InvalidRequest):
    """The body's Content-Type is none that is taken here."""

    status, code = 415, "unsupported_media_type"


class HeadersTooLarge(InvalidRequest):
    """Header count or size passes its limit."""

    status, code = 431, "headers_too_large"


class BudgetExceeded(InvalidRequest):
    """What a key, its team or a tag may spend is spent, until the budget begins anew."""

    status, code = 429, "budget_exceeded"


class RequestTooExpensive(InvalidRequest):
    """What is left of a budget or a rate does not cover this request; a smaller one might pass."""

    status, code = 429, "request_too_expensive"


class UpstreamRefused(InvalidRequest):
    """Another server, which was to answer, finds fault with the request; its own words are told."""

    code = "upstream_refused"


class ModelRefused(InvalidRequest):
    """A model file was looked at and will not be served: the message says why."""

    status, code = 422, "model_refused"


class BackupInvalid(InvalidRequest):
    """An archive is damaged, cut short, or no backup at all."""

    status, code = 422, "backup_invalid"


class ConfigInvalid(InvalidRequest):
    """The configuration has faults; the message lists all of them with their paths."""

    status, code = 422, "config_invalid"


class ProfileInvalid(InvalidRequest):
    """A reference profile is damaged, of a newer schema, or of another model."""

    status, code = 422, "profile_invalid"


class ContractInvalid(InvalidRequest):
    """A data contract is damaged, of a newer schema, or of another model."""

    status, code = 422, "contract_invalid"


class ContractViolated(InvalidRequest):
    """A value is one that the model's data contract does not take, and the contract rejects."""

    status, code = 422, "contract_violated"


class Unsupported(GatewayError):
    """The protocol knows this, this server does not do it."""

    status, code = 501, "unsupported"


class ModelFailed(GatewayError):
    """The model raised while running this batch."""

    code = "model_failed"


class StoreFailed(GatewayError):
    """What must last could not be read or written: the home's disk, rights or database."""

    code = "store_failed"


class UpstreamFailed(GatewayError):
    """Another server, which was to answer, did not, or not in its own protocol."""

    status, code, retryable = 502, "upstream_failed", True


class UpstreamTimedOut(GatewayError):
    """Another server, which was to answer, did not in time."""

    status, code, retryable = 504, "upstream_timed_out", True


class RateLimited(GatewayError):
    """A key, its team or a tag asks more often, or for more tokens a minute, than it may."""

    status, code, retryable = 429, "rate_limited", True


class TooManyParallel(RateLimited):
    """As many requests of it are under way as may be at once."""

    code = "too_many_parallel"


class UpstreamLimited(RateLimited):
    """Another server, which was to answer, takes no more requests of this gateway for now."""

    code = "upstream_limited"


class Unavailable(GatewayError):
    """Not now. Recoverable: retry after a pause."""

    status, code, retryable = 503, "unavailable", True


class QueueFull(Unavailable):
    """The deployment's waiting room is full."""

    code = "queue_full"


class DeadlineUnmeetable(Unavailable):
    """Refused on arrival: by the fitted cost the answer would come too late."""

    code = "deadline_unmeetable"


class DeadlineExpired(Unavailable):
    """The request's time ran out while it waited."""

    code = "deadline_expired"


class ModelNotReady(Unavailable):
    """The model or version is known but not serving."""

    code = "model_not_ready"


class TooManyConnections(Unavailable):
    """The worker holds as many connections as it may."""

    code = "too_many_connections"


class Overloaded(Unavailable):
    """The worker is behind on its own work and refuses more."""

    code = "overloaded"


class Draining(Unavailable):
    """The server is shutting down."""

    code = "draining"


class ControlUnavailable(Unavailable):
    """The control process did not give its verdict in time."""

    code = "control_unavailable"


class ArenaFull(Unavailable):
    """There is no room for another block of counters; removing a model makes some."""

    code = "arena_full"


class UpstreamsExhausted(Unavailable):
    """None of the servers that might answer takes requests: they fail, or have all they may."""

    code = "upstreams_exhausted"

    def __init__(self, message: str, *, failing: bool = False) -> None:
        """`failing`: that is why; else they have all they may, or want a pause."""
        super().__init__(message)
        self._failing = failing

    @property
    def at_fault(self) -> bool:
        """Whether it is a failure of theirs."""
        return self._failing


class LimitsUnavailable(Unavailable):
    """What counts budgets does not answer; nobody is told that a key is unknown because of that."""

    code = "limits_unavailable"


def _codes(root: type[GatewayError]) -> list[str]:
    found = [root.code]
    for child in root.__subclasses__():
        found += _codes(child)
    return found


CODES: tuple[str, ...] = tuple(dict.fromkeys(_codes(GatewayError)))
"""Every stable code, in tree order: the arena counts errors by the index in this tuple."""
