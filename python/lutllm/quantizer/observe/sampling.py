"""Text that a model makes up: a module and its tokenizer in, windows of its own tokens out.

What a model writes at temperature 1 is the text it knows, of every kind that it was trained on, so that calibration on
it generalizes where one book does not (LLM-QAT, arXiv 2305.17888). A window starts with an opening: a turn of a chat
through the model's template, whose question the model asks itself; a random token; or the first words of one kind of
text. Where the model ends its text, the next opening follows in the same window.
"""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import store
from lutllm.errors import InputError
from lutllm.models.cache import cached
from lutllm.models.hf import on_device
from lutllm.models.text import token_ids
from lutllm.models.tokenizer import text_ends
from lutllm.progress import note, progress
from lutllm.quantizer.reproducible import arithmetic, reproducible

if TYPE_CHECKING:
    from lutllm.models import LoadedModel

ROWS = {"cpu": 64, "cuda": 1024}  # windows made at a time, at most
VERSION = 1  # of what the same arguments give
TOKENS = "tokens.safetensors"
OPENINGS = (  # of kinds of text
    *("The city council voted on Tuesday to", "LONDON - The government said", "The home team won its third game"),
    *("Chapter 1\n\n", "Once upon a time", "Dear Sir,\n\n", "\u201cWhat do you mean?\u201d she asked"),
    "I remember the day",
    *("Abstract. We study", "Theorem 1. Let", "In mathematics, a", "The cell membrane is", "In 1848, the", "Born in"),
    *("The function returns", "## Installation\n\n", "To configure the server,", "Usage:", "class ", "def ", "import "),
    *("#include <", "/*\n * Copyright", "package ", "<!DOCTYPE html>\n", "SELECT ", "const ", "#!/bin/sh\n"),
    *("Ingredients:\n", "Question:", "1. ", "| Name |", "According to", "My fellow citizens,", "The Company shall"),
)
_MARK = "\x00"


def chat_opening(tokenizer: Any) -> tuple[list[int], list[int]] | None:
    """What comes before a user's words in the tokenizer's chat template, and what comes after the token that ends them;
    None without a template."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    turns = [{"role": "user", "content": _MARK}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    before, mark, after = text.partition(_MARK)
    if not mark:
        return None
    ids = _ids(tokenizer, after)
    at = next((i + 1 for i, token in enumerate(ids) if token in text_ends(tokenizer)), 0)
    return _ids(tokenizer, before), ids[at:]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


class Openings:
    """Where windows start; every draw moves the generator. `chat`: turns of chats alone, where there is a template."""

    def __init__(self, tokenizer: Any, generator: np.random.Generator, chat: bool) -> None:
        self.generator, self.ends = generator, text_ends(tokenizer)
        self.chat = chat_opening(tokenizer)
        special = set(tokenizer.all_special_ids)
        self.ordinary = [i for i in range(len(tokenizer)) if i not in special]
        self.texts = [_ids(tokenizer, text) for text in OPENINGS]
        self.kinds = 1 if chat and self.chat else 3

    def draw(self) -> list[list[int]]:
        """Pieces to be forced, each after the model ended the one before."""
        kind = int(self.generator.integers(self.kinds))
        if kind == 0 and self.chat:
            return list(self.chat)
        if kind == 1:
            return [self.texts[int(self.generator.integers(len(self.texts)))]]
        return [[self.ordinary[int(self.generator.integers(len(self.ordinary)))]]]


class _Row:
    """One window in the making: `forced` are tokens that come next whatever the model says."""

    def __init__(self, openings: Openings) -> None:
        self.openings, self.pieces, self.forced = openings, deque(openings.draw()), deque[int]()
        self.forced += self.pieces.popleft()

    def next(self, sampled: int) -> int:
        """The token that follows, given what the model would say."""
        if self.forced:
            return self.forced.popleft()
        if sampled in self.openings.ends:
            if not self.pieces:
                self.pieces += self.openings.draw()
            self.forced += self.pieces.popleft()
        return sampled


def own_windows(
    model: LoadedModel,
    count: int,
    length: int,
    *,
    seed: int = 0,
    chat: bool = False,
    device: str = "cpu",
    quiet: bool = True,
) -> np.ndarray:
    """`count` windows of `length` tokens that `model` says at temperature 1, int64 [count, length]; `chat`: turns of
    chats alone, where the tokenizer has a template. Kept in the cache; on a CPU the same arguments give the same
    tokens. InputError without a tokenizer."""
    if model.tokenizer is None:
        raise InputError(f"'{model.name}': expected a model with a tokenizer, got none; add tokenizer.json")
    found, batches = [], -(-count // ROWS[device])
    rows = -(-count // batches)
    for batch in range(batches):
        key = (VERSION, model.fingerprint, arithmetic(), device, length, seed, chat, rows, batch)
        name = f"sampled-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"

        def build(entry: Path, batch: int = batch) -> None:
            note(f"{rows} windows of {length} tokens written by the model itself (once)", quiet=quiet)
            with reproducible():
                openings = Openings(model.tokenizer, np.random.default_rng([seed, batch]), chat)
                made = sample(on_device(model.module, device), openings, rows, length, quiet=quiet)
            store.save(entry / TOKENS, {"tokens": made})
            store.seal(entry / TOKENS)

        entry = cached(name, lambda entry: store.sealed(entry / TOKENS), build)
        found.append(store.load(entry / TOKENS).require("tokens"))
    return np.concatenate(found)[:count].astype(np.int64)


def sample(module: Any, openings: Openings, rows: int, length: int, *, quiet: bool = True) -> np.ndarray:
    """`rows` windows of `length` tokens, int32, made together on the device of `module`."""
    import torch

    made = [_Row(openings) for _ in range(rows)]
    found = np.empty((rows, length), np.int32)
    sampled, cache = np.zeros(rows, np.int64), None
    for at in progress(range(length), "sampling", total=length, quiet=quiet):
        found[:, at] = [row.next(int(token)) for row, token in zip(made, sampled, strict=True)]
        if at + 1 == length:
            break
        with torch.no_grad():
            out = module(token_ids(found[:, at : at + 1], module.device), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        chances = torch.softmax(out.logits[:, -1].double(), dim=-1).cumsum(dim=-1)
        drawn = torch.from_numpy(openings.generator.random((rows, 1))).to(module.device)
        sampled = torch.searchsorted(chances, drawn * chances[:, -1:]).squeeze(1).cpu().numpy()
    return found
