"""The IR is the program: text edited by hand between two passes is what image, schedule and cycles become, and tokens
are those the interpreter makes of it. What cannot be is said where it stands; test_verify_places.py and
test_verify_time.py have more of that.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm import dialect, interpreter
from lutllm.accelerator.hardware import PASSES, build
from lutllm.bindings import ir
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.errors import LutllmError
from lutllm.lowering import pipelines
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.schedule.data import Plan
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import run_pipeline
from lutllm.passes.lut_outline_head import HEAD
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT, Scheme
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.passes import run_passes
from lutllm.simulate.transactions.simulator import TransactionSimulator

CONTEXT, PROMPT, TOKENS = 16, [3, 1, 4, 1, 5, 9], 3
L0 = "model.layers.0"
OWN, MLP = f"{L0}.self_attn", f"{L0}.mlp"
VQ = Scheme(c_a=8, act_bits=16, G=24)
# Where a text is edited: the passes before it, and those after.
PLACING = ("lut-outline-head", "lut-decompose", "lut-place{target=tiny}", *pipelines.PLACES, *pipelines.TIMES)
Edit = Callable[[Any], Any]
SIMULATORS: dict[int, Any] = {}  # by the configuration they are of


@cache
def model() -> QuantizedModel:
    """Two layers; gate and up search centroids."""
    shape = float_decoder(hidden=16, intermediate=24, layers=2, heads=2, kv_heads=1, head_dim=8, vocabulary=40)
    return random_model(shape, lambda name: VQ if name.endswith(("gate_proj", "up_proj")) else EXACT.with_(G=24), 3,
                        positions=CONTEXT)  # fmt: skip


@cache
def before(name: str) -> ir.Module:
    """The module as the pass `name` finds it."""
    module = model().lut()
    run(module, PLACING[: PLACING.index(name)])
    return module


def run(module: ir.Module, passes: tuple[str, ...]) -> None:
    run_pipeline(module, f"builtin.module({','.join(passes)})", passes=PASSES)


@dataclass
class Made:
    """What became of a text: the scheduled module, its plan, its image, the cycles that are predicted."""

    module: ir.Module
    plan: Plan
    image: np.ndarray

    @property
    def cycles(self) -> int:
        return run_cycles(predicted(self.plan, run_passes(len(PROMPT), TOKENS, self.plan.config.tokens)))

    def region(self, name: str) -> np.ndarray:
        found = self.plan.regions[name]
        return self.image[found.address : found.address + found.size]


def made_of(text: Any, name: str) -> Made:
    """From the text that pass `name` finds on."""
    module = text.parse()
    run(module, PLACING[PLACING.index(name) :])
    return Made(module, read_plan(module), whole_image(module, model().tensors))


@cache
def unedited() -> Made:
    module = dialect_copy(before("lut-verify-schedule"))
    return Made(module, read_plan(module), whole_image(module, model().tensors))


def dialect_copy(module: ir.Module) -> ir.Module:
    with dialect.context(), ir.Location.unknown():
        return ir.Module.parse(str(module))


def change(*parts: str, old: str, new: str, of: str = "") -> Edit:
    """Of the first line with all these parts."""
    return lambda text: text.change(*parts, old=old, new=new, of=of)


def interpreted(module: ir.Module) -> list[int]:
    """The tokens the interpreter makes of a scheduled module, pass by pass as the sequencer runs them."""
    store, sequence, tokens = model().tensors, [*PROMPT], list[int]()
    functions = {op.name.value: op for op in module.body.operations if op.operation.name == "func.func"}
    caches = [np.zeros(a.type.shape, np.int64) for a in list(functions["prefill"].arguments)[2:]]
    stream = np.zeros(0)
    for each in run_passes(len(PROMPT), TOKENS, read_plan(module).config.tokens):
        if each.program == HEAD:
            tokens.append(int(interpreter.run(module, [stream], store, function=HEAD)[0][0]))
            sequence.append(tokens[-1])
            continue
        ids = np.array(sequence[each.position : each.position + each.tokens], np.int32)
        inputs = [ids, np.array([each.position], np.int32), *caches]
        stream, *caches = interpreter.run(module, inputs, store, function=each.program)
    return tokens


def simulated(made: Made, late: bool) -> list[int]:
    """Tokens at transaction level; memories hold anything at the start."""
    simulator = TransactionSimulator.of(made.module, model().tensors, made.image, late=late)
    for words in simulator.chip.words.values():
        words[:] = np.random.default_rng(1).integers(-1000, 1000, words.shape)
    return simulator.generate(PROMPT, TOKENS).tokens


def check(made: Made) -> None:
    """The same tokens from the interpreter and from hardware, whatever order its waits allow."""
    wanted = interpreted(made.module)
    assert [simulated(made, late) for late in (False, True)] == [wanted] * 2


def edited(text_of: Any, name: str, edit: Edit) -> Made:
    text = text_of(before(name))
    was = str(text)
    text = edit(text)
    assert str(text) != was
    made = made_of(text, name)
    check(made)
    return made


def refused(text_of: Any, name: str, edit: Edit, message: str, line: str = "") -> None:
    """The edit is named, with the line it is in."""
    text = edit(text_of(before(name)))
    with pytest.raises(LutllmError, match=re.escape(message)) as raised:
        made_of(text, name)
    if line:
        assert line in text.line_of(raised.value)


def hardware_cycles(made: Made) -> int:
    """Of a run that makes the interpreter's tokens."""
    key = made.plan.config.identity
    if key not in SIMULATORS:
        SIMULATORS[key] = build(made.plan.config, "arc")
    found = Accelerator(made.plan.config, SIMULATORS[key], made.image).generate(PROMPT, TOKENS).check()
    assert found.tokens == interpreted(made.module)
    return found.cycles


