"""Bodies of requests: JSON as OpenAI's API has it in, what is to be answered out.

Every field is applied or refused: those that would change nothing about an answer are let through, by name.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutllm.errors import InputError
from lutllm.run.prompts import Turn, chat_ids, text_ids
from lutllm.run.sampling import Sampling

# Say nothing about the answer.
_ABOUT = {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier", "verbosity"}
# May stand there with these values only.
_FIXED: dict[str, tuple[Any, ...]] = {
    "best_of": (1,), "echo": (False,), "suffix": ("",), "logit_bias": ({},), "tools": ([],), "functions": ([],),
    "tool_choice": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
}  # fmt: skip
_SAMPLING = ("temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty")
_WHOLE = ("top_k", "repeat_last_n", "seed")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_LIKELY, MOST_STOPS, MOST_CHOICES = 20, 4, 16
COMPLETION_TOKENS = 16  # where a text prompt does not say, as OpenAI has it


class Refused(Exception):
    """A request that cannot be answered: an HTTP status and an error object as clients of OpenAI's API know it."""

    def __init__(self, message: str, param: str | None = None, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Request:
    """`prompts` of token ids, each answered `choices` times, with the sampling's seed and those after it."""

    chat: bool
    prompts: list[list[int]]
    limit: int
    sampling: Sampling
    strings: list[str]
    choices: int
    stream: bool
    usage: bool
    likely: int | None


def read_request(body: bytes, tokenizer: Any, name: str, *, context: int, vocabulary: int, chat: bool) -> Request:
    """A request to the model called `name`, of `context` and `vocabulary` tokens. `Refused` says what was expected, and
    of which field."""
    fields = _Fields(_object(body))
    model = fields.take("model", str, name)
    if model != name:
        raise Refused(f"expected model '{name}', got '{model}'", "model", status=404, code="model_not_found")
    try:
        prompts = [_chat(fields, tokenizer)] if chat else _prompts(fields, tokenizer, vocabulary)
    except InputError as error:
        raise Refused(error.message, "messages" if chat else "prompt") from None
    longest = max(map(len, prompts))
    if longest >= context:
        raise Refused(
            f"expected a prompt of fewer than {context} tokens, the context, got {longest}",
            "messages" if chat else "prompt",
            code="context_length_exceeded",
        )
    limit = fields.take("max_tokens", int, None)
    limit = fields.take("max_completion_tokens", int, limit) if chat else limit
    limit = (context if chat else COMPLETION_TOKENS) if limit is None else limit
    if limit < 1:
        raise Refused(f"expected max_tokens of at least 1, got {limit}", "max_tokens")
    stream = fields.take("stream", bool, False)
    options = _Fields(fields.take("stream_options", dict, {}))
    usage = options.take("include_usage", bool, False)
    options.take("include_obfuscation", bool, False)
    options.nothing_left("stream_options.")
    found = Request(
        chat, prompts, limit, _sampling(fields), _stops(fields), _choices(fields), stream, usage, _likely(fields, chat)
    )
    fields.nothing_left()
    return found


class _Fields:
    """The fields of an object, each taken once; null is as good as absent."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = {name: value for name, value in values.items() if value is not None}

    def take(self, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self._left.pop(name, default)
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if value is default or right:
            return value
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise Refused(f"expected {name} as {' or '.join(one.__name__ for one in kinds)}, got {_short(value)}", name)

    def number(self, name: str) -> float | None:
        value = self.take(name, (int, float), None)
        try:
            return None if value is None else float(value)
        except OverflowError:
            raise Refused(f"expected {name} as a number that a float holds, got {_short(value)}", name) from None

    def nothing_left(self, where: str = "") -> None:
        for name, value in self._left.items():
            if name not in _ABOUT and value not in _FIXED.get(name, ()):
                raise Refused(f"expected a field that can be honoured, got {where}{name} = {_short(value)}", name)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Refused(f"expected JSON in UTF-8, got {error}") from None
    if not isinstance(found, dict):
        raise Refused(f"expected a JSON object, got {_short(found)}")
    return found


def _chat(fields: _Fields, tokenizer: Any) -> list[int]:
    messages = fields.take("messages", list, [])
    if not messages:
        raise Refused("expected messages, got none", "messages")
    return chat_ids(tokenizer, [_turn(message, f"messages[{i}]") for i, message in enumerate(messages)])


def _turn(message: Any, where: str) -> Turn:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise Refused(f"expected {where} with a role among {', '.join(_ROLES)}, got {_short(message)}", where)
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        known = [text for text in texts if isinstance(text, str)]
        content = "".join(known) if len(known) == len(content) else None
    if not isinstance(content, str):
        raise Refused(f"expected {where}.content as text, got {_short(message.get('content'))}", f"{where}.content")
    other = sorted(name for name, value in message.items() if name not in ("role", "content") and value)
    if other:
        raise Refused(f"expected {where} with role and content alone, got {other[0]}", f"{where}.{other[0]}")
    return {"role": _ROLES[message["role"]], "content": content}


def _prompts(fields: _Fields, tokenizer: Any, vocabulary: int) -> list[list[int]]:
    given = fields.take("prompt", (str, list), None)
    if isinstance(given, list) and given and all(type(one) is int for one in given):
        given = [given]
    many = given if isinstance(given, list) else [given]
    found = []
    for one in many:
        if isinstance(one, str) and one:
            found.append(text_ids(tokenizer, one))
        elif isinstance(one, list) and one and all(type(token) is int for token in one):
            if not 0 <= min(one) <= max(one) < vocabulary:
                raise Refused(f"expected token ids in 0..{vocabulary - 1}, got {_short(one)}", "prompt")
            found.append(one)
        else:
            raise Refused(f"expected prompt as text or token ids, not empty, got {_short(one)}", "prompt")
    if not 1 <= len(found) <= MOST_CHOICES:
        raise Refused(f"expected 1 to {MOST_CHOICES} prompts, got {len(found)}", "prompt")
    return found


def _sampling(fields: _Fields) -> Sampling:
    values: dict[str, Any] = {name: fields.number(name) for name in _SAMPLING}
    values |= {name: fields.take(name, int, None) for name in _WHOLE}
    given: dict[str, Any] = {"temperature": 1.0, "seed": secrets.randbits(32)}
    given |= {name: value for name, value in values.items() if value is not None}
    greedy = given["temperature"] == 0
    try:
        found = Sampling(**(given | {"temperature": 1.0} if greedy else given))
    except InputError as error:
        text = error.message
        named = (name for name in (*_SAMPLING, *_WHOLE) if f" {name.replace('_', '-')} " in text)
        raise Refused(text, next(named, None)) from None
    # Greedy takes the likeliest token, which every filter leaves in.
    return replace(found, temperature=0.0, top_k=0, top_p=1.0, min_p=0.0) if greedy else found


def _stops(fields: _Fields) -> list[str]:
    given = fields.take("stop", (str, list), [])
    found = [given] if isinstance(given, str) else given
    if len(found) > MOST_STOPS or not all(isinstance(one, str) and one for one in found):
        raise Refused(f"expected stop as up to {MOST_STOPS} texts, not empty, got {_short(given)}", "stop")
    return found


def _choices(fields: _Fields) -> int:
    found = fields.take("n", int, 1)
    if not 1 <= found <= MOST_CHOICES:
        raise Refused(f"expected n from 1 to {MOST_CHOICES}, got {found}", "n")
    return found


def _likely(fields: _Fields, chat: bool) -> int | None:
    """How many of the likeliest tokens are wanted: a number for a text, a switch and a number for a chat."""
    wanted = fields.take("logprobs", bool if chat else int, None)
    top = fields.take("top_logprobs", int, None) if chat else None
    found = (wanted or None) and (top or 0) if chat else wanted
    if top is not None and not wanted:
        raise Refused("expected top_logprobs together with logprobs = true, got it alone", "top_logprobs")
    if found is not None and not 0 <= found <= MOST_LIKELY:
        raise Refused(f"expected logprobs of 0 to {MOST_LIKELY} tokens, got {found}", "logprobs")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
