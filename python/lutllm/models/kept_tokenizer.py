"""A tokenizer of transformers' without loading transformers: what it came to is kept in the cache, once.

In: a directory with a tokenizer. Kept: the tokenizer of the package `tokenizers` as transformers left it, and what
transformers says around it, by a hash of the directory's files, of versions and of the sources here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lutllm import store
from lutllm.models import cache
from lutllm.models.hf import require
from lutllm.models.tokenizer import NO_LIMIT, has_tokenizer, load_tokenizer

PREFIX, MOST = "tokenizer-", 16  # entries, a tokenizer's each
BACKEND, ABOUT = "tokenizer.json", "about.json"
_LARGE = (".safetensors", ".mlir")  # no files of a tokenizer
# A class that has its own of these is not what is kept.
_METHODS = ("__call__", "_encode_plus", "_batch_encode_plus", "decode", "_decode", "apply_chat_template", "get_vocab")


def open_tokenizer(directory: Path, embedded: int | None = None) -> Any | None:
    """As `load_tokenizer`, which loads what is asked for beyond what running a model takes."""
    if not has_tokenizer(directory):
        return None
    whole: list[Any] = []

    def build(folder: Path) -> None:
        whole.append(load_tokenizer(directory, embedded))
        _keep(whole[0], folder)

    folder = cache.kept(PREFIX, _key(directory), MOST, build)
    about = store.read_json(folder / ABOUT)
    if not about["plain"]:
        return whole[0] if whole else load_tokenizer(directory, embedded)
    return KeptTokenizer(folder / BACKEND, about, directory, embedded)


class KeptTokenizer:
    """What running a model asks of a tokenizer; all else is asked of transformers' own."""

    def __init__(self, backend: Path, about: Mapping[str, Any], directory: Path, embedded: int | None) -> None:
        self._backend = require("tokenizers").Tokenizer.from_file(str(backend))
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = about["split_special_tokens"]
        self._directory, self._special = directory, about["special"]
        self.embedded, self.model_max_length = embedded, NO_LIMIT
        self.chat_template, self.eos_token_id = about["chat_template"], about["eos_token_id"]

    @cached_property
    def whole(self) -> Any:
        """The tokenizer of transformers."""
        return load_tokenizer(self._directory, self.embedded)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return self._backend.get_vocab_size()

    def __call__(self, text: Any, **options: Any) -> Any:
        if not isinstance(text, str) or options.keys() - {"add_special_tokens"}:
            return self.whole(text, **options)
        return {"input_ids": self._backend.encode(text, **options).ids}

    def decode(self, ids: Any, **options: Any) -> Any:
        cleaned = options.pop("clean_up_tokenization_spaces", None)
        if cleaned is not False or not isinstance(ids, list) or options.keys() - {"skip_special_tokens"}:
            return self.whole.decode(ids, clean_up_tokenization_spaces=cleaned, **options)
        return self._backend.decode(ids, **{"skip_special_tokens": False, **options})

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self._backend.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        return self._backend.get_added_tokens_decoder()

    def apply_chat_template(self, turns: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        template = self.chat_template
        texts = all(isinstance(value, str) for turn in turns for value in turn.values())
        if not (turns and texts and {key for turn in turns for key in turn} <= {"role", "content"}):
            return self.whole.apply_chat_template(turns, **options)
        if options != {"add_generation_prompt": True, "tokenize": False} or "generation %}" in template:
            return self.whole.apply_chat_template(turns, **options)
        from lutllm.models.chat_template import render

        return render(template, turns, self._special)


def _keep(tokenizer: Any, folder: Path) -> None:
    kind, plain = type(tokenizer), require("transformers").PreTrainedTokenizerFast
    same = issubclass(kind, plain) and all(getattr(kind, n, None) is getattr(plain, n, None) for n in _METHODS)
    template = getattr(tokenizer, "chat_template", None)
    about: dict[str, Any] = {"plain": same and isinstance(template, str | None)}
    if about["plain"]:
        tokenizer.backend_tokenizer.save(str(folder / BACKEND))
        about |= {"split_special_tokens": tokenizer.split_special_tokens, "special": tokenizer.special_tokens_map}
        about |= {"chat_template": template, "eos_token_id": tokenizer.eos_token_id}
    store.write_json(folder / ABOUT, about)


def _key(directory: Path) -> str:
    digest = hashlib.sha256(cache.sources("models").encode())
    digest.update(repr([version(name) for name in ("transformers", "tokenizers", "jinja2")]).encode())
    for path in sorted([*directory.iterdir(), *directory.glob("additional_chat_templates/*")]):
        if path.is_file() and path.suffix not in _LARGE:
            digest.update(f"{path.name} {store.sha256(path)}\n".encode())
    return digest.hexdigest()[:24]