def test_the_text_unedited(text_of: Any) -> None:
    made = made_of(text_of(before("lut-place{target=tiny}")), "lut-place{target=tiny}")
    check(made)
    assert abs(hardware_cycles(made) - made.cycles) < 0.1 * made.cycles


# A row source.


def built_table(text: Any) -> Any:
    for function in ("prefill", "decode"):
        text.change('"lut.built_row"', f"@{MLP}.gate_proj}}", old="built_row", new="built_table", of=function)
    return text


def test_a_row_source(text_of: Any) -> None:
    """The same integers, another mode of the engine, other cycles."""
    plain, made = unedited(), edited(text_of, "lut-layout", built_table)
    sources = [{r.linear: r.row_source for r in each.plan.rounds.values()} for each in (plain, made)]
    assert [each[f"{MLP}.gate_proj"] for each in sources] == ["built_row", "built_table"]
    assert sources[0][f"{MLP}.up_proj"] == sources[1][f"{MLP}.up_proj"] == "built_row"
    assert interpreted(plain.module) == interpreted(made.module)
    modes = [{t.cluster: t.fields["mode"] for t in e.plan.tasks if t.engine == "linear"} for e in (plain, made)]
    assert modes[0][f"{MLP}.gate_proj"] != modes[1][f"{MLP}.gate_proj"]
    assert made.cycles > plain.cycles and hardware_cycles(made) > hardware_cycles(plain)
    assert not np.array_equal(made.region("prefill.d"), plain.region("prefill.d"))


def test_a_row_source_that_the_scheme_does_not_have(text_of: Any) -> None:
    edit = change('"lut.exact_row"', old="exact_row", new="built_row")
    refused(text_of, "lut-layout", edit, "'lut.built_row' op requires attribute 'codebook'", '"lut.built_row"')


# A scheme's width.


def test_the_width_of_a_scheme(text_of: Any) -> None:
    """Wider tables make a wider engine, and a longer stream of them."""
    first, edit = PLACING[2], change('"lut.scheme"', 'kind = "vq"', old="table_bits = 8", new="table_bits = 12")
    made = edited(text_of, first, edit)
    assert (unedited().plan.config.engine.table_bits, made.plan.config.engine.table_bits) == (8, 12)
    assert interpreted(made.module) == interpreted(unedited().module)
    assert made.plan.config.identity != unedited().plan.config.identity


def test_a_width_that_does_not_hold_the_numbers(text_of: Any) -> None:
    """The interpreter refuses what the schedule cannot see."""
    first, edit = PLACING[2], change('"lut.scheme"', 'kind = "exact"', old="table_bits = 16", new="table_bits = 3")
    text = edit(text_of(before(first)))
    with pytest.raises(LutllmError, match="unshifted row entry"):
        interpreted(made_of(text, first).module)
    wider = change('"lut.scheme"', old="term_bits = 24", new="term_bits = 30")
    refused(
        text_of, "lut-verify-schedule", wider, "at most 24 bits of a row entry on this engine, got 30", "lut.cluster"
    )


# The engine of a cluster, and of a task.


