"""Compares the levels of what `lutllm compile MODEL -o DIR` wrote: DIR and its model's arrays in, a `DiffResult` out.

DIR may lie anywhere. The arrays are read from the quantized model that its manifest names, or that is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, generate, hardware, store
from lutllm.bindings import ir
from lutllm.diff.difference import DiffResult
from lutllm.diff.levels import DEFAULT, check_levels, compare_levels
from lutllm.diff.recording import record
from lutllm.errors import InputError
from lutllm.lowering.image.whole import IMAGE, MANIFEST
from lutllm.lowering.schedule.data import HEAD, Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.models.tokenizer import load_tokenizer
from lutllm.progress import note

SCHEDULED, TOKENS, ABOUT = "ir/model.scheduled.mlir", "reports/tokens.json", "manifest.json"


def diff_saved(
    directory: Path | str,
    *,
    levels: Sequence[str] = DEFAULT,
    model: str | None = None,
    prompt: str | None = None,
    tokens: int | None = None,
    wave: Path | None = None,
    quiet: bool = False,
) -> DiffResult:
    """Compare levels on the prompt and as many tokens as were compiled with, unless others are given.

    `model`: the quantized model, if it lies elsewhere now; `wave`: where a waveform around a difference goes. Of a
    module that reads rows from outside these are those in its image, `tokens` of them. Raises `InputError` for a
    directory that is not of a whole model, or another model's.
    """
    check_levels(levels)
    saved = _Saved(Path(directory), model)
    plan, image = saved.plan, saved.image()
    ids, count = saved.asked(prompt, tokens)
    hardware.check_prompt(ids, plan.context)
    tensors = saved.tensors()
    note(f"transaction: {len(ids)} tokens in, {count} out", quiet=quiet)
    recorded = record(saved.module, tensors, ids, count, inputs=image, sha256=saved.model_hash)
    if recorded.error not in ("none", "context"):
        raise InputError(f"expected a prompt that the accelerator takes, got error '{recorded.error}'; change it")
    return compare_levels(
        recorded,
        image,
        levels,
        lambda kind: hardware.build(plan.config, kind, saved.directory / "rtl"),
        wave=wave,
        quiet=quiet,
    )


@dataclass
class _Saved:
    """What lies in an output directory; `given` is another place of its model."""

    directory: Path
    given: str | None

    @cached_property
    def module(self) -> ir.Module:
        path = self.directory / SCHEDULED
        if not path.is_file():
            raise InputError(f"'{self.directory}': expected the output of lutllm compile, got no {SCHEDULED}")
        with dialect.context(), ir.Location.unknown():
            try:
                module = ir.Module.parse(path.read_text())
            except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
                raise InputError(f"'{path}': expected scheduled IR, got {error}; compile again") from error
            if not dialect.verify(module):
                raise InputError(f"'{path}': expected scheduled IR that verifies; compile again")
        return module

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.module)

    @cached_property
    def about(self) -> dict[str, Any]:
        return store.read_json(self.directory / ABOUT)

    def image(self) -> np.ndarray:
        path = self.directory / "mem" / IMAGE
        try:
            image = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
        if image.size != self.plan.memory_bytes:
            raise InputError(f"'{path}': expected {self.plan.memory_bytes} bytes, got {image.size}; compile again")
        return image

    @property
    def model_hash(self) -> str:
        """Of which model the image should say that it is, as `whole_image` takes it."""
        model = store.read_json(self.directory / "mem" / MANIFEST)["model"]
        return int(model, 16).to_bytes(8, "little").hex()

    @property
    def model(self) -> Path:
        """The directory of the quantized model."""
        about = self.about["model"]
        return Path(self.given or about.get("directory") or about["name"]).expanduser()

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The arrays that the module names, if they are those it was compiled from."""
        if "lut.store" not in self.module.operation.attributes:
            scheduled = self.directory / SCHEDULED
            raise InputError(f"'{scheduled}': expected an attribute lut.store on the module, got none; compile again")
        found: Any = self.module.operation.attributes["lut.store"]
        file, wanted = (ir.StringAttr(p.maybe_downcast()).value for p in found.params)
        path, do = self.model / file, "give it with --model, or compile again"
        expected = f"expected the model that '{self.directory}' was compiled from"
        if not path.is_file():
            raise InputError(f"'{self.model}': {expected}, got no {file} there; {do}")
        if (got := store.sha256(path)) != wanted:
            raise InputError(f"'{path}': {expected}, SHA-256 {wanted}, got {got}; {do}")
        return store.load(path)

    def asked(self, prompt: str | None, tokens: int | None) -> tuple[list[int], int]:
        """Ids of a prompt, and how many tokens to make. Rows from outside have no ids, so they are all zero."""
        if HEAD not in self.plan.programs:
            return [0] * (tokens or self.plan.context), 0
        options, path = self.about["options"], self.directory / TOKENS
        if prompt is None and path.is_file():
            ids = store.read_json(path)["prompt_ids"]
        else:
            text = options["prompt"] if prompt is None else prompt
            ids = generate.prompt_ids(load_tokenizer(self.model), text, raw=True)
        return ids, tokens or options["tokens"]
