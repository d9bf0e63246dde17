"""torch to lut on imported modules: names, sharing, the store, and the integers of the golden model."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lutllm import dialect, interpreter, models, store  # noqa: E402
from lutllm.bindings import ir, source_position  # noqa: E402
from lutllm.errors import IRError  # noqa: E402
from lutllm.importer import import_module  # noqa: E402
from lutllm.lowering import PASSES  # noqa: E402
from lutllm.lowering.pipelines import to_linears  # noqa: E402
from lutllm.lowering.quantize.torch_to_lut import convert_linears  # noqa: E402
from lutllm.lowering.raising.linears import linears_in, module_path  # noqa: E402
from lutllm.models.wrappers import decoder_layer, whole_model  # noqa: E402
from lutllm.passes import PASSES as LUT_PASSES  # noqa: E402
from lutllm.passes import run_pipeline  # noqa: E402
from lutllm.quantization import LinearConstants, constants_of, read_quantization  # noqa: E402
from lutllm.quantizer.random.linear import random_linear  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT  # noqa: E402

READERS = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


def quantized(module, scheme=ADDITIVE, tables=False):
    """Random integers for every linear of a module; linears that read one value share its exponents and codebook."""
    found = {}
    for seed, (name, part) in enumerate(module.named_modules()):
        if isinstance(part, nn.Linear):
            head, _, last = name.rpartition(".")
            first = f"{head}.{READERS.get(last, last)}".removeprefix(".")
            q = random_linear(
                part.in_features, part.out_features, scheme, seed, name=name, input_name=f"{first}.input", tables=tables
            )
            if first != name:
                q.exponents, q.codebook = found[first].exponents, found[first].codebook
            found[name] = q
    return found


def extract_linears(module: ir.Module) -> ir.Module:
    run_pipeline(module, to_linears(), passes=(*LUT_PASSES, *PASSES))
    return module


def lut_linears(module: ir.Module):
    return [op for op in dialect.lut_ops(module) if isinstance(op, dialect.LinearOp)]


@pytest.mark.parametrize("scheme", [ADDITIVE, EXACT], ids=["additive", "exact"])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_decoder_layer(name, scheme):
    causal_lm = models.load(name).module
    imported = import_module(*decoder_layer(causal_lm, 1, tokens=4))
    linears = {n: q for n, q in quantized(causal_lm, scheme).items() if n.startswith("model.layers.1.")}
    done = convert_linears(imported.module, constants_of(linears))
    assert done.converted == list(linears)
    assert done.kept == []
    assert dialect.verify(imported.module)
    run_pipeline(imported.module, "builtin.module(canonicalize,cse,lut-symbol-dce)")
    quantizes = [op for op in dialect.lut_ops(imported.module) if isinstance(op, dialect.QuantizeOp)]
    assert [dialect.fixed_of(op.result.type)[1] for op in quantizes] == [
        f"model.layers.1.{part}.input.exponents"
        for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")
    ]
    symbols = set(dialect.symbol_table(imported.module))
    wanted = {symbol for q in linears.values() for symbol in q.tensors()}
    norms = {s for s in symbols if "layernorm" in s or "_norm" in s}
    assert symbols - norms == wanted | set(dialect.schemes(imported.module.operation)) | {"main"}


def test_names_and_locations_survive():
    imported = import_module(*decoder_layer(models.load("tiny-llama").module, 0, tokens=4))
    with imported.context:
        before = [(module_path(o.location), source_position(o.location)) for o in linears_in(imported.module.operation)]
    convert_linears(imported.module, constants_of(quantized(models.load("tiny-llama").module)))
    run_pipeline(imported.module, "builtin.module(canonicalize,cse)")
    for module in (lambda: imported.module, lambda: extract_linears(imported.module)):
        found = [op.operation.location for op in lut_linears(module())]
        assert [(module_path(loc), source_position(loc)) for loc in found] == before
    assert all(line.startswith("transformers/models/llama/modeling_llama.py:") for _, line in before)


def test_whole_model_without_its_head():
    causal_lm = models.load("tiny-qwen3").module
    linears = quantized(causal_lm)
    del linears["lm_head"]
    imported = import_module(*whole_model(causal_lm, tokens=4))
    done = convert_linears(imported.module, constants_of(linears))
    assert len(done.converted) == 14
    assert [(k.name, k.reason) for k in done.kept] == [("lm_head", "no quantized parameters")]
    assert dialect.verify(imported.module)


def test_tied_head_converts_and_the_embedding_stays():
    causal_lm = models.load("tiny-llama").module
    imported = import_module(*whole_model(causal_lm, tokens=4))
    assert convert_linears(imported.module, constants_of(quantized(causal_lm))).converted[-1] == "lm_head"
    run_pipeline(imported.module, "builtin.module(canonicalize,cse,lut-symbol-dce)")
    symbols = dialect.symbol_table(imported.module)
    assert "model.embed_tokens.weight" in symbols
    assert "lm_head.codes" in symbols


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (1, 2, 5, 6)])
def test_extracted_linear_computes_the_golden_integers(shape):
    module = nn.Sequential(nn.Linear(6, 10))
    linears = quantized(module, ADDITIVE.with_(G=4), tables=True)
    imported = import_module(module, (torch.zeros(shape),))
    convert_linears(imported.module, constants_of(linears))
    extracted = extract_linears(imported.module)
    assert dialect.verify(extracted)
    assert "torch" not in extracted.operation.get_asm()
    x = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (5, 6)).astype(np.int16)
    (got,) = interpreter.run(extracted, [x], linears["0"].tensors())
    assert np.array_equal(got, interpreter.linear(linears["0"], x, "built_row"))


def test_linear_used_twice_is_extracted_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.proj = nn.Linear(6, 6)

        def forward(self, x):
            return self.proj(self.proj(x))

    module = Twice()
    imported = import_module(module, (torch.zeros(2, 6),))
    convert_linears(imported.module, constants_of(quantized(module)))
    run_pipeline(imported.module, "builtin.module(canonicalize,cse,lut-symbol-dce)")
    assert len(lut_linears(imported.module)) == 2
    assert [op.weights.value for op in lut_linears(extract_linears(imported.module))] == ["proj"]
    assert "proj.bias.float" not in dialect.symbol_table(imported.module)


def test_store_is_recorded_and_matches(tmp_path):
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    digest = store.save_linears(tmp_path, quantized(module))
    found = read_quantization(tmp_path)
    assert found.sha256 == digest
    imported = import_module(module, (torch.zeros(2, 6),))
    convert_linears(imported.module, found.linears, digest)
    assert dialect.verify(imported.module, tmp_path / store.PARAMETERS)
    assert f'#lut.store<"parameters.safetensors", "{digest}">' in str(extract_linears(imported.module))


def test_constants_from_json_equal_those_of_arrays(tmp_path):
    linears = quantized(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)), tables=True)
    store.save_linears(tmp_path, linears)
    assert read_quantization(tmp_path).linears == constants_of(linears)


def test_parameters_of_another_model_are_refused():
    module = nn.Linear(6, 4)
    imported = import_module(module, (torch.zeros(2, 6),), name_prefix="proj.")
    constants = LinearConstants("proj.input", EXACT, 3, 5, 2, -5)
    with pytest.raises(IRError, match="expected quantized parameters for 6 inputs and 4 outputs, got 6 and 5"):
        convert_linears(imported.module, {"proj": constants})


def test_odd_width_is_one_located_error():
    imported = import_module(nn.Linear(7, 4), (torch.zeros(2, 7),), name_prefix="proj.")
    with pytest.raises(IRError, match=r"'proj': expected an even input width \(whole pairs\), got 7"):
        convert_linears(imported.module, {"proj": LinearConstants("proj.input", EXACT, 3, 4, 2, -5)})
