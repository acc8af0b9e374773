"""A cache of things that clients send and that may be large: the last used ones stay, as many as have room together."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENTRY = 256
"""What an entry counts for besides what is in it, so that tiny ones are not without number."""


class SizedCache(Generic[Key, Value]):
    """Keeps values up to a size, of which each says its own. May be used from any thread.

    Args:
        room: that all entries together may take.
        size: of one entry, in the same unit.
    """

    def __init__(self, room: int, size: Callable[[Key, Value], int]) -> None:
        self._room = room
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.held = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there. Raises what `make` raises, which is not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[0]
        # Others need not wait meanwhile; two who make the same value have it twice for a moment.
        value = make()
        with self._lock:
            self._keep(key, value)
        return value

    def _keep(self, key: Key, value: Value) -> None:
        size = ENTRY + self._size(key, value)
        if key in self._kept or size > self._room:
            return
        self._kept[key] = value, size
        self.held += size
        while self.held > self._room:
            _, (_, freed) = self._kept.popitem(last=False)
            self.held -= freed
