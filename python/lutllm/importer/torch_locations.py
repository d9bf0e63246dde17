"""Where an exported op came from: FX node metadata in, module path and source line out.

Paths inside site-packages are written relative to it, so that the same model gives the same IR on every machine.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from typing import Any

import torch

from lutllm.bindings import ir

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCH = str(Path(torch.__file__).parent)
_LUTLLM = str(Path(__file__).parents[1])
_PACKAGES = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(Path(_LUTLLM).parent))
_NOT_THE_MODEL = (_TORCH, str(Path(__file__).parent), sysconfig.get_path("stdlib") + "/", "<")


def module_path(node: Any) -> str:
    """`model.layers.12.self_attn.q_proj`: the innermost module whose forward made the node, "" for the outermost."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def source_line(node: Any) -> tuple[str, int] | None:
    """File and line of the innermost frame outside PyTorch itself."""
    frames = [(name, int(line)) for name, line in _FRAME.findall(node.meta.get("stack_trace") or "")]
    own = [frame for frame in frames if _is_model_code(frame[0])]
    return (_shortened(own[-1][0]), own[-1][1]) if own else None


def position(node: Any) -> str | None:
    """`file.py:line:0` of a node, for error messages."""
    line = source_line(node)
    return f"{line[0]}:{line[1]}:0" if line else None


def node_location(node: Any, name: str, context: ir.Context) -> ir.Location | None:
    """`loc("module.path"("file.py":line:col))`; only the part that is known."""
    line = source_line(node)
    child = ir.Location.file(line[0], line[1], 0, context=context) if line else None
    if not name:
        return child
    return ir.Location.name(name, childLoc=child, context=context)


def raised_at(error: BaseException) -> str | None:
    """`file.py:line:0` of the model's own line that raised `error`, looking through what PyTorch wrapped around it."""
    while True:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_model_code(f.filename)]
        if frames:
            return f"{_shortened(frames[-1].filename)}:{frames[-1].lineno or 0}:0"
        inner = error.__cause__ or error.__context__
        if inner is None:
            return None
        error = inner


def _is_model_code(filename: str) -> bool:
    if filename.startswith(_PACKAGES):  # a virtual environment may lie inside the standard library's folder
        return not filename.startswith(_NOT_THE_MODEL[:2]) and "/torch_mlir/" not in filename
    return not filename.startswith(_NOT_THE_MODEL)


def _shortened(filename: str) -> str:
    for root in _PACKAGES:
        if filename.startswith(root + "/"):
            return filename[len(root) + 1 :]
    return filename
