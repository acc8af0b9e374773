"""Words put in alphabetical order."""

from collections import defaultdict
from functools import cache
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.pools import drawn_apart, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict
from forethought.tasks.spelling import spelled, words
from forethought.tasks.wording import asked

COUNTS = {1: 3, 2: 4, 3: 5}
"""Level: how many words. Its number is also how many letters it takes to tell them apart."""

WORDINGS = (
    "Sort these words alphabetically: {words}. Answer with the words, separated by commas.",
    "Put {words} in alphabetical order. Answer with the list only, separated by commas.",
    "Write {words} in the order of a dictionary, separated by commas.",
    "Sort {words} alphabetically.",
    "Sort these words: {words}.",
    "Sort these words alphabetically: {words}.",
    "Alphabetize {words}.",
    "Alphabetize these words: {words}.",
    "List {words} in alphabetical order.",
    "Put these words in alphabetical order: {words}.",
    "Arrange {words} from A to Z.",
    "Order {words} from A to Z.",
)


class SortWords(TextFamily):
    """Selection sort of the first letters, which have to be named."""

    name = "sort_words"
    description = "Sort words alphabetically."
    levels = (
        "three words, the first letter decides",
        "four words, the second letter decides",
        "five words, the third letter decides",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        def drawn(split: Split) -> Draft:
            chosen = _chosen(rng, split, level)
            while chosen == sorted(chosen):
                rng.shuffle(chosen)
            question = asked(rng, WORDINGS, words=", ".join(chosen))
            return self.ask(question, chosen, key=" ".join(sorted(chosen)))

        return drawn_apart(self.name, rng, drawn)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        chosen: list[str] = list(problem.gold)
        start = {word: spelled(word[: problem.level]) for word in chosen}
        answer = ", ".join(sorted(chosen))
        steps = [", ".join(f"{word} {start[word]}" for word in chosen) + "."]
        if effort != "low":
            word = rng.choice(("Now", "Next", "Least"))
            for least in sorted(chosen):
                chosen.remove(least)
                rest = f" Left {', '.join(start[other] for other in chosen)}." if chosen else ""
                steps.append(f"{word} {start[least]}: {least}.{rest}")
        steps.append(f"{rng.choice(('So', 'In order:', 'Sorted:'))} {answer}.")
        return self.answer(" ".join(steps), answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer.replace(", ", ","), ",".join(sorted(problem.gold)))


def _chosen(rng: Random, split: Split, letters: int) -> list[str]:
    """Words that differ in so many first letters, two of them in no fewer."""
    rivals = rng.choice(_rivals(split, letters))
    chosen: dict[str, str] = {}
    while len(chosen) < COUNTS[letters]:
        word = rng.choice(rivals if len(chosen) < 2 else pool(words(), split))
        alike = sum(start.startswith(word[: letters - 1]) for start in chosen)
        if letters == 1 or alike < 2:
            chosen.setdefault(word[:letters], word)
    return rng.sample(list(chosen.values()), len(chosen))


@cache
def _rivals(split: Split, letters: int) -> list[list[str]]:
    """Words with the same first letters, all but the deciding one."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for word in pool(words(), split):
        groups[word[: letters - 1]].append(word)
    return [group for group in groups.values() if len({word[:letters] for word in group}) > 1]


FAMILY = SortWords()
