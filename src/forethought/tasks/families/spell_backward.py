"""Words spelled from their last letter to their first."""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.pools import drawn_apart, marked, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict
from forethought.tasks.spelling import spelled, words
from forethought.tasks.wording import asked

APART = (
    'Spell "{word}" backward. Write the letters with spaces between them.',
    'What are the letters of "{word}" from last to first? Separate them with spaces.',
    'Spell the word "{word}" in reverse, with a space between the letters.',
    'Spell "{word}" backward.',
    "Spell {word} backward.",
    "Spell {word} backwards.",
    "How do you spell {word} backward?",
    'Spell "{word}" backwards, letter by letter.',
    "Spell the word {word} from the last letter to the first.",
)
BOTH = (
    'Spell "{word}" and "{other}" backward, with spaces between the letters and a comma between the words.',
    'Spell the words "{word}" and "{other}" in reverse: letters with spaces between them, words with a comma.',
)
TOGETHER = (
    'Write "{word}" backward, as one word.',
    'Reverse the word "{word}". Answer with one word.',
    'What is "{word}" read from right to left? Answer with one word.',
    'Reverse "{word}".',
    "Reverse the word {word}.",
    'Write "{word}" backward.',
    "Write the word {word} backwards.",
    'What is "{word}" backwards?',
    "What is the word {word} in reverse?",
    "Turn the word {word} around.",
)

LETTERS = {1: (3, 6), 2: (6, 10), 3: (4, 9)}
"""Level: from how many letters to how many a word has that is asked alone."""
SHORT = (3, 5)
"""The same where two are asked."""


class SpellBackward(TextFamily):
    """Reversing what cannot be seen: letters."""

    name = "spell_backward"
    description = "Spell words backward."
    levels = (
        "three to six letters",
        "one word of six to ten letters, or two short ones",
        "four to nine letters, answered as one word, whose tokens don't show them",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        def drawn(split: Split) -> Draft:
            both = level == 2 and rng.random() < 0.5
            chosen = rng.sample(pool(words(*(SHORT if both else LETTERS[level])), split), 2 if both else 1)
            wordings = TOGETHER if level == 3 else BOTH if both else APART
            question = asked(rng, wordings, word=chosen[0], other=chosen[-1])
            answer = ", ".join(word[::-1] if level == 3 else spelled(word[::-1]) for word in chosen)
            # Of the words that the test may use, only every fifth is by itself a key of the test. Those are too few.
            key = marked(self.name, " ".join(chosen), split)
            return self.ask(question, {"words": chosen, "answer": answer}, key)

        return drawn_apart(self.name, rng, drawn)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        chosen: list[str] = problem.gold["words"]
        backward = ", ".join(spelled(word[::-1]) for word in chosen)
        if effort == "low":
            forward = ", ".join(map(spelled, chosen))
            return self.answer(f"{forward}{rng.choice((' -> ', '. Backward: '))}{backward}", problem.gold["answer"])
        turned = rng.choice(("Backward:", "From the end:", "Counting down:"))
        steps = f"{' '.join(_numbered(word, turned) for word in chosen)} So {backward}."
        return self.answer(steps, problem.gold["answer"])

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer.replace(", ", ","), problem.gold["answer"].replace(", ", ","))


def _numbered(word: str, turned: str) -> str:
    """The letters by number, up and down: the number says which comes next, also where a letter stands twice."""
    letters = [f"{place} {letter}" for place, letter in enumerate(word, 1)]
    return f"{' '.join(letters)}. {turned} {' '.join(reversed(letters))}."


FAMILY = SpellBackward()
