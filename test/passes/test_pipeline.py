"""Pipelines from Python: what parses prints back, what cannot run is refused first, what fails says where."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutllm import dialect
from lutllm.bindings import Diagnostic, ir
from lutllm.errors import InputError
from lutllm.passes import PASSES, Observer, Pass, Pipeline, PipelineError, run_pipeline
from lutllm.passes.pipeline import MAX_DEPTH, Nest, PassItem, parse_pipeline

TEXT = """
func.func @f() -> (i32, i32) {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  return %0, %1 : i32, i32
}
func.func private @g()
"""


@dataclass(frozen=True)
class Visit(Pass):
    """Note the ops it runs on, or fail."""

    name: ClassVar[str] = "visit"
    text: str = ""
    count: int = 1
    really: bool = False
    seen: ClassVar[list[str]] = []

    def run(self, op: ir.Operation) -> None:
        if self.text == "fail":
            self.fail(op, "expected peace, got failure; do not ask for it")
        if self.text == "raise":
            raise KeyError("lost")
        if self.text == "complain":
            op.location.emit_error("this could be better")
        if self.text == "break":
            op.attributes["sym_name"] = ir.StringAttr.get("")
            del op.attributes["function_type"]
        self.seen.append(op.name)
        self.statistics["visits"] += 1


@dataclass(frozen=True)
class OnFunctions(Visit):
    """Run on functions only."""

    name: ClassVar[str] = "on-functions"
    anchor: ClassVar[str | None] = "func.func"


@pytest.fixture
def module() -> ir.Module:
    Visit.seen.clear()
    with dialect.context(), ir.Location.unknown():
        return ir.Module.parse(TEXT)


def test_own_and_upstream_passes_in_order(module: ir.Module) -> None:
    run_pipeline(module, "builtin.module(visit,func.func(visit,cse,on-functions{text=x}))", passes=(Visit, OnFunctions))
    assert Visit.seen == ["builtin.module", "func.func", "func.func", "func.func", "func.func"]
    assert str(module).count("arith.constant") == 1


def test_any_context_with_the_dialect_will_do() -> None:
    context = ir.Context()
    dialect.register_dialects(context)
    with context, ir.Location.unknown():
        module = ir.Module.parse(TEXT)
    run_pipeline(module, "builtin.module(lut-canonicalize,func.func(cse))")
    assert str(module).count("arith.constant") == 1


def test_a_failing_pass_says_where(module: ir.Module) -> None:
    with pytest.raises(PipelineError) as caught:
        run_pipeline(module, "builtin.module(func.func(visit{text=fail}),cse)", passes=(Visit,))
    assert str(caught.value) == "-:2:1: error: 'func.func' op expected peace, got failure; do not ask for it"
    assert str(module).count("arith.constant") == 2


def test_an_error_that_a_pass_reports_and_survives_is_no_failure(module: ir.Module) -> None:
    class Keep(Observer):
        def report(self, diagnostics: Sequence[Diagnostic]) -> None:
            said.extend(map(str, diagnostics))

    said: list[str] = []
    Pipeline("builtin.module(visit{text=complain},cse,visit)", (Visit,)).run(module, observer=Keep())
    assert said == ["-:0:0: error: this could be better"]
    assert Visit.seen == ["builtin.module", "builtin.module"]


def test_a_pass_counts(module: ir.Module) -> None:
    pipeline = Pipeline("builtin.module(visit,func.func(visit),cse)", (Visit,))
    for _ in range(2):
        pipeline.run(module)
    assert [dict(step.own.statistics) for step in pipeline.steps if step.own] == [{"visits": 2}, {"visits": 4}]


def test_a_defect_in_a_pass_is_an_error(module: ir.Module) -> None:
    with pytest.raises(PipelineError, match=r"pass 'visit' stopped with KeyError: 'lost'; this is a defect of it"):
        run_pipeline(module, "builtin.module(visit{text=raise})", passes=(Visit,))
    with pytest.raises(KeyError):
        Pipeline("builtin.module(visit{text=raise})", (Visit,)).run(module, raise_defects=True)


def test_verification_catches_a_pass_that_breaks_the_ir(module: ir.Module) -> None:
    with pytest.raises(PipelineError, match="requires attribute 'function_type'"):
        run_pipeline(module, "builtin.module(func.func(visit{text=break}))", passes=(Visit,))
    run_pipeline(module, "builtin.module(visit)", passes=(Visit,), verify_each=False)


def test_an_upstream_failure_has_its_diagnostics(module: ir.Module) -> None:
    with pytest.raises(PipelineError, match="unable to schedule pass 'AffineLoopUnroll'"):
        run_pipeline(module, "builtin.module(affine-loop-unroll)")


def test_upstream_passes_run_together_unless_watched(module: ir.Module) -> None:
    class Watch(Observer):
        def __init__(self, each_pass: bool) -> None:
            self.each_pass = each_pass
            self.names: list[str] = []

        def before(self, name: str, op: ir.Operation) -> None:
            self.names.append(f"{name} on {op.name}")

    text = "builtin.module(canonicalize{max-iterations=2},cse,func.func(cse,canonicalize),lut-canonicalize)"
    whole, single = Watch(False), Watch(True)
    for watch in (whole, single):
        Pipeline(text, PASSES).run(module, observer=watch)
    assert whole.names[0] == "canonicalize,cse on builtin.module"
    assert single.names[:2] == ["canonicalize on builtin.module", "cse on builtin.module"]
    assert whole.names[-1] == single.names[-1] == "lut-canonicalize on builtin.module"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("count=x", "expected count to be an integer, got 'x'"),
        ("really=2", "expected really=true or really=false, got '2'"),
        ("text", "expected text=VALUE, got 'text' alone"),
        ('text="x', 'expected options `k=v k2=v2`, got `text="x`'),
        ("none=1", "has no option 'none'; its options: text, count, really"),
    ],
)
def test_a_wrong_option_is_refused(options: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Visit.from_options(options)
    assert message in caught.value.message


def test_a_boolean_may_stand_alone() -> None:
    assert Visit.from_options("really") == Visit(really=True)
    assert Visit.from_options("really=false count=-3") == Visit(count=-3)


@given(st.builds(Visit, st.text(), st.integers(), st.booleans()))
def test_options_print_what_parses(item: Visit) -> None:
    tree = parse_pipeline(f"builtin.module({item},{item})")
    again = [Visit.from_options(p.options) for p in tree.passes()]
    assert again == [item, item]


names = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
items = st.builds(PassItem, names, st.sampled_from(["", "a=1", 'a="} ," b={c d}', "a={b={c}}"]))
nests = st.recursive(items, lambda inner: st.builds(Nest, names, st.lists(inner, max_size=3).map(tuple)), max_leaves=8)


@given(st.lists(nests, max_size=4).map(tuple))
def test_pipelines_print_what_parses(inner: tuple[PassItem | Nest, ...]) -> None:
    tree = Nest("builtin.module", inner)
    assert parse_pipeline(str(tree)) == tree


@given(st.text(alphabet="ab(){},=\"' \n\\"))
def test_any_text_parses_or_is_refused(text: str) -> None:
    for pipeline in (text, f"builtin.module({text})"):
        with contextlib.suppress(InputError):
            assert parse_pipeline(str(parse_pipeline(pipeline))) == parse_pipeline(pipeline)


def test_depth_is_limited() -> None:
    deep = MAX_DEPTH - 1
    parse_pipeline("builtin.module(" + "a(" * deep + ")" * deep + ")")
    with pytest.raises(InputError, match="nested anchors"):
        parse_pipeline("builtin.module(" + "a(" * 100000)
