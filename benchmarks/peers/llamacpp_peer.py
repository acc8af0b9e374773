"""llama.cpp through llama-cpp-python, which compiles it for the machine it is installed on.

A loop like llama.cpp's own `batched-bench`: one `llama_decode` a step for all sequences, without the server around it.
Options: `gguf` (a file in the work directory instead of the shipped one), `flash`, `ubatch`, `unified` (one KV
buffer for all sequences), `extra_buffers` (weights repacked for AMX and AVX-512).
"""

import ctypes
import os
from collections.abc import Sequence

import llama_cpp as api
import numpy as np
from protocol import Ids, Job, serve


@api.llama_log_callback
def silent(level: int, text: bytes, user_data: object) -> None:
    """llama.cpp logs hundreds of lines at each start."""


class LlamaCpp:
    """One model; one context for each number of sequences, as the row needs it."""

    def __init__(self, job: Job) -> None:
        api.llama_log_set(silent, ctypes.c_void_p(0))
        api.llama_backend_init()
        self.job, self.options = job, job.options
        path = os.path.join(job.work_dir, self.options["gguf"]) if "gguf" in self.options else job.gguf
        params = api.llama_model_default_params()
        params.use_extra_bufts = self.options.get("extra_buffers", True)
        self.model = api.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self.vocab_size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.batch_size = self.options.get("batch", 2048)
        self.batch = api.llama_batch_init(self.batch_size, 0, 1)
        self.context, self.sequences, self.length = None, 0, 0
        self.random = np.random.default_rng(0)

    def open(self, sequences: int, length: int) -> None:
        """Makes an empty context of that many sequences of that many tokens."""
        if self.context and (self.sequences, self.length) == (sequences, length):
            api.llama_memory_clear(api.llama_get_memory(self.context), False)
            return
        if self.context:
            api.llama_free(self.context)
        params = api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = sequences * length, sequences
        params.n_batch, params.n_ubatch = self.batch_size, self.options.get("ubatch", 512)
        params.n_threads = params.n_threads_batch = self.job.threads
        params.kv_unified = self.options.get("unified", False)
        params.flash_attn_type = {True: 1, False: 0, None: -1}[self.options.get("flash")]
        if "cache" in self.options:
            params.type_k = params.type_v = getattr(api, "GGML_TYPE_" + self.options["cache"].upper())
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp could not make a context")
        self.sequences, self.length = sequences, length

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        self.open(len(prompts) * samples, -(-max(self.row_length(prompts), 256) // 256) * 256)
        logits = self.prefill(prompts, samples)
        memory = api.llama_get_memory(self.context)
        for i in range(len(prompts)):
            for sample in range(1, samples):
                api.llama_memory_seq_cp(memory, i * samples, i * samples + sample, -1, -1)
        tokens = self.sample(np.repeat(logits, samples, axis=0), temperature)
        answers = [tokens]
        for position in range(len(prompts[0]), len(prompts[0]) + new_tokens - 1):
            for row, token in enumerate(tokens):
                self.put(row, int(token), position, row, True)
            answers.append(tokens := self.sample(self.decode(len(tokens)), temperature))
        return np.stack(answers, axis=1).tolist()

    def row_length(self, prompts: Sequence[Ids]) -> int:
        """Most tokens of a sequence in the rows of the job whose prompts are as long as these."""
        return max(
            [len(prompts[0]) + 32]
            + [
                len(prompts[0]) + row["new_tokens"]
                for row in self.job.rows
                if len(row["rounds"][0][0]) == len(prompts[0])
            ]
        )

    def prefill(self, prompts: Sequence[Ids], samples: int) -> np.ndarray:
        """Computes each prompt once, in the first of its sequences. Returns logits after the last token of each."""
        logits = np.empty((len(prompts), self.vocab_size), np.float32)
        row, ended = 0, list[int]()
        for i, ids in enumerate(prompts):
            for position, token in enumerate(ids):
                last = position == len(ids) - 1
                self.put(row, token, position, i * samples, last)
                row += 1
                if last:
                    ended.append(i)
                if row == self.batch_size or (last and i == len(prompts) - 1):
                    out = self.decode(row, len(ended))
                    logits[ended] = out
                    row, ended = 0, []
        return logits

    def put(self, row: int, token: int, position: int, sequence: int, wanted: bool) -> None:
        batch = self.batch
        batch.token[row], batch.pos[row], batch.logits[row] = token, position, wanted
        batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence

    def decode(self, count: int, outputs: int | None = None) -> np.ndarray:
        """One pass over the first `count` rows of the batch. Returns the wanted logits, valid until the next pass."""
        self.batch.n_tokens = count
        status = api.llama_decode(self.context, self.batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
        outputs = count if outputs is None else outputs
        if not outputs:
            return np.empty((0, self.vocab_size), np.float32)
        return np.ctypeslib.as_array(api.llama_get_logits(self.context), (outputs, self.vocab_size))

    def sample(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """The next token of each row, for all rows in numpy: faster than llama.cpp's sampler a row at a time."""
        if not temperature:
            return logits.argmax(axis=1)
        weights = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        sums = weights.cumsum(axis=1)
        drawn = self.random.random((len(logits), 1), np.float32) * sums[:, -1:]
        return np.minimum((sums < drawn).sum(axis=1), self.vocab_size - 1)


if __name__ == "__main__":
    serve(["llama-cpp-python"], LlamaCpp)
