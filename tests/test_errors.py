"""The exception tree is the one that its docstring draws."""

import inspect
import pickle
import re

import pytest

from forethought import errors

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == errors.__name__
}


def drawn() -> dict[str, str]:
    """The parent of each class in the drawing, by their names."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    above: list[str] = ["Exception"]
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    ([ │├└─]*)([A-Z]\w+)", line):
            depth = len(found[1]) // 4 + 1
            parents[found[2]] = above[depth - 1]
            above[depth:] = [found[2]]
    return parents


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    assert drawn() == {name: kind.__base__.__name__ for name, kind in CLASSES.items()}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES.keys())
def test_an_error_crosses_a_process_border_whole(kind: type[errors.ForethoughtError]) -> None:
    error = pickle.loads(pickle.dumps(kind("It broke.", "Mend it.")))
    assert (type(error), str(error)) == (kind, "It broke. Mend it.")
    assert (error.message, error.remedy) == ("It broke.", "Mend it.")
