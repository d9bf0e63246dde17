"""Compares the levels of what `lutllm compile MODEL -o DIR` wrote: DIR and its model in, a `DiffResult` out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, hardware, resolve, store
from lutllm.bindings import ir
from lutllm.diff.difference import DiffResult
from lutllm.diff.levels import DEFAULT, check_levels, compare_levels
from lutllm.diff.recording import record
from lutllm.errors import InputError
from lutllm.lowering.image.whole import IMAGE, model_id
from lutllm.lowering.plan.data import Plan
from lutllm.lowering.plan.ir import read_plan
from lutllm.model_compiler import prompt_ids
from lutllm.pretrained import QuantizedModel
from lutllm.progress import note
from lutllm.scheme import Scheme

_PLAN = "ir/model.accelerator.mlir"


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

    `model`: the quantized model, if it lies elsewhere now; `wave`: where a waveform around a difference goes. Raises
    `InputError` for a directory that is not of a whole model, or another model's.
    """
    directory = Path(directory)
    check_levels(levels)
    plan, about = _plan(directory), store.read_json(directory / "manifest.json")
    image, found, options = _image(directory, plan), _model(directory, about, model, quiet), about["options"]
    ids = prompt_ids(found, options["prompt"] if prompt is None else prompt, options["seed"])
    hardware.check_prompt(ids, plan.context)
    count = tokens or options["tokens"]
    note(f"transaction: {len(ids)} tokens in, {count} out", quiet=quiet)
    recorded = record(plan, found.decoder, ids, count)
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


def _plan(directory: Path) -> Plan:
    path = directory / _PLAN
    if not path.is_file():
        raise InputError(f"'{directory}': expected the output of lutllm compile without --layers, got no {_PLAN}")
    with dialect.context(), ir.Location.unknown():
        try:
            module = ir.Module.parse(path.read_text())
        except (ir.MLIRError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}': expected accelerator IR, got {error}; compile again") from error
        if not dialect.verify(module):
            raise InputError(f"'{path}': expected accelerator IR that verifies; compile again")
        return read_plan(module)


def _image(directory: Path, plan: Plan) -> np.ndarray:
    path = directory / "mem" / IMAGE
    try:
        image = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"'{path}': expected a memory image, got {error.strerror}; compile again") from error
    if image.size != plan.memory_bytes:
        raise InputError(f"'{path}': expected {plan.memory_bytes} bytes, got {image.size}; compile again")
    return image


def _model(directory: Path, about: dict[str, Any], given: str | None, quiet: bool) -> QuantizedModel:
    """The model it was compiled from: the one given, or the one that the manifest names."""
    options, name = about["options"], given or about["model"]["name"]
    found = resolve.quantized_model(
        name,
        scheme=Scheme.from_dict(options["scheme"]),
        text=options["text"],
        tokens=options["calibration"],
        seed=options["seed"],
        quiet=quiet,
    )
    wanted = store.read_json(directory / "mem" / "manifest.json")["model"]
    if f"{model_id(found.decoder):016x}" != wanted:
        raise InputError(
            f"'{name}': expected the model that '{directory}' was compiled from, {wanted}, got "
            f"{model_id(found.decoder):016x}; give it with --model, or compile again"
        )
    return found
