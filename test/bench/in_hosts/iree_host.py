"""IREE on the CPU runs what `lut-to-linalg` makes, as a pass of IREE's own pass manager: the interpreter's integers."""

import sys
import tempfile
from pathlib import Path

import iree.compiler
import iree.runtime
import numpy as np
from iree.compiler import ir, passmanager

TEST = Path(__file__).parents[2]
sys.path += [str(TEST / "lowering"), str(TEST / "integration")]

import test_lut_to_linalg as linears  # noqa: E402
import test_mixed_modules as mixed  # noqa: E402

from lutllm import embed, interpreter, store  # noqa: E402
from lutllm.quantizer import random_linear  # noqa: E402


def run(text: str, pipeline: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """@main of a module, after a pipeline of lutllm in IREE's pass manager."""
    context = ir.Context()
    context.allow_unregistered_dialects = True
    with context, ir.Location.unknown():
        module = ir.Module.parse(text)
        manager = passmanager.PassManager.parse("builtin.module(cse)")
        embed.add(manager, pipeline)
        manager.run(module.operation)
    code = iree.compiler.compile_str(
        str(module), target_backends=["llvm-cpu"], extra_args=["--iree-llvmcpu-target-cpu=generic"]
    )
    loaded = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    loaded.add_vm_module(iree.runtime.VmModule.copy_buffer(loaded.instance, code))
    found = loaded.modules.module["main"](*arrays)
    return [each.to_host() for each in (found if isinstance(found, (tuple, list)) else [found])]


def generic(module) -> str:
    return module.operation.get_asm(print_generic_op_form=True)


def main() -> None:
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (scheme, source) in linears.SCHEMES.items():
            q = random_linear(24, 40, scheme, 3, tables=True)
            store.save(f"{folder}/parameters.safetensors", q.tensors())
            module, x = linears.module_of(q, source, "2x?"), linears.wild(np.random.default_rng(0), (2, 3, 24))
            wanted = interpreter.run(module, [x], q.tensors())
            bind = f"builtin.module(lut-to-linalg,lut-bind-parameters{{store={folder}}},symbol-dce)"
            for want, got in zip(wanted, run(generic(module), bind, x), strict=True):
                assert np.array_equal(want, got), name
                compared += got.size
        for make, scheme, error in mixed.CASES.values():
            m = mixed.mixed(make, scheme, Path(folder))
            result, *seen = run(generic(m.ir), m.pipeline, m.x.numpy())
            mixed.check(m, result, seen, error)
            compared += sum(y.size for y in seen[1::2])
    print(f"{compared} integers of {len(linears.SCHEMES)} schemes and {len(mixed.CASES)} modules, IREE on the CPU")


main()
