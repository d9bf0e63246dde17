"""What `lutllm compile MODEL -o DIR` wrote, read back: DIR in, its scheduled module, image, hardware and model out.

DIR may lie anywhere: the quantized model is in it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import __version__, dialect, store
from lutllm.bindings import ir
from lutllm.compiler.model import MODEL
from lutllm.errors import InputError
from lutllm.lowering.export.image.whole import IMAGE
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained

SCHEDULED, HW, ABOUT = "ir/model.scheduled.mlir", "ir/model.hw.mlir", "manifest.json"


class Compiled:
    """The files of `directory`; each is read, and checked, when it is asked for.

    Raises `InputError` for a directory that is not of a whole model, or of another version of lutllm, and later for
    a file that is missing or not what it was.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not (self.directory / SCHEDULED).is_file():
            got = store.what_is(self.directory)
            raise InputError(f"'{directory}': expected a whole model of lutllm compile, got {got}")
        self.about = store.read_json(self.directory / ABOUT)
        if self.about.get("lutllm") != __version__:
            raise InputError(
                f"'{self.directory / ABOUT}': expected an output of lutllm {__version__}, got one of "
                f"{self.about.get('lutllm')}; compile again"
            )

    def read(self, name: str) -> bytes:
        """A file of the manifest, as it was written."""
        path = self.directory / name
        if store.sha256(path) != self.about["files"].get(name):
            raise InputError(f"'{path}': expected the file that was compiled, got another; compile again")
        return path.read_bytes()

    @cached_property
    def module(self) -> ir.Module:
        """The scheduled module."""
        path = self.directory / SCHEDULED
        with dialect.context(), ir.Location.unknown():
            try:
                module = ir.Module.parse(path.read_text())
            except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
                raise InputError(f"'{path}': expected scheduled IR, got {error}; compile again") from error
            if not dialect.verify(module) or "lut.store" not in module.operation.attributes:
                raise InputError(f"'{path}': expected scheduled IR that verifies and names its store; compile again")
            return module

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.module)

    @cached_property
    def image(self) -> np.ndarray:
        """The memory image, uint8."""
        path = self.directory / "mem" / IMAGE
        try:
            image = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
        if image.size != self.plan.memory_bytes:
            raise InputError(f"'{path}': expected {self.plan.memory_bytes} bytes, got {image.size}; compile again")
        return image

    @cached_property
    def model(self) -> QuantizedModel:
        """The model that it was compiled from."""
        path = self.directory / MODEL
        if not path.is_dir():
            raise InputError(f"'{path}': expected the model that was compiled, got no such directory; compile again")
        found, attribute = from_pretrained(path), self.module.operation.attributes["lut.store"]
        wanted: Any = attribute.params[1].maybe_downcast()  # type: ignore[attr-defined]
        if found.sha256 != wanted.value:
            raise InputError(
                f"'{path}': expected the model that was compiled, with parameters {wanted.value}, got {found.sha256}; "
                "compile again"
            )
        return found
