"""llama.cpp's server as the xllamacpp wheel ships it: ready to use, built for AVX2 machines.

Options: `flash`, `ubatch`, `unified` (one KV buffer for all sequences).
"""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

import xllamacpp as api
from protocol import Ids, Job, serve


class XllamaCpp:
    """One server with a slot for each sequence of a row; a row with another number of sequences gets a new one."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.slots, self.server = 0, None
        self.open(len(job.rows[0]["rounds"][0]) * job.rows[0]["samples"] if job.task == "measure" else 1)

    def open(self, slots: int) -> None:
        if slots == self.slots:
            return
        options, self.server = self.job.options, None
        params = api.CommonParams()
        params.model.path = self.job.gguf
        # A slot holds its share of the context. Only the single-sequence row needs a long one.
        longest = self.job.longest_sequence if slots == 1 else 512
        params.n_ctx, params.n_parallel = -(-longest // 256) * 256 * slots, slots
        params.n_batch, params.n_ubatch = 2048, options.get("ubatch", 512)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.job.threads
        params.kv_unified = options.get("unified", False)
        params.cache_ram_mib, params.n_threads_http, params.verbosity = 0, 2, 0
        if "flash" in options:
            kind = api.llama_flash_attn_type
            params.flash_attn_type = (
                kind.LLAMA_FLASH_ATTN_TYPE_ENABLED if options["flash"] else kind.LLAMA_FLASH_ATTN_TYPE_DISABLED
            )
        self.server, self.slots = api.Server(params), slots

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        self.open(len(prompts) * samples)
        request: dict[str, Any] = {
            "prompt": [ids for ids in prompts for _ in range(samples)],
            "n_predict": new_tokens,
            "ignore_eos": True,
            "cache_prompt": samples > 1,
            "return_tokens": True,
            "temperature": temperature,
            "samplers": ["temperature"],
        }
        body = urllib.request.Request(
            self.server.listening_address + "/completion",
            json.dumps(request).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(body) as response:
            answers = json.load(response)
        answers = answers if isinstance(answers, list) else [answers]
        return [answer["tokens"] for answer in sorted(answers, key=lambda answer: answer["index"])]


if __name__ == "__main__":
    serve(["xllamacpp"], XllamaCpp)
