"""Writes dialect/README.md from the definitions of the dialect, the measured tables of docs/numerics.md, and those of
docs/accelerator.md from what hardware is generated from.

With `--check` it writes nothing, and only says whether they are up to date.

Run as `python -m lutllm.tools.gen_docs [--check]`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lutllm.dialect
from lutllm.bindings import ext
from lutllm.dialect import SchemeOp, documentation
from lutllm.dialect.base import Lut, LutOp, kind_text
from lutllm.dialect.linears import parameters
from lutllm.lowering.hardware.control.register_map import register_table
from lutllm.lowering.machine.accelerator import ACTIVATION, ERROR_MEANINGS, MODE_BITS, TASK_BITS
from lutllm.scheme import _RANGES as SCHEME_RANGES
from lutllm.tools import measure_errors

ROOT = Path(lutllm.dialect.__file__).parents[1]
ACCELERATOR = (
    "machine", "linear_engine", "memory", "fifo", "clocks", "cluster", "yield", "layout", "buffer", "region", "round",
    "task",
)  # fmt: skip
DECODER = ("lutllm.dialect.decoders.ops", "lutllm.dialect.decoders.attention")
FLOAT = "lutllm.dialect.floats.ops"


def readme() -> str:
    """The whole text."""
    elsewhere = ("scheme", *ACCELERATOR)
    others = (*DECODER, FLOAT)
    tensor_ops = [op for op in Lut.operations if op.__module__ not in others and op._op_name not in elsewhere]
    float_ops = [op for op in Lut.operations if op.__module__ == FLOAT]
    decoder_ops = [op for module in DECODER for op in Lut.operations if op.__module__ == module]
    accelerator_ops = [op for op in Lut.operations if op._op_name in ACCELERATOR]
    with lutllm.dialect.context():
        aliases = documentation.example_aliases()
    parts = [
        "# The `lut` dialect",
        "<!-- Written by `python -m lutllm.tools.gen_docs` from the definitions; a test fails when it is stale. -->",
        documentation.INTRODUCTION.strip(),
        "## Numbers",
        documentation.NUMBERS.strip(),
        "## Attributes",
        *(part for attribute in Lut.attributes for part in _attribute(attribute)),
        "## Schemes",
        *_scheme(),
        "## Symbols and the store",
        documentation.SYMBOLS.strip(),
        _parameter_table(),
        "## Ops on tensors",
        "The examples use these aliases and schemes:",
        _block(aliases, "mlir"),
        *(part for op in tensor_ops for part in _op(op)),
        "## Decoder ops",
        *(part for op in decoder_ops for part in _op(op)),
        "## Float ops",
        documentation.FLOATS.strip(),
        *(part for op in float_ops for part in _op(op)),
        "## The accelerator form",
        "At module level, made by the lowering; not pure.",
        *(part for op in accelerator_ops for part in _op(op)),
        "## Rationale",
        documentation.RATIONALE.strip(),
    ]
    return "\n\n".join(parts) + "\n"


def _op(op: type[LutOp]) -> Iterator[str]:
    yield f"### `{op.OPERATION_NAME}`"
    yield _docstring(op)
    yield _block(op.DEFINITION, "text")
    rows = [*_values(op, ext.OperandDef, "operand"), *_values(op, ext.ResultDef, "result"), *_attributes(op)]
    yield _table(("name", "what", "type"), rows)
    yield _block(op.EXAMPLE, "mlir")


def _scheme() -> Iterator[str]:
    yield f"### `{SchemeOp.OPERATION_NAME}`"
    yield _docstring(SchemeOp)
    yield _block(SchemeOp.DEFINITION, "text")
    yield _scheme_table()
    yield _block(SchemeOp.EXAMPLE, "mlir")


def _attribute(attribute: Any) -> Iterator[str]:
    names = ", ".join(field.name for field in attribute._fields)
    yield f"### `#{attribute.attr_name}<{names}>`"
    yield _docstring(attribute)


def _values(op: type[LutOp], kind: type, what: str) -> Iterator[tuple[str, str, str]]:
    for field in op.declared(kind):
        optional = field.variadicity == ext.Variadicity.optional
        yield f"`{field.name}`", f"optional {what}" if optional else what, f"`{op.TYPES[field.name]}`"


def _attributes(op: type[LutOp]) -> Iterator[tuple[str, str, str]]:
    for name, kind in op.required().items():
        yield f"`{name}`", op.NOTES.get(name, "attribute"), _kind(kind)
    for name, kind in op.OPTIONAL.items():
        yield f"`{name}`", f"optional {op.NOTES.get(name, 'attribute')}", _kind(kind)


def _kind(kind: Any) -> str:
    text = kind_text(kind)
    return f"`{text}`" if text.startswith("#") else text


def _scheme_table() -> str:
    rows = [("`sym_name`", "the name", "string")]
    rows += [("`kind`", "`vq`: activations by nearest centroid; `exact`: as they are (then c_a = S = 0)", "string")]
    rows += [("`metric`", "of the centroid search: `chebyshev` or `l2`", "string")]
    rows += [(f"`{name}`", documentation.SCHEME_FIELDS[name], f"{low}..{high}") for name, low, high in SCHEME_RANGES]
    return _table(("field", "what", "range"), rows)


def _parameter_table() -> str:
    """Shapes with letters for sizes: the functions of lutllm.dialect.linears.parameters take them as well as
    numbers."""
    scheme: Any = SimpleNamespace(S="S", R="R", c_a="c_a", c_w="c_w", table_bits=8)
    p, b, n = "P", "B", "N"
    specs: dict[str, Any] = {
        "INPUT.exponents": parameters.exponents(p),  # type: ignore[arg-type]
        "INPUT.codebook": parameters.codebook(scheme, p),  # type: ignore[arg-type]
        "NAME.weight_codebook": parameters.weight_codebook(scheme, p, b),  # type: ignore[arg-type]
        "NAME.codes": parameters.codes(scheme, p, n),  # type: ignore[arg-type]
        "NAME.shifts": parameters.shifts(p),  # type: ignore[arg-type]
        "NAME.multiplier": parameters.per_output(n),  # type: ignore[arg-type]
        "NAME.bias": parameters.per_output(n),  # type: ignore[arg-type]
        "NAME.tables": parameters.tables(scheme, p, b),  # type: ignore[arg-type]
        "NAME.rows": parameters.embedding_rows("V", "K"),  # type: ignore[arg-type]
        "NAME.gain": parameters.per_output("C"),  # type: ignore[arg-type]
        "NAME.query.exponents": parameters.exponents(p),  # type: ignore[arg-type]
        "rope.cosines": parameters.rotations("positions", "C/2"),  # type: ignore[arg-type]
    }
    rows = []
    for name, (shape, dtype) in specs.items():
        sizes = "x".join(map(str, shape))
        note = documentation.PARAMETERS[name.split(".", 1)[1]]
        rows.append((f"`{name}`", note, dtype, f"`tensor<{sizes}x{parameters.ELEMENT_TYPES[dtype]}>`"))
    return _table(("entry", "what", "in the store", "in the IR"), rows)


def _docstring(thing: Any) -> str:
    lines = (thing.__doc__ or "").strip().split("\n")
    return "\n".join(line.strip() for line in lines)


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def numerics() -> str:
    """docs/numerics.md with its tables measured anew."""
    text = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
    kinds = {"rsqrt": "relative", "reciprocal": "relative", "exp2_negative": "absolute", "sigmoid": "absolute"}
    errors = [(f"`{name}`", kinds[name], f"{e:.2e}") for name, e in measure_errors.function_errors().items()]
    text = _filled(text, "functions: measured", _table(("function", "error", "largest"), errors))
    head = ("op", "inputs", "largest error, units", "of the largest result", "of its bound")
    ops = [(op, of, f"{e:.2g}", f"{r:.1e}", f"{s:.0%}") for op, of, e, r, s in measure_errors.op_errors()]
    return _filled(text, "ops: measured", _table(head, ops))


def accelerator() -> str:
    """docs/accelerator.md with its tables from the definitions."""
    text = (ROOT / "docs" / "accelerator.md").read_text(encoding="utf-8")
    fields = {f"`{engine}`": bits for engine, bits in TASK_BITS.items()}
    fields["`swiglu`, of several activations also"] = ACTIVATION
    for mode, engines in MODE_BITS.items():
        fields |= {f"`{engine}`, in mode {mode} also": bits for engine, bits in engines.items()}
    tasks = [(task, ", ".join(f"{n} {b}" for n, b in bits.items())) for task, bits in fields.items()]
    text = _filled(text, "tasks: generated", _table(("task", "fields and their bits, lowest first"), tasks))
    text = _filled(text, "registers: generated", register_table().strip())
    codes = [(str(code), f"`{name}`", meaning) for code, (name, meaning) in enumerate(ERROR_MEANINGS.items())]
    return _filled(text, "errors: generated", _table(("code", "error", "meaning"), codes))


def _filled(text: str, mark: str, table: str) -> str:
    before, found, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{found}\n{table}\n\n{end}{after}"


PAGES: dict[str, Callable[[], str]] = {
    "dialect/README.md": readme,
    "docs/numerics.md": numerics,
    "docs/accelerator.md": accelerator,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository to write into; default: this one")
    options = parser.parse_args(argv)
    stale = 0
    for name, make in PAGES.items():
        path, text = options.root / name, make()
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(
                f"error: {path}: expected the text of the definitions, got another; run python -m lutllm.tools.gen_docs"
            )
            stale += 1
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())
