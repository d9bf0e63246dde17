"""Tokenizers: a checkpoint directory goes in, its own tokenizer comes out; random models get one token per byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.models.hf import one_line, require, silent

END_OF_TURN = ("<|im_end|>", "<|eot_id|>")  # some models end a turn with these without declaring it
NO_LIMIT = int(1e30)  # text is cut into windows later; a length warning would be noise
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Classes that add nothing to tokenizer.json: to find that out by AutoTokenizer loads torch, which takes seconds.
_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_tokenizer(directory: Path, embedded: int | None = None) -> Any | None:
    """The tokenizer saved in `directory`, or None; `embedded` is for how many tokens the model has an embedding."""
    if not has_tokenizer(directory):
        return None
    transformers = require("transformers")
    try:
        with silent():
            loader = transformers.PreTrainedTokenizerFast if _is_plain(directory) else transformers.AutoTokenizer
            tokenizer = loader.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise InputError(
            f"{directory}: expected a tokenizer that transformers can read, got {one_line(error)}; download it again"
        ) from None
    tokenizer.model_max_length = NO_LIMIT
    tokenizer.embedded = embedded
    return tokenizer


def has_tokenizer(directory: Path) -> bool:
    return any((directory / name).is_file() for name in _FILES)


def _is_plain(directory: Path) -> bool:
    config = directory / "tokenizer_config.json"
    if not (config.is_file() and (directory / "tokenizer.json").is_file()):
        return False
    return json.loads(config.read_text()).get("tokenizer_class") in _PLAIN


def text_ends(tokenizer: Any) -> set[int]:
    """The tokens that end a text or a turn."""
    known = tokenizer.get_vocab()
    found = {known[name] for name in END_OF_TURN if name in known}
    return found | ({int(tokenizer.eos_token_id)} if tokenizer.eos_token_id is not None else set())


def byte_tokenizer() -> Any:
    """Token i < 256 is byte i of the UTF-8 text; 256 marks the end of a text."""
    tokenizers = require("tokenizers")
    transformers = require("transformers")
    alphabet = _byte_alphabet()
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


def _byte_alphabet() -> list[str]:
    """The printable character the byte-level convention of GPT-2 writes for each of the 256 bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = (byte for byte in range(256) if byte not in printable)
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(moved)}
    return [table[byte] for byte in range(256)]
