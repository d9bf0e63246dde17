"""Compares the levels of what `lutllm compile MODEL -o DIR` wrote: DIR and its model in, a `DiffResult` out.

DIR may lie anywhere: the quantized model is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, store
from lutllm.accelerator import hardware
from lutllm.bindings import ir
from lutllm.compiler.model import MODEL, prompt_ids
from lutllm.compiler.options import PROMPT, TOKENS
from lutllm.diff.difference import DiffResult
from lutllm.diff.levels import DEFAULT, check_levels, compare_levels
from lutllm.diff.recording import record
from lutllm.errors import InputError
from lutllm.lowering.export.image.whole import IMAGE
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.progress import note
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained

SCHEDULED, ABOUT = "ir/model.scheduled.mlir", "manifest.json"


def diff_saved(
    directory: Path | str,
    *,
    levels: Sequence[str] = DEFAULT,
    prompt: str | None = None,
    tokens: int | None = None,
    wave: Path | None = None,
    quiet: bool = False,
) -> DiffResult:
    """Compare levels on the prompt and as many tokens as were compiled with, unless others are given.

    `wave`: where a waveform around a difference goes. Raises `InputError` for a directory that is not of a whole model,
    or holds another model's.
    """
    directory = Path(directory)
    check_levels(levels)
    module = _module(directory)
    plan, about = read_plan(module), store.read_json(directory / ABOUT)
    image, options = _image(directory, plan), about["options"]
    found = _model(module, directory / MODEL)
    ids = prompt_ids(found, prompt or options["prompt"] or PROMPT, options["seed"])
    hardware.check_prompt(ids, plan.context)
    count = tokens or options["tokens"] or TOKENS
    note(f"transaction: {len(ids)} tokens in, {count} out", quiet=quiet)
    recorded = record(module, found.tensors, ids, count)
    if recorded.error not in ("none", "context"):
        raise InputError(f"expected a prompt that the accelerator takes, got error '{recorded.error}'; change it")
    return compare_levels(
        recorded,
        image,
        levels,
        lambda kind: hardware.build(plan.config, kind, directory / "rtl"),
        wave=wave,
        quiet=quiet,
    )


def _module(directory: Path) -> ir.Module:
    path = directory / SCHEDULED
    if not path.is_file():
        raise InputError(f"'{directory}': expected a whole model of lutllm compile, got {store.what_is(directory)}")
    with dialect.context(), ir.Location.unknown():
        try:
            module = ir.Module.parse(path.read_text())
        except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}': expected scheduled IR, got {error}; compile again") from error
        if not dialect.verify(module) or "lut.store" not in module.operation.attributes:
            raise InputError(f"'{path}': expected scheduled IR that verifies and names its store; compile again")
    return module


def _image(directory: Path, plan: Plan) -> np.ndarray:
    path = directory / "mem" / IMAGE
    try:
        image = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
    if image.size != plan.memory_bytes:
        raise InputError(f"'{path}': expected {plan.memory_bytes} bytes, got {image.size}; compile again")
    return image


def _model(module: ir.Module, path: Path) -> QuantizedModel:
    """The model that it was compiled from."""
    if not path.is_dir():
        raise InputError(f"'{path}': expected the model that was compiled, got no such directory; compile again")
    found, attribute = from_pretrained(path), module.operation.attributes["lut.store"]
    wanted: Any = attribute.params[1].maybe_downcast()  # type: ignore[attr-defined]
    if found.sha256 != wanted.value:
        raise InputError(
            f"'{path}': expected the model that was compiled, with parameters {wanted.value}, got {found.sha256}; "
            "compile again"
        )
    return found
