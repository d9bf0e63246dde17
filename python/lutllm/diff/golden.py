"""The `lut` program beside its tasks: every op whose result a task writes, element for element, in program order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lutllm.bindings import ir
from lutllm.decoder import Decoder
from lutllm.dialect import fixed_of
from lutllm.diff.difference import Comparison, Difference
from lutllm.diff.elements import op_of
from lutllm.diff.recording import Recording
from lutllm.lowering.layout.channels import PAD
from lutllm.progress import note
from lutllm.session import GoldenSession
from lutllm.transactions.chip import Written
from lutllm.transactions.passes import Pass
from lutllm.transactions.simulator import TaskResult

Key = tuple[str, str]  # op and module, as the plan's tasks name them
Parts = list[tuple[TaskResult, Written]]
_BY_LOCATION = ("lut.embedding", "lut.swiglu", "lut.attention", "lut.argmax")


def compare_golden(recorded: Recording, *, quiet: bool = True) -> Comparison:
    """The golden model, pass by pass as the plan has them, beside what the tasks wrote."""
    found = Comparison(("lut", "transaction"))
    golden = _Golden(recorded)
    for turn, each in enumerate(recorded.passes):
        note(f"lut: list {turn + 1} of {len(recorded.passes)}", quiet=quiet)
        parts = _by_key(recorded, turn)
        for key, value in golden.values(each):
            if key not in parts:
                continue
            found.steps += 1
            found.numbers += value.size
            found.difference = _difference(recorded, each, key, value, parts[key])
            if found.difference is not None:
                return found
    return found


class _Golden:
    """A traced session on the reference interpreter that reads what the run at transaction level read."""

    def __init__(self, recorded: Recording) -> None:
        self.recorded = recorded
        self.rows = _rescaled_heads(recorded.decoder.decoder)
        self.found: dict[Key, list[np.ndarray]] = {}
        self.session = GoldenSession.of(recorded.decoder, recorded.plan.context, trace=self._note)

    def values(self, each: Pass) -> Iterator[tuple[Key, np.ndarray]]:
        """Every result [tokens, channels] of a pass; the head's are those of the last token read."""
        if each.program != "head":
            self.found = {}
            self.session.forward(self.recorded.sequence[each.position : each.position + each.tokens])
            for key, parts in self.found.items():
                yield key, np.concatenate(parts)
            return
        for key, parts in self.found.items():
            yield key, parts[-1][-1:]

    def _note(self, op: Any, value: Any) -> None:
        key = self._key(op)
        if key is not None:
            self.found.setdefault(key, []).append(np.asarray(value).reshape(len(value), -1))

    def _key(self, op: Any) -> Key | None:
        name = op.operation.name
        if name == "lut.linear":
            return name, _linear(op)
        if name == "lut.add":
            return name, _linear(op.b.owner.opview)
        if name == "lut.rescale":
            symbol = str((fixed_of(op.y.type) or (0, ""))[1])
            if symbol in self.rows:
                return name, self.rows[symbol]
            return name, op.x.owner.opview.gain.value.removesuffix(".gain")
        return (name, ir.NameLoc(op.location).name_str) if name in _BY_LOCATION else None


def _linear(op: Any) -> str:
    return op.weights.value


def _rescaled_heads(decoder: Decoder) -> Mapping[str, str]:
    """Symbols of exponents -> the linear whose heads are rescaled by them."""
    found: dict[str, str] = {}
    for a in (layer.attention for layer in decoder.layers):
        found |= {f"{a.name}.{part}.exponents": getattr(a, part) for part in ("query", "key", "value")}
    return found


def _by_key(recorded: Recording, turn: int) -> dict[Key, Parts]:
    """What tasks of one list wrote, by the op it is the result of; of several rounds several parts."""
    found: dict[Key, Parts] = {}
    for result in recorded.results:
        if result.turn != turn or result.task.engine in ("feed", "store", "embed"):
            continue
        key = op_of(result.task), result.task.source
        parts = [(result, written) for written in result.written if written.memory != "squares"]
        found.setdefault(key, []).extend(parts)
    return found


def _difference(recorded: Recording, each: Pass, key: Key, value: np.ndarray, parts: Parts) -> Difference | None:
    first = each.position - 1 if each.program == "head" else each.position
    for result, written in parts:
        tokens, channels = recorded.elements.of(result.task, each, written)
        if written.memory == "token":
            channels = np.zeros_like(channels)
            tokens = tokens * 0 + first
        padding = channels == PAD
        want = np.where(padding, 0, value[(tokens - first)[:, None], np.maximum(channels, 0)])
        wrong = want != written.values
        if key[1] == recorded.decoder.decoder.head:  # padding of logits is no zero: it must lose
            wrong &= ~padding
        if wrong.any():
            word, lane = (int(i) for i in np.argwhere(wrong)[0])
            channel = None if padding[word, lane] else int(channels[word, lane])
            return Difference(
                op=key[0], module=key[1], task=result.task.name, engine=result.task.engine, turn=result.turn,
                program=each.program, position=each.position, tokens=each.tokens, token=int(tokens[word]),
                channel=channel, memory=written.memory, address=int(written.addresses[word]), lane=lane,
                expected=int(want[word, lane]), got=int(written.values[word, lane]), count=int(wrong.sum()),
                of=wrong.size,
            )  # fmt: skip
    return None
