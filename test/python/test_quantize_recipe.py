"""Recipes: which rule counts for a linear, what is refused and where, and quantizers found by entry point."""

import importlib.metadata
from pathlib import Path
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")

from lutllm.errors import InputError  # noqa: E402
from lutllm.lowering.machine.target_files import NAMES as NAMES_OF_TARGETS  # noqa: E402
from lutllm.lowering.machine.targets import find_target  # noqa: E402
from lutllm.lowering.quantize.graph import FloatGraph  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.text import default_text  # noqa: E402
from lutllm.quantizer import VectorQuantizer, quantize, recipe  # noqa: E402
from lutllm.quantizer.blocks import BLOCK, LANES, blocks_of, even_block  # noqa: E402
from lutllm.quantizer.observe.recording import linears  # noqa: E402
from lutllm.quantizer.random.float_models import float_decoder  # noqa: E402
from lutllm.quantizer.recipe import Assignment, Rule, check_shared_inputs, load_recipe, quantizer_of, with_exact_head  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme  # noqa: E402

KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
NAMES = [f"model.layers.{i}.{part}" for i in (0, 1, 10) for part in (*KINDS, "mlp.gate_proj", "mlp.up_proj")]
NAMES = [*NAMES, "lm_head"]

YAML = r"""
- targets: ["*"]
  scheme: exact
- targets: ["re:.*\\.mlp\\.(gate|up)_proj"]
  ignore: "model.layers.0.*"
  scheme: exact
  stages: 1
  block: 256
- targets: "model.layers.1*o_proj"
  scheme: {kind: vq, c_a: 32, S: 2}
- targets: lm_head
  scheme: additive
"""


@pytest.mark.parametrize("target", NAMES_OF_TARGETS)
def test_blocks_are_whole_chunks_of_every_target(target):
    accelerator, lanes = find_target(target).accelerator, find_target(target).engine.lanes
    assert LANES % lanes == 0 and BLOCK % LANES == 0 and accelerator.head_lanes % lanes == 0


@pytest.mark.parametrize(
    ("outputs", "unit", "slices", "block"),
    [
        (576, 1, 0, 576), (1025, 1, 0, 640), (1536, 64, 0, 768), (4864, 1, 0, 1024), (151936, 1, 0, 1024),
        (2560, 80, 0, 640), (3072, 96, 0, 768), (2048, 256, 0, 1024), (1152, 72, 0, 576), (5120, 640, 0, 640),
        (9216, 96, 3072, 768), (6144, 256, 256, 256), (3840, 64, 1280, 640), (3072, 64, 64, 3072),
        (22016, 1, 11008, 688),
    ],
)  # fmt: skip
def test_blocks_are_of_whole_heads_and_slices(outputs, unit, slices, block):
    assert even_block(outputs, unit, slices) == block


def test_the_heads_and_slices_of_a_model():
    """Phi-3's fused linears, of 13 heads; one linear of queries, keys and values of each head, as in GPT-NeoX."""
    shape = dict(hidden=512, intermediate=1400, heads=20, kv_heads=5, head_dim=72, layers=1)
    found = blocks_of(FloatGraph(float_decoder(**shape, fused=True)))
    assert found["model.layers.0.self_attn.q_k_v_proj"] == 360 and found["model.layers.0.mlp.gate_up_proj"] == 700
    found = blocks_of(FloatGraph(float_decoder(**shape)))
    assert {found[f"model.layers.0.self_attn.{name}_proj"] for name in "qkv"} == {720, 360}


def test_exact_rows_take_even_blocks():
    blocks = {name: 576 + i for i, name in enumerate(NAMES)}
    found = load_recipe([Rule(scheme="exact")]).assign(NAMES, blocks)
    assert {name: each.scheme.G for name, each in found.items()} == blocks
    for rule in (Rule(scheme="exact", block=512), Rule(scheme=EXACT), Rule(scheme="paper")):
        assert load_recipe([rule]).assign(NAMES, blocks)[NAMES[0]].scheme.G == 512


