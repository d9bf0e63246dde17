"""How much the loss minds an error at each output of each linear: a model and windows of tokens in, curvatures out.

One backward pass a window. The mean squared gradient of the cross entropy at an output is the diagonal of the
empirical Fisher matrix: an error d of output o costs about curvature[o] * d**2 / 2 of loss a token (Optimal Brain
Damage, LeCun et al. 1990; SqueezeLLM, arXiv:2306.07629).
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from lutllm.models.text import token_ids


def curvatures(module: Any, names: Sequence[str], windows: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """By linear, the mean squared gradient of a token's loss at each output, float64 [outputs]."""
    sums = {name: torch.zeros(module.get_submodule(name).out_features, dtype=torch.float64) for name in names}
    tokens = 0

    def receive(name: str, gradient: torch.Tensor) -> None:
        sums[name] += gradient.reshape(-1, gradient.shape[-1]).square().sum(dim=0).cpu()

    def watch(name: str, _module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        if not output.requires_grad:
            output.requires_grad_(True)
        output.register_hook(partial(receive, name))
        return output

    handles = [module.get_submodule(name).register_forward_hook(partial(watch, name)) for name in names]
    try:
        for window in windows:
            ids = token_ids(window, module.device)
            logits = module(ids, use_cache=False).logits[0, :-1].float()
            torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").backward()
            tokens += ids.shape[1] - 1
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / max(1, tokens)).numpy() for name, total in sums.items()}
