"""The block manager shares what is equal, keeps what was computed, and forgets the oldest first."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forethought.engine.blocks import BlockManager, BlockTable, blocks_for
from forethought.engine.runner import BLOCK_SIZE

MOST = 16


def make_manager(total: int = MOST, *, sharing: bool = True) -> BlockManager:
    return BlockManager(total, most=MOST, sharing=sharing)


def compute(manager: BlockManager, content: list[int]) -> tuple[BlockTable, int, tuple[int, int] | None]:
    """Opens a table, computes all of it, registers it: the table, what was found, and the copy that was asked for."""
    match = manager.match(content)
    opened = manager.open(match, len(content))
    assert opened is not None
    table, copy = opened
    found = match.tokens
    manager.commit(table, content, len(content), tail=True)
    return table, found, copy


def run_to_end(manager: BlockManager, content: list[int]) -> int:
    """The same and closes the table: what was found."""
    table, found, _ = compute(manager, content)
    manager.close(table)
    return found


def tokens(count: int, start: int = 0) -> list[int]:
    return list(range(start, start + count))


def test_a_longer_prompt_computes_only_what_is_new() -> None:
    manager = make_manager()
    run_to_end(manager, tokens(70))
    assert run_to_end(manager, tokens(100)) == 70


def test_the_last_position_is_always_computed() -> None:
    manager = make_manager()
    for count in (1, 2, BLOCK_SIZE, BLOCK_SIZE + 1, 70):
        run_to_end(manager, tokens(count, start=1000 * count))
        assert run_to_end(manager, tokens(count, start=1000 * count)) == count - 1


def test_whole_blocks_are_used_in_place_and_the_rest_is_copied() -> None:
    manager = make_manager()
    first, _, _ = compute(manager, tokens(80))
    second, found, copy = compute(manager, [*tokens(70), -1, -2])
    assert found == 70
    assert second.ids[:2].tolist() == first.ids[:2].tolist()
    assert copy == (first.ids[2], second.ids[2])
    assert first.ids[2] != second.ids[2]


def test_the_block_with_the_longest_common_beginning_is_copied() -> None:
    manager = make_manager()
    prompts = [[*tokens(40), 7], [*tokens(50), 7], [*tokens(45), 7]]
    for prompt in prompts:
        run_to_end(manager, prompt)
    assert manager.match([*tokens(48), 9]).tokens == 48


def test_content_of_equal_blocks_behind_different_prefixes_is_not_mixed_up() -> None:
    manager = make_manager()
    run_to_end(manager, [1] * BLOCK_SIZE + tokens(BLOCK_SIZE) + [5])
    assert run_to_end(manager, [2] * BLOCK_SIZE + tokens(BLOCK_SIZE) + [5]) == 0


def test_a_block_computed_twice_is_kept_once() -> None:
    manager = make_manager()
    content = tokens(2 * BLOCK_SIZE)
    tables = [manager.open(manager.match(content), len(content)) for _ in range(3)]
    for opened in tables:
        assert opened is not None
        manager.commit(opened[0], content, len(content))
    assert manager.available == MOST - 2
    assert len({tuple(opened[0].ids.tolist()) for opened in tables if opened}) == 1


def test_what_was_used_last_is_forgotten_last() -> None:
    manager = make_manager(4)
    run_to_end(manager, tokens(64, start=100))
    run_to_end(manager, tokens(64, start=200))
    assert manager.match(tokens(64, start=100)).tokens == 63
    run_to_end(manager, tokens(64, start=100))
    run_to_end(manager, tokens(40, start=300))
    assert manager.match(tokens(64, start=100)).tokens == 63
    assert manager.match(tokens(64, start=200)).tokens == 0


def test_the_end_of_a_text_is_forgotten_before_its_beginning() -> None:
    manager = make_manager(4)
    run_to_end(manager, tokens(4 * BLOCK_SIZE))
    run_to_end(manager, tokens(BLOCK_SIZE, start=500))
    assert manager.match(tokens(4 * BLOCK_SIZE)).tokens == 3 * BLOCK_SIZE


def test_no_room_changes_nothing() -> None:
    manager = make_manager(4)
    table, _, _ = compute(manager, tokens(3 * BLOCK_SIZE))
    assert manager.open(manager.match(tokens(64, start=900)), 64) is None
    assert manager.open(manager.match(tokens(32, start=900)), 32, headroom=1) is None
    assert manager.available == 1
    assert manager.grow(table)
    assert not manager.grow(table)


def test_a_copy_is_given_up_when_its_source_is_the_only_block_left() -> None:
    manager = make_manager(2)
    run_to_end(manager, tokens(40))
    match = manager.match([*tokens(35), -1])
    assert match.tokens == 35
    opened = manager.open(match, 36)
    assert opened is not None
    assert opened[1] is None
    assert match.tokens == BLOCK_SIZE


def test_without_sharing_nothing_is_found() -> None:
    manager = make_manager(sharing=False)
    run_to_end(manager, tokens(70))
    assert run_to_end(manager, tokens(70)) == 0
    assert manager.available == MOST


def test_discarded_content_is_forgotten_with_all_that_stands_on_it() -> None:
    manager = make_manager()
    run_to_end(manager, tokens(150))
    table, found, _ = compute(manager, tokens(80))
    assert found == 79
    manager.discard(table)
    assert manager.match(tokens(150)).tokens == 0
    assert manager.available == MOST


def test_discarding_leaves_what_others_use() -> None:
    manager = make_manager()
    kept, _, _ = compute(manager, tokens(64))
    table, _, _ = compute(manager, [*tokens(32), *tokens(32, start=700)])
    manager.discard(table)
    manager.close(kept)
    assert manager.match(tokens(64)).tokens == 63
    assert manager.match([*tokens(32), *tokens(32, start=700)]).tokens == 32


def test_clearing_forgets_everything() -> None:
    manager = make_manager()
    run_to_end(manager, tokens(150))
    manager.clear()
    assert manager.match(tokens(150)).tokens == 0
    assert manager.available == MOST


def test_very_long_chains_are_forgotten_without_deep_recursion() -> None:
    blocks = 3000
    manager = BlockManager(blocks, most=blocks)
    run_to_end(manager, tokens(blocks * BLOCK_SIZE))
    table, _, _ = compute(manager, tokens(BLOCK_SIZE + 1))
    manager.discard(table)
    assert manager.available == blocks


@given(contents=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=100), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_what_is_found_is_the_longest_prefix_of_anything_computed(contents: list[list[int]]) -> None:
    manager = BlockManager(100, most=MOST)
    seen: list[list[int]] = []
    for content in contents:
        best = max((common_prefix(content[:-1], other) for other in seen), default=0)
        assert run_to_end(manager, content) == best
        seen.append(content)


def common_prefix(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class Cache(RuleBasedStateMachine):
    """Sequences come, grow and go in a cache that is too small; a dictionary plays the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = BlockManager(8, most=8)
        self.memory: dict[int, list[int]] = {id_: [] for id_ in range(8)}
        self.open: list[tuple[BlockTable, list[int]]] = []

    def write(self, table: BlockTable, content: list[int], start: int) -> None:
        """Stores, for each position, everything that stands in front of it: what a KV cache depends on."""
        for position in range(start, len(content)):
            block = self.memory[int(table.ids[position // BLOCK_SIZE])]
            del block[position % BLOCK_SIZE :]
            block.append(hash(tuple(content[: position + 1])))

    @rule(content=st.lists(st.integers(0, 1), min_size=1, max_size=100), tail=st.booleans())
    def arrive(self, content: list[int], tail: bool) -> None:
        match = self.manager.match(content)
        before = self.manager.available
        opened = self.manager.open(match, len(content))
        if opened is None:
            assert self.manager.available == before
            return
        table, copy = opened
        if copy is not None:
            self.memory[copy[1]] = list(self.memory[copy[0]])
        self.check(table, content, match.tokens)
        self.write(table, content, match.tokens)
        self.manager.commit(table, content, len(content), tail=tail)
        self.open.append((table, content))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), token=st.integers(0, 1), count=st.integers(1, 40))
    def extend(self, data: st.DataObject, token: int, count: int) -> None:
        table, content = data.draw(st.sampled_from(self.open))
        for _ in range(count):
            if len(content) == table.capacity and (len(table.blocks) == 8 or not self.manager.grow(table)):
                return
            content.append(token)
            self.write(table, content, len(content) - 1)
            self.manager.commit(table, content, len(content))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), keep=st.booleans())
    def leave(self, data: st.DataObject, keep: bool) -> None:
        table, content = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if keep:
            self.manager.commit(table, content, len(content), tail=True)
            self.manager.close(table)
        else:
            self.manager.discard(table)

    @precondition(lambda self: not self.open)
    @rule()
    def clear(self) -> None:
        self.manager.clear()
        assert self.manager.match([0] * 100).tokens == 0

    def check(self, table: BlockTable, content: list[int], count: int) -> None:
        for position in range(count):
            stored = self.memory[int(table.ids[position // BLOCK_SIZE])]
            assert stored[position % BLOCK_SIZE] == hash(tuple(content[: position + 1]))

    @invariant()
    def every_sequence_finds_its_own_content(self) -> None:
        for table, content in self.open:
            self.check(table, content, len(content))

    @invariant()
    def every_block_is_somewhere_once(self) -> None:
        used = {int(id_) for table, _ in self.open for id_ in table.ids[: len(table.blocks)]}
        assert len(used) + self.manager.available == 8
        assert all(len(table.blocks) >= blocks_for(len(content)) for table, content in self.open)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
