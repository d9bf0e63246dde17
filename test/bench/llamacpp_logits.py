"""Logits of GGUF files beside llama.cpp's: tiny models of every kind that is read go in, the largest differences out.

Each file has something that changes what a model computes - biases, scaled positions, factors of frequencies, wide
heads - and random float32 weights. llama.cpp comes as in `llamacpp.py` and says the probabilities of the token after
random ids; its attention keeps keys and values in float32 here. The last column is the difference from the same file
without that key or tensor: what reading it wrong would cost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llamacpp import ask

SIZE, HEADS, KV_HEADS, WIDE, VOCABULARY, CONTEXT, LAYERS = 48, 4, 2, 80, 320, 512, 2
HEADS_NORMS = ("attn_q_norm", "attn_k_norm")
TOKENS = 200
AT_MOST = 1e-3  # of the largest logit; llama.cpp's products are of other order and its RoPE of float32


def write(path: Path, architecture: str, keys: dict[str, Any], tensors: dict[str, np.ndarray], head_dim: int) -> None:
    """A tiny model with these further keys and tensors."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(SIZE)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in keys.items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        (writer.add_float32 if isinstance(value, float) else add)(f"{architecture}.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["a", "b", "ab", *(chr(0x4E00 + i) for i in range(VOCABULARY - 3))])
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges(["a b"])
    for name, array in tensors.items():
        writer.add_tensor(name, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights(
    head_dim: int, *, norms: tuple[str, ...] = (), biases: tuple[str, ...] = (), head: bool = False
) -> dict[str, Any]:
    """Random tensors of a decoder, with these further norms and biases."""
    random = np.random.default_rng(0)
    q, kv = HEADS * head_dim, KV_HEADS * head_dim
    linears = {"attn_q": (q, SIZE), "attn_k": (kv, SIZE), "attn_v": (kv, SIZE), "attn_output": (SIZE, q)}
    linears |= {"ffn_gate": (WIDE, SIZE), "ffn_up": (WIDE, SIZE), "ffn_down": (SIZE, WIDE)}
    gains = {name: head_dim if name in HEADS_NORMS else SIZE for name in ("attn_norm", "ffn_norm", *norms)}
    found = {
        "token_embd.weight": random.normal(size=(VOCABULARY, SIZE)),
        "output_norm.weight": 1 + random.normal(size=SIZE) / 9,
    }
    if head:
        found["output.weight"] = random.normal(size=(VOCABULARY, SIZE)) / 3
    for layer in range(LAYERS):
        for name, shape in linears.items():
            found[f"blk.{layer}.{name}.weight"] = random.normal(size=shape) * 1.5 / shape[1] ** 0.5
        for name, size in gains.items():
            found[f"blk.{layer}.{name}.weight"] = 1 + random.normal(size=size) / 9
        for name in biases:
            found[f"blk.{layer}.{name}.bias"] = random.normal(size=linears[name][0])
    return found


def llama3(head_dim: int) -> np.ndarray:
    """The factors that llama.cpp's converter writes for Llama 3.1."""
    waves = 2 * np.pi * 10000.0 ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = (8192 / waves - 1) / 3
    return np.where(waves < 8192 / 4, 1, np.where(waves > 8192, 8.0, 1 / ((1 - smooth) / 8.0 + smooth)))


QKV = ("attn_q", "attn_k", "attn_v")
SANDWICH = (*HEADS_NORMS, "post_attention_norm", "post_ffw_norm")
CASES: dict[str, tuple[str, dict[str, Any], Callable[[], dict[str, Any]], int]] = {
    "llama": ("llama", {}, lambda: weights(12), 12),
    "llama, own head": ("llama", {}, lambda: weights(12, head=True), 12),
    "llama, wide heads": ("llama", {}, lambda: weights(16), 16),
    "llama, q/k/v/o biases": ("llama", {}, lambda: weights(12, biases=(*QKV, "attn_output")), 12),
    "llama, q/k/v biases": ("llama", {}, lambda: weights(12, biases=QKV), 12),
    "llama, feed-forward biases": ("llama", {}, lambda: weights(12, biases=("ffn_gate", "ffn_up", "ffn_down")), 12),
    "llama, Llama 3 factors": ("llama", {}, lambda: {**weights(12), "rope_freqs.weight": llama3(12)}, 12),
    "llama, theta": ("llama", {"rope.freq_base": 5e5}, lambda: weights(12), 12),
    "llama, linear": ("llama", {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, lambda: weights(12), 12),
    "llama, factor alone": ("llama", {"rope.scaling.factor": 4.0}, lambda: weights(12), 12),
    "llama, factor, type none": (
        "llama",
        {"rope.scaling.type": "none", "rope.scaling.factor": 4.0},
        lambda: weights(12),
        12,
    ),
    "llama, scale_linear": ("llama", {"rope.scale_linear": 4.0}, lambda: weights(12), 12),
    "llama, yarn": (
        "llama",
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 128},
        lambda: weights(12),
        12,
    ),
    "qwen2": ("qwen2", {}, lambda: weights(12, biases=QKV), 12),
    "qwen3": ("qwen3", {}, lambda: weights(16, norms=HEADS_NORMS), 16),
    "gemma3": ("gemma3", {"attention.sliding_window": 512}, lambda: weights(20, norms=SANDWICH), 20),
    "gemma3, windows": ("gemma3", {"attention.sliding_window": 50}, lambda: weights(20, norms=SANDWICH), 20),
    "gemma3, one layer of two": (
        "gemma3",
        {
            "attention.sliding_window": 50,
            "attention.sliding_window_pattern": 2,
            "rope.freq_base": 1e6,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
        lambda: weights(20, norms=SANDWICH),
        20,
    ),
}


def theirs(gguf: Path, ids: list[int]) -> np.ndarray | str:
    """llama.cpp's log-probabilities of every token after `ids`, or why it has none."""
    request = {"prompt": ids, "n_predict": 1, "n_probs": VOCABULARY, "temperature": 1.0, "cache_prompt": False}
    answers = ask(gguf, "/completion", [request])
    if isinstance(answers, str):
        return answers
    found = np.full(VOCABULARY, np.nan)
    for one in answers[0]["completion_probabilities"][0]["top_logprobs"]:
        found[one["id"]] = one["logprob"]
    return found


def ours(gguf: Path, ids: list[int]) -> np.ndarray:
    import torch

    from lutllm import models

    with torch.no_grad():
        logits = models.load(gguf).module(input_ids=torch.tensor([ids])).logits[0, -1].double()
    return torch.log_softmax(logits, 0).numpy()


def real(name: str, tokens: int) -> int:
    """A real model on real text: after each eighth token, the likeliest next token and log-probabilities of both.

    llama.cpp rounds activations to 8 bits before products with 4-bit to 8-bit weights, which moves logits: hence a
    second file, with the same weights in float32, for which the two are to agree."""
    import torch

    from lutllm import models
    from lutllm.models.packaged import PACKAGED
    from lutllm.models.text import default_text

    loaded = models.load(name)
    ids = loaded.tokenizer("".join(default_text().documents.values())[: 8 * tokens])["input_ids"][:tokens]
    with torch.no_grad():
        ours = torch.log_softmax(loaded.module(input_ids=torch.tensor([ids])).logits[0].double(), -1).numpy()
    ends = range(8, len(ids) + 1, 8)
    asked = {"n_predict": 1, "n_probs": 20, "temperature": 1.0, "cache_prompt": True}
    requests = [{"prompt": ids[:end], **asked} for end in ends]
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "float32.gguf"
        widened(PACKAGED[name].file(), wide)
        _, share = (agreement(path, requests, ours) for path in (PACKAGED[name].file(), wide))
    return 0 if share >= 0.99 else 1


def agreement(gguf: Path, requests: list[dict[str, Any]], ours: np.ndarray) -> float:
    """The share of requests after which both find the same token likeliest."""
    answers = ask(gguf, "/completion", requests)
    if isinstance(answers, str):
        print(f"{gguf.name}: llama.cpp: {answers}")
        return 0.0
    same, errors = 0, []
    for request, answer in zip(requests, answers, strict=True):
        found = answer["completion_probabilities"][0]["top_logprobs"]
        row = ours[len(request["prompt"]) - 1]
        same += found[0]["id"] == int(row.argmax())
        errors += [abs(row[one["id"]] - one["logprob"]) for one in found]
    print(
        f"{gguf.name}: the same likeliest token after {same} of {len(requests)} prompts; log-probabilities of "
        f"llama.cpp's likeliest 20 differ by {np.median(errors):.2g} (median), {max(errors):.2g} (most)"
    )
    return same / len(requests)


def widened(gguf: Path, to: Path) -> None:
    """The same file with its weights in float32."""
    from gguf import GGUFReader, GGUFWriter, dequantize

    reader = GGUFReader(gguf)
    writer = GGUFWriter(to, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--model", metavar="NAME", help="a real model that `lutllm models` lists, on real text")
    parser.add_argument("--tokens", type=int, default=1024, metavar="N", help="of that text, default 1024")
    options = parser.parse_args()
    if options.model:
        return real(options.model, options.tokens)
    ids = np.random.default_rng(1).integers(0, VOCABULARY, TOKENS).tolist()
    plain: dict[int, np.ndarray] = {}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (architecture, keys, tensors, head_dim) in CASES.items():
            if options.names and name not in options.names:
                continue
            path = Path(folder) / "tiny.gguf"
            write(path, architecture, keys, tensors(), head_dim)
            wanted, got = theirs(path, ids), ours(path, ids)
            if isinstance(wanted, str):
                print(f"{name:28} llama.cpp: {wanted}")
                wrong += 1
                continue
            plain.setdefault(head_dim, wanted)
            scale = np.ptp(wanted)
            error, cost = (float(np.abs(a - wanted).max() / scale) for a in (got, plain[head_dim]))
            wrong += not error <= AT_MOST
            print(f"{name:28} largest difference {error:.1e} of the range of logits; from the plain model {cost:.2f}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
