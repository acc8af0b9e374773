"""All families by name: ours, and those that installed packages bring under `forethought.families`.

The data sets of reasoning-gym are no part of the list. Each can be had by its name: `gym:NAME`.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Final, cast

from forethought.errors import TaskError
from forethought.tasks import families as shipped
from forethought.tasks.family import Family
from forethought.tasks.reasoning_gym import PREFIX, gym_family

GROUP: Final = "forethought.families"
NAME: Final = re.compile(r"[a-z0-9]+(?:[_.-][a-z0-9]+)*")


@cache
def families() -> dict[str, Family]:
    """Every family, sorted by name.

    Each module in `tasks/families` has one `FAMILY`, or several in `FAMILIES`; an entry point names such an object.

    Raises:
        TaskError: a package cannot be loaded, or brings something that is no family, or a name that is taken.
    """
    found: dict[str, Family] = {}
    for module in iter_modules(shipped.__path__):
        loaded = import_module(f"{shipped.__name__}.{module.name}")
        for family in getattr(loaded, "FAMILIES", ()) or (loaded.FAMILY,):
            _add(found, family, shipped.__name__)
    for point in entry_points(group=GROUP):
        _add(found, _loaded(point), point.value)
    return dict(sorted(found.items()))


def family(name: str) -> Family:
    """The family of a name. Raises `TaskError` for one that nobody registered."""
    if name.startswith(PREFIX):
        return gym_family(name)
    known = families()
    if name not in known:
        raise TaskError(f"There is no family named {name!r}.", f"Known are: {', '.join(known)}.")
    return known[name]


def _loaded(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # noqa: BLE001 (somebody else's code: that it does not load is to be told)
        remedy = f"Mend or uninstall the package {point.dist.name if point.dist else point.module}."
        raise TaskError(f"The families of {point.value} cannot be loaded: {error!r}.", remedy) from None


def _add(found: dict[str, Family], family: object, source: str) -> None:
    if not isinstance(family, Family):
        raise TaskError(f"{source} is a {type(family).__name__}, not a family.", "Point at an instance of `Family`.")
    if missing := [name for name in ("name", "description", "levels") if not hasattr(family, name)]:
        raise TaskError(f"{source} is a family without {' and '.join(missing)}.", "Give it what `Family` asks for.")
    name, levels = cast("tuple[object, object]", (family.name, family.levels))  # as somebody else wrote them
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise TaskError(f"{source} is a family named {name!r}.", "Use small letters, digits, and _ . - between them.")
    described = cast("Sequence[object]", levels) if isinstance(levels, tuple | list) else ()
    if not (described and all(isinstance(level, str) for level in described)):
        raise TaskError(f"The family {name} has the levels {levels!r}.", "Give a tuple that describes each.")
    if family.name in found:
        raise TaskError(f"{source} brings the family {family.name!r}, which is there already.", "Give it another name.")
    found[family.name] = family
