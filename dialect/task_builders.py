"""Builders of the whole accelerator's form: plain data in, the op at the current insertion point out."""

from collections.abc import Mapping, Sequence

from lutllm.bindings import ir
from lutllm.dialect.attributes import i64, symbol
from lutllm.dialect.program import module_op


def accelerator(
    name: str, *, engine: str, engines: Sequence[str] = (), depths: Mapping[str, int] | None = None, **sizes: int
) -> ir.OpView:
    """A `lut.accelerator`; `sizes` are its remaining integer attributes, all required."""
    given = {"engines": ir.ArrayAttr.get([ir.StringAttr.get(name) for name in engines])} if engines else {}
    fifos = {"depths": ir.DictAttr.get({key: i64(depth) for key, depth in depths.items()})} if depths else {}
    return module_op("accelerator", name, sizes, engine=symbol(engine), **given, **fifos)


def plan(name: str, *, accelerator: str, context: int, vocabulary: int, decoder: str) -> ir.OpView:
    """A `lut.plan`."""
    integers = {"context": context, "vocabulary": vocabulary}
    return module_op("plan", name, integers, accelerator=symbol(accelerator), decoder=ir.StringAttr.get(decoder))


def buffer(name: str, *, memory: str, base: int, words: int, size: int) -> ir.OpView:
    """A `lut.buffer` of `size` words."""
    integers = {"base": base, "words": words, "size": size}
    return module_op("buffer", name, integers, memory=ir.StringAttr.get(memory))


def task(
    name: str,
    *,
    program: str,
    engine: str,
    source: str,
    fields: Mapping[str, int],
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    waits: Mapping[str, int] | None = None,
    single: bool = False,
    per_token: bool = False,
    parameters: str | None = None,
    beats: int = 0,
    offset: int = 0,
    stride: int = 0,
    round: str | None = None,
) -> ir.OpView:
    """A `lut.task`; `beats`, `offset` and `stride` only count with `parameters`."""
    integers = {"single": int(single), "per_token": int(per_token)}
    symbols = {} if round is None else {"round": symbol(round)}
    if parameters is not None:
        symbols |= {"parameters": symbol(parameters)}
        integers |= {"beats": beats, "offset": offset, "stride": stride}
    return module_op(
        "task",
        name,
        integers,
        program=ir.StringAttr.get(program),
        engine=ir.StringAttr.get(engine),
        source=ir.StringAttr.get(source),
        fields=ir.DictAttr.get({key: i64(value) for key, value in fields.items()}),
        reads=ir.ArrayAttr.get([symbol(read) for read in reads]),
        writes=ir.ArrayAttr.get([symbol(written) for written in writes]),
        waits=ir.DictAttr.get({key: i64(value) for key, value in (waits or {}).items()}),
        **symbols,
    )
