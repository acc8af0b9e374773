"""The KV block manager: who uses which block, what is cached, what is thrown out.

A block is free, in use (one or more sequences), or cached: in use by nobody, but its content may be asked for again.
The block that has been cached longest goes first. Because a sequence lets go of its blocks from the last to the
first, and uses all that stand in front of a block it uses, the block that has been cached longest is always a leaf
of the prefix tree.
"""

from collections import OrderedDict

import numpy as np

from forethought.engine.prefix_tree import Block, Match, PrefixTree
from forethought.engine.runner import BLOCK_SIZE, Int32


def blocks_for(tokens: int) -> int:
    """Blocks that hold so many positions."""
    return -(-tokens // BLOCK_SIZE)


class BlockTable:
    """The blocks of one sequence, in order. The first `registered` are in the prefix tree and full.

    `ids` mirrors the blocks' ids, for the batch.
    """

    __slots__ = ("blocks", "ids", "registered")

    def __init__(self, blocks: list[Block], registered: int, most: int) -> None:
        self.blocks = blocks
        self.registered = registered
        self.ids: Int32 = np.full(most, -1, np.int32)
        self.ids[: len(blocks)] = [block.id for block in blocks]

    @property
    def capacity(self) -> int:
        """Positions that fit."""
        return len(self.blocks) * BLOCK_SIZE

    def append(self, block: Block) -> None:
        """One more block at the end."""
        self.ids[len(self.blocks)] = block.id
        self.blocks.append(block)

    def replace(self, index: int, block: Block) -> None:
        """Another block with the same content."""
        self.ids[index] = block.id
        self.blocks[index] = block


class BlockManager:
    """Hands out `total` blocks. `most` is the largest number one sequence may hold."""

    def __init__(self, total: int, *, most: int, sharing: bool = True) -> None:
        self.total = total
        self._most = most
        self._sharing = sharing
        self._free = [Block(id_) for id_ in reversed(range(total))]
        self._cached: OrderedDict[Block, None] = OrderedDict()
        self._tree = PrefixTree()

    @property
    def available(self) -> int:
        """Blocks that can be had: free or cached."""
        return len(self._free) + len(self._cached)

    def match(self, content: list[int]) -> Match:
        """What need not be computed of a content whose last position will be."""
        return self._tree.match(content, len(content) - 1) if self._sharing else Match([])

    def open(self, match: Match, tokens: int, *, headroom: int = 0) -> tuple[BlockTable, tuple[int, int] | None] | None:
        """A table for `tokens` positions that begins with what was matched (just now: nothing may come between).

        Returns the table and the copy (source id, target id) to make before the next step, if any; None if fewer
        than `headroom` blocks would be left. When blocks are so few that the source of the copy itself is needed,
        `match` gives up the copy.
        """
        needed = blocks_for(tokens) - len(match.blocks)
        room = self.available - sum(block.refs == 0 for block in match.blocks)
        if needed + headroom > room:
            return None
        if match.source is not None and match.source.refs == 0 and needed + 1 > room:
            match.source, match.extra = None, 0
        for block in match.blocks:
            self._use(block)
        # Used for a moment, so that the blocks taken are others.
        if match.source is not None:
            self._use(match.source)
        table = BlockTable([*match.blocks, *(self._take() for _ in range(needed))], len(match.blocks), self._most)
        if match.source is None:
            return table, None
        self._leave(match.source)
        return table, (match.source.id, table.blocks[len(match.blocks)].id)

    def grow(self, table: BlockTable) -> bool:
        """One more block; False if none can be had."""
        if not self.available:
            return False
        table.append(self._take())
        return True

    def commit(self, table: BlockTable, content: list[int], computed: int, *, tail: bool = False) -> None:
        """Registers the blocks filled by the first `computed` positions, with `tail` the partly filled one too.

        A block whose content the tree already has elsewhere is exchanged for that one, and freed.
        """
        if not self._sharing:
            return
        while (table.registered + 1) * BLOCK_SIZE <= computed:
            self._register(table, content, (table.registered + 1) * BLOCK_SIZE)
            table.registered += 1
        if tail and computed > table.registered * BLOCK_SIZE:
            self._register(table, content, computed)

    def close(self, table: BlockTable) -> None:
        """The sequence lets go of its blocks. Those in the tree stay cached."""
        for block in reversed(table.blocks):
            self._leave(block)
        table.blocks.clear()
        table.registered = 0

    def discard(self, table: BlockTable) -> None:
        """Like `close`, but what nobody else uses is forgotten, with all that was computed on top of it."""
        for block in reversed(table.blocks):
            if block.refs == 1:
                self._forget(block)
            self._leave(block)
        table.blocks.clear()
        table.registered = 0

    def clear(self) -> None:
        """Forgets all cached content. No block may be in use."""
        self._tree = PrefixTree()
        self._free += [Block(block.id) for block in self._cached]
        self._cached.clear()

    def _register(self, table: BlockTable, content: list[int], end: int) -> None:
        index = table.registered
        parent = table.blocks[index - 1] if index else self._tree.root
        block = table.blocks[index]
        held = self._tree.insert(parent, block, tuple(content[index * BLOCK_SIZE : end]))
        if held is not block and end % BLOCK_SIZE == 0:
            self._use(held)
            table.replace(index, held)
            self._tree.remove(block)
            self._leave(block)

    def _take(self) -> Block:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._cached.popitem(last=False)
            self._tree.remove(block)
        block.refs = 1
        return block

    def _use(self, block: Block) -> None:
        if block.refs == 0:
            del self._cached[block]
        block.refs += 1

    def _leave(self, block: Block) -> None:
        block.refs -= 1
        if block.refs == 0:
            if block.key is None:
                self._free.append(block)
            else:
                self._cached[block] = None

    def _forget(self, block: Block) -> None:
        below = block.children.blocks()
        for child in below:  # grows while it is walked
            below += child.children.blocks()
        for child in below:
            self._tree.remove(child)
            del self._cached[child]
            self._free.append(child)
        self._tree.remove(block)
