"""Seeds out of names: the randomness of a run is a pure function of where in the run it is needed.

Nothing has to be kept to resume exactly, and no draw depends on how many others came before it.
"""

import hashlib


def seed_of(*place: object) -> int:
    """A seed below 2^63 for a place in a run: `seed_of(recipe_seed, stage, step, "problem", 3)`."""
    digest = hashlib.blake2b("/".join(map(str, place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
