"""The rows of the engine benchmark and the prompts they are made of.

Every engine gets the same token ids. Prompts begin with nine random digits, and every round of a row has new prompts,
so that a prefix cache helps only where a row is about it.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import Tokenizer

GREEDY_PROMPT = (
    "<|im_start|>user\nName three rivers of Europe and the sea that each one reaches.<|im_end|>\n"
    "<|im_start|>assistant\n"
)

SUBJECTS = ("A baker", "The captain", "Our neighbour", "A careful student", "The museum", "One farmer", "The orchestra")
VERBS = ("counts", "sells", "borrows", "paints", "repairs", "collects", "carries")
THINGS = ("lanterns", "violins", "maps", "apples", "wooden boats", "old letters", "glass marbles", "clocks")
PLACES = ("in the harbour", "behind the station", "on a windy hill", "near the library", "by the river", "in Lisbon")


@dataclass(frozen=True)
class Row:
    """One line of the table: `prompts` distinct prompts of `prompt_tokens` tokens, `samples` answers to each.

    `goal` is how many times faster than the best peer we mean to be.
    """

    name: str
    title: str
    prompts: int
    prompt_tokens: int
    new_tokens: int
    samples: int = 1
    temperature: float = 0.0
    goal: float | None = None

    @property
    def tokens(self) -> int:
        """What the row's speed counts: generated tokens, or prompt tokens where only one is generated."""
        return self.prompts * (self.samples * self.new_tokens if self.new_tokens > 1 else self.prompt_tokens)


ROWS = (
    Row("decode-1", "decode, batch 1", 1, 40, 128, goal=1.2),
    *(Row(f"decode-{n}", f"decode, batch {n}", n, 40, 128, goal=1.5) for n in (8, 32, 64, 128)),
    Row("prefill-4k", "prefill, 4096 tokens", 1, 4096, 1),
    Row("samples-16x8", "16 prompts × 8 samples", 16, 128, 128, samples=8, temperature=1.0),
)


def jobs(model_dir: Path, rows: tuple[Row, ...], rounds: int) -> list[dict[str, Any]]:
    """The rows as a job carries them; round 0 is for warming up."""
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    return [
        {
            "name": row.name,
            "new_tokens": row.new_tokens,
            "samples": row.samples,
            "temperature": row.temperature,
            "rounds": [
                [prompt(tokenizer, row.prompt_tokens, f"{row.name}/{turn}/{i}") for i in range(row.prompts)]
                for turn in range(rounds + 1)
            ],
        }
        for row in rows
    ]


def prompt(tokenizer: Tokenizer, length: int, seed: str) -> list[int]:
    """English sentences, exactly `length` tokens of them, always the same for a seed."""
    draw = Random(seed)
    text, ids = f"{draw.randrange(10**9)}.", list[int]()
    while len(ids) < length:
        for _ in range(16):
            subject, verb, thing, place = (draw.choice(words) for words in (SUBJECTS, VERBS, THINGS, PLACES))
            text += f" {subject} {verb} {draw.randrange(100, 1000)} {thing} {place}."
        ids = tokenizer.encode(text, add_special_tokens=False).ids
    return ids[:length]
