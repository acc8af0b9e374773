"""How every engine words what it refuses."""

from forethought.errors import QueueFull, RequestError

NOT_STARTED = ("The engine has not been started.", "Await its `start()` first.")
"""Message and remedy, as are those below."""
CLOSED = ("The engine is closed.", "Make a new one.")


def queue_full(waiting: int) -> QueueFull:
    """No more may wait than those that do."""
    message = f"{waiting} requests are waiting, the most there may be."
    return QueueFull(message, "Ask again later.")


def id_in_flight(request_id: str) -> RequestError:
    """The id is that of a request that has not finished."""
    return RequestError(f"A request with the id {request_id!r} is in flight.", "Give each request its own id.")