def test_the_last_rule_that_matches_counts(tmp_path):
    (tmp_path / "recipe.yaml").write_text(YAML)
    found = load_recipe(tmp_path / "recipe.yaml").assign(NAMES)
    assert list(found) == NAMES
    for name in NAMES:
        wanted = EXACT
        if ".mlp." in name and ".layers.0." not in name:
            wanted = EXACT.with_(R=1, G=256)
        if name in ("model.layers.1.self_attn.o_proj", "model.layers.10.self_attn.o_proj"):
            wanted = PAPER.with_(c_a=32, S=2)
        if name == "lm_head":
            wanted = ADDITIVE
        assert found[name] == Assignment(wanted), name


def test_quantized_activations_leave_the_head_exact_rows():
    blocks = dict.fromkeys(NAMES, 768)
    found = with_exact_head(Rule(scheme="paper", table_bits=12), "--scheme").assign(NAMES, blocks)
    assert found.pop("lm_head").scheme == EXACT.with_(G=768)
    assert {a.scheme for a in found.values()} == {PAPER.with_(table_bits=12)}
    found = with_exact_head(Rule(scheme="exact", stages=1), "--scheme").assign(NAMES, blocks)
    assert {a.scheme for a in found.values()} == {EXACT.with_(G=768, R=1)}


def test_the_recipe_of_the_docs():
    found = load_recipe(Path(__file__).parents[2] / "docs/recipes/additive.yaml").assign(NAMES)
    assert found.pop("lm_head").scheme.kind == "exact"
    assert {a.scheme for a in found.values()} == {ADDITIVE.with_(metric="l2")}


def test_python_objects_are_a_recipe_too():
    rules = [Rule(scheme=PAPER, stages=3, table_bits=12), {"targets": "lm_head", "scheme": "exact"}]
    found = load_recipe(rules).assign(NAMES)
    assert found["model.layers.0.mlp.up_proj"].scheme == PAPER.with_(R=3, table_bits=12)
    assert found["lm_head"].scheme == EXACT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a list of rules with targets and scheme, got NoneType"),
        ("targets: a", "expected a list of rules with targets and scheme, got dict"),
        ("- [", "expected YAML, got while parsing a flow"),
        ("- target: a", r"rule 1: expected a mapping with keys among targets, .*, got \['target'\]"),
        ("- exact", "rule 1: expected a mapping with keys among targets, .*, got str"),
        ("- {targets: 3, scheme: exact}", "rule 1: expected targets to be a list of patterns, got 3"),
        ("- {scheme: exact}", "rule 1: expected targets, got none"),
        ("- {targets: '*', scheme: best}", "rule 1: scheme: expected one of paper, additive, exact or .*, got 'best'"),
        ("- {targets: '*', stages: 9}", "rule 1: scheme: expected R = 1..8 .*, got 9"),
        ("- {targets: '*', table_bits: '12'}", "rule 1: expected table_bits to be a whole number, got '12'"),
        ("- {targets: '*', stages: two}", "rule 1: expected stages to be a whole number, got 'two'"),
        ("- {targets: '*', scheme: {kind: vq, color: 1}}", "rule 1: scheme: expected fields .*; got unknown color"),
        ("- {targets: '*', scheme: [exact]}", r"rule 1: expected scheme to be a name or a mapping.*, got \['exact'\]"),
        ("- {targets: '*', quantizer: [vq]}", r"rule 1: expected quantizer to be a name, got \['vq'\]"),
        ("- targets: '*'\n  stages: 1\n  stages: 2", "r.yaml:1: expected each key once, got 'stages' twice"),
        ("- {targets: '*', scheme: {kind: exact, R: 1, R: 2}}", "r.yaml:1: expected each key once, got 'R' twice"),
        ("- {targets: 're:(', scheme: exact}", "rule 1: expected a regular expression, got missing"),
    ],
)
def test_mistakes_are_located(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert caught.value.message.startswith(str(path))


def test_a_pattern_that_tries_every_way_has_an_end(monkeypatch):
    monkeypatch.setattr(recipe, "SECONDS", 0.1)
    found = load_recipe([{"targets": "*"}, {"targets": r"re:(?:[a-z._0-9]|[a-z]|.)+(?<!j)"}])
    with pytest.raises(InputError, match=r"recipe: rule 2: expected 're:.*' to be matched with 'model.* got no end"):
        found.assign([f"model.layers.{i}.self_attn.q_proj" for i in range(3)])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: expected a recipe, got No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_linears_without_a_rule_and_rules_without_a_linear_are_refused():
    with pytest.raises(InputError, match=r"got none for 18 of 19, the first is 'model.layers.0.self_attn.q_proj'"):
        load_recipe([Rule(["lm_head"])]).assign(NAMES)
    for rule in (Rule(["*", "*.w1"]), Rule(ignore=["*.w1"])):
        with pytest.raises(InputError, match=r"rule 1: expected '\*.w1' to match a linear, got none"):
            load_recipe([rule]).assign(NAMES)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (EXACT.with_(R=1, G=64), None),
        (
            EXACT.with_(x_bits=12, act_bits=12),
            "'b': expected x_bits = 16, as of 'a', which reads the same input, got 12",
        ),
        (PAPER, "'b': expected kind = exact, as of 'a'"),
    ],
)
def test_readers_of_one_input_must_want_one_form(scheme: Scheme, message):
    both = {"a": Assignment(EXACT), "b": Assignment(scheme)}
    if message is None:
        return check_shared_inputs(both, [("a", "b")])
    with pytest.raises(InputError, match=message):
        check_shared_inputs(both, [("a", "b")])


