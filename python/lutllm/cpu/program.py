"""A `lut` module as machine code: arrays in, the function's results out, integer for integer the interpreter's.

Parameters are packed once, into one buffer. Integers that the interpreter would refuse at run time (a sum beyond 32
bits) are refused here when the parameters are packed, from their proven ranges.
"""

from __future__ import annotations

import time
import weakref
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lutllm.cpu.crew import Crew
from lutllm.cpu.features import choose_level, cores
from lutllm.cpu.jit import Jit, Loaded, MachineCode
from lutllm.cpu.kept import CODE, PARAMETERS, kept
from lutllm.errors import InputError, IRError, NumericsError
from lutllm.lowering.cpu.layout import Packed
from lutllm.lowering.cpu.plan import FEW, CpuFunction, Plan, Tensor
from lutllm.lowering.cpu.step import ALIGN, BASES
from lutllm.numerics import check_fits, check_range

if TYPE_CHECKING:
    from lutllm.bindings import ir
    from lutllm.lowering.cpu.lut_to_cpu import CpuCode

_SYNC_BYTES = 2 * ALIGN


class CpuProgram:
    """The functions of a module, made by `of` or `loaded`. `threads` of every run, or None: the cores there are, or one
    where those are busy with other work (`Crew`).

    One run at a time: all share one arena. `seconds` says what making it took: lowering, compiling, packing; or loading
    what another start left in `folder`.
    """

    def __init__(
        self, plan: Plan, machine: MachineCode, parameters: np.ndarray, threads: int | None = None, folder: str = ""
    ) -> None:
        self.threads, self._fixed = cores() if threads is None else threads, threads is not None
        # Not a method of this: what holds itself lives until Python looks for circles.
        self._crews = defaultdict[Hashable, Crew](partial(Crew, self.threads))
        self.plan, self.folder, self._machine, self._parameters = plan, folder, machine, parameters
        self.level, self.seconds = "", dict[str, float]()
        self._run = machine.entry("run")
        addresses = {name: machine.address(name) for name in plan.kernels}
        self._words = {key: plan.located(words, addresses) for key, words in plan.words.items()}
        self._arena = _aligned(plan.arena_bytes)
        self._scratch = _aligned(plan.scratch_bytes * self.threads)
        self._sync = _aligned(_SYNC_BYTES)
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        if self._pool is not None:
            weakref.finalize(self, self._pool.shutdown, wait=False)

    @classmethod
    def of(
        cls,
        module: ir.Module,
        store: Mapping[str, np.ndarray],
        *,
        tokens: int = 64,
        threads: int | None = None,
        level: str | None = None,
        keep: bool = False,
    ) -> CpuProgram:
        """That of a module, for runs of up to `tokens`. With `keep` code and packed parameters are kept in the cache,
        and another start only loads them."""
        from lutllm.lowering.cpu.lut_to_cpu import lower

        level = _checked(level, threads)
        clock = time.perf_counter()
        code = lower(module, tokens=tokens, level=level)
        seconds = {"lower": time.perf_counter() - clock}
        if keep:
            folder = kept(code, store, lambda path: _write(code, module, store, path, seconds))
            found = cls.loaded(code.plan, folder, level, threads)
        else:
            machine, parameters = _compiled(code, seconds), _aligned(code.plan.parameter_bytes)
            _fill(code, module, store, parameters, seconds)
            found = cls(code.plan, machine, parameters, threads)
        found.level, found.seconds = level, {**seconds, **found.seconds}
        return found

    @classmethod
    def loaded(cls, plan: Plan, folder: Path, level: str | None = None, threads: int | None = None) -> CpuProgram:
        """That of what is kept in `folder`."""
        level, clock = _checked(level, threads), time.perf_counter()
        parameters = np.memmap(folder / PARAMETERS, np.uint8, "r")
        found = cls(plan, Loaded(folder / CODE), parameters, threads, folder.name)
        found.level, found.seconds = level, {"load": time.perf_counter() - clock}
        return found

    @property
    def bytes(self) -> dict[str, int]:
        """Memory of each kind."""
        own = (("parameters", self._parameters), ("arena", self._arena), ("scratch", self._scratch))
        return {name: array.nbytes for name, array in own}

    def run(self, function: str, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results for one array an argument. A cache that is an aligned array of its type changes in place."""
        found = self._function(function)
        arrays, tokens = _arguments(found, inputs)
        most = max((of or tokens for *_, of in found.limits), default=tokens)
        starts = {index: arrays[index][0] for index, *_ in found.limits}
        places = {index: start + np.arange(most, dtype=np.int32) for index, start in starts.items()}
        pointers = {index: np.full(most, arrays[index].ctypes.data) for index in found.caches}
        results = self._results(found, tokens)
        self._go(function, tokens, dict(enumerate(arrays)), places, pointers, results)
        return [arrays[found.in_place[i]] if array is None else array for i, array in enumerate(results)]

    def step(
        self, function: str, ids: np.ndarray, positions: np.ndarray, caches: np.ndarray
    ) -> list[np.ndarray | None]:
        """The results of a function of ids, position and caches, None for caches, for tokens int32 [T] of any
        sequences: `positions` int32 [T], and in `caches` int64 [caches, T] the addresses of each token's own, arrays of
        the types and sizes of the arguments."""
        found = self._function(function)
        results = self._results(found, ids.size)
        pointers = {index: caches[index - 2] for index in found.caches}
        self._go(function, ids.size, {0: ids}, {1: positions}, pointers, results)
        return results

    def _function(self, name: str) -> CpuFunction:
        found = self.plan.functions.get(name)
        if found is None:
            raise IRError(f"expected a function of the module, got @{name}; there are {list(self.plan.functions)}")
        return found

    def _results(self, found: CpuFunction, tokens: int) -> list[np.ndarray | None]:
        """Arrays for results, None for those that lie in an argument."""
        if tokens > self.plan.tokens:
            raise InputError(f"expected at most {self.plan.tokens} tokens, got {tokens}; run them in parts")
        made = enumerate(found.results)
        return [None if i in found.in_place else np.empty(_sizes(t, tokens), t.dtype) for i, t in made]

    def _go(
        self,
        function: str,
        tokens: int,
        arrays: Mapping[int, np.ndarray],
        positions: Mapping[int, np.ndarray],
        caches: Mapping[int, np.ndarray],
        results: Sequence[np.ndarray | None],
    ) -> None:
        """Check values, and make the calls; all but results by the index of an argument."""
        found, few = self.plan.functions[function], tokens <= FEW
        _check_values(found, arrays, positions)
        each, count = {**positions, **caches}, range(len(found.arguments))
        listed = [*map(arrays.get, count), *results, *map(each.get, count)]
        given = [0 if array is None else array.ctypes.data for array in listed]
        crew = self._crews[function, tokens]
        threads, start = self.threads if self._fixed else crew.choose(), time.perf_counter()
        self._call(self._words[function, few].ctypes.data, tokens, given, threads)
        crew.took(threads, time.perf_counter() - start)

    def _call(self, words: int, tokens: int, given: Sequence[int], threads: int) -> None:
        """Make the calls of a function on so many threads; `given` are the addresses of arguments and results."""
        bases = np.empty((threads, len(BASES) + len(given)), np.int64)
        bases[:, len(BASES) :] = given
        for thread, row in enumerate(bases):
            scratch = self._scratch.ctypes.data + thread * self.plan.scratch_bytes
            shared = self._arena.ctypes.data, self._parameters.ctypes.data
            row[: len(BASES)] = (0, *shared, scratch, tokens, thread, threads)
        each = [(words, row.ctypes.data, self._sync.ctypes.data, threads) for row in bases]
        others = [self._pool.submit(self._run, *one) for one in each[1:]] if self._pool is not None else []
        self._run(*each[0])
        for other in others:
            other.result()


def _checked(level: str | None, threads: int | None) -> str:
    """The level to make code of."""
    if threads is not None and threads < 1:
        raise InputError(f"expected at least 1 thread, got {threads}; give more")
    return choose_level(level)


def _compiled(code: CpuCode, seconds: dict[str, float]) -> Jit:
    clock = time.perf_counter()
    found = Jit(code.text)
    seconds["compile"] = time.perf_counter() - clock
    return found


def _fill(
    code: CpuCode, module: ir.Module, store: Mapping[str, np.ndarray], place: np.ndarray, seconds: dict[str, float]
) -> None:
    """Check the parameters, and pack them into `place`."""
    from lutllm.cpu.ranges import check_linears

    clock = time.perf_counter()
    check_linears(module, store)
    seconds["check"], clock = time.perf_counter() - clock, time.perf_counter()
    for offset, packed in code.parameters:
        _pack(packed, store, place[offset : offset + packed.size])
    seconds["pack"] = time.perf_counter() - clock


def _write(
    code: CpuCode, module: ir.Module, store: Mapping[str, np.ndarray], folder: Path, seconds: dict[str, float]
) -> None:
    """The files that starts share."""
    _compiled(code, seconds).save(folder / CODE)
    place = np.memmap(folder / PARAMETERS, np.uint8, "w+", shape=(max(1, code.plan.parameter_bytes),))
    _fill(code, module, store, place, seconds)
    place.flush()


def _aligned(size: int) -> np.ndarray:
    whole = np.zeros(size + ALIGN, np.uint8)
    start = -whole.ctypes.data % ALIGN
    return whole[start : start + size]


def _pack(packed: Packed, store: Mapping[str, np.ndarray], place: np.ndarray) -> None:
    from lutllm.cpu.ranges import array_of

    data = packed.pack(*(array_of(store, symbol) for symbol in packed.symbols))
    if data.nbytes != packed.size:
        names = ", ".join(f"'{s}'" for s in packed.symbols)
        raise IRError(f"expected {names} of {packed.size} packed bytes, got {data.nbytes}; write the store again")
    place[:] = data.reshape(-1).view(np.uint8)


def _sizes(tensor: Tensor, tokens: int) -> list[int]:
    return [tokens if n is None else n for n in tensor.shape]


def _arguments(function: CpuFunction, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Inputs as contiguous arrays of the argument types, and the number of tokens."""
    if len(inputs) != len(function.arguments):
        raise IRError(f"expected {len(function.arguments)} inputs, got {len(inputs)}; give one array for each argument")
    arrays, tokens = [], None
    for i, (array, tensor) in enumerate(zip(inputs, function.arguments, strict=True)):
        array = np.asarray(array)
        for have, want in zip(array.shape, tensor.shape, strict=False):
            tokens = have if want is None and tokens is None else tokens
        if array.ndim != len(tensor.shape) or list(array.shape) != _sizes(tensor, tokens or 0):
            raise IRError(f"input {i}: expected {list(tensor.shape)}, got {list(array.shape)}; give one of that shape")
        if array.dtype != tensor.dtype or i not in function.in_place.values():  # a cache holds what we wrote
            check_fits(array, tensor.bits, f"input {i} ")
        arrays.append(np.ascontiguousarray(array, tensor.dtype))
    return arrays, 1 if tokens is None else tokens


def _check_values(function: CpuFunction, arrays: Mapping[int, np.ndarray], positions: Mapping[int, np.ndarray]) -> None:
    """What the interpreter checks as it runs: positions and token ids."""
    for index, rows, what, _ in function.limits:
        least, most = int(positions[index].min()), int(positions[index].max())
        if least < 0 or most >= rows:
            raise NumericsError(
                f"cache full: expected positions in 0..{rows - 1} ({what}), got {least}..{most}; "
                "shorten the text or compile with a longer context"
            )
    for index, vocabulary in function.ids:
        check_range(arrays[index], 0, vocabulary - 1, "token ids", "use the tokenizer of this model")
