"""What an engine counts: one object, filled by the engine, exported by the rooms above."""

from dataclasses import dataclass, fields

GAUGES = frozenset({"queued", "running", "free_blocks", "total_blocks"})


@dataclass(slots=True)
class EngineMetrics:
    """Gauges are of this moment, counters since the start, times in seconds since the start.

    `prefill_tokens` counts prompt tokens computed, `cached_tokens` prompt tokens found in the prefix cache.
    """

    queued: int = 0
    running: int = 0
    free_blocks: int = 0
    total_blocks: int = 0
    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    preemptions: int = 0
    restarts: int = 0
    steps: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    forward_seconds: float = 0.0
    sampling_seconds: float = 0.0
    other_seconds: float = 0.0

    @property
    def cache_hit_rate(self) -> float:
        """Share of prompt tokens that did not have to be computed."""
        seen = self.cached_tokens + self.prefill_tokens
        return self.cached_tokens / seen if seen else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of work (idle time does not count)."""
        busy = self.forward_seconds + self.sampling_seconds + self.other_seconds
        return self.generated_tokens / busy if busy else 0.0

    def after(self, earlier: "EngineMetrics") -> "EngineMetrics":
        """These metrics as those of an engine that was restarted: counters go on from `earlier`, gauges do not."""
        names = (one.name for one in fields(self))
        return EngineMetrics(
            *(getattr(self, name) + (0 if name in GAUGES else getattr(earlier, name)) for name in names)
        )
