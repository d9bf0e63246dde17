"""What starts of a program share in the cache: the same integers, nothing stale, nothing damaged."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lutllm
from lutllm import lowering, store
from lutllm.cpu import kept
from lutllm.errors import InputError
from lutllm.models.cache import SUMS, sources
from lutllm.quantized.pretrained import FLOAT, QuantizedModel, from_pretrained, open_pretrained, save_pretrained
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
        flip(path)
    session = CpuSession.of(model)
    assert "compile" in session.program.seconds
    np.testing.assert_array_equal(session.forward(IDS), wanted)
    assert store.read_json(path.parent / SUMS).keys() == {kept.CODE, kept.PARAMETERS}


def opened(folder: Path) -> CpuSession:
    """As a command opens a model."""
    return CpuSession.of(open_pretrained(folder))


def test_a_second_start_of_a_model_reads_nothing_of_it(tmp_path: Path, cache: Path) -> None:
    """Neither its program nor its arrays, of the model or of a context of its own; the integers stay."""
    wanted = GoldenSession.of(saved(tmp_path / "model")).forward(IDS)
    for context in (0, 16):
        made = CpuSession.of(open_pretrained(tmp_path / "model"), context)
        model = open_pretrained(tmp_path / "model")
        found = CpuSession.of(model, context)
        assert "lower" in made.program.seconds and found.program.seconds.keys() == {"load"} and model.unread
        assert found.signature.context == (context or 32)
        for session in (made, found):
            np.testing.assert_array_equal(session.forward(IDS), wanted)
            np.testing.assert_array_equal(
                session.forward_each([session, session.another()], [7, 3])[1:],
                GoldenSession.of(saved(tmp_path / "model")).forward([3]),
            )
    assert len(entries(cache)) == 1  # code and parameters know no context


def test_a_copy_with_a_change_is_another_model(tmp_path: Path, cache: Path) -> None:
    saved(tmp_path / "model")
    found = replace(open_pretrained(tmp_path / "model"), about={})
    assert not found.unread and found.bits == from_pretrained(tmp_path / "model").bits


def test_another_model_in_a_place_is_seen(tmp_path: Path, cache: Path) -> None:
    opened(save_pretrained(saved(tmp_path / "other"), tmp_path / "model"))
    other = saved(tmp_path / "other", seed=1)
    session = opened(save_pretrained(other, tmp_path / "model"))
    assert "lower" in session.program.seconds
    np.testing.assert_array_equal(session.forward(IDS), GoldenSession.of(other).forward(IDS))


@pytest.mark.parametrize("name", [store.PARAMETERS, FLOAT, store.SIDECAR])
def test_a_changed_byte_of_a_model_is_seen(tmp_path: Path, cache: Path, name: str) -> None:
    saved(tmp_path / "model")
    opened(tmp_path / "model")
    flip(tmp_path / "model" / name)
    with pytest.raises(InputError, match=f"{name}.*expected SHA-256"):
        opened(tmp_path / "model")


def test_a_model_that_changes_while_it_is_open_is_not_mixed_with_what_it_was(tmp_path: Path, cache: Path) -> None:
    saved(tmp_path / "model")
    model = open_pretrained(tmp_path / "model")
    saved(tmp_path / "model", seed=1)
    with pytest.raises(InputError, match="expected SHA-256"):
        _ = model.linears


def test_other_code_starts_anew(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module of lutllm that making a program loads is in the hash, and a changed byte changes the hash."""
    saved(tmp_path / "model")
    code = (
        "import sys; from lutllm.quantized.pretrained import open_pretrained; "
        "from lutllm.run.session import CpuSession; "
        f"CpuSession.of(open_pretrained({str(tmp_path / 'model')!r})); "
        "print(*(name for name in sys.modules if name.startswith('lutllm.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    alone = {path.stem for path in Path(lutllm.__file__).parent.glob("*.py")}
    assert loaded - alone - {*kept._SOURCES} == {"models"}  # tokenizers and the cache
    opened(tmp_path / "model")
    assert opened(tmp_path / "model").program.seconds.keys() == {"load"}
    copy = shutil.copytree(Path(lowering.__file__).parent, tmp_path / "lowering")
    find = importlib.util.find_spec

    def found(name: str) -> SimpleNamespace | ModuleSpec | None:
        return SimpleNamespace(submodule_search_locations=[copy]) if name == "lutllm.lowering" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    sources.cache_clear()
    assert opened(tmp_path / "model").program.seconds.keys() == {"load"}  # the same bytes elsewhere
    with open(copy / "cpu" / "linear.py", "a") as file:
        file.write("#")
    sources.cache_clear()
    assert "lower" in opened(tmp_path / "model").program.seconds
    monkeypatch.undo()
    sources.cache_clear()


@pytest.mark.parametrize("name", [kept.PLAN, kept.WORDS, SUMS, kept.CODE, None])
def test_a_damaged_start_is_made_again(tmp_path: Path, cache: Path, name: str | None) -> None:
    saved(tmp_path / "model")
    wanted = opened(tmp_path / "model").forward(IDS)
    (start,), (program,) = cache.glob(f"{kept.START}*"), cache.glob(f"{kept.PREFIX}*")
    if name is None:
        shutil.rmtree(program)
    else:
        flip((program if name == kept.CODE else start) / name)
    session = opened(tmp_path / "model")
    assert "lower" in session.program.seconds
    np.testing.assert_array_equal(session.forward(IDS), wanted)
    assert opened(tmp_path / "model").program.seconds.keys() == {"load"}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_old_entries_go(tmp_path: Path, cache: Path) -> None:
    for seed in range(kept.MOST + 2):
        CpuSession.of(saved(tmp_path / str(seed), seed))
    assert len(entries(cache)) == kept.MOST
    assert "compile" not in CpuSession.of(from_pretrained(tmp_path / str(seed))).program.seconds


def test_a_model_in_memory_keeps_nothing(cache: Path) -> None:
    model = random_model(float_decoder(**SHAPE), EXACT.with_(R=1, G=8), positions=32)
    assert "compile" in CpuSession.of(model).program.seconds and not cache.exists()
