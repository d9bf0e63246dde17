"""GGUF files: de-quantized once into the cache, every key and tensor applied or refused, refused when damaged."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import gguf_file  # noqa: E402

HEADS, KV_HEADS = 4, 2
NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
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
GEMMA3 = {
    **NAMES,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The order of rotary channels llama.cpp stores: pairs (i, i + half) side by side."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write(
    path: Path,
    architecture: str = "llama",
    module: Any = None,
    *,
    keys: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
    endianess: Any = gguf.GGUFEndian.LITTLE,
) -> Any:
    """Write a module (tiny-llama) as llama.cpp's converter does, with further keys and tensors; return it."""
    module = module or models.load("tiny-llama").module
    config = module.config
    head_dim = config.head_dim
    values = {"block_count": config.num_hidden_layers, "context_length": config.max_position_embeddings}
    values |= {"embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size}
    values |= {"attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "rope.dimension_count": head_dim}
    values |= {"attention.key_length": head_dim, "attention.value_length": head_dim, "rope.freq_base": 10000.0}
    values |= {"attention.layer_norm_rms_epsilon": config.rms_norm_eps, "vocab_size": config.vocab_size}
    writer = gguf.GGUFWriter(path, architecture, endianess=endianess)
    for key, value in {**{f"{architecture}.{key}": value for key, value in values.items()}, **(keys or {})}.items():
        kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        kinds.get(type(value), writer.add_array)(key, value)
    for name, tensor in module.named_parameters():
        *_, owner, kind = name.split(".")
        heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(owner) if architecture == "llama" else None
        array = (interleaved(tensor, heads) if heads else tensor).contiguous().numpy()
        names = GEMMA3 if architecture == "gemma3" else NAMES
        theirs = next(their for their, our in names.items() if our.endswith(owner))
        array = array + 1 if architecture == "gemma3" and owner.endswith("norm") else array
        layer = name.split(".")[2] if name.startswith("model.layers.") else None
        writer.add_tensor(f"blk.{layer}.{theirs}.{kind}" if layer else f"{theirs}.{kind}", array)
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, np.asarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return module


def made(architecture: str = "llama", **values: Any) -> Any:
    """A module of transformers with random weights."""
    names = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma3_text": "Gemma3"}
    known = {**models.random_weights.TINY, "head_dim": 12, **values}
    kind = "TextConfig" if architecture == "gemma3_text" else "Config"
    config = getattr(transformers, names[architecture] + kind)(**known)
    torch.manual_seed(0)
    module = getattr(transformers, f"{names[architecture]}ForCausalLM")(config).eval().requires_grad_(False)
    for name, parameter in module.named_parameters():
        if name.endswith("proj.weight"):
            parameter.normal_(0, 1.5 * parameter.shape[1] ** -0.5)
        if name.endswith(".bias"):
            parameter.normal_()
        if name.endswith("norm.weight") and architecture == "gemma3_text":
            parameter.normal_(0, 0.3)
    return module


def windowed(rope: dict[str, Any] | None = None, **values: Any) -> Any:
    """Gemma 3: one layer with a window and one without, RoPE of their own."""
    full = {"rope_type": "default", "rope_theta": 1e4, **(rope or {})}
    kinds = {"sliding_attention": {"rope_type": "default", "rope_theta": 5e3}, "full_attention": full}
    known = {"layer_types": list(kinds), "sliding_window": 50, "query_pre_attn_scalar": 12, **values}
    return made("gemma3_text", rope_parameters=kinds, **known)


def logits(module: Any) -> torch.Tensor:
    return module(torch.randint(320, (1, 200), generator=torch.Generator().manual_seed(1))).logits


YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 8192}
LLAMA3 |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALING = "llama.rope.scaling."


def factors(module: Any) -> np.ndarray:
    """What llama.cpp divides the frequencies of RoPE by, from what transformers makes of them."""
    size = module.config.head_dim
    return 1e4 ** (-np.arange(0, size, 2) / size) / module.model.rotary_emb.inv_freq.numpy()


GEMMA3_KEYS = {"gemma3.attention.sliding_window": 50, "gemma3.attention.sliding_window_pattern": 2}
GEMMA3_KEYS["gemma3.rope.freq_base_swa"] = 5e3
MEANINGS = {
    "biases": (made(attention_bias=True), {}, {}),
    "feed-forward biases": (made(mlp_bias=True), {}, {}),
    "own head": (made(tie_word_embeddings=False), {}, {}),
    "wide heads": (made(head_dim=16), {}, {}),
    "linear": (
        made(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
        {f"{SCALING}type": "linear", f"{SCALING}factor": 4.0},
        {},
    ),
    "a factor is linear": (
        made(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
        {"llama.rope.scale_linear": 4.0},
        {},
    ),
    "yarn": (
        made(rope_parameters=YARN),
        {f"{SCALING}type": "yarn", f"{SCALING}factor": 4.0, f"{SCALING}original_context_length": 128},
        {},
    ),
    "none": (made(), {f"{SCALING}type": "none", f"{SCALING}factor": 4.0}, {}),
    "factors of Llama 3": (
        made(rope_parameters=LLAMA3),
        {},
        {"rope_freqs.weight": factors(made(rope_parameters=LLAMA3))},
    ),
    "qwen2": (made("qwen2"), {}, {}),
    "qwen3": (made("qwen3"), {}, {}),
    "gemma3": (windowed(), GEMMA3_KEYS, {}),
    "gemma3, positions scaled where all is seen": (
        windowed({"rope_type": "linear", "factor": 8.0}),
        {**GEMMA3_KEYS, "gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0},
        {},
    ),
    "gemma3, a window in every layer": (
        windowed(layer_types=["sliding_attention"] * 2),
        {**GEMMA3_KEYS, "gemma3.attention.sliding_window_pattern": 6},
        {},
    ),
    "a window as long as the context": (made(), {"llama.attention.sliding_window": 512}, {}),
    "one value a layer": (made(), {"llama.attention.head_count_kv": [2, 2]}, {}),
}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path, cache) -> Path:
    write(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def test_gguf_gives_the_weights_back_and_converts_once(tmp_path, cache, monkeypatch):
    original = write(tmp_path / "tiny.gguf")
    loaded = models.load(tmp_path / "tiny.gguf")
    assert loaded.name == "tiny"
    assert loaded.tokenizer is None
    for (name, one), (_, other) in zip(original.named_parameters(), loaded.module.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    monkeypatch.setattr(gguf_file, "_convert", lambda *_: pytest.fail("converted twice"))
    assert models.load(tmp_path / "tiny.gguf").fingerprint == loaded.fingerprint
    assert not list(cache.glob(".building-*"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_cache_entry_is_made_again(file, cache, name):
    before = models.load(file).fingerprint
    damaged = next(cache.glob(f"gguf-*/{name}"))
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    assert models.load(file).fingerprint == before
    assert damaged.read_bytes() == data


def test_interrupted_conversion_leaves_no_entry(file, cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_file, "sha256_of", stop)
    with pytest.raises(KeyboardInterrupt):
        models.load(file)
    assert list(cache.iterdir()) == []


def test_full_disk_is_one_error(file, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_file, "sha256_of", full)
    with pytest.raises(InputError, match="No space left on device; free some space or set LUTLLM_CACHE"):
        models.load(file)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_truncated_gguf(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"tiny\.gguf: expected .*; download it again"):
        models.load(file)


@pytest.mark.parametrize("at", [4, 8, 16, 24])
def test_corrupt_gguf_header(file, at):
    data = bytearray(file.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"tiny\.gguf: expected .*; download it again"):
        models.load(file)


def test_file_that_is_no_gguf(tmp_path, cache):
    (tmp_path / "model.gguf").write_text("hello")
    with pytest.raises(InputError, match="expected a GGUF file starting with 'GGUF', got b'hell'"):
        models.load(tmp_path / "model.gguf")


@pytest.mark.parametrize("name", MEANINGS)
def test_what_a_file_says_is_applied(tmp_path, cache, name):
    """The model is that of transformers with the same meaning; without the key or tensor it would be another."""
    module, keys, tensors = MEANINGS[name]
    write(tmp_path / "tiny.gguf", module.config.model_type.removesuffix("_text"), module, keys=keys, tensors=tensors)
    loaded = models.load(tmp_path / "tiny.gguf").module
    assert torch.allclose(logits(loaded), logits(module), rtol=0, atol=1e-6 * float(logits(module).abs().max()))
    if keys.keys() - {f"{SCALING}type"} and module.config.rope_parameters.get("rope_type", "default") != "default":
        assert float((logits(made()) - logits(module)).abs().max()) > 0.1 * float(logits(module).abs().max())


def test_windows_of_gemma_3_matter():
    """Each of what its file says gives other logits."""
    one = logits(windowed())
    others = [
        windowed(sliding_window=200),
        windowed(layer_types=["sliding_attention"] * 2),
        windowed({"rope_theta": 1e6}),
    ]
    assert all(float((logits(other) - one).abs().max()) > 0.1 * float(one.abs().max()) for other in others)


@pytest.mark.parametrize(
    ("keys", "got"),
    [
        ({"gemma3.attention.sliding_window": 0}, "above 0 and its pattern as a period of layers, got 0"),
        (
            {"gemma3.attention.sliding_window_pattern": [True, True]},
            "as a period of layers, got 50 and the pattern True",
        ),
        ({"gemma3.final_logit_softcapping": 30.0}, "without 'gemma3.final_logit_softcapping', got 30.0"),
    ],
)
def test_windows_that_are_not_applied_are_refused(tmp_path, cache, keys, got):
    write(tmp_path / "odd.gguf", "gemma3", windowed(), keys={**GEMMA3_KEYS, **keys})
    with pytest.raises(InputError, match=rf"odd\.gguf: .*{got}"):
        models.load(tmp_path / "odd.gguf")


def test_biases_that_a_file_has_not_are_zero(tmp_path, cache):
    module = made("qwen2")  # biases of q, k and v alone
    write(tmp_path / "tiny.gguf", "llama", module)
    loaded = models.load(tmp_path / "tiny.gguf").module
    assert torch.allclose(logits(loaded), logits(module), rtol=0, atol=1e-5)
    assert not loaded.model.layers[0].self_attn.o_proj.bias.any()


@pytest.mark.parametrize(
    ("keys", "got"),
    [
        ({"llama.attention.sliding_window": 64}, "without 'llama.attention.sliding_window', got 64; it is not applied"),
        ({"llama.context_length": 0}, "max_position_embeddings is 0, not a whole number above 0; fix odd.gguf"),
        ({"llama.expert_count": 8}, "without 'llama.expert_count', got 8"),
        ({"llama.rope.dimension_count": 6}, "without 'llama.rope.dimension_count', got 6"),
        ({"llama.attention.value_length": 6}, "without 'llama.attention.value_length', got 6"),
        ({"llama.logit_scale": 0.5}, "without 'llama.logit_scale', got 0.5"),
        ({"llama.rope.scaling.type": "longrope"}, "'llama.rope.scaling.type' linear, yarn or none, got 'longrope'"),
        ({"llama.rope.scaling.yarn_beta_fast": 8.0}, "without 'llama.rope.scaling.yarn_beta_fast', got 8.0"),
        ({"llama.rope.scaling.attn_factor": 2.0}, "without 'llama.rope.scaling.attn_factor', got 2.0"),
        ({"llama.feed_forward_length": [80, 96]}, r"layers alike, one value of .*, got \[80, 96\]"),
        ({"qwen2.attention.head_count": 4}, "keys of llama alone, got 'qwen2.attention.head_count'"),
        ({"general.type": "adapter"}, "expected a model, got general.type = 'adapter'"),
        ({"split.count": 3, "split.no": 0}, "expected a whole model, got part 1 of 3; merge the parts"),
    ],
)
def test_a_key_that_is_not_applied_is_refused(tmp_path, cache, keys, got):
    write(tmp_path / "odd.gguf", keys=keys)
    with pytest.raises(InputError, match=rf"odd\.gguf: .*{got}"):
        models.load(tmp_path / "odd.gguf")
    assert list(cache.glob("*")) == []


@pytest.mark.parametrize("name", ["blk.0.attn_rot_embd.weight", "blk.9.attn_q.weight", "cls.weight", "attn_q.weight"])
def test_a_tensor_that_nothing_reads_is_refused(tmp_path, cache, name):
    write(tmp_path / "odd.gguf", tensors={name: np.zeros(4)})
    with pytest.raises(InputError, match=rf"odd\.gguf: expected the tensors of a llama model, got '{name}'"):
        models.load(tmp_path / "odd.gguf")


def test_factors_that_are_not_those_of_llama_3(tmp_path, cache):
    write(tmp_path / "odd.gguf", tensors={"rope_freqs.weight": [1, 1, 1, 2, 3, 8]})
    with pytest.raises(
        InputError, match=r"expected the factors of Llama 3 in 'rope_freqs.weight', got \[1.0, 1.0, 1.0"
    ):
        models.load(tmp_path / "odd.gguf")


def test_a_missing_tensor_is_named_with_the_file(file):
    file.write_bytes(file.read_bytes().replace(b"token_embd.weight", b"token_embd.weighs"))
    with pytest.raises(InputError, match=r"tiny\.gguf: expected the tensor 'token_embd.weight', got none"):
        models.load(file)


def test_big_endian_file(tmp_path, cache):
    write(tmp_path / "big.gguf", endianess=gguf.GGUFEndian.BIG)
    with pytest.raises(InputError, match=r"big\.gguf: expected a little-endian GGUF file, got a big-endian one"):
        models.load(tmp_path / "big.gguf")


def test_unsupported_gguf_architecture(tmp_path, cache):
    write(tmp_path / "other.gguf", "mamba")
    with pytest.raises(InputError, match="expected an architecture of llama, qwen2, qwen3, gemma3, got 'mamba'"):
        models.load(tmp_path / "other.gguf")


def test_weights_that_are_not_finite(tmp_path, cache):
    module = made()
    module.model.layers[1].mlp.down_proj.weight[2, 3] = float("nan")
    write(tmp_path / "nan.gguf", module=module)
    with pytest.raises(
        InputError, match=r"nan\.gguf: expected finite .* nan in 'model\.layers\.1\.mlp\.down_proj\.weight' at \[2, 3\]"
    ):
        models.load(tmp_path / "nan.gguf")
    assert list(cache.iterdir()) == []


def test_abandoned_work_is_removed(file, cache):
    models.load(file)
    old, new = cache / ".building-old", cache / ".building-new"
    for path in (old, new):
        path.mkdir()
    os.utime(old, (0, 0))
    (next(cache.glob("gguf-*")) / "sha256.json").unlink()
    models.load(file)
    assert not old.exists()
    assert new.exists()


def test_cache_directory_that_cannot_be_made(file, monkeypatch):
    monkeypatch.setenv("LUTLLM_CACHE", str(file / "below-a-file"))
    with pytest.raises(InputError, match="expected a cache directory that can be written"):
        models.load(file)
