"""No text ends in a traceback, a hang or an abort: valid modules, mutated at random, verify or get diagnostics."""

import faulthandler
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir
from lutllm.dialect import documentation

CTX = dialect.context()
GLOBALS = {
    "q.input.exponents": "4xi8",
    "q.input.codebook": "4x1x16x2xi16",
    "q.weight_codebook": "4x2x2x16x2xi8",
    "q.codes": "4x2x6xi8",
    "q.shifts": "4x2xi8",
    "q.multiplier": "6xi32",
    "q.bias": "6xi32",
    "q.tables": "4x2x2x1x16x16xi8",
    "e.rows": "32x8xi8",
    "e.multiplier": "32xi32",
    "n.gain": "8xi32",
    "rope.cosines": "16x2xi16",
    "rope.sines": "16x2xi16",
    "a.query.exponents": "4xi8",
    "a.key.exponents": "2xi8",
    "a.value.exponents": "2xi8",
    "a.multiplier": "4xi32",
    "embed_tokens.weight": "32x8xf32",
    "norm.weight": "8xf32",
    "proj.weight": "6x8xbf16",
    "proj.bias": "6xf16",
    "rotary_emb.inv_freq": "2xf32",
}
DECLARED = "\n".join(
    f"ml_program.global private @{name}(#ml_program.extern : tensor<{type_}>) : tensor<{type_}>"
    for name, type_ in GLOBALS.items()
)
with CTX:
    ALIASES = documentation.example_aliases()
EXAMPLES = [op.EXAMPLE for op in dialect.Lut.operations]

