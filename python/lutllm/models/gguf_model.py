"""What a GGUF file says of a model: its keys and tensors in, a transformers configuration and named weights out.

Every key and every tensor is used as the tables here say, or is refused by name: one that is skipped gives another
model. What they mean is what llama.cpp makes of them (`src/llama-model.cpp`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.models.hf import one_line


@dataclass(frozen=True)
class Architecture:
    """How an architecture's files are read. `interleaved`: the rotary channels of a head are stored in pairs
    (i, i + half), side by side. `gain_above_one`: a norm's gain is stored with the 1 that transformers adds."""

    model_type: str
    interleaved: bool = False
    gain_above_one: bool = False
    tensors: Mapping[str, str] = field(default_factory=dict)  # of a layer, other than `_LAYER_TENSORS`


_SANDWICH = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
ARCHITECTURES = {
    "llama": Architecture("llama", interleaved=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma3": Architecture("gemma3_text", gain_above_one=True, tensors=_SANDWICH),
}
_NEEDED = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
# A key after the architecture's name: the field of the configuration that holds its value.
_FIELDS = {
    **_NEEDED,
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
_SCALING = "rope.scaling."
# Keys that `GgufModel.rope` reads, the last for yarn alone.
_ROPE = (f"{_SCALING}type", f"{_SCALING}factor", "rope.scale_linear", f"{_SCALING}original_context_length")
# Keys that `GgufModel._gemma3` reads.
_GEMMA3 = {"attention.sliding_window", "attention.sliding_window_pattern", "rope.freq_base_swa"}
_FULL, _WINDOW = "full_attention", "sliding_attention"
# Keys that no field holds: the values with which they change nothing.
_WITHOUT_EFFECT: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "attention.value_length": lambda value, config: value == config["head_dim"],
    "rope.dimension_count": lambda value, config: value == config["head_dim"],
    "attention.sliding_window": lambda value, config: not 0 < value < config["max_position_embeddings"],
    "attention.causal": lambda value, _: value is True,
    **dict.fromkeys(
        ("expert_count", "expert_used_count", "attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias"),
        lambda value, _: value == 0,
    ),
    **dict.fromkeys(
        [_SCALING + name for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor")],
        lambda value, _: value == 1,
    ),
    f"{_SCALING}yarn_beta_fast": lambda value, _: value == 32,  # llama.cpp computes with these whatever a file says
    f"{_SCALING}yarn_beta_slow": lambda value, _: value == 1,
    f"{_SCALING}finetuned": lambda *_: True,  # whether the factor was trained with: the factor applies either way
}
# Namespaces besides the architecture's that bear on the numbers; those of others are notes of who made the file.
_REFUSED = ("adapter", "clip", "control_vector", *ARCHITECTURES)
_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding", "unk_token_id": "unknown"}
_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAME = re.compile(r"(blk\.\d+\.)?(\w+)\.(weight|bias)")
_ROPE_FACTORS = "rope_freqs.weight"  # [head_dim / 2], what each frequency is divided by
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


class GgufModel:
    """The keys and tensors of a GGUF file; `source` names it in errors."""

    def __init__(self, keys: dict[str, Any], tensors: dict[str, Any], source: str) -> None:
        self.keys, self.tensors, self.source = keys, tensors, source
        self.architecture = str(self.keys.get("general.architecture"))
        if self.architecture not in ARCHITECTURES:
            raise self.wrong(f"an architecture of {', '.join(ARCHITECTURES)}", repr(self.architecture))
        self.reading = ARCHITECTURES[self.architecture]
        if (kind := self.keys.get("general.type", "model")) != "model":
            raise self.wrong("a model", f"general.type = {kind!r}")
        if (parts := self.keys.get("split.count", 1)) > 1:
            got = f"part {self.keys.get('split.no', 0) + 1} of {parts}"
            raise self.wrong("a whole model", got, "merge the parts, as llama-gguf-split --merge does")

    def wrong(self, expected: str, got: str, advice: str = "choose another model") -> InputError:
        return InputError(f"{self.source}: expected {expected}, got {got}; {advice}")

    def key(self, name: str, default: Any = None) -> Any:
        """The value of a key of the architecture; of one for each layer, what all have."""
        value = self.keys.get(f"{self.architecture}.{name}", default)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise self.wrong(f"layers alike, one value of '{self.architecture}.{name}'", f"{value[:8]}")
        return value[0]

    def config(self) -> dict[str, Any]:
        """The contents of a config.json. InputError for a key that would change the model and is not read."""
        missing = [key for key in _NEEDED if self.key(key) is None]
        if missing or "token_embd.weight" not in self.tensors:
            what = f"key '{self.architecture}.{missing[0]}'" if missing else "tensor 'token_embd.weight'"
            raise self.wrong(f"the {what}", "none", "download it again")
        config = {field: self.key(key) for key, field in _FIELDS.items() if self.key(key) is not None}
        config.setdefault("head_dim", config["hidden_size"] // max(1, config["num_attention_heads"]))
        config.setdefault("vocab_size", int(self.tensors["token_embd.weight"].shape[-1]))
        config |= {"model_type": self.reading.model_type, "tie_word_embeddings": "output.weight" not in self.tensors}
        biases = {name.split(".")[-2] for name in self.tensors if name.endswith(".bias")}
        if any(name.startswith("attn_") for name in biases) and self.architecture != "qwen2":
            config["attention_bias"] = True
        if any(name.startswith("ffn_") for name in biases):
            config["mlp_bias"] = True
        rope, read = self.rope(config)
        if self.architecture == "gemma3":
            rope, read = self._gemma3(config, rope), read | _GEMMA3
        self._refuse_keys(config, read)
        ids = {field: self.keys.get(f"tokenizer.ggml.{name}_token_id") for field, name in _IDS.items()}
        return config | rope | {field: number for field, number in ids.items() if number is not None}

    def rope(self, config: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """(`rope_parameters` where positions are scaled, keys that were read)."""
        theta = config.get("rope_theta", 10000.0)
        kind, factor = self.key(f"{_SCALING}type", "linear"), self.key(f"{_SCALING}factor", 0.0)
        factor = float(factor or self.key("rope.scale_linear", 0.0) or 1.0)
        read, found = set(_ROPE), {"rope_type": kind, "rope_theta": theta, "factor": factor}
        if kind == "yarn":
            found["original_max_position_embeddings"] = self.key(_ROPE[-1], config["max_position_embeddings"])
        elif kind == "none":
            read |= {key for key in self._own() if key.startswith(_SCALING)}
            factor = 1.0
        elif kind != "linear":
            raise self.wrong(f"'{self.architecture}.{_SCALING}type' linear, yarn or none", repr(kind))
        if _ROPE_FACTORS in self.tensors:
            if factor != 1.0:
                raise self.wrong(f"either '{_ROPE_FACTORS}' or '{self.architecture}.{_ROPE[1]}'", "both")
            found, factor = self._llama3(config["head_dim"], theta), 0.0
        return ({} if factor == 1.0 else {"rope_parameters": found}), read

    def _gemma3(self, config: dict[str, Any], rope: dict[str, Any]) -> dict[str, Any]:
        """Gemma 3's kinds of layers, as llama.cpp has them (`src/models/gemma3.cpp`): all but each sixth, or what the
        pattern says, see a window, and positions of their own that are not scaled."""
        window, period = self.key("attention.sliding_window", 0), self.key("attention.sliding_window_pattern", 6)
        if not window > 0 or isinstance(period, bool):
            got = f"{window} and the pattern {period}"
            raise self.wrong("'gemma3.attention.sliding_window' above 0 and its pattern as a period of layers", got)
        layers, width = config["num_hidden_layers"], config["head_dim"]
        plain = {"rope_type": "default", "rope_theta": config.pop("rope_theta", 10000.0)}
        return {
            "sliding_window": window,
            "layer_types": [_FULL if period and layer % period == period - 1 else _WINDOW for layer in range(layers)],
            "query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"] if layers == 62 else width,
            "rope_parameters": {
                _FULL: rope.get("rope_parameters", plain),
                _WINDOW: {"rope_type": "default", "rope_theta": self.key("rope.freq_base_swa", 10000.0)},
            },
        }

    def _llama3(self, head_dim: int, theta: float) -> dict[str, Any]:
        """Factors of frequencies as Llama 3.1 has them; others are refused."""
        factors = self.dequantized(_ROPE_FACTORS).astype(np.float64)
        largest = float(factors.max(initial=1.0))
        waves = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
        low, high, context = _LLAMA3.values()
        smooth = np.clip((context / waves - low) / (high - low), 0, 1)
        wanted = 1 / ((1 - smooth) / largest + smooth)
        if factors.shape != wanted.shape or not np.allclose(factors, wanted, rtol=1e-5):
            raise self.wrong(f"the factors of Llama 3 in '{_ROPE_FACTORS}'", f"{[round(float(f), 4) for f in factors]}")
        return {"rope_type": "llama3", "rope_theta": theta, "factor": largest, **_LLAMA3}

    def _own(self) -> list[str]:
        """Keys of the architecture, without its name."""
        start = f"{self.architecture}."
        return [name.removeprefix(start) for name in self.keys if name.startswith(start)]

    def _refuse_keys(self, config: dict[str, Any], read: set[str]) -> None:
        for name in self.keys:
            namespace = name.partition(".")[0]
            if namespace in _REFUSED and namespace != self.architecture:
                raise self.wrong(f"keys of {self.architecture} alone", f"'{name}'")
        for key in self._own():
            value = self.key(key)
            harmless = _WITHOUT_EFFECT.get(key)
            if key not in _FIELDS and key not in read and not (harmless and harmless(value, config)):
                raise self.wrong(
                    f"a {self.architecture} model without '{self.architecture}.{key}'", repr(value), "it is not applied"
                )

    def weights(self, shapes: dict[str, tuple[int, ...]], heads: dict[str, int]) -> dict[str, np.ndarray]:
        """The de-quantized weights by their PyTorch names, float32, for the parameters of a module, which have these
        `shapes`; biases that the file does not have are zero. `heads` of q_proj and k_proj. InputError for a tensor
        that is missing, of another shape, or that nothing reads."""
        found: dict[str, np.ndarray] = {}
        for name in self.tensors:
            if name == _ROPE_FACTORS:
                continue
            wanted = self._parameter(name)
            if wanted not in shapes:
                raise self.wrong(f"the tensors of a {self.architecture} model", f"'{name}'", "nothing reads it")
            array = self.dequantized(name)
            if array.shape != shapes[wanted]:
                got = f"{list(array.shape)}"
                raise self.wrong(f"'{name}' of shape {list(shapes[wanted])}", got, "download it again")
            turned = heads.get(wanted.split(".")[-2]) if self.reading.interleaved else None
            above = self.reading.gain_above_one and wanted.endswith("norm.weight")
            found[wanted] = _halves(array, turned) if turned else array - 1 if above else array
        for name, shape in shapes.items():
            if name.endswith(".bias"):
                found.setdefault(name, np.zeros(shape, np.float32))
        missing = [name for name in shapes if name not in found]
        if missing:
            raise self.wrong(
                f"{len(shapes)} tensors", f"none for '{missing[0]}' ({len(missing)} are missing)", "download it again"
            )
        return found

    def _parameter(self, name: str) -> str:
        """The PyTorch name of a tensor, "" for one that has none."""
        match = _NAME.fullmatch(name)
        layer, part, kind = match.groups() if match else (None, "", "")
        known = _TENSORS if layer is None else {**_LAYER_TENSORS, **self.reading.tensors}
        return f"{layer or ''}{known[part]}.{kind}".replace("blk", "model.layers") if part in known else ""

    def dequantized(self, name: str) -> np.ndarray:
        """A tensor in float32."""
        import gguf

        tensor = self.tensors[name]
        try:
            return np.require(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32, "W")
        except Exception as error:
            got = f"{tensor.tensor_type.name} ({one_line(error)})"
            raise self.wrong(f"'{name}' of a type that gguf reads", got) from None


def _halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rotary channels of each head, stored as pairs (i, i + half), in their order."""
    return np.ascontiguousarray(array.reshape(heads, -1, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape))
