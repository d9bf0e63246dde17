"""Prompts as token ids: a text or the turns of a chat in; and the tokens that end an answer."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.errors import InputError
from lutllm.models.text import check_embedded
from lutllm.models.tokenizer import text_ends

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel

TEMPLATE_LINES = 1_000_000  # of the program that a chat template is made; real ones run a few thousand


Turn = dict[str, str]  # `role` (system, user, assistant) and `content`


def prompt_ids(tokenizer: Any | None, prompt: str, *, raw: bool = False) -> list[int]:
    """Token ids of a prompt, as one turn of a chat where the tokenizer has a template and `raw` is not asked for."""
    if not prompt.strip():
        raise InputError("expected a prompt, got an empty one; write something")
    if raw or not has_template(tokenizer):
        return text_ids(tokenizer, prompt)
    return chat_ids(tokenizer, [{"role": "user", "content": prompt}])


def text_ids(tokenizer: Any | None, text: str) -> list[int]:
    """Token ids of a text that is to go on."""
    return _embedded(_checked(tokenizer), _checked(tokenizer)(text))


def chat_ids(tokenizer: Any | None, turns: Sequence[Turn]) -> list[int]:
    """Token ids of a chat, up to where the next answer begins."""
    tokenizer = _checked(tokenizer)
    if not has_template(tokenizer):
        raise InputError("expected a model with a chat template, got none; use a text prompt")
    try:
        with _lines_at_most(TEMPLATE_LINES):
            text = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template is a program of the model's author
        line = " ".join(str(error).split())
        raise InputError(f"expected a chat template that can be applied, got {line}; use a text prompt") from None
    return _embedded(tokenizer, tokenizer(text, add_special_tokens=False))


def has_template(tokenizer: Any | None) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def _checked(tokenizer: Any | None) -> Any:
    if tokenizer is None:
        raise InputError("expected a model with a tokenizer, got none; add tokenizer.json to its directory")
    return tokenizer


def _embedded(tokenizer: Any, tokenized: Any) -> list[int]:
    ids = list(tokenized["input_ids"])
    check_embedded(tokenizer, np.array(ids))
    return ids


@contextmanager
def _lines_at_most(count: int) -> Iterator[None]:
    """Stop Python code that runs more lines than this."""
    left = itertools.count(count, -1)

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        if event == "line" and next(left) <= 0:
            raise TimeoutError(f"one that goes on after {count:,} lines of its program")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def stop_ids(model: QuantizedModel) -> set[int]:
    """The tokens that end a text: of the generation configuration, the configuration and the tokenizer."""
    found: set[int] = set()
    for values in (model.generation or {}, model.config):
        found |= _ids(values)
    return found | (set() if model.tokenizer is None else text_ends(model.tokenizer))


def _ids(values: Mapping[str, Any]) -> set[int]:
    """`eos_token_id` is a number, a list of them, or nothing."""
    given = values.get("eos_token_id")
    listed = given if isinstance(given, list) else [given]
    return {one for one in listed if isinstance(one, int)}
