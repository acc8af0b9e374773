"""OpenVINO GenAI: its continuous batching pipeline on a model exported by optimum-intel.

Options: `model` (a directory in the work directory, or "gguf" for the shipped file as it is), `properties` (of the
CPU plugin), `batched_tokens` (of the scheduler), `stateful` (the plain pipeline instead of continuous batching).
"""

import os
from collections.abc import Sequence

import numpy as np
import openvino
import openvino_genai as genai
from protocol import Ids, Job, serve


class OpenVino:
    """Prompts go in as tensors of ids, so no tokenizer of its own is involved."""

    def __init__(self, job: Job) -> None:
        name = job.options["model"]
        path = job.gguf if name == "gguf" else os.path.join(job.work_dir, name)
        properties = {"INFERENCE_NUM_THREADS": job.threads, **job.options.get("properties", {})}
        self.stateful = job.options.get("stateful", False)
        if self.stateful:
            self.pipeline = genai.LLMPipeline(path, "CPU", ATTENTION_BACKEND="SDPA", **properties)
            return
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 0
        scheduler.cache_size = job.options.get("cache_gib", 1)
        scheduler.max_num_batched_tokens = job.options.get("batched_tokens", 2048)
        scheduler.max_num_seqs = 256
        scheduler.dynamic_split_fuse = job.options.get("split_fuse", True)
        scheduler.enable_prefix_caching = False
        self.pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", properties)

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        config = genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = new_tokens
        config.ignore_eos, config.apply_chat_template = True, False
        config.num_return_sequences = samples
        if temperature:
            config.do_sample, config.temperature, config.top_k, config.top_p = True, temperature, 2**31 - 1, 1.0
        if self.stateful:
            ids = np.array(prompts, np.int64)
            inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
            return [list(ids) for ids in self.pipeline.generate(inputs, config).tokens]
        tensors = [openvino.Tensor(np.array([ids], np.int64)) for ids in prompts]
        results = self.pipeline.generate(tensors, [config] * len(tensors))
        return [list(ids) for result in results for ids in result.m_generation_ids]


if __name__ == "__main__":
    serve(["openvino-genai", "openvino"], OpenVino)
