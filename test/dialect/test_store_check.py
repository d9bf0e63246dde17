"""A module against its store: every name, shape and element type, from the header alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir
from lutllm.dialect.symbols import op_parameters
from lutllm.errors import InputError
from lutllm.store import save

Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays(layers: ir.Module) -> Arrays:
    wanted = [p for op in dialect.lut_ops(layers) for p in op_parameters(op)]
    return {p.symbol: np.zeros(p.shape, p.dtype) for p in wanted}


def _problems(layers: ir.Module, arrays: Arrays, path: Path) -> list[str]:
    save(path, arrays)
    with capture_diagnostics(layers.context) as seen:
        right = dialect.verify(layers, path)
    assert right == (not seen)
    return [d.message for d in seen]


def test_a_matching_store_is_right(layers: ir.Module, arrays: Arrays, tmp_path: Path) -> None:
    assert len(arrays) == 8
    assert _problems(layers, arrays, tmp_path / "s.safetensors") == []


CHANGES: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "missing": (
        lambda arrays: arrays.pop("q.bias"),
        "'lut.requantize' op expected 'q.bias' in the store for 'bias' to be I32 [6], got none; write the store again",
    ),
    "shape": (
        lambda arrays: arrays.update({"q.codes": np.zeros((5, 2, 7), np.uint8)}),
        "'lut.table_lookup' op expected 'q.codes' in the store for 'codes' to be U8 [5, 2, 6], got U8 [5, 2, 7]",
    ),
    "type": (
        lambda arrays: arrays.update({"q.input.exponents": np.zeros(5, np.int16)}),
        "'lut.quantize' op expected 'q.input.exponents' in the store for 'result.exponents' to be I8 [5], got I16 [5]",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_entry_is_an_error_at_its_op(layers: ir.Module, arrays: Arrays, tmp_path: Path, change: str) -> None:
    apply, message = CHANGES[change]
    apply(arrays)
    problems = _problems(layers, arrays, tmp_path / "s.safetensors")
    assert problems and problems[0].startswith(message)


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0nonsense"])
def test_another_file_is_an_input_error(layers: ir.Module, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="expected a whole safetensors file"):
        dialect.verify_store(layers, path)


def test_no_file_is_an_input_error(layers: ir.Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a whole safetensors file"):
        dialect.verify_store(layers, tmp_path / "none.safetensors")


def test_exponents_of_scores_are_read(decoder: ir.Module, tmp_path: Path) -> None:
    """Query heads are one pair wide here, so make them two: two heads over one of keys."""
    text = str(decoder).replace("heads = 4 : i64, kv_heads = 2 : i64", "heads = 2 : i64, kv_heads = 1 : i64")
    text = text.replace("tensor<4xi32>", "tensor<2xi32>")
    module = ir.Module.parse(text, decoder.context)
    wanted = [p for op in dialect.lut_ops(module) for p in op_parameters(op)]
    arrays = {p.symbol: np.zeros(p.shape, p.dtype) for p in wanted}
    arrays["a.query.exponents"][:] = [-3, -4, -5, -6]
    arrays["a.key.exponents"][:] = [-8, -7]
    path = tmp_path / "s.safetensors"
    assert _problems(module, arrays, path) == []
    arrays["a.query.exponents"][3] = -5
    message = "expected exponents of query and keys to add up to one number in head 1, got -13..-12; quantize again"
    assert _problems(module, arrays, path) == [f"'lut.attention' op {message}"]