class Spy(VectorQuantizer):
    """Somebody else's quantizer."""

    seen: ClassVar[list[str]] = []

    def quantize_linear(self, linear):
        self.seen.append(linear.name)
        return super().quantize_linear(linear)


@pytest.fixture
def registered(monkeypatch):
    """Entry points `spy`, `broken` (does not load) and `no` (no quantizer), besides `vq`."""
    group = recipe.ENTRY_POINTS
    made = {
        "vq": "lutllm.quantizer.linear.vector:VectorQuantizer",
        "spy": "spy:Spy",
        "broken": "no_such_module:X",
        "no": "json:dumps",
    }
    points = importlib.metadata.EntryPoints(importlib.metadata.EntryPoint(n, v, group) for n, v in made.items())
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **which: points.select(**which))
    real = importlib.metadata.EntryPoint.load
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda p: Spy if p.name == "spy" else real(p))


def test_a_quantizer_is_found_by_entry_point(registered):
    model = load("tiny-llama", seed=1, layers=1)
    names = linears(model.module)
    Spy.seen.clear()
    rules = [Rule(scheme="exact", stages=1), Rule(["*down_proj"], scheme="exact", stages=1, quantizer="spy")]
    found = load_recipe(rules).assign(names)
    made = quantize(
        model,
        scheme={n: a.scheme for n, a in found.items()},
        quantizer=quantizer_of(found),
        text=default_text(),
        tokens=128,
        window=64,
        progress=False,
    )
    assert Spy.seen == ["model.layers.0.mlp.down_proj"] and list(made.linears) == names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other", "quantizer: expected one of broken, no, spy, vq, got 'other'; register it in the entry point group"),
        ("broken", "quantizer 'broken': expected no_such_module:X to load, got No module"),
        ("no", "quantizer 'no': expected a class with observe and quantize_linear, got no observe"),
    ],
)
def test_quantizers_that_are_none_are_refused(registered, name, message):
    with pytest.raises(InputError, match=message):
        recipe.find_quantizer(name)


def test_readers_of_one_input_have_one_quantizer():
    both = {"a": Assignment(EXACT), "b": Assignment(EXACT, "spy")}
    with pytest.raises(InputError, match="'b': expected quantizer 'vq', as of 'a'"):
        check_shared_inputs(both, [("a", "b")])
