"""Written arithmetic: every line is true, small, and the result can be read off the lines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arithmetic_statements import is_true, statements
from forethought.tasks import columns

numbers = st.integers(1, 9999)


def read_off(lines: list[str]) -> str:
    """The last result, and before it in the answer's order the last digit of every result before."""
    *ones, last = [line.rpartition("=")[2] for line in lines]
    return last + "".join(result[-1] for result in reversed(ones))


@given(numbers, numbers)
def test_the_columns_of_a_sum_are_true_and_give_its_digits(a: int, b: int) -> None:
    lines = columns.plus(a, b)
    assert all(is_true(found) for line in lines for found in statements(line))
    assert read_off(lines) == str(a + b)


@given(numbers, numbers)
def test_the_columns_of_a_difference_are_true_and_give_its_digits(a: int, b: int) -> None:
    lines = columns.minus(max(a, b), min(a, b))
    assert all(is_true(found) for line in lines for found in statements(line))
    assert int(read_off(lines)) == abs(a - b)


@given(numbers, st.integers(2, 9))
def test_the_columns_of_a_product_are_true_and_give_its_digits(a: int, digit: int) -> None:
    lines = columns.times(a, digit, joined=True)
    assert all(is_true(found) for found in lines)
    assert read_off(lines) == str(a * digit)


@given(numbers, st.integers(2, 9))
def test_a_product_in_small_steps_adds_the_carry_by_itself(a: int, digit: int) -> None:
    lines = columns.times(a, digit)
    assert all(is_true(found) for found in lines)
    assert not any("*" in line and "+" in line for line in lines)
    for line, after in pairwise(lines):
        assert "*" in after or after.startswith(line.rpartition("=")[2] + "+")


@given(numbers, numbers)
def test_a_column_never_holds_more_than_two_digits_and_a_carry(a: int, b: int) -> None:
    for line in (*columns.plus(a, b), *columns.minus(max(a, b), min(a, b))):
        if "=" in line:
            assert len(line) <= len("10-9-1=0") + 1


@pytest.mark.parametrize(
    ("a", "operator", "b"), [(7, "+", 8), (57, "-", 8), (300, "+", 0), (9, "*", 12), (1, "*", 57), (38, "*", 1)]
)
def test_what_is_known_by_heart_is_one_line(a: int, operator: columns.Operator, b: int) -> None:
    whole = columns.statement(a, operator, b)
    assert columns.fully(a, operator, b) == columns.briefly(a, operator, b) == [whole]
    assert is_true(whole)


def test_what_is_not_is_worked_out_from_the_ones_on() -> None:
    assert columns.fully(47, "+", 38) == ["47+38", "7+8=15", "4+3+1=8", "47+38=85"]
    assert columns.briefly(52, "-", 17) == ["12-7=5", "5-1-1=3", "35"]
    assert columns.fully(6, "*", 47) == ["6*47", "7*6=42", "4*6=24", "24+4=28", "6*47=282"]
    assert columns.plus(1250, 3) == ["0+3=3", "125"]
    assert columns.plus(995, 7) == ["5+7=12", "9+1=10", "9+1=10"]