ATTRIBUTE = re.compile(r"\b\w+ = (?:#\w+|@[\w.]+|\[[^]]*\]|\{[^}]*\}|\"[^\"]*\"|-?\d+)(?:, )?")
TOKEN = re.compile(r"tensor<[^>]*>+|[#@%]?[\w.]+|\"[^\"]*\"|->|[^\s\w]")
REPLACEMENTS = [
    *("", "0", "-1", "3", "17", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "1.5", "true"),
    *(
        "3 : i8",
        "5 : index",
        "4 : i128",
        "?",
        "unit",
        '"text"',
        '"vq"',
        '"exact"',
        '"l2"',
        "@q.bias",
        "@none",
        "@a::@b",
    ),
    *("[]", "[3, @q.w]", "{}", "{w = 3}", "@vq", "@exact", "#x", "#lut.fixed<3>"),
    *("#lut.fixed<1, 2>", "i1", "i16", "i32", "f32", "index", "none", "tensor<*xi32>", "tensor<i32>"),
    *(
        "tensor<0x0xi32>",
        "tensor<?x?xi32>",
        "tensor<?x8xi16, #x>",
        "tensor<?x8xi16, #lut.store<1, 2>>",
        "tensor<?x8xi16, 3>",
    ),
    *("tensor<1xi32>", "tensor<3x8xi8, #k>", "tensor<0x8xi32, #r>", "tensor<?x8xi32, #q>", "#k", "#lut.fixed<32, -96>"),
    *("tensor<?x6xi32, #y>", "tensor<4611686018427387904x2xi32>", "memref<4x2xi32>", "vector<4xi32>", "tuple<>"),
    *("tensor<?x8xf32>", "tensor<?x4xf32>", "1.0e-5", "-1.0", "1.0 : f32", "0x7FF8000000000000 : f64", '""', '"silu"'),
    *("()", "(", ")", "{", "}", "<", ">", "x", "%0", "%1", "^bb0"),
    # The bindings cannot hand a location out as an attribute; reading one the wrong way stops the process.
    *("loc(unknown)", "[loc(unknown)]", "{w = loc(unknown)}", "tensor<?x8xi16, loc(unknown)>"),
    *("#lut.fixed<1, loc(unknown)>", "#ml_program.extern : tensor<6xi32>"),
]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid module with up to three changes: an attribute removed, or a token replaced, removed or doubled."""
    text = "\n".join((ALIASES, DECLARED, draw(st.sampled_from(EXAMPLES))))
    for _ in range(draw(st.integers(1, 3))):
        pattern = draw(st.sampled_from((ATTRIBUTE, TOKEN, TOKEN)))
        places = list(pattern.finditer(text))
        if not places:
            break
        place = places[draw(st.integers(0, len(places) - 1))]
        old = place.group()
        new = "" if pattern is ATTRIBUTE else draw(st.sampled_from([*REPLACEMENTS, old + " " + old]))
        text = text[: place.start()] + new + text[place.end() :]
    return text


@given(mutated())
@example("")
@example("module attributes {lut.store = loc(unknown), sym_name = loc(unknown)} {}")
@example(ALIASES.replace(" v = 2", " v = loc(unknown)") + "\n" + dialect.CentroidSearchOp.EXAMPLE)
@example(ALIASES.replace('"vq"', "loc(unknown)") + "\n" + dialect.CentroidSearchOp.EXAMPLE)
@example(dialect.CentroidSearchOp.EXAMPLE.replace("@vq", "loc(unknown)"))
@example(dialect.MachineOp.EXAMPLE.replace("w = 64", "w = loc(unknown)"))
@example(dialect.MachineOp.EXAMPLE.replace('["built_row"]', "[loc(unknown)]"))
@example(dialect.MachineOp.EXAMPLE.replace('["linear", ', "[loc(unknown), "))
@example(dialect.MachineOp.EXAMPLE.replace('"read_w"', "loc(unknown)"))
@example(dialect.RoundOp.EXAMPLE.replace("[@q.w]", "[loc(unknown)]"))
@example(dialect.ClusterOp.EXAMPLE.replace('["norm"]', "[loc(unknown)]"))
@example(dialect.ClusterOp.EXAMPLE.replace('["norm"]', '["norm"], layout = @a::@b'))
@example(dialect.ClusterOp.EXAMPLE.replace('["norm"]', '["norm"], rounds = [loc(unknown)]'))
@example(dialect.TaskOp.EXAMPLE.replace("round = 0", "parameters = @a::@b"))
@example("func.func private @f(tensor<1xi8> {lut.region = loc(unknown)})")
@example('"lut.prefix_sum"() : () -> ()')
@example('%0 = "lut.prefix_sum"(%0) : (tensor<?x6xi32>) -> tensor<?x6xi32>')
@example('"lut.region"() {sym_name = 3} : () -> ()')
@example('module attributes {lut.store = #lut.store<"a", "b">} {}')
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_verifies_or_is_diagnosed(text: str) -> None:
    with capture_diagnostics(CTX) as seen:
        try:
            right = dialect.verify(ir.Module.parse(text, CTX))
        except ir.MLIRError:
            right = False
    errors = [d.message for d in seen if d.severity == "error"]
    assert right == (not errors), (right, errors)
    # A verifier's own defect is caught and reported as this; here it must not be needed.
    assert not [message for message in errors if "cannot be verified" in message]


def test_the_unmutated_examples_verify() -> None:
    alone = {"lut.round"}  # its regions are not there
    for op in dialect.Lut.operations:
        text = "\n".join((ALIASES, DECLARED, op.EXAMPLE))
        assert dialect.verify(ir.Module.parse(text, CTX)) == (op.OPERATION_NAME not in alone), text


def test_a_defect_of_a_verifier_is_a_diagnostic(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: dialect.LutOp) -> None:
        raise KeyError("defect")

    monkeypatch.setattr(dialect.RegionOp, "check", broken)
    text = '"lut.region"() {sym_name = "a", address = 0, bytes = 1, kind = "x"} : () -> ()'
    with capture_diagnostics(CTX) as seen, pytest.raises(ir.MLIRError):
        ir.Module.parse(text, CTX)
    assert seen[0].message == "'lut.region' op cannot be verified: KeyError: 'defect'"