def test_the_engine_of_a_cluster_and_of_a_task(text_of: Any) -> None:
    """There is one that can do it: others are refused."""
    norm = f"{OWN}.q_proj.input"
    cluster: Edit = change("}) {", f'label = "{norm}"', old='["norm"]', new='["heads"]')
    refused(
        text_of, "lut-layout", cluster, "operand 0 in memory y, which its engine reads, got it in memory r", "rms_norm"
    )
    task = change('"lut.task"', 'engine = "norm"', old='"norm"', new='"swiglu"')
    refused(text_of, "lut-verify-schedule", task, "expected an engine of its cluster, norm, got swiglu", '"lut.task"')


# The order of two clusters, and of two tasks.


def queries_first(text: Any, of: str = "prefill") -> Any:
    return text.move(text.cluster(f"{OWN}.q_proj", of), text.cluster(f"{OWN}.k_proj", of).start)


def test_the_order_of_two_clusters(text_of: Any) -> None:
    made = edited(text_of, "lut-allocate", queries_first)
    clusters = [t.cluster for t in made.plan.program("prefill") if t.engine == "linear"]
    assert [name.rsplit(".", 1)[1] for name in clusters[:3]] == ["q_proj", "k_proj", "v_proj"]
    clusters = [t.cluster for t in unedited().plan.program("prefill") if t.engine == "linear"]
    assert [name.rsplit(".", 1)[1] for name in clusters[:3]] == ["k_proj", "v_proj", "q_proj"]
    assert interpreted(made.module) == interpreted(unedited().module)
    assert made.cycles != unedited().cycles and hardware_cycles(made) != hardware_cycles(unedited())


def test_an_order_of_clusters_that_takes_what_is_not_there(text_of: Any) -> None:
    edit: Edit = lambda t: t.move(t.cluster(OWN), t.cluster(f"{OWN}.q_proj").start)  # noqa: E731
    refused(text_of, "lut-allocate", edit, "does not dominate this use")


def heads_of_values_first(text: Any) -> Any:
    """Two tasks of one engine, each with what it waits for; nothing in between depends on them."""
    keys, values = (text.task(f"{OWN}.{part}_proj.heads", "heads") for part in "kv")
    return text.move(values, keys)


def test_the_order_of_two_tasks(text_of: Any) -> None:
    made = edited(text_of, "lut-serialize", heads_of_values_first)
    order = [t.cluster for t in made.plan.program("prefill") if t.engine == "heads"]
    assert order[1:3] == [f"{OWN}.v_proj.heads", f"{OWN}.k_proj.heads"]
    assert interpreted(made.module) == interpreted(unedited().module)
    assert not np.array_equal(made.region("prefill.d"), unedited().region("prefill.d"))


def test_an_order_of_tasks_that_breaks_a_hazard(text_of: Any) -> None:
    def edit(text: Any) -> Any:
        norm, feed = text.task(f"{OWN}.q_proj.input", "norm"), text.task(f"{OWN}.k_proj", "feed", 0)
        return text.waits(feed).move(feed, norm)

    def waiting(text: Any) -> Any:
        """Keys are computed whole before their input is there."""
        norm, feed = text.task(f"{OWN}.q_proj.input", "norm"), text.task(f"{OWN}.k_proj", "feed", 0)
        text.waits(text.task(f"{OWN}.v_proj", "feed", 0), text.token(norm))
        text.waits(norm, *text.tokens(norm), text.token(feed)).waits(feed).move(feed, norm)
        return text.move(text.task(f"{OWN}.k_proj", "store", 0), text.task(f"{OWN}.q_proj.input", "norm"))

    refused(text_of, "lut-serialize", edit, "expected to wait for", '"lut.task"')
    refused(text_of, "lut-serialize", waiting, f"to hold the result of {OWN}.q_proj.input in word 0", '"lut.task"')


def test_an_order_of_tasks_that_hangs(text_of: Any) -> None:
    """The simulator stands still, too, if nobody looks first."""

    def edit(text: Any) -> Any:
        linear, feed = (text.task(f"{OWN}.k_proj", engine, 0) for engine in ("linear", "feed"))
        return text.waits(feed, text.token(linear))

    refused(text_of, "lut-serialize", edit, "has no end, got it later; dispatch it first", '"lut.task"')


def test_tokens_taken_away(text_of: Any) -> None:
    """Without the check hardware makes other tokens: late, what norms read is not there yet."""

    def edit(text: Any) -> Any:
        for i, line in enumerate(text.lines):
            if '"lut.task"' in line and 'engine = "norm"' in line:
                text.waits(i)
        return text

    refused(text_of, "lut-serialize", edit, "expected to wait for", '"lut.task"')
    module = edit(text_of(before("lut-serialize"))).parse()
    run(module, ("lut-serialize",))
    made = Made(module, read_plan(module), whole_image(module, model().tensors))
    assert simulated(made, late=True) != interpreted(module)


