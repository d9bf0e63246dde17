"""Targets: a device, the memory beside it and an engine that fits both. `lut-place{target=NAME}` takes one.

They are data, in TOML. A file has the tables of `Target` and a table `sources` that says where each number comes from:
a key of it is the name of a table, or of a value in one (`memory.bytes`). What a file does not say is as in the target
it is `like`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lutllm.dialect.machines.limits import clock_problems
from lutllm.errors import CapacityError, InputError, near
from lutllm.lowering.machine.accelerator import Clocks
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.target_files import DIRECTORY, NAMES

MEMORY_LATENCY = 64  # cycles from an address to its first beat, where nothing else is said


@dataclass(frozen=True)
class Device:
    """What there is of everything, in `slrs` dies alike; BRAM counts blocks of 36 Kbit. A DSP adds up to `dsp_products`
    products of 9 by 8 bits."""

    name: str
    slrs: int
    LUT: int
    FF: int
    DSP: int
    BRAM: int
    URAM: int
    dsp_products: int

    @property
    def available(self) -> dict[str, int]:
        return {kind: count for kind, count in vars(self).items() if kind.isupper()}


@dataclass(frozen=True)
class Clock:
    """`core_mhz`: of the accelerator; `memory_mhz`: of its ports, on buses of `bus_bits` at most if it is another."""

    core_mhz: float
    memory_mhz: float
    bus_bits: int

    @property
    def crossing(self) -> Clocks | None:
        """What a machine says of it. Raises `CapacityError` where none can be built like it."""
        if self.core_mhz == self.memory_mhz:
            return None
        for name, mhz in (("core_mhz", self.core_mhz), ("memory_mhz", self.memory_mhz)):
            if mhz != int(mhz):
                raise CapacityError(f"expected whole MHz of two clocks, got {name} = {mhz}; round it")
        found = Clocks(int(self.core_mhz), int(self.memory_mhz), self.bus_bits)
        for problem in clock_problems(vars(found)):
            raise CapacityError(problem)
        return found


@dataclass(frozen=True)
class Memory:
    """`bytes` of external memory, which answers after `latency` cycles of the core at most.

    At best a share `share` of `gb_per_s` is reached in all, and `port_gb_per_s` by each of `ports` ports.
    """

    bytes: int
    latency: int
    gb_per_s: float
    share: float
    port_gb_per_s: float
    ports: int


@dataclass(frozen=True)
class Dram:
    """What the test bench may model of `Memory` (docs/memory.md), times in ns: `channels` of it; a refresh of
    `refresh_ns` every `refresh_every_ns`; rows of `row_bytes`; the first beat after `first_ns`, `opening_ns` more where
    a row must be opened, up to `spread_ns` more by chance, `noc_ns` more through the network on chip. A channel loses
    `burst_ns` a burst and `turn_ns` from reads to writes and back."""

    channels: int
    refresh_ns: float
    refresh_every_ns: float
    row_bytes: int
    first_ns: float
    opening_ns: float
    spread_ns: float
    noc_ns: float
    burst_ns: float
    turn_ns: float


@dataclass(frozen=True)
class Power:
    """`static_w` always; `logic_w` more if all LUTs were used at `at_mhz`; `pj_per_bit` of external memory."""

    static_w: float
    logic_w: float
    at_mhz: float
    pj_per_bit: float

    def watts(self, luts: float, mhz: float, bits_per_second: float) -> float:
        """With a share `luts` of all LUTs in use at `mhz`, and memory moving bits."""
        return self.static_w + self.logic_w * luts * mhz / self.at_mhz + self.pj_per_bit * 1e-12 * bits_per_second


@dataclass(frozen=True)
class Around:
    """The accelerator around the engine: `head_lanes` channels of `attention_rows` keys or values a cycle in each of up
    to `attention_ways` of up to `attention_units`, which read either through `attention_ports`. Ports of the KV cache
    have `kv_bits`; a way holds up to `score_words` scores in each of two banks. Sequences have `context` tokens."""

    head_lanes: int
    attention_units: int
    attention_ways: int
    attention_rows: int
    attention_ports: int
    kv_bits: int
    context: int
    score_words: int


@dataclass(frozen=True)
class Choices:
    """What a search chose for the model: the `row_source` of schemes that leave it open, outputs a codebook `block`."""

    row_source: str = ""
    block: int = 0


@dataclass(frozen=True)
class Target:
    """`engine` is widened to the schemes it must run; FIFOs hide the latency of `memory`, which bounds the memory
    map."""

    summary: str
    device: Device
    clock: Clock
    memory: Memory
    dram: Dram
    power: Power
    accelerator: Around
    engine: EngineConfig
    model: Choices


_TABLES = {
    "device": Device,
    "clock": Clock,
    "memory": Memory,
    "dram": Dram,
    "power": Power,
    "accelerator": Around,
    "engine": EngineConfig,
    "model": Choices,
}
_ALL_OF = ("device", "clock", "memory", "dram", "power", "accelerator")  # tables that leave nothing out


def find_target(name: str) -> Target:
    """A built-in target, or that of a TOML file. Raises `InputError` that names the file and the value."""
    if not name.endswith(".toml"):
        if name not in NAMES:
            raise InputError(
                f"expected a target among {', '.join(NAMES)}, or a .toml file, got '{name}'{near(name, NAMES)}"
            )
        return _read(DIRECTORY / f"{name}.toml")
    return _read(Path(name).resolve())


def configured(target: str, config: str) -> str:
    """The target that the file `config` makes of `target`, whose name it has as `like`: that file. `InputError` where
    it is of another."""
    find_target(config)
    like = tomllib.loads(Path(config).read_text()).get("like")
    if like != target:
        raise InputError(f"{config}: expected a configuration of target {target}, got one of {like}; take that target")
    return config


def _read(path: Path) -> Target:
    tables = _tables(path)
    for name in _ALL_OF:
        missing = [f.name for f in fields(_TABLES[name]) if f.name not in tables[name]]
        if missing:
            raise InputError(f"{path}: expected {name}.{missing[0]}, got none; add it, or the target it is like")
    try:
        made: dict[str, Any] = {name: kind(**tables[name]) for name, kind in _TABLES.items()}
        _ = made["clock"].crossing
    except CapacityError as problem:
        raise InputError(f"{path}: {problem.message}") from None
    return Target(tables["summary"], **made)


def _tables(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tables over those of the target that it is like."""
    if path in seen:
        raise InputError(f"{path}: expected to be like another target, got itself; change 'like'")
    try:
        given = tomllib.loads(path.read_text())
    except OSError as problem:
        raise InputError(f"{path}: expected a target's file, got none that can be read ({problem.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: expected TOML, got {problem}") from None
    for wrong in _problems(given):
        raise InputError(f"{path}: {wrong}")
    like = given.get("like")
    under = _tables(_place(path, like), (*seen, path)) if like else {}
    found = {name: under.get(name, {}) | given.get(name, {}) for name in _TABLES}
    return found | {"summary": given["summary"]}


