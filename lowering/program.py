"""A scheduled program as plain data: read from the accelerator form, and laid out for memory.

`Program` is what `lut.engine`, `lut.region` and `lut.round` say, nothing more. Bits of a word go lowest first, bytes
little endian; how the engine's units use them is said where they are read (`engine_hw`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from lutllm.bindings import ir
from lutllm.dialect.base import elements, entries, read
from lutllm.errors import IRError
from lutllm.lowering.engine import EngineConfig


@dataclass(frozen=True)
class Region:
    """`size` bytes at `address`, for AXI master `port` of stream `kind`; `source` is the linear it serves."""

    name: str
    address: int
    size: int
    kind: str
    port: int
    source: str


@dataclass(frozen=True)
class Round:
    """One run of the engine: `tokens` tokens from `token_offset`, `outputs` outputs from `output_offset` of a linear.

    `groups` of `engine.pairs` pairs, `stages` weight stages, `blocks` codebook blocks of `block_outputs` outputs in
    `block_chunks` chunks of `engine.lanes`, `chunks` in all (the last block may be shorter). `x` and `y` are empty
    where inputs and outputs are on-chip streams.
    """

    name: str
    linear: str
    row_source: str
    tokens: int
    token_offset: int
    outputs: int
    output_offset: int
    pairs: int
    groups: int
    stages: int
    blocks: int
    chunks: int
    block_chunks: int
    block_outputs: int
    shift: int
    x: str
    c: str
    q: str
    y: str
    w: tuple[str, ...]

    @property
    def last_chunks(self) -> int:
        return self.chunks - (self.blocks - 1) * self.block_chunks

    def block_size(self, block: int) -> int:
        """Chunks of block `block`."""
        return self.last_chunks if block == self.blocks - 1 else self.block_chunks

    @property
    def steps(self) -> int:
        """Beats of the PSum chain at one lookup beat a cycle: the round's cycles if nothing waits."""
        return self.groups * self.stages * self.chunks * self.tokens

    @property
    def lookups(self) -> int:
        """Useful lookups: a pair, stage, output and token each."""
        return self.pairs * self.stages * self.outputs * self.tokens


@dataclass(frozen=True)
class Program:
    engine: EngineConfig
    regions: dict[str, Region]
    rounds: tuple[Round, ...]

    @property
    def descriptors(self) -> Region:
        return next(region for region in self.regions.values() if region.kind == "d")

    @property
    def memory_bytes(self) -> int:
        """Bytes from address 0 to the end of the last region."""
        return max(region.address + region.size for region in self.regions.values())


def read_program(module: ir.Module) -> Program:
    """The program of a module in accelerator form. Raises `IRError` unless it has exactly one engine."""
    by_name: dict[str, list[ir.OpView]] = {"lut.engine": [], "lut.region": [], "lut.round": []}
    for op in module.body.operations:
        by_name.setdefault(op.operation.name, []).append(op)
    engines = by_name["lut.engine"]
    if len(engines) != 1:
        raise IRError(f"expected one lut.engine in the module, got {len(engines)}; run lut-to-accelerator")
    regions = [Region(**plain(op, Region, bytes="size", sym_name="name")) for op in by_name["lut.region"]]
    rounds = [Round(**{"x": "", "y": "", **plain(op, Round, sym_name="name")}) for op in by_name["lut.round"]]
    return Program(read_engine(engines[0]), {region.name: region for region in regions}, tuple(rounds))


def read_engine(op: ir.OpView) -> EngineConfig:
    """What a `lut.engine` says."""
    return EngineConfig(**plain(op, EngineConfig))


def plain(op: ir.OpView, kind: type, **renamed: str) -> dict:
    """The op's attributes that `kind` has fields for, as Python values."""
    wanted = {f.name for f in fields(kind)}
    names = {renamed.get(name, name): name for name in op.operation.attributes}
    return {name: _value(read(op.operation.attributes, own)) for name, own in names.items() if name in wanted}


def _value(attribute: ir.Attribute):  # type: ignore[no-untyped-def]
    if isinstance(attribute, ir.DictAttr):
        return {name: _value(item) for name, item in entries(attribute).items()}
    if isinstance(attribute, ir.ArrayAttr):
        return tuple(_value(item) for item in elements(attribute))
    return attribute.value  # type: ignore[attr-defined]
