"""Hugging Face transformers, the reference implementation. Options: `dtype`."""

from collections.abc import Sequence

import torch
from protocol import Ids, Job, serve
from transformers import AutoModelForCausalLM


class Transformers:
    """`generate` on one batch; prompts of a row are equally long, so nothing is padded."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        dtype = getattr(torch, job.options["dtype"])
        self.model = AutoModelForCausalLM.from_pretrained(job.model_dir, dtype=dtype).eval()
        # Its own defaults (temperature, end of text) would mix with what a row asks for.
        self.model.generation_config = type(self.model.generation_config)()

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        ids = torch.tensor(prompts)
        chosen = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        answers = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            num_return_sequences=samples,
            pad_token_id=0,
            **chosen,
        )
        return answers[:, ids.shape[1] :].tolist()


if __name__ == "__main__":
    serve(["transformers", "torch"], Transformers)
