"""What the learner has freed does not stay with the process."""

import psutil
import pytest
import torch

from forethought.train import memory


def test_memory_between_pieces_in_use_is_given_back() -> None:
    if memory._trim() is None:  # pyright: ignore[reportPrivateUsage]
        pytest.skip("this C library keeps what it has")
    process = psutil.Process()
    pieces = [torch.ones(8192) for _ in range(8000)]  # 250 MB, each too small for a mapping of its own
    used = pieces[::100]
    del pieces
    before = process.memory_info().rss
    memory.return_memory()
    assert before - process.memory_info().rss > 100 * 2**20
    assert all(bool(piece.all()) for piece in used)
