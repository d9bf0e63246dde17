"""Tokenizers of GGUF files: llama.cpp's own tokens of 560 texts in many languages, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from lutllm.errors import InputError
from lutllm.models.gguf_tokenizer import PRE_TOKENIZERS, tokenizer_from_gguf

KNOWN = json.loads((Path(__file__).parent / "Inputs" / "gguf_tokens.json").read_text())


def keys(kind: str = "smollm", **others: Any) -> dict[str, Any]:
    """The keys of a file with the tokenizer `kind`, as `test/bench/llamacpp_tokens.py` writes them."""
    if kind in PRE_TOKENIZERS:
        tokens = KNOWN["vocabulary"]
        found = {"model": "gpt2", "pre": kind, "merges": KNOWN["merges"]}
        found["token_type"] = [3 if token.startswith("<|") else 1 for token in tokens]
    else:
        tokens = KNOWN["pieces"]
        found = {"model": "llama", "scores": [-float(i) for i in range(len(tokens))]}
        found |= {"token_type": [2, 3, 3, *[6] * 256, *[1] * (len(tokens) - 259)]}
        found["add_space_prefix"] = "no prefix" not in kind
    ids = {"bos_token_id": tokens.index("<|start|>"), "eos_token_id": tokens.index("<|end|>")}
    return {f"tokenizer.ggml.{key}": value for key, value in {**found, "tokens": tokens, **ids, **others}.items()}


@pytest.mark.parametrize("kind", KNOWN["tokens"])
def test_tokens_are_those_of_llama_cpp(kind, tmp_path):
    """The hash was made of llama.cpp's tokens; saved and loaded, the tokenizer is the same."""
    tokenizer_from_gguf(keys(kind), "x.gguf").save_pretrained(tmp_path)
    from lutllm.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tmp_path)
    ids = [tokenizer(text)["input_ids"] for text in KNOWN["texts"]]
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest() == KNOWN["tokens"][kind]


def test_every_pre_tokenizer_was_compared_and_they_differ():
    assert len(KNOWN["texts"]) >= 500
    assert set(PRE_TOKENIZERS) <= set(KNOWN["tokens"])
    assert (
        len({KNOWN["tokens"][kind] for kind in ("default", "llama-bpe", "smaug-bpe", "gpt-2", "smollm", "qwen2")}) == 6
    )


@pytest.mark.parametrize("kind", ["llama-bpe", "smollm", "sentencepiece", "sentencepiece, no prefix"])
def test_text_comes_back(kind):
    tokenizer = tokenizer_from_gguf(keys(kind), "x.gguf")
    for text in KNOWN["texts"][:40]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_what_a_text_starts_and_ends_with():
    def ids(**others: Any) -> list[int]:
        return tokenizer_from_gguf(keys("llama-bpe", **others), "x.gguf")("x")["input_ids"]

    start, end = (KNOWN["vocabulary"].index(token) for token in ("<|start|>", "<|end|>"))
    assert ids() == [start, KNOWN["vocabulary"].index("x")]
    assert ids(add_bos_token=False, add_eos_token=True) == [KNOWN["vocabulary"].index("x"), end]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"pre": "viking"}, "expected a pre-tokenizer 'tokenizer.ggml.pre' among default, .*, got 'viking'"),
        ({"model": "bert"}, "expected a tokenizer.ggml.model of gpt2, llama, got 'bert'"),
        (
            {"precompiled_charsmap": [1, 2]},
            "expected .* without 'tokenizer.ggml.precompiled_charsmap', which is not applied",
        ),
        ({"remove_extra_whitespaces": True}, "expected a tokenizer without 'tokenizer.ggml.remove_extra_whitespaces'"),
        ({"eot_token_id": 10**6}, "expected 'tokenizer.ggml.eot_token_id' below"),
        ({"merges": ["a"]}, "expected a vocabulary that a tokenizer can be made of"),
    ],
)
def test_what_is_not_applied_is_refused(others, message):
    with pytest.raises(InputError, match=f"x.gguf: {message}"):
        tokenizer_from_gguf(keys(**others), "x.gguf")


def test_a_file_without_a_tokenizer():
    assert tokenizer_from_gguf({"tokenizer.ggml.model": "no_vocab"}, "x.gguf") is None
