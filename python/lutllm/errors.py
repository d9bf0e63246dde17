"""The errors lutllm raises on purpose. Tools print them as one line; anything else is a defect of ours."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class LutllmError(Exception):
    """A problem the user can act on: what was expected, what came, what to do.

    `location` is `file:line:col` where known, in its parts `file`, `line` and `column`.
    """

    def __init__(self, message: str, *, location: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.location = location

    @property
    def file(self) -> str | None:
        return self._place()[0]

    @property
    def line(self) -> int | None:
        return self._place()[1]

    @property
    def column(self) -> int | None:
        return self._place()[2]

    def _place(self) -> tuple[str | None, int | None, int | None]:
        found = re.fullmatch(r"(.*?)(?::(\d+))?(?::(\d+))?", self.location or "")
        file, line, column = found.groups() if found else (None, None, None)
        return file or None, int(line) if line else None, int(column) if column else None

    def __str__(self) -> str:
        return f"{self.location}: error: {self.message}" if self.location else f"error: {self.message}"


class InputError(LutllmError):
    """A model, text, image or option that cannot be used."""


class NumericsError(LutllmError):
    """An integer that does not fit the width its scheme declares."""


class IRError(LutllmError):
    """IR that does not parse, verify or resolve."""


class CapacityError(LutllmError):
    """A program that does not fit the engine or the memory map."""


class MissingDependencyError(LutllmError):
    """An optional package or program that is not installed."""


class SimulationError(LutllmError):
    """A simulation that cannot start, or one that stopped without reaching its end."""


class DeviceError(LutllmError):
    """An accelerator that answered with an error, or is not what was expected."""


def near(given: str, names: Iterable[str]) -> str:
    """The end of a message about a name that is not known: "; did you mean NAME?", or nothing."""
    found = get_close_matches(given.lower(), list(names), 1)
    return f"; did you mean {found[0]}?" if found else ""
