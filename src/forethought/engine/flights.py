"""The requests that a `ProcessEngine` has taken and that have not finished: those its process works on, and those
that wait until there is a process."""

import asyncio
from dataclasses import dataclass, field

from forethought.engine.protocol import Finished, Request, StopReason
from forethought.engine.refusals import id_in_flight
from forethought.engine.stream import Inbox
from forethought.engine.wire import PackedEvent, unpack_event
from forethought.errors import EngineDown, ForethoughtError


@dataclass(slots=True)
class Flight:
    """One request. `sent` is False while it waits for a process, at most until `expiry`."""

    number: int
    request: Request
    inbox: Inbox = field(default_factory=Inbox)
    sent: bool = False
    expiry: asyncio.TimerHandle | None = None


class Flights:
    """All requests in flight, by the number they have on the wire and by their id, in order of arrival."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._last = 0
        self._flights: dict[int, Flight] = {}
        self._by_id: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def owed(self) -> bool:
        """Whether a process owes an answer to some request."""
        return any(flight.sent for flight in self._flights.values())

    @property
    def waiting(self) -> list[Flight]:
        """Those that no process has been given."""
        return [flight for flight in self._flights.values() if not flight.sent]

    def admit(self, request: Request) -> Flight:
        """A new flight. Raises `RequestError` for an id that is in flight."""
        if request.id in self._by_id:
            raise id_in_flight(request.id)
        self._last += 1
        flight = Flight(self._last, request)
        self._flights[flight.number] = self._by_id[request.id] = flight
        return flight

    def find(self, request_id: str) -> Flight | None:
        """The flight of that id."""
        return self._by_id.get(request_id)

    def wait(self, flight: Flight) -> None:
        """There is no process at present: `EngineDown` unless one comes in time."""
        flight.expiry = asyncio.get_running_loop().call_later(self._patience, self._expire, flight)

    def send(self, flight: Flight) -> None:
        """A process is given the flight."""
        flight.sent = True
        self._stop_clock(flight)

    def deliver(self, events: list[PackedEvent]) -> int:
        """Hands the events of a step to their streams; how many of them finished."""
        finished = 0
        for packed in events:
            flight = self._flights[packed[0]]
            event = unpack_event(packed)
            flight.inbox.put(event)
            if isinstance(event, Finished):
                self._remove(flight)
                finished += 1
        return finished

    def refuse(self, number: int, error: ForethoughtError) -> None:
        """The flight was not taken: its stream raises `error`."""
        flight = self._flights[number]
        self._remove(flight)
        flight.inbox.refuse(error)

    def finish(self, flight: Flight, reason: StopReason, error: str | None = None) -> None:
        """Ends a flight from this side; what only the process knows (cached and thinking tokens) counts as 0."""
        self._remove(flight)
        prompt_tokens = len(flight.request.prompt_ids)
        flight.inbox.put(Finished(reason, prompt_tokens, 0, flight.inbox.tokens, error=error))

    def lose(self, error: str) -> int:
        """The process is gone: those it had finish with "error". How many there were."""
        lost = [flight for flight in self._flights.values() if flight.sent]
        for flight in lost:
            self.finish(flight, "error", error)
        return len(lost)

    def end(self, reason: StopReason) -> None:
        """All finish."""
        for flight in list(self._flights.values()):
            self.finish(flight, reason)

    def turn_away(self, message: str, remedy: str) -> None:
        """No process will come: all that wait raise `EngineDown`."""
        for flight in self.waiting:
            self.refuse(flight.number, EngineDown(message, remedy))

    def _expire(self, flight: Flight) -> None:
        message = f"The engine did not come back within {self._patience:g} s."
        self.refuse(flight.number, EngineDown(message, "Ask again later."))

    def _remove(self, flight: Flight) -> None:
        self._stop_clock(flight)
        del self._flights[flight.number], self._by_id[flight.request.id]

    def _stop_clock(self, flight: Flight) -> None:
        if flight.expiry is not None:
            flight.expiry.cancel()
            flight.expiry = None
