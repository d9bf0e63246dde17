"""A model that reads text: token ids in, integer logits out, the KV cache kept in between.

`GoldenSession` runs the functions @prefill, @decode and @score of a `lut` module on the reference interpreter,
`CpuSession` on machine code made of them. Both give the same integers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lutllm.cpu.features import choose_level
from lutllm.cpu.kept import remember, remembered, start_key
from lutllm.cpu.program import CpuProgram
from lutllm.errors import InputError, IRError
from lutllm.lowering.cpu.plan import FEW

if TYPE_CHECKING:
    from lutllm.bindings import ir
    from lutllm.quantized.pretrained import QuantizedModel

BACKENDS = ("cpu", "golden")
CHUNK = 64  # tokens of a prompt that are run at once; never changes a result


class Session(ABC):
    """One sequence of tokens. `context` is what the KV cache holds, `position` what it has seen; a logit is
    `integer * 2**logit_exponent`, `vocabulary` of them for a token."""

    def __init__(self, signature: Signature) -> None:
        self.signature, self.context, self.vocabulary = signature, signature.context, signature.vocabulary
        self.logit_exponent = signature.logit_exponent
        self._ids: list[int] = []
        self._state = self._empty()

    @property
    def position(self) -> int:
        return len(self._ids)

    def another(self) -> Self:
        """Another sequence of tokens on the same program; one of them runs at a time."""
        found = copy(self)
        found._ids, found._state = [], self._empty()
        return found

    def _empty(self) -> list[np.ndarray]:
        return [np.zeros(shape, dtype) for *shape, dtype in self.signature.caches]

    def reset(self) -> None:
        """Forget everything."""
        self._ids.clear()

    def common(self, ids: Sequence[int]) -> int:
        """With how many of `ids` what has been read begins, but for the last of them, whose logits are wanted."""
        pairs = zip(self._ids, ids[:-1], strict=False)
        return next((i for i, (have, want) in enumerate(pairs) if have != want), min(len(self._ids), len(ids) - 1))

    def seek(self, ids: Sequence[int]) -> int:
        """Go back to where `ids` begin as what has been read does; returns how many of them need not be read."""
        same = self.common(ids)
        del self._ids[same:]
        return same

    def forward(self, ids: Sequence[int] | np.ndarray, all_logits: bool = False) -> np.ndarray:
        """Read `ids` [T], T >= 1: the logits after the last, [1, V], or after each, [T, V].

        InputError, and nothing read, where the context is full or an id is not in the vocabulary.
        """
        tokens = self._checked(ids)
        parts = []
        for start in range(0, len(tokens), CHUNK):
            chunk = tokens[start : start + CHUNK]
            function = "score" if all_logits else "decode" if len(chunk) == 1 else "prefill"
            parts.append(self._step(function, chunk))
            self._ids += chunk.tolist()
        return np.concatenate(parts) if all_logits else parts[-1]

    @staticmethod
    def forward_each(sessions: Sequence[Session], tokens: Sequence[int]) -> np.ndarray:
        """Read a token in each of several sequences: the logits after each, [sequences, V], those that it has alone."""
        return np.concatenate([one.forward([token]) for one, token in zip(sessions, tokens, strict=True)])

    def _checked(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        tokens = np.asarray(ids)
        if tokens.ndim != 1 or not tokens.size or tokens.dtype.kind not in "iu":
            raise InputError(f"expected a list of token ids, got {tokens.dtype} {list(tokens.shape)}; tokenize a text")
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocabulary:
            raise InputError(
                f"expected token ids in 0..{self.vocabulary - 1}, got {int(tokens.min())}..{int(tokens.max())}; "
                "use the tokenizer of this model"
            )
        if self.position + tokens.size > self.context:
            raise InputError(
                f"context full: expected at most {self.context - self.position} more of {self.context} tokens, "
                f"got {tokens.size}; shorten the text or open the model with a longer context"
            )
        return tokens.astype(np.int32)

    @abstractmethod
    def _step(self, function: str, ids: np.ndarray) -> np.ndarray:
        """Run a function on int32 ids [T] at `position`: its logits; the caches take in the tokens."""


class GoldenSession(Session):
    """On the reference interpreter: what every other backend is compared with."""

    def __init__(
        self, module: ir.Module, store: Mapping[str, np.ndarray], *, trace: Callable[[Any, Any], None] | None = None
    ) -> None:
        """`trace` is told of every op and its value, as that of `interpreter.run`."""
        super().__init__(Signature.of(module))
        self._module, self._store, self._trace = module, store, trace

    @classmethod
    def of(cls, model: QuantizedModel, context: int = 0) -> Self:
        """That of a model, with `context` tokens, 0: as many as there are RoPE positions."""
        return cls(model.lut(context), model.tensors)

    def _step(self, function: str, ids: np.ndarray) -> np.ndarray:
        from lutllm import interpreter

        inputs = [ids, np.array([self.position], np.int32), *self._state]
        results = interpreter.run(self._module, inputs, self._store, function=function, trace=self._trace)
        self._state = results[-len(self._state) :]
        return results[-len(self._state) - 1]


class CpuSession(Session):
    """On this processor: `threads` (default: one for each core), code of a feature `level` (default: the best); `keep`:
    see `CpuProgram.of`."""

    def __init__(
        self,
        module: ir.Module,
        store: Mapping[str, np.ndarray],
        *,
        threads: int | None = None,
        level: str | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__(Signature.of(module))
        self.program = CpuProgram.of(module, store, tokens=CHUNK, threads=threads, level=level, keep=keep)

    @classmethod
    def of(
        cls,
        model: QuantizedModel,
        context: int = 0,
        *,
        threads: int | None = None,
        level: str | None = None,
        keep: bool | None = None,
    ) -> Self:
        """As `GoldenSession.of`; what is made of a model that lies on the disk is kept in the cache, and one of which
        nothing was read yet starts from there."""
        keep = model.directory is not None if keep is None else keep
        if not (keep and model.unread):
            return cls(model.lut(context), model.tensors, threads=threads, level=level, keep=keep)
        key = start_key(model.unread, context, CHUNK, choose_level(level))
        if found := remembered(key):
            folder, plan, about = found
            session = cls.__new__(cls)
            Session.__init__(session, Signature(**about["signature"]))
            session.program = CpuProgram.loaded(plan, folder, level, threads)
            return session
        session = cls(model.lut(context), model.tensors, threads=threads, level=level, keep=True)
        remember(key, session.program.folder, session.program.plan, {"signature": asdict(session.signature)})
        return session

    def _empty(self) -> list[np.ndarray]:
        caches = super()._empty()
        self._addresses = np.array([cache.ctypes.data for cache in caches])
        return caches

    def _step(self, function: str, ids: np.ndarray) -> np.ndarray:
        caches = np.repeat(self._addresses[:, None], ids.size, axis=1)
        return self._logits(function, ids, self.position + np.arange(ids.size, dtype=np.int32), caches)

    def _logits(self, function: str, ids: np.ndarray, positions: np.ndarray, caches: np.ndarray) -> np.ndarray:
        found = self.program.step(function, ids, positions, caches)[-len(self.signature.caches) - 1]
        assert found is not None
        return found

    @staticmethod
    def forward_each(sessions: Sequence[Session], tokens: Sequence[int]) -> np.ndarray:
        """As of `Session`, of sequences of one program, `FEW` at a time: a weight is read once for all of them."""
        parts = []
        for start in range(0, len(tokens), FEW):
            chosen = [one for one in sessions[start : start + FEW] if isinstance(one, CpuSession)]
            pairs = zip(chosen, tokens[start : start + FEW], strict=True)
            ids = np.concatenate([one._checked([token]) for one, token in pairs])
            positions = np.array([one.position for one in chosen], np.int32)
            caches = np.stack([one._addresses for one in chosen], axis=1)
            parts.append(chosen[0]._logits("score" if len(chosen) > 1 else "decode", ids, positions, caches))
            for one, token in zip(chosen, ids.tolist(), strict=True):
                one._ids.append(token)
        return np.concatenate(parts)


def open_session(
    model: QuantizedModel, context: int = 0, *, backend: str = "cpu", threads: int | None = None
) -> Session:
    """The program of a model with room for `context` tokens (0: as many as it has positions), on a backend;
    `threads` matter to `cpu` only."""
    if backend not in BACKENDS:
        raise InputError(f"expected a backend among {', '.join(BACKENDS)}, got '{backend}'")
    if backend == "golden":
        return GoldenSession.of(model, context)
    return CpuSession.of(model, context, threads=threads)


def kept_session(
    model: QuantizedModel, context: int | None = None, *, backend: str = "cpu", threads: int | None = None
) -> Session:
    """The session that a model keeps, or a new one where that is not what is asked for: `open_session` with room for
    `QuantizedModel.room(context)` tokens."""
    wanted = model.room(context), backend, threads
    have, session = model.kept.get("session", (None, None))
    if have != wanted:
        session = open_session(model, wanted[0], backend=backend, threads=threads)
        model.kept["session"] = wanted, session
    return session


@dataclass(frozen=True)
class Signature:
    """What the type of @prefill says; of each cache sizes and the name of its type."""

    context: int
    vocabulary: int
    logit_exponent: int
    caches: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, module: ir.Module) -> Signature:
        from lutllm.bindings import func, ir
        from lutllm.dialect import fixed_of

        functions = {op.name.value: op for op in module.body.operations if isinstance(op, func.FuncOp)}
        missing = [name for name in ("prefill", "decode", "score") if name not in functions]
        if missing:
            raise IRError(
                f"expected functions @prefill, @decode and @score, got no {', '.join('@' + name for name in missing)}; "
                "quantize a whole model that reads tokens"
            )
        type_ = functions["prefill"].type
        caches, results = type_.inputs[2:], type_.results
        if not caches or len(results) != len(caches) + 2:
            raise IRError("expected @prefill(ids, position, caches) -> (token, logits, caches), got other arguments")
        logits = ir.RankedTensorType(results[1])
        _, exponent = fixed_of(logits) or (0, 0)
        return cls(
            context=ir.RankedTensorType(caches[0]).shape[0],
            vocabulary=logits.shape[1],
            logit_exponent=int(exponent),
            caches=[(*t.shape, f"int{t.element_type.width}") for t in caches],
        )
