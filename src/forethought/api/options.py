"""What a server is told besides its models: frozen, with defaults that are safe on a machine of one's own."""

from dataclasses import dataclass

from forethought.api.auth import ApiKey

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may cost before a request is heard.

    Args:
        connections: open at a time; one more is answered with a 503.
        head_bytes: of a request line with its headers.
        head_seconds: that they may take.
        write_seconds: that a client may leave its answer unread, before it is taken for gone.
        idle_seconds: that a connection is kept open between requests.
        linger_seconds: that the rest of a refused body is still read and dropped, so that the client sees why.
    """

    connections: int = 4096
    head_bytes: int = 64 * 2**10
    head_seconds: float = 10.0
    write_seconds: float = 60.0
    idle_seconds: int = 30
    linger_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the application answers.

    Args:
        key: what clients must present. Without one, only requests that name this machine in their `Host` are heard.
        ungated: no gate has admitted the models, and every response says so.
        max_requests: generations at a time, running and queued; one more is answered with a 429.
        max_body_bytes: of one request.
        max_buffered_bytes: of the bodies of all requests in flight.
        body_seconds: that a body may take to arrive.
        ping_seconds: of silence after which a stream gets a comment, so that nobody between takes it for dead.
    """

    key: ApiKey | None = None
    ungated: bool = True
    max_requests: int = 1280
    max_body_bytes: int = 2 * MEBIBYTE
    max_buffered_bytes: int = 64 * MEBIBYTE
    body_seconds: float = 60.0
    ping_seconds: float = 15.0
