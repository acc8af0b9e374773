"""What bfloat16 is multiplied as, and which processors decide that."""

from pathlib import Path

import pytest
import torch

from forethought.model import processor as source
from forethought.model import products
from forethought.model.processor import Processor, processor

INTEL, AMD = "GenuineIntel", "AuthenticAMD"
CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some Xeon: the first
flags\t\t: fpu avx2 avx512f

processor\t: 1
model name\t: the second
flags\t\t: fpu
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        (INTEL, "avx2 avx512_bf16 amx_bf16", True),
        (INTEL, "avx2 avx512_bf16", False),
        (AMD, "avx2 avx512_bf16", True),
        (AMD, "avx2", False),
        ("", "", True),
    ],
)
def test_whose_bfloat16_is_fast(vendor: str, flags: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source.platform, "machine", lambda: "x86_64")
    assert Processor("", vendor, frozenset(flags.split())).fast_bfloat16 == fast


def test_another_architecture_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source.platform, "machine", lambda: "aarch64")
    assert Processor("", "", frozenset({"asimd"})).fast_bfloat16


def test_the_first_processor_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    monkeypatch.setattr(source, "CPUINFO", path)
    found = processor.__wrapped__()
    assert (found.name, found.vendor) == ("Some Xeon: the first", INTEL)
    assert found.flags == {"fpu", "avx2", "avx512f"}


def test_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CPUINFO", tmp_path / "none")
    found = processor.__wrapped__()
    assert found.name
    assert not found.flags


@pytest.mark.parametrize(("flags", "dtype"), [("avx2", torch.float32), ("amx_bf16", torch.bfloat16)])
def test_factors(flags: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(products, "processor", lambda: Processor("", INTEL, frozenset({flags})))
    short, long = torch.ones(2, dtype=torch.bfloat16), torch.ones(2)
    found = products.factors(short, long)
    assert [each.dtype for each in found] == [dtype, torch.float32]
    assert found[1] is long
