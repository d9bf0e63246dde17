"""What starts of a program share in the cache: the same integers, nothing stale, nothing damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutllm import store
from lutllm.cpu import kept
from lutllm.models.cache import SUMS
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained, save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import CpuSession, GoldenSession
from lutllm.scheme import EXACT

IDS = [3, 1, 4, 1, 5]
SHAPE = dict(layers=1, hidden=16, heads=2, kv_heads=1, head_dim=8, intermediate=24, vocabulary=40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def saved(folder: Path, seed: int = 0) -> QuantizedModel:
    model = random_model(float_decoder(**SHAPE), EXACT.with_(R=1, G=8), positions=32, seed=seed)
    return from_pretrained(save_pretrained(model, folder))


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob(f"{kept.PREFIX}*"))


def test_another_start_loads_and_gives_the_same(tmp_path: Path, cache: Path) -> None:
    model = saved(tmp_path / "model")
    wanted = GoldenSession.of(model).forward(IDS)
    first, second = CpuSession.of(model), CpuSession.of(from_pretrained(tmp_path / "model"))
    assert "compile" in first.program.seconds and "compile" not in second.program.seconds
    assert len(entries(cache)) == 1
    for session in (first, second, CpuSession.of(model, keep=False)):
        np.testing.assert_array_equal(session.forward(IDS), wanted)


def test_what_changes_integers_is_another_entry(tmp_path: Path, cache: Path) -> None:
    model = saved(tmp_path / "model")
    before = CpuSession.of(model).forward(IDS)
    linear = next(iter(model.linears.values()))
    linear.codes[:] = (linear.codes + 1) % 16  # as if a caller had edited it: the file on the disk is another
    session = CpuSession.of(model)
    assert "compile" in session.program.seconds and len(entries(cache)) == 2
    changed = session.forward(IDS)
    np.testing.assert_array_equal(changed, GoldenSession.of(model).forward(IDS))
    assert (changed != before).any()
    shorter = CpuSession.of(model, 16)  # a context is no part of the code
    assert "compile" not in shorter.program.seconds and len(entries(cache)) == 2
    np.testing.assert_array_equal(shorter.forward(IDS), changed)


@pytest.mark.parametrize("name", [kept.CODE, kept.PARAMETERS, SUMS])
def test_damage_is_found_and_made_again(tmp_path: Path, cache: Path, name: str) -> None:
    model = saved(tmp_path / "model")
    wanted = CpuSession.of(model).forward(IDS)
    path = cache / entries(cache)[0] / name
    if name == SUMS:
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    session = CpuSession.of(model)
    assert "compile" in session.program.seconds
    np.testing.assert_array_equal(session.forward(IDS), wanted)
    assert store.read_json(path.parent / SUMS).keys() == {kept.CODE, kept.PARAMETERS}


def test_old_entries_go(tmp_path: Path, cache: Path) -> None:
    for seed in range(kept.MOST + 2):
        CpuSession.of(saved(tmp_path / str(seed), seed))
    assert len(entries(cache)) == kept.MOST
    assert "compile" not in CpuSession.of(from_pretrained(tmp_path / str(seed))).program.seconds


def test_a_model_in_memory_keeps_nothing(cache: Path) -> None:
    model = random_model(float_decoder(**SHAPE), EXACT.with_(R=1, G=8), positions=32)
    assert "compile" in CpuSession.of(model).program.seconds and not cache.exists()
