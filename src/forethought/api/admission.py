"""How many generations the server takes on at a time. One more is refused at once, with a time to try again."""

from collections.abc import Generator
from contextlib import contextmanager

from forethought.api.errors import RETRY_AFTER_SECONDS, SERVER, ApiError
from forethought.api.record import RequestRecord

RETRY = {"retry-after": str(RETRY_AFTER_SECONDS), "retry-after-ms": str(RETRY_AFTER_SECONDS * 1000)}


class Admission:
    """Counts the requests in flight. `close` when the server is about to end: then there are no new ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = True
        self.in_flight = 0

    @contextmanager
    def place(self, record: RequestRecord) -> Generator[None]:
        """A place among the requests in flight, which the response's headers count.

        Raises:
            ApiError: there is none (429), or the server is about to end (503).
        """
        if not self._open:
            headers = {"connection": "close", **RETRY}
            raise ApiError(503, "The server is shutting down.", type=SERVER, code="shutting_down", headers=headers)
        record.headers["x-ratelimit-limit-requests"] = str(self._limit)
        record.headers["x-ratelimit-remaining-requests"] = str(max(0, self._limit - self.in_flight - 1))
        if self.in_flight >= self._limit:
            message = f"{self._limit} requests are in flight, the most there may be. Try again later."
            raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers=RETRY)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        """No more are taken on."""
        self._open = False
