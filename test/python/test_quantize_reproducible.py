"""Quantization gives the same bytes whatever the threads, and whatever kernels the libraries choose for a processor."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding

torch = pytest.importorskip("torch")

from lutllm.errors import InputError, NumericsError  # noqa: E402
from lutllm.quantizer import products  # noqa: E402
from lutllm.quantizer.linear.factors import BLOCK, STRIP, inverse_factor  # noqa: E402
from lutllm.quantizer.products import gram, multiply, norm  # noqa: E402
from lutllm.quantizer.reproducible import arithmetic, reproducible  # noqa: E402

# A window of 512 tokens makes the LM head's products large enough for several threads.
PROGRAM = """
import sys
from lutllm.models import load
from lutllm.models.text import default_text
from lutllm.quantizer.recipe import load_recipe
from lutllm.quantizer.whole import quantize_model
recipe = load_recipe([{"targets": "*", "scheme": "paper", "block": 64}, {"targets": "lm_head", "scheme": "exact"}])
quantize_model(load("tiny-llama", seed=1), sys.argv[1], recipe, text=default_text(), tokens=1024, window=512, seed=7,
               progress=False, distillation=2)
"""
OTHER_KERNELS = {
    "OPENBLAS_CORETYPE": "Prescott",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2",
}
X86 = bool(binding.get_host_cpu_features().get("avx2"))


def run(directory: Path, environment: dict[str, str]) -> dict[str, str]:
    """A hash of each file that a process with these variables writes."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", PROGRAM, directory]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    files = (p for p in directory.iterdir() if p.name != ".lock")
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def threads(count: int) -> dict[str, str]:
    return {f"{name}_NUM_THREADS": str(count) for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}


def test_threads_and_kernels_leave_the_bytes_alone(tmp_path: Path) -> None:
    one = run(tmp_path / "one", threads(1))
    assert {"parameters.safetensors", "quantization.json"} <= set(one)
    assert json.loads((tmp_path / "one" / "run.json").read_text())["arithmetic"] == ("AVX2" if X86 else arithmetic())
    assert run(tmp_path / "two", threads(2)) == one
    if X86:
        assert run(tmp_path / "other", threads(3) | OTHER_KERNELS) == one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 193, 33), (200, 400, 130), (6, 192, 1100)])
def test_a_product_is_right_in_every_layout(dtype: type, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    a, b = rng.standard_normal((rows, depth)).astype(dtype), rng.standard_normal((depth, columns)).astype(dtype)
    found = multiply(a, b)
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    bound = depth * np.finfo(dtype).eps * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
    assert found.dtype == dtype and found.flags.c_contiguous and np.all(np.abs(found - exact) <= bound)
    wide = np.zeros((2 * rows, 3 * depth), dtype)
    wide[::2, ::3] = a
    for x, y in ((np.asfortranarray(a), b), (a, np.asfortranarray(b)), (wide[::2, ::3], b)):
        assert np.array_equal(multiply(x, y), found)


def test_an_element_does_not_depend_on_its_neighbours_or_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((301, 500), (500, 700)))
    monkeypatch.setattr(products, "threads", lambda: 1)
    whole = multiply(a, b)
    assert np.array_equal(multiply(a[100:103], b[:, 5:90]), whole[100:103, 5:90])
    assert np.array_equal(multiply(b.T, a.T).T, whole)
    monkeypatch.setattr(products, "threads", lambda: 3)
    monkeypatch.setattr(products, "SHARE", 1)
    assert np.array_equal(multiply(a, b), whole) and np.array_equal(multiply(b.T, a.T).T, whole)


def test_a_chain_is_fused() -> None:
    """(1 + 2**-12)**2 - 1 - 2**-11 is 2**-24, which a rounded product loses in float32."""
    x = np.float32(1 + 2.0**-12)
    assert multiply(np.array([[-1 - 2.0**-11, x]], np.float32), np.array([[1], [x]], np.float32)) == 2.0**-24


def test_gram_and_norm() -> None:
    x = np.random.default_rng(2).standard_normal((50, 600)).astype(np.float32)
    assert np.array_equal(gram(x), multiply(x.T, x))
    assert norm(np.array([[3.0, 4.0]])) == 5.0


def test_shapes_that_do_not_meet_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got float64 \[2, 3\] and float64 \[2, 3\]"):
        multiply(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 2, STRIP + 2 * BLOCK + 6])
def test_the_factor_of_an_inverse(size: int) -> None:
    x = np.random.default_rng(size).standard_normal((2 * size + 4, size))
    matrix = x.T @ x + np.eye(size)
    kept = matrix.copy()
    upper = inverse_factor(matrix)
    assert np.array_equal(matrix, kept)
    assert np.array_equal(upper, np.triu(upper)) and np.all(np.diag(upper) > 0)
    assert np.allclose(upper @ matrix @ upper.T, np.eye(size), atol=1e-9)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    matrix = np.eye(200)
    matrix[150, 150] = -1.0
    with pytest.raises(NumericsError, match="got pivot 150 not above 0"):
        inverse_factor(matrix)


def test_pytorch_uses_these_products_forward_and_backward() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w, c = (torch.randn(s, generator=generator, requires_grad=True) for s in ((70, 300), (90, 300), (90,)))
    with reproducible():
        y = torch.nn.functional.linear(x, w, c)
        y.square().sum().backward()
        assert torch.get_num_threads() == 1
    a, b, bias = (t.detach().numpy() for t in (x, w, c))
    assert np.array_equal(y.detach().numpy(), multiply(a, b.T) + bias)
    assert np.array_equal(w.grad.numpy(), multiply(2 * y.detach().numpy().T, a))
    half = x.detach().bfloat16()
    with reproducible():
        assert torch.equal(
            half @ half.T, torch.from_numpy(multiply(*((half.float().numpy(), half.float().numpy().T)))).bfloat16()
        )
        assert torch.equal(
            torch.arange(6).reshape(2, 3) @ torch.ones(3, 1, dtype=torch.long), torch.tensor([[3], [12]])
        )
    heads = torch.randn((2, 3, 20, 8), generator=generator)
    with reproducible():
        seen = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    assert torch.allclose(
        seen, torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True), atol=1e-6
    )


def test_threads_are_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_asked", None)
    products.use_threads(3)
    assert products.threads() == 3 and products._pool()._max_workers == 3
    a = np.random.default_rng(0).standard_normal((300, 200))
    three = multiply(a, a.T)
    products.use_threads(1)
    assert products.threads() == 1
    np.testing.assert_array_equal(multiply(a, a.T), three)
    with pytest.raises(InputError, match="expected at least 1 thread, got 0"):
        products.use_threads(0)
    products.threads.cache_clear()
    products._pool.cache_clear()