# The depth of a FIFO.


def depth(name: str, words: int) -> Edit:
    def edit(text: Any) -> Any:
        i = text.find('"lut.fifo"', f'"{name}"')
        text.lines[i] = re.sub(r"depth = \d+", f"depth = {words}", text.lines[i])
        return text

    return edit


def test_the_depth_of_a_fifo(text_of: Any) -> None:
    made = edited(text_of, "lut-serialize", depth("read_w", 64 + 128))
    assert made.plan.config.depths["read_w"] == 192 != unedited().plan.config.depths["read_w"]
    assert made.plan.config.identity != unedited().plan.config.identity
    header = made.region("header").view("<u8")
    assert made.plan.config.identity in header and unedited().plan.config.identity not in header


def test_a_depth_too_small(text_of: Any) -> None:
    line = '"lut.machine"'
    refused(text_of, "lut-serialize", depth("read_w", 8), "stream read_w: expected a depth of at least 16 words", line)
    refused(text_of, "lut-serialize", depth("kv", 1), "stream kv: expected a depth of at least", line)


# A layout.


def test_a_layout(text_of: Any) -> None:
    """Hidden channels in blocks of 32 places instead of 24: more words, with them weights and parameters."""
    edit = change('"lut.layout"', "channels = 24", old="pad = 8", new="pad = 32")
    made = edited(text_of, "lut-allocate", edit)
    words = [each.plan.works["prefill", f"{MLP}.gate_proj"].layout.size for each in (unedited(), made)]
    assert words == [24, 32]
    gate, down = (f"{MLP}.{part}_proj.0" for part in ("gate", "down"))
    sizes = [
        [e.plan.regions[name].size for name in (f"{gate}.q", f"{down}.w0", f"{MLP}.up_proj.p")]
        for e in (unedited(), made)
    ]
    assert all(new > old for old, new in zip(*sizes, strict=True))
    assert made.cycles > unedited().cycles and interpreted(made.module) == interpreted(unedited().module)


def test_a_layout_that_tears_pairs(text_of: Any) -> None:
    edit: Edit = change('"lut.layout"', "channels = 16, interleaved = 0, pad = 4",
                                    old="interleaved = 0", new="interleaved = 2")  # fmt: skip
    refused(text_of, "lut-allocate", edit, "expected interleaved = 0, as RoPE wants heads, got 2", '"lut.cluster"')


def test_a_layout_of_one_of_two_that_must_agree(text_of: Any) -> None:
    edit: Edit = change("}) {", f'label = "{MLP}.gate_proj"', old="layout = @c24_p8", new="layout = @c16_p8")
    refused(
        text_of, "lut-allocate", edit, "expected a layout of 24 channels, got one of 16; name another", "lut.cluster"
    )


# The base of a buffer.


def base(name: str, words: int) -> Edit:
    def edit(text: Any) -> Any:
        i = text.find('"lut.buffer"', f'"{name}"')
        text.lines[i] = re.sub(r"base = \d+", f"base = {words}", text.lines[i])
        return text

    return edit


def test_the_base_of_a_buffer(text_of: Any) -> None:
    """Gates behind queries, where there is room."""

    def edit(text: Any) -> Any:
        text.change('"lut.memory"', '"y"', old="words = 32", new="words = 72")
        return base("y0_6", 48)(text)

    made = edited(text_of, "lut-schedule", edit)
    bases = [{t.fields["base"] for t in e.plan.tasks if t.cluster == f"{MLP}.gate_proj" and t.engine == "store"}
             for e in (unedited(), made)]  # fmt: skip
    assert bases == [{0}, {48}]
    assert not np.array_equal(made.region("prefill.d"), unedited().region("prefill.d"))


def test_buffers_that_overlap(text_of: Any) -> None:
    """Scheduled again, everything waits; but words are gone when they are read."""
    refused(text_of, "lut-schedule", base("y8_2", 4), "to hold the result of", "lut.cluster")
    refused(
        text_of, "lut-schedule", base("r0_4", 4), "at base 0 of memory r, where engines look for it, got 4", "cluster"
    )
    refused(text_of, "lut-serialize", base("y8_2", 7), "expected to wait for", '"lut.task"')


# The cut of a round.


