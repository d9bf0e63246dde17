"""PyTorch to MLIR: an `nn.Module` and example inputs go in, torch-level IR with its parameters outside comes out.

Importing this package is cheap; torch and the torch half of the bindings are imported by the first `import_module`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.models.hf import require


@dataclass
class ImportedModule:
    """Torch-level IR. `parameters` maps every external global of `module` to its tensor, shared with PyTorch."""

    module: ir.Module
    parameters: Mapping[str, Any]

    @property
    def context(self) -> ir.Context:
        return self.module.context

    def text(self) -> str:
        """The IR with its locations."""
        return self.module.operation.get_asm(enable_debug_info=True)

    def save_parameters(self, path: str | Path) -> str:
        """Write the parameters as safetensors, appearing whole or not at all; return the file's SHA-256.

        The file is written from the tensors' own memory; only a tensor that is not contiguous is copied.
        """
        path = Path(path)
        work = path.with_name(f".{path.name}.partial")
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.parameters.items()}
        try:
            require("safetensors.torch").save_file(tensors, work)
            work.replace(path)
        except OSError as error:
            raise InputError(f"{path}: expected to write the parameters, got {error}; free some space") from None
        finally:
            work.unlink(missing_ok=True)
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def import_module(
    module: Any,
    example_args: Sequence[Any],
    *,
    name_prefix: str = "",
    function: str = "main",
    dynamic_shapes: Any = None,
) -> ImportedModule:
    """Import `module` as `func.func @function`, `aten.linear` and attention kept whole, in a context with `lut` loaded.

    Parameters and buffers become external globals named as in PyTorch, after `name_prefix`; a tied parameter has its
    first name. Every op's location is `loc("module.path"("file.py":line:col))`. `dynamic_shapes` is torch.export's.
    """
    require("torch")
    from lutllm.importer.torch_export import export, lower_to_torch

    program = export(module, tuple(example_args), dynamic_shapes)
    return ImportedModule(*lower_to_torch(program, module, name_prefix, function))
