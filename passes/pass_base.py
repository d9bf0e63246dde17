"""What a pass is: a frozen dataclass with a name, options as fields, and one method that changes the IR in place."""

import dataclasses
import shlex
from abc import ABC, abstractmethod
from collections import Counter
from functools import cached_property
from typing import Any, ClassVar, NoReturn, Self

from lutllm.bindings import ir
from lutllm.errors import InputError, IRError

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class PassFailure(IRError):
    """A pass cannot go on. What is wrong has been emitted as a diagnostic at the operation's location."""


@dataclasses.dataclass(frozen=True)
class Pass(ABC):
    """Base of every pass. The docstring's first line is its summary in `--help`; fields are its options.

    `name` is the flag, `anchor` the operation it insists on running on (None: any). A field `row_source` is the
    option `row-source`; its default decides its type: str, int or bool.
    """

    name: ClassVar[str]
    anchor: ClassVar[str | None] = None

    @abstractmethod
    def run(self, op: ir.Operation) -> None:
        """Rewrite `op`, which holds verified IR, into verified IR; call `fail` where that is impossible."""

    def fail(self, op: ir.Operation | ir.OpView, message: str) -> NoReturn:
        """Stop the pipeline with `'op' op message` at the operation's location."""
        operation = op.operation
        operation.location.emit_error(f"'{operation.name}' op {message}")
        raise PassFailure(f"{self.name}: '{operation.name}' op {message}")

    @cached_property
    def statistics(self) -> Counter[str]:
        """What this pass has counted so far, for `--mlir-pass-statistics`: `self.statistics["ops-removed"] += 1`."""
        return Counter()

    @classmethod
    def summary(cls) -> str:
        return (cls.__doc__ or "").strip().split("\n")[0]

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field]:
        return {f.name.replace("_", "-"): f for f in dataclasses.fields(cls)}

    @classmethod
    def from_options(cls, text: str) -> Self:
        """The pass with options written as `k=v k2="v 2"`; a boolean may stand alone."""
        values: dict[str, Any] = {}
        for word in _words(cls.name, text):
            key, equals, value = word.partition("=")
            field = cls.options().get(key)
            if field is None:
                known = ", ".join(cls.options()) or "none"
                raise InputError(f"pass '{cls.name}' has no option '{key}'; its options: {known}")
            values[field.name] = _convert(cls.name, key, value if equals else None, field.default)
        try:
            return cls(**values)
        except InputError as problem:
            raise InputError(f"pass '{cls.name}': {problem.message}") from None

    def __str__(self) -> str:
        """The pass as a pipeline spells it, with the options that are not at their default."""
        words = []
        for key, field in self.options().items():
            value = getattr(self, field.name)
            if value != field.default:
                words.append(f"{key}={spell_option(value)}")
        return f"{self.name}{{{' '.join(words)}}}" if words else self.name


def _words(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as problem:
        raise InputError(f"pass '{name}': expected options `k=v k2=v2`, got `{text}` ({problem})") from None


def _convert(name: str, key: str, value: str | None, default: object) -> object:
    if isinstance(default, bool):
        if value is None or value in _BOOLEANS:
            return True if value is None else _BOOLEANS[value]
        raise InputError(f"pass '{name}': expected {key}=true or {key}=false, got '{value}'")
    if value is None:
        raise InputError(f"pass '{name}': expected {key}=VALUE, got '{key}' alone")
    if isinstance(default, int):
        try:
            return int(value)
        except ValueError:
            raise InputError(f"pass '{name}': expected {key} to be an integer, got '{value}'") from None
    return value


def spell_option(value: object) -> str:
    """A value as a pipeline spells it, quoted where its text would end the option."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return shlex.quote(str(value))
