"""Different problems by seed, however few a family has."""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.families.chain_sum import ChainSum
from forethought.tasks.family import TextFamily
from forethought.tasks.problem import CORRECT, Draft, Problem, Transcript, Verdict, split_of


class Few(TextFamily):
    """Twenty problems, of which seeds mostly draw the first."""

    name = "few"
    levels = ("one", "two", "three")

    def draw(self, rng: Random, level: int) -> Draft:
        number = min(rng.randrange(40), 19)
        return self.ask(f"{rng.choice(('Say', 'Tell'))} {number}.", number, str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        return self.answer("So.", problem.gold)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return CORRECT


def test_all_problems_of_a_small_family_are_found_once() -> None:
    found = distinct_problems(Few(), 1, "train", 100)
    assert sorted(problem.gold for problem in found) == [n for n in range(20) if split_of("few", str(n)) == "train"]


def test_a_shorter_list_is_the_beginning_of_a_longer_one() -> None:
    longer = distinct_problems(ChainSum(), 2, "test", 40)
    assert distinct_problems(ChainSum(), 2, "test", 15) == longer[:15]
    assert len({problem.key for problem in longer}) == len(longer) == 40


def test_the_first_seed_can_be_chosen() -> None:
    family = ChainSum()
    [only] = distinct_problems(family, 1, "train", 1, first_seed=77)
    assert only == family.problem(77, 1)
