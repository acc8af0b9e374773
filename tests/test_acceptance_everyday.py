"""What counts as a right answer to an everyday question."""

import pytest
from everyday import CUT_OFF, Question

APPLES = Question("word_problems", "I had 15 apples, ate 4 and gave 3 away. What do I have now?", ("8",))
BUS = Question("clock", "My bus goes at 14:20 and needs 35 minutes. At what time am I there?", ("14:55", "2:55"))
HALVES = Question("fractions", "Half of a cake and a quarter of a cake?", ("3/4",))
NUMBERS = Question("sort_numbers", "5, 17, 3 - smallest first please", ("3, 5, 17",))
ANIMALS = Question("sort_words", "In which order do tiger, lion and bear come?", ("bear, lion, tiger",))
DOGS = Question(
    "ordering", "Rex is older than Max. Max is older than Luna. Who is youngest?", ("luna",), ("rex", "max")
)
PRIME = Question("primes", "is 29 a prime", ("yes",))
WORD = Question("spell_backward", "reverse the letters: lamp", ("pmal", "p m a l"))
HEX = Question("base_conversion", "Give me 77 in base 16.", ("4d", "0x4d"))


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        (
            APPLES,
            ("8", "**8**", "You have 8 apples left.", "15 - 4 - 3 = 8 apples"),
            ("", "7", "18", "You had 8, so 11."),
        ),
        (BUS, ("14:55", "You will be there at 2:55 PM.", "At 14:55, 35 minutes later."), ("14:20", "14:5", "3:55")),
        (HALVES, ("3/4", "It is 3/4 of a cake."), ("1 3/4", "1/4", "3")),
        (NUMBERS, ("3, 5, 17", "3 5 17", "3,5,17."), ("1, 3, 5, 17", "5, 3, 17", "3, 5", "17")),
        (ANIMALS, ("Bear, lion, and tiger.", "bear, lion, tiger"), ("lion, bear, tiger", "bear, lion")),
        (
            DOGS,
            ("Luna", "Luna is the youngest.", "Max is older. So it is Luna."),
            ("Max", "Max is older than Luna.", ""),
        ),
        (
            PRIME,
            (
                "yes",
                "Yes, 29 is a prime number.",
                "29 is indeed a prime number. It has two divisors.",
            ),
            ("no", "No. Yes.", "29", "29 is not prime.", "A prime has two divisors.", f"Yes, as 29{CUT_OFF}"),
        ),
        (WORD, ("p m a l", '"pmal"'), ("lamp", "pmall", "p m a")),
        (HEX, ("4d", "It is 0x4D."), ("4", "4e", "77")),
    ],
)
def test_an_answer_is_right_in_any_form(question: Question, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert [said for said in right if not question.accepts(said)] == []
    assert [said for said in wrong if question.accepts(said)] == []


def test_every_question_accepts_its_own_answers() -> None:
    assert len(Question.all()) == 75
    for question in Question.all():
        assert all(map(question.accepts, question.answers)), question