def test_the_cut_of_a_round(text_of: Any) -> None:
    """The LM head in one round instead of two."""

    def edit(text: Any) -> Any:
        del text.lines[text.find('"lut.round"', '"lm_head.24"')]
        text.change('"lut.round"', '"lm_head.0"', old="outputs = 24", new="outputs = 40")
        text.change("}) {", 'label = "lm_head"', old="[@lm_head.0, @lm_head.24]", new="[@lm_head.0]", of=HEAD)
        for kind, sizes in (("q", (48, 32)), ("w0", (704, 640))):
            second = text.find(f'sym_name = "lm_head.24.{kind}"')
            assert f"bytes = {sizes[1]}," in text.lines[second]
            del text.lines[second]
            i = text.find(f'sym_name = "lm_head.0.{kind}"')
            text.lines[i] = text.lines[i].replace(f"bytes = {sizes[0]},", f"bytes = {sum(sizes)},")
            moved = re.sub(r"address = (\d+)", lambda m: f"address = {int(m[1]) + (1 << 20)}", text.lines[i])
            text.lines[i] = moved
        return text

    made = edited(text_of, "lut-schedule", edit)
    for each, wanted in ((unedited(), [(0, 1, 0), (24, 0, 1)]), (made, [(0, 1, 1)])):
        tasks = [t for t in each.plan.program(HEAD) if t.engine == "pick"]
        assert [(t.fields["offset"], t.fields["first"], t.fields["last"]) for t in tasks] == wanted
    assert interpreted(made.module) == interpreted(unedited().module)
    assert made.cycles > unedited().cycles and hardware_cycles(made) > hardware_cycles(unedited())


def test_a_round_not_at_a_block(text_of: Any) -> None:
    edit = change('"lut.round"', '"lm_head.0"', old="outputs = 24", new="outputs = 32")
    refused(text_of, "lut-schedule", edit, "expected whole blocks of 24 of the 40 places of lm_head, got places 0..31",
            '"lm_head.0"')  # fmt: skip


def test_a_round_that_is_missing(text_of: Any) -> None:
    edit = change("}) {", 'label = "lm_head"', old="[@lm_head.0, @lm_head.24]", new="[@lm_head.0]", of=HEAD)
    refused(text_of, "lut-schedule", edit, "expected rounds of all 40 places, got them up to 24", '"lut.cluster"')


# Regions.


def test_a_region_moved(text_of: Any) -> None:
    def edit(text: Any) -> Any:
        i = text.find('"lut.region"', f'"{OWN}.k_proj.k"')
        text.lines[i] = re.sub(r"address = \d+", "address = 1048576", text.lines[i])
        return text

    made = edited(text_of, "lut-serialize", edit)
    assert {t.fields["keys"] for t in made.plan.tasks if t.cluster == OWN} == {1 << 20}


def test_a_region_too_small(text_of: Any) -> None:
    def edit(text: Any) -> Any:
        i = text.find('"lut.region"', f'"{OWN}.k_proj.k"')
        text.lines[i] = re.sub(r"bytes = \d+", "bytes = 64", text.lines[i])
        return text

    message = f"expected a region @{OWN}.k_proj.k of 128 bytes of kind k, got 64 of kind k; allocate again"
    refused(text_of, "lut-serialize", edit, message, '"lut.cluster"')


@pytest.mark.parametrize("name", [*PLACING[2::3], PLACING[-1]])
def test_any_text_goes_on_to_the_same(name: str, text_of: Any) -> None:
    """Names follow from locations, which the text does not have; bytes do not."""
    assert np.array_equal(made_of(text_of(before(name)), name).image, unedited().image)


def mutated(text: Any, rng: random.Random) -> Any:
    """With another integer, another symbol of its kind, or a task that waits for less."""
    i = rng.randrange(text.find('"lut.machine"'), len(text.lines))
    found = list(re.finditer(r"(?<= = )\d+(?=[,}])|@[\w.#]+", text.lines[i]))
    if '"lut.task"' in text.lines[i] and rng.random() < 0.5:
        return text.waits(i, *text.tokens(i)[1:])
    if not found:
        return mutated(text, rng)
    old = rng.choice(found)
    names = [name for name in re.findall(r"@[\w.#]+", str(text)) if name.split(".")[-1] == old[0].split(".")[-1]]
    new = rng.choice(names or [str(abs(int(old[0]) + by)) for by in (-8, -4, -1, 1, 4, 8)])
    text.lines[i] = text.lines[i][: old.start()] + new + text.lines[i][old.end() :]
    return text


def test_an_edit_is_refused_where_it_stands_or_makes_the_same_tokens(text_of: Any) -> None:
    rng, right = random.Random(2), 0
    for _ in range(50):
        try:
            made = made_of(mutated(text_of(before(PLACING[-1])), rng), PLACING[-1])
        except LutllmError as problem:
            assert problem.location and "defect" not in problem.message
            continue
        check(made)
        right += 1
    assert right
