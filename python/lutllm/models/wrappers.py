"""Parts of a CausalLM as modules that can be exported: a model goes in, a module with example inputs comes out.

Positions and the attention mask are explicit inputs; left to transformers, they would add ops that guess them. Parts
sit at the path they have in the model, so that parameters and locations keep their PyTorch names.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from lutllm.errors import InputError

_FULL, _WINDOW, _STATE = "full_attention", "sliding_attention", "linear_attention"


class WholeModel(torch.nn.Module):
    """(token ids [1, T], positions [1, T], additive mask [1, 1, T, T]) -> logits [1, T, vocabulary].

    What the model does before and after its layers is part of it: multipliers, soft-caps, any head. Where layers see a
    window of tokens, their mask is made of positions, so that the window shows in the IR.
    """

    def __init__(self, causal_lm: Any) -> None:
        super().__init__()
        for name, child in causal_lm.named_children():
            self.add_module(name, child)
        self._forward = type(causal_lm).forward.__get__(causal_lm)  # of a module that is no part of this one
        self._kinds = set(getattr(causal_lm.config, "layer_types", None) or ())
        self._window = _window(causal_lm.config)

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen: Any = mask
        if self._window is not None:
            distance = position_ids[:, None, :, None] - position_ids[:, None, None, :]
            seen = mask.masked_fill(distance >= self._window, torch.finfo(mask.dtype).min)
            if self._kinds:
                seen = {kind: mask if kind == _FULL else seen for kind in self._kinds}
        if self._kinds == {_STATE}:  # which has positions in its state; a mask would hide padding
            return self._forward(input_ids=input_ids, use_cache=False).logits
        found = self._forward(input_ids=input_ids, position_ids=position_ids, attention_mask=seen, use_cache=False)
        return found.logits


class DecoderLayer(torch.nn.Module):
    """(hidden states [1, T, D], cosines [1, T, H], sines [1, T, H], mask [1, 1, T, T]) -> hidden states."""

    def __init__(self, causal_lm: Any, index: int) -> None:
        super().__init__()
        self.path = f"model.layers.{index}"
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.Module()
        self.model.layers.add_module(str(index), causal_lm.model.layers[index])

    def forward(
        self, hidden_states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        layer = self.get_submodule(self.path)
        output = layer(hidden_states, attention_mask=mask, position_embeddings=(cos, sin), use_cache=False)
        return output[0] if isinstance(output, tuple) else output


def causal_mask(tokens: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[1, 1, T, T]: zero where a token may look, the lowest finite number where it may not."""
    return torch.full((1, 1, tokens, tokens), torch.finfo(dtype).min, dtype=dtype).triu(1)


def whole_model(causal_lm: Any, tokens: int = 16) -> tuple[WholeModel, tuple[torch.Tensor, ...]]:
    """The model, whose Conv1D become linears, with example inputs of `tokens` tokens."""
    linears_for_conv1d(causal_lm)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    positions = torch.arange(tokens)[None]
    return WholeModel(causal_lm).eval(), (ids, positions, causal_mask(tokens, causal_lm.dtype))


def linears_for_conv1d(module: Any) -> None:
    """Put a linear in the place of each Conv1D of transformers, which stores the weight of one transposed."""
    for name, child in list(module.named_modules()):
        if isinstance(child, Conv1D):
            linear = torch.nn.Linear(1, 1, device="meta")
            linear.weight = torch.nn.Parameter(child.weight.detach().t().contiguous(), child.weight.requires_grad)
            linear.bias, (linear.in_features, linear.out_features) = child.bias, child.weight.shape
            module.set_submodule(name, linear)


def _window(config: Any) -> int | None:
    """How many tokens, itself the last, a token sees in layers that do not see all."""
    kinds = set(getattr(config, "layer_types", None) or ()) - {_FULL}
    if kinds == {_STATE} == set(config.layer_types):
        return None
    if kinds - {_WINDOW}:
        raise InputError(f"expected layers of {_FULL} or {_WINDOW}, got {', '.join(sorted(kinds - {_WINDOW}))}")
    window = getattr(config, "sliding_window", None)
    return window if kinds or not getattr(config, "layer_types", None) else None


def decoder_layer(causal_lm: Any, index: int, tokens: int = 16) -> tuple[DecoderLayer, tuple[torch.Tensor, ...]]:
    """One decoder layer with example inputs of `tokens` tokens."""
    layers = causal_lm.config.num_hidden_layers
    if not 0 <= index < layers:
        raise InputError(f"expected a decoder layer in 0..{layers - 1}, got {index}; choose another layer")
    hidden = torch.zeros(1, tokens, causal_lm.config.hidden_size, dtype=causal_lm.dtype)
    with torch.no_grad():
        cos, sin = causal_lm.model.rotary_emb(hidden, torch.arange(tokens)[None])
    return DecoderLayer(causal_lm, index).eval(), (hidden, cos, sin, causal_mask(tokens, causal_lm.dtype))
