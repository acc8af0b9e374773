"""How often a letter occurs, in one word or in several."""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.pools import drawn_apart, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict
from forethought.tasks.spelling import words
from forethought.tasks.wording import asked

SHAPES = {1: (1, 3, 10), 2: (2, 3, 7), 3: (4, 3, 8)}
"""Level: how many words, and of how many letters, from and to."""

WORDINGS = (
    'How often does the letter "{letter}" occur in {words}? Answer with a number.',
    'How many times is "{letter}" in {words}? Answer with the number only.',
    'Count the letter "{letter}" in {words}. Answer with a number.',
    'How many "{letter}" are in {words}?',
    "How many {letter}'s are in {words}?",
    "How many {letter}'s are there in {words}?",
    "Count the {letter}'s in {words}.",
    'How often is "{letter}" in {words}?',
    "Count the letter {letter} in {words}.",
    "How many times does the letter {letter} occur in {words}?",
    "How many times is {letter} in {words}?",
    "How many letters {letter} does one find in {words}?",
    'How many times does "{letter}" appear in {words}?',
)
QUOTED = 0.6
"""How often the words stand in quotation marks."""
ABSENT = "aeioulnrst"
"""Of the letters that don't occur, only common ones are asked for."""

CHANCES = {1: (15, 38, 42, 5), 2: (10, 30, 35, 25), 3: (5, 20, 30, 25, 20)}
"""Level: how likely the answer is 0, 1, 2 and so on. Left to chance, it would nearly always be 1."""


class LetterCount(TextFamily):
    """Counting what cannot be seen: letters."""

    name = "letter_count"
    description = "Count a letter in words."
    levels = ("one word", "two words", "four words")

    def draw(self, rng: Random, level: int) -> Draft:
        count, least, most = SHAPES[level]

        def drawn(split: Split) -> Draft:
            total = rng.choices(range(len(CHANCES[level])), CHANCES[level])[0]
            chosen, letter = _with_total(rng, pool(words(least, most), split), count, total)
            mark = '"' if rng.random() < QUOTED else ""
            question = asked(rng, WORDINGS, letter=letter, words=_listed([f"{mark}{word}{mark}" for word in chosen]))
            return self.ask(question, {"letter": letter, "words": chosen}, key=f"{letter}/{' '.join(sorted(chosen))}")

        return drawn_apart(self.name, rng, drawn)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        letter: str = problem.gold["letter"]
        chosen: list[str] = problem.gold["words"]
        total = _total(chosen, letter)
        if effort == "low":
            return self.answer(f"{_marked(chosen, letter)}. {rng.choice(('Total', 'That is', 'So'))} {total}.", total)
        steps, seen = "", 0
        for word in chosen:
            counts = [seen := seen + (found == letter) for found in word]
            judged = ", ".join(
                f"{found} {count}" if found == letter else f"{found} no"
                for found, count in zip(word, counts, strict=True)
            )
            steps += f"{word}: {judged}. "
        steps += f"{rng.choice(('Total', 'That is', 'So'))} {total}."
        return self.answer(steps, total)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(_total(problem.gold["words"], problem.gold["letter"])))


def _with_total(rng: Random, known: tuple[str, ...], count: int, total: int) -> tuple[list[str], str]:
    """So many words, and a letter that occurs so often in them."""
    while True:
        chosen = rng.sample(known, count)
        text = "".join(chosen)
        letters = [letter for letter in sorted({*text, *ABSENT}) if text.count(letter) == total]
        if letters:
            return chosen, rng.choice(letters)


def _marked(chosen: list[str], letter: str) -> str:
    """The letters, each that counts with its number: "s t r1 a w b e r2 r3 y"."""
    seen = 0
    spelled: list[str] = []
    for word in chosen:
        marks = [f"{found}{(seen := seen + 1)}" if found == letter else found for found in word]
        spelled.append(" ".join(marks))
    return ", ".join(spelled)


def _total(chosen: list[str], letter: str) -> int:
    return sum(word.count(letter) for word in chosen)


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


FAMILY = LetterCount()
