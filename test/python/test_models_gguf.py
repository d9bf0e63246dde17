"""GGUF files: de-quantized once into the cache, refused when damaged."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

from lutllm import models  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import gguf_file  # noqa: E402

HEADS, KV_HEADS = 4, 2
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The order of rotary channels llama.cpp stores: pairs (i, i + half) side by side."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(path: Path, architecture: str = "llama", nan: bool = False) -> models.LoadedModel:
    """Write tiny-llama as llama.cpp's converter does; return the original."""
    loaded = models.load("tiny-llama")
    if nan:
        loaded.module.model.layers[1].mlp.down_proj.weight[2, 3] = float("nan")
    config = loaded.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tensors = dict(loaded.module.named_parameters())
    writer.add_tensor("token_embd.weight", tensors["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", tensors["model.norm.weight"].numpy())
    for layer in range(config.num_hidden_layers):
        for theirs, ours in NAMES.items():
            tensor = tensors[f"model.layers.{layer}.{ours}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(theirs)
            tensor = interleaved(tensor, heads) if heads else tensor
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return loaded


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
    for (name, one), (_, other) in zip(
        original.module.named_parameters(), loaded.module.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    monkeypatch.setattr(gguf_file, "_convert", lambda *_: pytest.fail("converted twice"))
    assert models.load(tmp_path / "tiny.gguf").fingerprint == loaded.fingerprint
    assert not list(cache.glob(".building-*"))


def test_damaged_cache_entry_is_made_again(file, cache):
    before = models.load(file).fingerprint
    weights = next(cache.glob("gguf-*/model.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    assert models.load(file).fingerprint == before


def test_interrupted_conversion_leaves_no_entry(file, cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_file, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        models.load(file)
    assert list(cache.iterdir()) == []


def test_full_disk_is_one_error(file, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_file, "_write", full)
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


def test_unsupported_gguf_architecture(tmp_path, cache):
    write(tmp_path / "other.gguf", "mamba")
    with pytest.raises(InputError, match="expected an architecture of llama, qwen3, got 'mamba'"):
        models.load(tmp_path / "other.gguf")


def test_weights_that_are_not_finite(tmp_path, cache):
    write(tmp_path / "nan.gguf", nan=True)
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
    (next(cache.glob("gguf-*")) / "source.json").unlink()
    models.load(file)
    assert not old.exists()
    assert new.exists()


def test_cache_directory_that_cannot_be_made(file, monkeypatch):
    monkeypatch.setenv("LUTLLM_CACHE", str(file / "below-a-file"))
    with pytest.raises(InputError, match="expected a cache directory that can be written"):
        models.load(file)
