"""The parameter store: whole files or none, the same bytes for the same arrays, clear errors for damaged files."""

import json
import resource
import sys

import numpy as np
import pytest
import safetensors.numpy

from lutllm import packing, store
from lutllm.errors import InputError, LutllmError
from lutllm.quantizer import random_linear
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme


@pytest.fixture
def linears():
    q = random_linear(8, 20, PAPER.with_(c_a=5, G=7), seed=1, name="layers.0.q", input_name="layers.0.q.input")
    k = random_linear(8, 20, PAPER.with_(c_a=5, G=7), seed=2, name="layers.0.k", input_name="layers.0.q.input")
    k.exponents, k.codebook = q.exponents, q.codebook
    down = random_linear(6, 9, EXACT.with_(G=4, R=1), seed=3, name="layers.0.down")
    return {linear.name: linear for linear in (q, k, down)}


def same(a, b):
    assert (a.name, a.input_name, a.scheme, a.shift, a.out_exponent) == (
        b.name,
        b.input_name,
        b.scheme,
        b.shift,
        b.out_exponent,
    )
    assert a.metadata == b.metadata
    left, right = a.tensors(), b.tensors()
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


def test_linears_come_back_as_they_were_and_bytes_repeat(tmp_path, linears):
    digest = store.save_linears(tmp_path / "a", linears)
    back = store.load_linears(tmp_path / "a")
    assert list(back) == list(linears)
    for name in linears:
        same(linears[name], back[name])
    assert store.save_linears(tmp_path / "b", back) == digest == store.sha256(tmp_path / "b" / store.PARAMETERS)
    for file in (store.PARAMETERS, store.SIDECAR):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert "layers.0.k.input.exponents" not in store.load(tmp_path / "a" / store.PARAMETERS)


@pytest.mark.parametrize("scheme", [PAPER, ADDITIVE, EXACT, Scheme(c_a=3, table_bits=12, c_w=5, R=3)])
def test_one_linear_in_one_file(tmp_path, scheme):
    linear = random_linear(10, 6, scheme, tables=scheme.kind == "vq")
    store.save_linear(tmp_path / "q", linear)
    same(linear, store.load_linear(tmp_path / "q"))
    if linear.tables is not None:
        assert linear.tables.dtype == (np.int8 if scheme.table_bits <= 8 else np.int32)


def test_arrays_are_read_when_asked_for(tmp_path):
    store.save(tmp_path / "s", {"b": np.arange(3), "a": np.zeros((2, 0), np.int8)}, note="n")
    opened = store.load(tmp_path / "s")
    assert (list(opened), len(opened), opened.note) == (["a", "b"], 2, "n")
    np.testing.assert_array_equal(opened["b"], [0, 1, 2])
    with pytest.raises(InputError, match=r"expected an array 'x.b', got none; similar names: \['b'\]"):
        opened.require("x.b")
    with pytest.raises(KeyError):
        opened["c"]


@pytest.mark.parametrize("damage", ["truncate", "header", "empty", "flip"])
def test_damaged_files_are_refused(tmp_path, linears, damage):
    store.save_linears(tmp_path, linears)
    path = tmp_path / store.PARAMETERS
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        data = data[:-10]
    elif damage == "header":
        data[:8] = b"\xff" * 8
    elif damage == "empty":
        data = bytearray()
    else:
        data[-1] ^= 1
    path.write_bytes(data)
    if damage != "flip":
        with pytest.raises(InputError, match="expected a whole safetensors file"):
            store.load(path)
    with pytest.raises(InputError, match="expected SHA-256"):
        store.load_linears(tmp_path)


def test_missing_and_malformed_descriptions(tmp_path, linears):
    with pytest.raises(InputError, match="no such file"):
        store.load(tmp_path / "none")
    with pytest.raises(InputError, match="expected a readable file"):
        store.load_linears(tmp_path)
    store.save_linears(tmp_path, linears)
    sidecar = tmp_path / store.SIDECAR
    good = json.loads(sidecar.read_text())
    for key, value, message in (
        ("format", 99, "expected format 1, got 99"),
        ("linears", {"x": {}}, "expected input_name, scheme"),
    ):
        sidecar.write_text(json.dumps({**good, key: value}))
        with pytest.raises(InputError, match=message):
            store.load_linears(tmp_path)
    good["linears"]["layers.0.q"]["shapes"]["layers.0.q.codes"] = [1, 2, 3]
    sidecar.write_text(json.dumps(good))
    with pytest.raises(InputError, match=r"expected shape \[1, 2, 3\], got \[4, 1, 20\]"):
        store.load_linears(tmp_path)
    sidecar.write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        store.load_linears(tmp_path)
    store.save(tmp_path / "plain", {"a": np.zeros(1)})
    with pytest.raises(InputError, match="expected the description of a linear"):
        store.load_linear(tmp_path / "plain")