def _place(path: Path, like: str) -> Path:
    """The file of a target's name, or one beside `path`."""
    return DIRECTORY / f"{like}.toml" if like in NAMES else (path.parent / like).resolve()


def _problems(given: Mapping[str, Any]) -> Iterator[str]:
    known = {"summary", "like", "sources", *_TABLES}
    for name in given:
        if name not in known:
            yield f"expected tables {', '.join(_TABLES)}, got {name}; remove it"
    if not isinstance(given.get("summary"), str):
        yield f"expected a summary, a line of text, got {given.get('summary')!r}"
    like = given.get("like")
    if like is not None and like not in NAMES and not (isinstance(like, str) and like.endswith(".toml")):
        yield f"expected like to be one of {', '.join(NAMES)}, or a .toml file, got {like!r}"
    sources = given.get("sources", {})
    for table, kind in _TABLES.items():
        values = given.get(table, {})
        if not isinstance(values, dict):
            yield f"expected a table {table}, got {values!r}"
            return
        wanted = {field.name: field for field in fields(kind)}
        for key, value in values.items():
            if key not in wanted:
                yield f"expected {table} to have {', '.join(wanted)}, got {key}; remove it"
            elif not _fits(value, wanted[key].type):
                yield f"expected {table}.{key} to be {_KINDS.get(wanted[key].type, 'as documented')}, got {value!r}"
            elif not {table, f"{table}.{key}"} & set(sources):
                yield f"expected a source of {table}.{key}, got none; say in [sources] where it comes from"


_KINDS: dict[Any, str] = {"int": "a whole number above 0", "float": "a number above 0", "str": "a text"}


def _fits(value: Any, kind: Any) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind in ("int", "float"):
        allowed = (int,) if kind == "int" else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool) and value > 0
    return True
