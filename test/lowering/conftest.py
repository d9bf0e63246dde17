"""A schedule to edit, for the tests of what a schedule must not be."""

import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import PASSES
from lutllm.bindings import ir
from lutllm.lowering import pipelines
from lutllm.passes import run_pipeline
from lutllm.quantizer.random.float_models import LayerShape, float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT


@pytest.fixture(scope="session")
def scheduled() -> ir.Module:
    """Two layers on the tiny machine, whose accumulator takes two blocks of 16 outputs: gate, up and the LM head have
    two rounds."""
    model = float_decoder(layers=[LayerShape(40, 2, 1, 16)] * 2, hidden=32, vocabulary=160)
    module = random_model(model, EXACT.with_(R=1, G=16), 5, positions=20).lut()
    placing = pipelines.joined(pipelines.to_steps(), "builtin.module(lut-place{target=tiny})")
    run_pipeline(module, placing, passes=PASSES)
    with module.context:
        engine = next(op for op in module.body.operations if isinstance(op, dialect.MachineOp))
        engine.operation.regions[0].blocks[0].operations[0].attributes["acc_words"] = dialect.i64(16)
    rest = pipelines.joined(f"builtin.module({','.join(pipelines.PLACES)})", pipelines.to_schedule())
    run_pipeline(module, rest, passes=PASSES)
    return module
