"""PyTorch whose bits depend on its inputs alone: `with reproducible():` around the float models of quantization.

Products of matrices are `products.multiply`'s. Sums are PyTorch's own, on one thread: their order is that of one set of
kernels, and `lutllm.models.hf` asks for those of AVX2. Functions that PyTorch leaves to a vendor's library are worked
out in double precision, where libraries agree but for the last bits, and rounded. Only CPU tensors, and only the
calling thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lutllm.quantizer.products import multiply

_VENDOR = "acos asin atan cos erf erfc exp expm1 log log10 log1p log2 sin tan tanh"


@contextmanager
def reproducible() -> Iterator[None]:
    """The same bits on any number of threads, and on any processor where `arithmetic` is the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Ours():
            yield
    finally:
        torch.set_num_threads(before)


def arithmetic() -> str:
    """Which set of PyTorch's kernels this process uses. Part of what a run depends on."""
    return torch.backends.cpu.get_cpu_capability()


class _Ours(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        ours = _OPS.get(func)
        if ours is None or not args[0].is_floating_point() or args[0].device.type != "cpu":
            return func(*args, **(kwargs or {}))
        return ours(func, *args, **(kwargs or {}))


def _mm(_func: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(multiply(_array(a), _array(b))).to(a.dtype)


def _bmm(_func: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    products = [multiply(x, y) for x, y in zip(_array(a), _array(b), strict=True)]
    return torch.from_numpy(np.stack(products)).to(a.dtype)


def _added(product: Callable) -> Callable:
    """addmm of mm, baddbmm of bmm."""

    def add(_func: Any, c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
        return c * beta + product(None, a, b) * alpha

    return add


def _rounded(func: Any, x: torch.Tensor) -> torch.Tensor:
    return func(x.double()).to(x.dtype)


def _array(x: torch.Tensor) -> np.ndarray:
    wide = x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()
    return wide.numpy()


_aten = torch.ops.aten
_OPS: dict[Any, Callable] = {
    _aten.mm.default: _mm,
    _aten.bmm.default: _bmm,
    _aten.addmm.default: _added(_mm),
    _aten.baddbmm.default: _added(_bmm),
    **{getattr(_aten, name).default: _rounded for name in _VENDOR.split()},
}
