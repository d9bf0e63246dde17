"""Running a PyTorch module in float32, whatever type it has, and seeing what each of its parts gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lutllm.errors import LutllmError
from lutllm.models.hf import one_line


@dataclass(frozen=True)
class Call:
    """The first tensor a module got, and the first it gave."""

    input: torch.Tensor | None
    output: torch.Tensor | None


Calls = dict[str, list[Call]]  # by module path


class Parameters(Mapping[str, np.ndarray]):
    """Tensors as arrays of float32, each made when it is asked for."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name].detach().float().numpy()

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def run_torch(module: torch.nn.Module, arguments: list[torch.Tensor]) -> tuple[list[torch.Tensor], Calls]:
    """The results of a module, and the calls of every module in it.

    Parameters of other types are float32 while their module runs, one module at a time: a model may fill the memory.
    """
    calls: Calls = {}
    narrow: dict[torch.Tensor, torch.Tensor] = {}
    handles = []
    training = module.training
    for path, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(_widen(narrow)))
        handles.append(part.register_forward_hook(_keep(path, calls, narrow), with_kwargs=True))
    try:
        with torch.no_grad():
            found = module.eval()(*arguments)
    except RuntimeError as error:
        raise LutllmError(
            f"expected a module that runs in float32, got {one_line(error)}; convert it with .float()"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
        for tensor, data in narrow.items():
            tensor.data = data
        module.train(training)
    return [t.float() for t in ([found] if isinstance(found, torch.Tensor) else found)], calls


def _own(part: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from part.parameters(recurse=False)
    yield from part.buffers(recurse=False)


def _widen(narrow: dict[torch.Tensor, torch.Tensor]) -> Callable[..., None]:
    def hook(part: torch.nn.Module, arguments: Any) -> None:
        for tensor in _own(part):
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                narrow[tensor] = tensor.data
                tensor.data = tensor.data.float()

    return hook


def _keep(path: str, calls: Calls, narrow: dict[torch.Tensor, torch.Tensor]) -> Callable[..., None]:
    def hook(part: torch.nn.Module, arguments: Any, keywords: Any, output: Any) -> None:
        calls.setdefault(path, []).append(Call(_first((*arguments, *keywords.values())), _first(output)))
        for tensor in _own(part):
            if tensor in narrow:
                tensor.data = narrow.pop(tensor)

    return hook


def _first(value: Any) -> torch.Tensor | None:
    """The first tensor of floats in what a module takes or gives."""
    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() else None
    parts = value if isinstance(value, tuple | list) else ()
    return next((tensor for tensor in map(_first, parts) if tensor is not None), None)
