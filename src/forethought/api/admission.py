"""How many generations the server takes on at a time. One more is refused at once, with a time to try again."""

from collections.abc import Generator
from contextlib import contextmanager

from forethought.api.errors import RETRY, SERVER, ApiError
from forethought.api.record import RequestRecord


class Place:
    """What one request holds: as many generations as it asks for."""

    def __init__(self, admission: "Admission", record: RequestRecord) -> None:
        self._admission = admission
        self._record = record
        self.generations = 0

    def widen(self, generations: int) -> None:
        """The request turns out to ask for so many. Raises `ApiError` (429) when there is no room for them."""
        self._admission.take(generations - self.generations, self._record)
        self.generations = generations


class Admission:
    """Counts the generations in flight. `close` when the server is about to end: then there are no new ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = True
        self.in_flight = 0

    @contextmanager
    def place(self, record: RequestRecord) -> Generator[Place]:
        """A place for one generation, until the end of the block; the response's headers say how many are left.

        Raises:
            ApiError: there is none (429), or the server is about to end (503).
        """
        if not self._open:
            headers = {"connection": "close", **RETRY}
            raise ApiError(503, "The server is shutting down.", type=SERVER, code="shutting_down", headers=headers)
        place = Place(self, record)
        place.widen(1)
        try:
            yield place
        finally:
            self.in_flight -= place.generations

    def take(self, more: int, record: RequestRecord) -> None:
        """Counts so many more. Raises `ApiError` when they are too many."""
        left = self._limit - self.in_flight - more
        record.headers["x-ratelimit-limit-requests"] = str(self._limit)
        record.headers["x-ratelimit-remaining-requests"] = str(max(0, left))
        if left < 0:
            message = f"{self._limit} generations are in flight, or would be: the most there may be. Try again later."
            raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers=RETRY)
        self.in_flight += more

    def close(self) -> None:
        """No more are taken on."""
        self._open = False
