"""Compares the levels of what `lutllm compile MODEL -o DIR` wrote: DIR and its model in, a `DiffResult` out.

DIR may lie anywhere: the quantized model is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lutllm.accelerator import hardware
from lutllm.compiler.compiled import Compiled
from lutllm.compiler.model import prompt_ids
from lutllm.compiler.options import PROMPT, TOKENS
from lutllm.diff.difference import DiffResult
from lutllm.diff.levels import DEFAULT, check_levels, compare_levels
from lutllm.diff.recording import record
from lutllm.errors import InputError
from lutllm.progress import note


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
    check_levels(levels)
    saved = Compiled(directory)
    module, plan, image, options = saved.module, saved.plan, saved.image, saved.about["options"]
    found = saved.model
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
        lambda kind: hardware.build(plan.config, kind, saved.directory / "rtl"),
        wave=wave,
        quiet=quiet,
    )
