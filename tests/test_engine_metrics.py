"""What an engine counts."""

from forethought.engine.metrics import EngineMetrics


def test_counters_go_on_after_a_restart_and_gauges_do_not() -> None:
    before = EngineMetrics(queued=3, running=2, free_blocks=1, requests=10, steps=7, forward_seconds=1.5)
    now = EngineMetrics(queued=1, running=1, free_blocks=8, requests=4, steps=2, forward_seconds=0.5)
    assert now.after(before) == EngineMetrics(
        queued=1, running=1, free_blocks=8, requests=14, steps=9, forward_seconds=2.0
    )
