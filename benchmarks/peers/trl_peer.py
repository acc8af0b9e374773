"""TRL's GRPOTrainer on CPU.

Options: `weights` (the dtype that all weights are held in), `autocast` (arithmetic in bfloat16), `batch` (samples in
one backward pass, at most), `generation` ("static": `generate` on one padded batch; "continuous": transformers'
continuous batching).
"""

import os
import time
from importlib.metadata import version
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
from datasets import Dataset
from learning import Steps, reward
from peft import LoraConfig
from safetensors.torch import save_file
from serving import begin
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class TimedTrainer(GRPOTrainer):
    """Knows how long it sampled."""

    sampling = 0.0

    def _generate(self, prompts: list[Any]) -> Any:
        began = time.monotonic()
        try:
            return super()._generate(prompts)
        finally:
            self.sampling += time.monotonic() - began


class Watch(TrainerCallback):
    """Reports steps, and ends the training when the time is up."""

    def __init__(self, steps: Steps, samples: int) -> None:
        self.steps, self.samples = steps, samples
        self.trainer: TimedTrainer | None = None
        self.rewards: list[float] = []
        self.lengths: list[int] = []

    def judge(
        self, completions: list[Any], completion_ids: list[list[int]], answer: list[str], **_: Any
    ) -> list[float]:
        """The reward function. Attempts at one problem stand together."""
        texts = [completion[-1]["content"] for completion in completions]
        self.rewards = [reward(text, right) for text, right in zip(texts, answer, strict=True)]
        self.lengths = [len(ids) for ids in completion_ids]
        return self.rewards

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Called by the trainer."""
        self.steps.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer, behind the optimiser's step."""
        groups = [self.rewards[at : at + self.samples] for at in range(0, len(self.rewards), self.samples)]
        control.should_training_stop |= not self.steps.end(self.trainer.sampling, groups, self.lengths)
        self.trainer.sampling = 0.0


def main() -> None:
    """Learns until the time is up."""
    job, emit = begin()
    torch.set_num_threads(job["threads"])
    watch = Watch(Steps(job, emit), job["samples"])
    watch.trainer = trainer = TimedTrainer(
        model=job["model_dir"],
        reward_funcs=watch.judge,
        args=configuration(job),
        train_dataset=Dataset.from_list([{"prompt": p["messages"], "answer": p["answer"]} for p in job["problems"]]),
        peft_config=lora(job) if job["train"] == "adapter" else None,
        callbacks=[watch],
    )
    check(trainer, job)
    emit("ready", versions={name: version(name) for name in ("trl", "transformers", "peft", "torch")})
    trainer.train()
    if job["weights"]:
        save(trainer, job["weights"])
        emit("saved")
    emit("done")


def configuration(job: dict[str, Any]) -> GRPOConfig:
    """The plain policy gradient with a group's mean as its baseline, one update for each batch of samples."""
    options, total = job["options"], job["prompts"] * job["samples"]
    batch = min(options["batch"], total)
    return GRPOConfig(
        output_dir=job["work_dir"],
        use_cpu=True,
        bf16=options["autocast"],
        model_init_kwargs={"dtype": options["weights"]},
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=total // batch,
        gradient_checkpointing=False,
        num_generations=job["samples"],
        max_completion_length=job["new_tokens"],
        use_transformers_continuous_batching=options["generation"] == "continuous",
        temperature=1.0,
        beta=0.0,
        scale_rewards="none",
        loss_type="dapo",
        learning_rate=job["learning_rate"],
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        max_steps=min(job["steps"], len(job["problems"]) // job["prompts"]),
        shuffle_dataset=False,
        seed=job["seed"],
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def lora(job: dict[str, Any]) -> LoraConfig:
    """An adapter of all linear layers but the output."""
    return LoraConfig(r=job["rank"], lora_alpha=job["alpha"], lora_dropout=0.0, target_modules="all-linear")


def check(trainer: GRPOTrainer, job: dict[str, Any]) -> None:
    """Raises `ValueError` where it would not get the prompts and the ends that the others get."""
    first = job["problems"][0]
    ids = trainer.processing_class.apply_chat_template(
        first["messages"], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    if ids != first["ids"]:
        raise ValueError(f"the first prompt is {ids} here, and {first['ids']} elsewhere")
    if sorted(trainer.eos_token_ids) != sorted(job["stop_ids"]):
        raise ValueError(f"answers end with {trainer.eos_token_ids} here, and with {job['stop_ids']} elsewhere")


def save(trainer: GRPOTrainer, path: str) -> None:
    """Writes all weights, an adapter merged into them. (The output is tied to the token table.)"""
    model = trainer.accelerator.unwrap_model(trainer.model)
    model = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    tensors.pop("lm_head.weight", None)
    save_file(tensors, path, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
