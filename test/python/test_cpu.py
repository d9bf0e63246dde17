"""The CPU path at run time: feature levels, code that does not compile, threads."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.bindings import func, ir
from lutllm.cpu.crew import Crew
from lutllm.cpu.features import available_levels, choose_level, cores, processor_flags
from lutllm.cpu.jit import Jit
from lutllm.cpu.program import CpuProgram
from lutllm.dialect.decoders import builders as build
from lutllm.errors import InputError, IRError
from lutllm.lowering.cpu.step import barrier

AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        (set(), ("portable",)),
        ({"avx", "sse4_2"}, ("portable",)),
        ({"avx2"}, ("portable", "avx2")),
        (AVX512 | {"avx2"}, ("portable", "avx2", "avx512")),
        ((AVX512 | {"avx2"}) - {"avx512_vnni"}, ("portable", "avx2")),
    ],
)
def test_levels_follow_the_flags(flags: set[str], levels: tuple[str, ...]) -> None:
    assert available_levels(flags) == levels


def test_flags_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert processor_flags(path) == {"fpu", "avx2"}
    assert processor_flags(tmp_path / "none") == set()


def test_a_level_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLLM_CPU", "portable")
    assert choose_level() == "portable"
    assert choose_level(available_levels()[-1]) == available_levels()[-1]
    monkeypatch.setenv("LUTLLM_CPU", "mmx")
    with pytest.raises(InputError, match=r"expected a feature level of this processor, portable.*, got 'mmx'"):
        choose_level()


def test_there_are_cores() -> None:
    assert cores() >= 1


def test_code_that_is_wrong_is_our_error() -> None:
    with pytest.raises(IRError, match=r"expected CPU code that lowers to LLVM, got .*report this"):
        Jit("func.func @f() { return %x : i64 }")
    with pytest.raises(IRError, match="expected a compiled function @g, got none"):
        Jit(barrier("portable")).entry("g")


GAIN = {"gain": np.full(64, 1 << 18, np.int32)}


def norms() -> ir.Module:
    """A function in which each norm reads what all threads wrote."""
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        dialect.declare(module, "gain", (64,), np.int32)
        x = ir.Type.parse("tensor<?x64xi32, #lut.fixed<26, 0>>")
        with ir.InsertionPoint(module.body):
            function = func.FuncOp("f", ([x], [x]))
            with ir.InsertionPoint(function.add_entry_block()):
                value = function.arguments[0]
                for _ in range(12):
                    norm = build.rms_norm(value, gain="gain", groups=1, epsilon=1, shift=20, exponent=0)
                    value = build.add(norm, value, exponent=0)
                func.ReturnOp([value])
    return module


def test_more_threads_than_cores_work() -> None:
    """A barrier that lets one thread through too early gives other integers."""
    module = norms()
    program = CpuProgram.of(module, GAIN, tokens=4, threads=5)
    for seed in range(100):
        x = np.random.default_rng(seed).integers(-(1 << 20), 1 << 20, (1 + seed % 4, 64))
        (want,) = interpreter.run(module, [x], GAIN)
        np.testing.assert_array_equal(program.run("f", [x])[0], want)


def test_threads_are_checked() -> None:
    with dialect.context(), ir.Location.unknown():
        empty = ir.Module.create()
    with pytest.raises(InputError, match="expected at least 1 thread, got 0"):
        CpuProgram.of(empty, {}, threads=0)


@pytest.mark.parametrize(
    ("all_threads", "best"),
    [(lambda _run: 0.6, 0.6), (lambda _run: 30.0, 1.0), (lambda run: 30.0 if 500 < run < 1000 else 0.6, 0.67)],
    ids=["quiet", "busy", "busy for a while"],
)
def test_threads_that_hold_each_other_up_are_few(all_threads: Callable[[int], float], best: float) -> None:
    """A simulated machine, where one thread takes a second a run: the mean of many is near the better choice's."""
    crew, spent, runs = Crew(8), 0.0, 3000
    for run in range(runs):
        threads = crew.choose()
        assert threads in (1, 8)
        seconds = 1.0 if threads == 1 else all_threads(run)
        crew.took(threads, seconds)
        spent += seconds
    assert spent / runs < 1.6 * best


def test_a_crew_of_one_has_no_choice() -> None:
    crew = Crew(1)
    for _ in range(5):
        assert crew.choose() == 1
        crew.took(1, 1.0)


def test_only_threads_that_nobody_asked_for_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads always take long: a program that may choose gives them up; the integers stay."""
    monkeypatch.setattr("lutllm.cpu.program.cores", lambda: 2)
    module, x = norms(), np.arange(64).reshape(1, 64) * 999
    (want,) = interpreter.run(module, [x], GAIN)
    for asked, expected in ((2, {2}), (None, {1, 2})):
        program, seen = CpuProgram.of(module, GAIN, tokens=4, threads=asked), []
        call = program._call

        def slow(words, tokens, given, threads, call=call, seen=seen):
            seen.append(threads)
            call(words, tokens, given, threads)
            time.sleep(0.02 * (threads - 1))

        monkeypatch.setattr(program, "_call", slow)
        for _ in range(12):
            np.testing.assert_array_equal(program.run("f", [x])[0], want)
        assert set(seen) == expected and (asked or seen.count(1) > seen.count(2))
