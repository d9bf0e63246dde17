"""`torch-raise-decoder`: a model imported whole and quantized parameters in, the decoder's `lut` program out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.decoder_spec import difference, read_decoder_spec
from lutllm.lowering.decoder_to_lut import emit_decoder
from lutllm.lowering.torch_ir.decoder import raise_decoder
from lutllm.passes import Pass


@dataclass(frozen=True)
class TorchRaiseDecoder(Pass):
    """Replace a whole model in the torch dialect by the lut program of its quantized decoder.

    `quantization` names the directory with quantization.json, or that file. The structure found in the IR must be the
    one the parameters were made for. `context` tokens fit the KV cache, 0: as many as RoPE has positions.
    """

    name: ClassVar[str] = "torch-raise-decoder"
    anchor: ClassVar[str | None] = "builtin.module"
    quantization: str = ""
    context: int = 0

    def run(self, op: ir.Operation) -> None:
        if not self.quantization:
            raise InputError(f"{self.name}: expected quantization=DIRECTORY, got none; name the quantizer's output")
        spec = read_decoder_spec(self.quantization)
        problem = difference(spec.decoder, raise_decoder(op))
        if problem:
            self.fail(op, f"{problem}: not the model '{self.quantization}' was made for; quantize this model")
        module: Any = op.opview
        for old in reversed(list(module.body.operations)):
            old.operation.erase()
        emit_decoder(module, spec, self.context)
