"""PyTorch whose bits depend on nothing but its inputs: `with reproducible():` around float models in quantization.

Products of matrices are `products.multiply`'s; sums are PyTorch's own on one thread, which adds in one order as long as
its kernels are those of one processor (`lutllm.models.hf` asks for those of AVX2); and functions that PyTorch leaves to
a vendor's library are rounded from double precision. Only for CPU tensors of the calling thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lutllm.quantize.products import multiply

_VENDOR = (
    "acos",
    "asin",
    "atan",
    "cos",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "sin",
    "tan",
    "tanh",
)


@contextmanager
def reproducible() -> Iterator[None]:
    """The same bits on any number of threads, and on any x86-64 processor with AVX2 and FMA."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Products():
            yield
    finally:
        torch.set_num_threads(before)


def arithmetic() -> str:
    """Which of PyTorch's kernels are in use: bits are the same where this is."""
    return torch.backends.cpu.get_cpu_capability()


class _Products(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        ours = _OURS.get(func)
        return func(*args, **kwargs) if ours is None else ours(func, *args, **kwargs)


def _mm(_func: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _tensor(multiply(_array(a), _array(b)), a)


def _bmm(_func: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    pairs = zip(_array(a), _array(b), strict=True)
    return _tensor(np.stack([multiply(x, y) for x, y in pairs]), a)


def _plus(product: Callable) -> Callable:
    """addmm of mm, baddbmm of bmm."""

    def add(_func: Any, c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
        return c * beta + product(None, a, b) * alpha

    return add


def _rounded(func: Any, x: torch.Tensor) -> torch.Tensor:
    return func(x.double()).to(x.dtype) if x.is_floating_point() else func(x)


def _array(x: torch.Tensor) -> np.ndarray:
    x = x.detach()
    return (x if x.dtype in (torch.float32, torch.float64) else x.float()).numpy()


def _tensor(x: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x).to(like.dtype)


def _ours() -> dict[Any, Callable]:
    aten = torch.ops.aten
    found = {aten.mm.default: _mm, aten.bmm.default: _bmm}
    found |= {aten.addmm.default: _plus(_mm), aten.baddbmm.default: _plus(_bmm)}
    return found | {getattr(aten, name).default: _rounded for name in _VENDOR}


_OURS = _ours()
