"""jaxlib's pass manager runs pipelines of lutllm on lut ops among StableHLO ops, which stay as they are.

It goes no further: jaxlib's MLIR has neither linalg nor IRDL, so that it can hold lut ops and what becomes of them, but
neither verify nor compile them.
"""

import sys
from pathlib import Path

from jaxlib.mlir import ir, passmanager
from jaxlib.mlir._mlir_libs import _jax_mlir_ext
from jaxlib.mlir.dialects import stablehlo

sys.path.append(str(Path(__file__).parents[2] / "python"))

import test_embed

from lutllm import embed
from lutllm.passes import run_pipeline

STABLEHLO = """
func.func @twice(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = stablehlo.add %x, %x : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
"""


def main() -> None:
    wanted = test_embed.parsed(test_embed.LINEAR)
    run_pipeline(wanted, test_embed.PIPELINE)
    registry, context = ir.DialectRegistry(), ir.Context()
    _jax_mlir_ext.register_dialects(registry)
    context.append_dialect_registry(registry)
    stablehlo.register_dialect(context)
    context.allow_unregistered_dialects = True
    with context, ir.Location.unknown():
        module = ir.Module.parse(test_embed.generic(test_embed.parsed(test_embed.LINEAR)))
        for op in ir.Module.parse(STABLEHLO).body.operations:
            module.body.append(op.operation.clone())
        manager = passmanager.PassManager("builtin.module")
        embed.add(manager, test_embed.PIPELINE)
        manager.run(module.operation)
        assert "stablehlo.add %" in str(module)
        list(module.body.operations)[-1].operation.erase()
        text = module.operation.get_asm(print_generic_op_form=True, enable_debug_info=True)
        for absent in ("linalg", "irdl"):
            try:
                raise AssertionError(f"jaxlib has {context.dialects[absent]} now")
            except IndexError:
                pass
    assert test_embed.generic(test_embed.parsed(text)) == test_embed.generic(wanted)
    print(
        f"{context.get_num_threads()} threads; a pipeline in its pass manager, StableHLO kept; no linalg, no IRDL there"
    )


main()