def test_linears_that_disagree_about_their_input_are_refused(tmp_path, linears):
    linears["layers.0.k"].exponents = linears["layers.0.q"].exponents + np.int8(1)
    with pytest.raises(InputError, match=r"expected one value for all linears that read 'layers\.0\.q\.input'"):
        store.save_linears(tmp_path, linears)
    assert not (tmp_path / store.PARAMETERS).exists()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("codes", lambda a: a + np.uint8(16), "values below c_w = 16"),
        ("codes", lambda a: a[0], r"shape \[pairs, R, outputs\]"),
        ("shifts", lambda a: a - np.int8(64), "values in 0..31"),
        ("multiplier", lambda a: a * 0, "values > 0"),
        ("multiplier", lambda a: a + (1 << 15), "16-bit values"),
        ("bias", lambda a: a.astype(np.int64), "expected int32"),
        ("weight_codebook", lambda a: a[:, :, :, :3], r"expected int8 \[4, 3, 1, 16, 2\]"),
        ("codebook", lambda a: None, "got none"),
        ("tables", lambda a: np.zeros((1,), np.int8), "tables: expected int8"),
    ],
)
def test_every_array_is_checked(linears, part, change, message):
    linear = linears["layers.0.q"]
    setattr(linear, part, change(getattr(linear, part)))
    with pytest.raises(InputError, match=message):
        store.check_linear(linear)


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits")
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "s"
    store.save(path, {"a": np.zeros(4)})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(LutllmError, match=r"expected to write \d+ bytes, got File too large; nothing was changed"):
            store.save(path, {"a": np.zeros(1 << 16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".parameters.safetensors.12.partial").write_bytes(b"half")
    (tmp_path / "kept.partial").write_bytes(b"not ours")
    store.remove_partial(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.partial"]


def test_the_format_is_that_of_safetensors():
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.integers(0, 9, (3, 5)).astype(np.uint8),
        "a": np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2],
        "empty": np.zeros((0, 4), np.int16),
        "é": np.array(3.5, np.float32),
        "long": np.arange(3),
    }
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # a scalar stays one
    assert store.to_bytes(arrays) == safetensors.numpy.save(whole)
    assert store.to_bytes(arrays, 'a "note"') == safetensors.numpy.save(whole, metadata={"lutllm": 'a "note"'})


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8])
@pytest.mark.parametrize("shape", [(3, 1, 5), (2, 2, 8), (1, 1, 1)])
def test_packed_arrays_take_their_bits(tmp_path, monkeypatch, bits, shape):
    monkeypatch.setattr(packing, "CHUNK", 8)
    values = np.random.default_rng(bits).integers(0, 1 << bits, shape).astype(np.uint8)
    whole = sum(int(value) << bits * i for i, value in enumerate(values.reshape(-1)))
    size = -(-values.size * bits // 8)
    store.save(tmp_path / "s", {"codes": values, "other": np.arange(3)}, bits={"codes": bits})
    found = safetensors.numpy.load_file(tmp_path / "s")["codes"]  # as another reader of the format sees it
    assert found.tobytes() == whole.to_bytes(size, "little")
    np.testing.assert_array_equal(store.load(tmp_path / "s")["codes"], values)


def test_a_store_packs_codes(tmp_path, linears):
    store.save_linears(tmp_path, linears)
    found = safetensors.numpy.load_file(tmp_path / store.PARAMETERS)
    for name, linear in linears.items():
        assert found[f"{name}.codes"].size == -(-linear.codes.size * linear.scheme.code_bits // 8)
        same(linear, store.load_linears(tmp_path)[name])


def test_a_mapped_array_is_the_file_s(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    store.save(tmp_path / "s", {"a": np.arange(3, dtype=np.int32), "codes": values}, note="n")
    found = store.mapped(tmp_path / "s", "codes")
    np.testing.assert_array_equal(found, values)
    assert not found.flags.owndata and not found.flags.writeable
