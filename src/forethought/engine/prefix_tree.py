"""Which KV blocks hold which tokens: a tree in which a block's path spells the content in front of it.

A node is a block; its key is the content of its own positions. A full block may have children and may be used by
many sequences at once. A block that is only partly filled is a leaf; its owner goes on writing behind the registered
positions, so others may copy it but never use it in place.

Content is a list of integers, one per position: the token id, or a negative hash where an embedding is given.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

from forethought.engine.runner import BLOCK_SIZE

Key = tuple[int, ...]


class Block:
    """One KV block. `refs` counts the sequences that use it; `key` is None while it is not in the tree."""

    __slots__ = ("children", "id", "key", "parent", "refs")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.refs = 0
        self.key: Key | None = None
        self.parent: Block | None = None
        self.children = Children()


class Children:
    """The blocks that continue a block, found by their whole key or by the longest common prefix."""

    __slots__ = ("_by_key", "_sorted")

    def __init__(self) -> None:
        self._by_key: dict[Key, Block] = {}
        self._sorted: list[Key] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def blocks(self) -> list[Block]:
        """All of them."""
        return list(self._by_key.values())

    def get(self, key: Key) -> Block | None:
        """The child with exactly this content."""
        return self._by_key.get(key)

    def nearest(self, key: Key) -> tuple[Block | None, int]:
        """The child that shares the most leading content with `key`, and how much. In sorted order it is one of
        the two neighbours of where `key` belongs."""
        place = bisect_left(self._sorted, key)
        best, shared = None, 0
        for neighbour in self._sorted[max(place - 1, 0) : place + 1]:
            common = _common_prefix(neighbour, key)
            if common > shared:
                best, shared = self._by_key[neighbour], common
        return best, shared

    def add(self, block: Block, key: Key) -> None:
        """Registers a child; no other has this key."""
        self._by_key[key] = block
        insort(self._sorted, key)

    def remove(self, key: Key) -> None:
        """Takes out the child with this key."""
        del self._by_key[key]
        del self._sorted[bisect_left(self._sorted, key)]


@dataclass(slots=True)
class Match:
    """What the tree holds of a content: full blocks to use in place, then a block of which `extra` positions fit."""

    blocks: list[Block]
    source: Block | None = None
    extra: int = 0

    @property
    def tokens(self) -> int:
        """Positions that need not be computed."""
        return len(self.blocks) * BLOCK_SIZE + self.extra


class PrefixTree:
    """Blocks by content."""

    def __init__(self) -> None:
        self.root = Block(-1)

    def match(self, content: list[int], limit: int) -> Match:
        """The longest prefix of `content[:limit]` in the tree."""
        node, found, start = self.root, list[Block](), 0
        while start + BLOCK_SIZE <= limit:
            child = node.children.get(tuple(content[start : start + BLOCK_SIZE]))
            if child is None:
                break
            found.append(child)
            node, start = child, start + BLOCK_SIZE
        rest = tuple(content[start : min(start + BLOCK_SIZE, limit)])
        source, extra = node.children.nearest(rest) if rest else (None, 0)
        return Match(found, source, extra)

    def insert(self, parent: Block, block: Block, key: Key) -> Block:
        """Registers `block`, or tells which other block already stands there. A partly filled block that is
        registered moves to its longer key."""
        other = parent.children.get(key)
        if other is not None:
            return other
        self.remove(block)
        parent.children.add(block, key)
        block.key, block.parent = key, parent
        return block

    def remove(self, block: Block) -> None:
        """Takes a leaf out of the tree; nothing happens if it is not in it."""
        if block.key is not None and block.parent is not None:
            block.parent.children.remove(block.key)
        block.key = block.parent = None


def _common_prefix(one: Key, other: Key) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
