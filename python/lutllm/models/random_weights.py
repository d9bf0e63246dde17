"""Models with random weights: a built-in name and a seed go in, a filled module comes out.

Each tensor has a generator of its own, seeded by the seed and the tensor's name, so layer 3 is the same whether two
layers are asked for or thirty.
"""

from __future__ import annotations

import hashlib
from typing import Any

from lutllm.models.hf import empty_module, make_config, require

TINY: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny-llama": {"model_type": "llama", "head_dim": 12, **TINY},
    "tiny-qwen3": {"model_type": "qwen3", "head_dim": 16, **TINY},
    "qwen3-1.7b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
        "tie_word_embeddings": True,
    },
}


def random_module(name: str, seed: int, layers: int | None, *, fill: bool = True) -> Any:
    """The built-in model `name` with its first `layers` decoder layers (all when None); the 1.7B one in bfloat16.

    Without `fill` the weights are left undefined, for who only looks at shapes.
    """
    torch = require("torch")
    values = dict(CONFIGS[name])
    if layers is not None:
        values["num_hidden_layers"] = layers
    large = values["hidden_size"] >= 1024
    module = empty_module(make_config(values, name), name, torch.bfloat16 if large else torch.float32)
    for parameter_name, parameter in module.named_parameters() if fill else ():
        _fill(parameter, parameter_name, seed, torch)
    module.tie_weights()
    return module


def _fill(parameter: Any, name: str, seed: int, torch: Any) -> None:
    """Normal weights of deviation 1/sqrt(inputs), so that activations keep their size; norm weights around one."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    with torch.no_grad():
        if parameter.dim() == 1:
            parameter.normal_(1.0, 0.1, generator=generator)
        else:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
