"""`lutllm.diff`: the first op, element and cycle in which levels differ, whatever is broken, and where nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.activations import Activations
from lutllm.accelerator.hardware import Hardware, build
from lutllm.diff import Comparison, Difference, Recording, compare_golden, compare_hardware, record
from lutllm.diff.chip_state import unpacked
from lutllm.diff.elements import elements_of
from lutllm.diff.hardware import _Watch
from lutllm.diff.levels import check_levels, compare_levels
from lutllm.diff.outcome import compare_outcome
from lutllm.errors import InputError
from lutllm.lowering.hardware.lib.arithmetic import saturated
from lutllm.lowering.hardware.lib.signal import Signal
from lutllm.lowering.machine.accelerator import IMAGE_HEADER, RESIDUAL_BITS
from lutllm.lowering.machine.checks import crc
from lutllm.lowering.place.layouts import PAD
from lutllm.lowering.schedule.data import Task
from lutllm.lowering.schedule.descriptors import checked, descriptor, list_region
from lutllm.quantizer.random.float_models import float_decoder, float_mlp
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import EXACT
from lutllm.simulate import Simulator
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.functions import FUNCTIONS, Job

CONTEXT = 20
PROMPT = [5, 3, 9, 22, 7]
LAYER = "model.layers.0"


@pytest.fixture(scope="module")
def made() -> Hardware:
    shape = float_decoder(vocabulary=61, hidden=24, intermediate=40, layers=2, qk_norm=True)
    model = random_model(shape, EXACT, positions=CONTEXT)
    return Hardware.of(model.lut(CONTEXT), model.tensors, target="tiny")


@pytest.fixture(scope="module")
def recorded(made: Hardware) -> Recording:
    return record(made.module, made.tensors, PROMPT, 2)


@pytest.fixture(scope="module")
def simulator(recorded: Recording) -> Simulator:
    return build(recorded.plan.config, "arc")


def found_in(comparison: Comparison) -> Difference:
    assert not comparison.equal and comparison.difference is not None
    return comparison.difference


def flipped(recorded: Recording, region: str, byte: int) -> np.ndarray:
    """The image with one bit of a region turned."""
    image = recorded.image.copy()
    image[recorded.plan.regions[region].address + byte] ^= 4
    return image


def task_of(recorded: Recording, cluster: str) -> Task:
    """The last task of a cluster in @prefill: the one that writes its result."""
    return [task for task in recorded.plan.program("prefill") if task.cluster == cluster][-1]


def changed(recorded: Recording, task: Task, **fields: int) -> np.ndarray:
    """The image with a task of @prefill that has other fields."""
    plan, image = recorded.plan, recorded.image.copy()
    tasks = [replace(t, fields=t.fields | fields) if t is task else t for t in plan.program("prefill")]
    start = crc(image[: 8 * len(IMAGE_HEADER) - 8].view("<u8").tolist())
    words = np.array(checked((descriptor(plan, each) for each in tasks), start), "<u8").view(np.uint8)
    address = plan.regions[list_region("prefill")].address
    image[address : address + words.size] = words
    return image


def test_nothing_differs(recorded: Recording, simulator: Simulator) -> None:
    tasks = [task for each in recorded.passes for task in recorded.plan.program(each.program)]
    silent = [task for task in tasks if task.engine == "feed" or task.name.endswith(".rotations")]
    golden = compare_golden(recorded)
    assert golden.equal and golden.steps == len(tasks) - len(silent), str(golden)
    assert golden.numbers > 3 * 2 * (5 * 24 + 3 * 40)
    hardware = compare_hardware(recorded, simulator, recorded.image)
    assert hardware.equal and hardware.steps == len(tasks) and hardware.numbers > 5000, str(hardware)
    assert str(hardware).startswith(f"transaction and hw: equal ({len(tasks)} tasks, ")
    outcome = compare_outcome(recorded, simulator, recorded.image)
    assert outcome.equal and outcome.steps == 3 * 4  # passes, keys and values of two layers


def test_every_number_of_the_model_has_its_place(recorded: Recording) -> None:
    """Each token and channel of an op's result is in one lane of what its tasks wrote, heads and their padding too."""
    turn = [result for result in recorded.results if result.turn == 0]
    attention = f"{LAYER}.self_attn"
    sizes = {
        f"{LAYER}.mlp.down_proj": 24,
        f"{attention}.q_proj.heads": 48,
        f"{attention}.k_proj.heads": 24,
        attention: 48,
    }
    for cluster, size in sizes.items():
        seen = []
        for result in (r for r in turn if r.task == task_of(recorded, cluster)):
            tokens, channels = elements_of(recorded.plan, result, result.written[0])
            word, lane = np.nonzero(channels != PAD)
            seen += list(zip(tokens[word].tolist(), channels[word, lane].tolist(), strict=True))
        assert sorted(seen) == [(token, channel) for token in range(4) for channel in range(size)], cluster


def test_a_flipped_gain(recorded: Recording, simulator: Simulator, tmp_path: Path) -> None:
    """Its norm, channel and cycle; a waveform around it that says which module runs."""
    wave = tmp_path / "a.vcd"
    norm = f"{LAYER}.post_attention_layernorm"
    region = next(t.parameters.region for t in recorded.plan.tasks if t.source == norm and t.parameters is not None)
    comparison = compare_hardware(recorded, simulator, flipped(recorded, region, 4 * 7 + 2), wave=wave)
    found = found_in(comparison)
    assert (found.op, found.module, found.channel) == ("lut.rms_norm + lut.rescale", norm, 7)
    assert found.engine == "norm" and found.memory == "x" and found.lane == 7 % 4
    assert found.dispatched is not None and found.done is not None and found.cycle is not None
    assert found.done - 200 < found.dispatched < found.cycle < found.done == comparison.cycles - 1
    assert found.notes[0].startswith(f"its region {region} differs in 1 of 96 bytes: byte 30 ")
    text = wave.read_text()
    assert re.search(r"\$var string 1 \S+ norm \$end", text)
    assert f"{norm}\\x20({found.task})" in text
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert times[0] >= found.cycle - 200 and times[-1] <= found.cycle + 50 and times[-1] > found.cycle


def test_a_flipped_code(made: Hardware, recorded: Recording, simulator: Simulator) -> None:
    """Also of a linear whose words go straight into a sum: the linear is named, not the sum."""
    for name, engine in (("q_proj", "store"), ("o_proj", "residual")):
        region = f"{LAYER}.self_attn.{name}.0.w0"
        image = flipped(recorded, region, recorded.plan.regions[region].size // 2)
        found = found_in(compare_hardware(recorded, simulator, image))
        assert (found.op, found.module, found.engine) == ("lut.linear", f"{LAYER}.self_attn.{name}", engine)
        assert found.expected == golden(made, found) and found.cycle is not None
        assert any(note.startswith(f"its region {region} differs in 1 of") for note in found.notes)


def golden(made: Hardware, found: Difference) -> int:
    """What a linear of the first pass gives for the element of a difference, by the interpreter on the lut program."""
    values = {}

    def trace(op: Any, value: np.ndarray) -> None:
        if op.operation.name == "lut.linear":
            values[op.weights.value] = value

    GoldenSession(made.program, made.tensors, trace=trace).forward(PROMPT[:4])
    return int(values[found.module][found.token, found.channel])


def test_a_flipped_embedding(recorded: Recording, simulator: Simulator) -> None:
    """The row of the third token, channel 9."""
    row, lanes = recorded.plan.regions["model.embed_tokens.e"].size // 61, recorded.plan.config.lanes
    image = flipped(recorded, "model.embed_tokens.e", PROMPT[2] * row + lanes + 9)
    found = found_in(compare_hardware(recorded, simulator, image))
    assert (found.op, found.module, found.token, found.channel) == ("lut.embedding", "model.embed_tokens", 2, 9)
    assert found.got != found.expected and found.memory == "r"


def test_the_second_layer_and_a_later_pass(recorded: Recording, simulator: Simulator) -> None:
    """The fifth token of the prompt is read by a pass of its own."""
    row = recorded.plan.regions["model.embed_tokens.e"].size // 61
    image = flipped(recorded, "model.embed_tokens.e", PROMPT[4] * row + 4)
    found = found_in(compare_hardware(recorded, simulator, image))
    assert (found.turn, found.program, found.token, found.channel) == (1, "decode", 4, 0)
    image = flipped(recorded, "model.layers.1.mlp.up_proj.p", 3)  # a right shift of channel 0
    found = found_in(compare_hardware(recorded, simulator, image))
    assert (found.op, found.module, found.channel) == ("lut.swiglu", "model.layers.1.mlp", 0)
    assert "numbers of the linear before it were right" in "\n".join(found.notes)


def test_a_flipped_rotation(recorded: Recording, simulator: Simulator) -> None:
    """Of the second position: a cosine's high byte."""
    task = task_of(recorded, f"{LAYER}.self_attn.q_proj.heads")
    row = recorded.plan.regions[task.rotations].size // CONTEXT
    found = found_in(compare_hardware(recorded, simulator, flipped(recorded, task.rotations, row + 1)))
    assert "lut.rope" in found.op and found.module.startswith(f"{LAYER}.self_attn.") and found.token == 1
    assert found.notes[0].startswith(f"its region {task.rotations} differs in 1 of") and len(found.notes) == 1


def test_keys_in_the_wrong_place(recorded: Recording, simulator: Simulator) -> None:
    task = task_of(recorded, f"{LAYER}.self_attn.k_proj.heads")
    image = changed(recorded, task, address=task.fields["address"] + recorded.plan.config.head_lanes)
    found = found_in(compare_hardware(recorded, simulator, image))
    assert found.op == "lut.rms_norm + lut.rope + lut.rescale + lut.append"
    assert (found.module, found.memory, found.token, found.got) == (f"{LAYER}.self_attn.k_proj", "kv", 0, 0)
    assert found.cycle is None and "not changed by the task" in str(found)
    outcome = found_in(compare_outcome(recorded, simulator, image))
    assert (outcome.op, outcome.module, outcome.token) == (found.op, found.module, 0) and outcome.cycle is None


def test_memory_that_no_task_should_write(recorded: Recording, simulator: Simulator) -> None:
    """Nothing of the model differs, but a cache beyond what was read."""
    image = recorded.image.copy()
    other = replace(recorded, memory=recorded.memory.copy())
    other.memory[recorded.plan.regions[f"{LAYER}.self_attn.k_proj.k"].address + 16 * (CONTEXT - 1)] = 1
    found = compare_outcome(other, simulator, image)
    assert found.difference is None
    assert found.stopped.startswith(
        "expected only the plan's tasks to write to memory, got others in 1 bytes, the first"
    )
    assert found.stopped.endswith(f"in region {LAYER}.self_attn.k_proj.k")


def test_attention_one_word_too_far(recorded: Recording, simulator: Simulator) -> None:
    task = task_of(recorded, f"{LAYER}.self_attn")
    base = task.fields["base"]
    found = found_in(compare_hardware(recorded, simulator, changed(recorded, task, base=base + 1)))
    assert (found.op, found.module, found.memory) == ("lut.attention", f"{LAYER}.self_attn", "x")
    assert (found.address, found.token) == (base, 0)


def test_a_wrong_array(recorded: Recording) -> None:
    """The golden model has another multiplier than the tasks: a channel of its linear, as LutLinear gives it."""
    name = f"{LAYER}.mlp.gate_proj"
    array = recorded.tensors[f"{name}.multiplier"].copy()
    array[11] //= 2
    found = found_in(compare_golden(replace(recorded, tensors={**recorded.tensors, f"{name}.multiplier": array})))
    assert (found.op, found.module, found.token, found.channel) == ("lut.linear", name, 0, 11)
    assert found.memory == "stream y" and abs(found.got) > abs(found.expected) and found.count == 4


def test_a_broken_engine(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum that saturates some bits early: the first sum that is large enough is named, and its first element."""

    def largest(results: list) -> int:
        return max(int(np.abs(result.written[0].values).max()) for result in results)

    residuals = [result for result in recorded.results if result.task.engine == "residual"]
    bits = largest([r for r in residuals if r.task.fields["load"]]).bit_length() + 1
    limit = 1 << (bits - 1)
    wanted = next(r for r in residuals if largest([r]) >= limit)

    def early(value: Signal, width: int) -> Signal:
        assert width == RESIDUAL_BITS
        return saturated(value, bits).sext(width)

    monkeypatch.setattr("lutllm.lowering.hardware.vector.residual.saturated", early)
    found = found_in(compare_hardware(recorded, build(recorded.plan.config, "arc"), recorded.image))
    assert (found.op, found.task, found.turn) == ("lut.add", wanted.task.name, wanted.turn)
    values = wanted.written[0].values.reshape(-1)
    first = int(np.argmax((values >= limit) | (values < -limit)))
    assert found.expected == values[first] and found.got == (limit - 1 if values[first] > 0 else -limit)
    assert "numbers of the linear before it were right" in found.notes[0]


def test_an_input_that_is_overwritten(
    recorded: Recording, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word of memory x changes after the norm that wrote it, and after the feed that followed it: the next reader is
    wrong, and the note says why."""
    listen, done = _Watch.event, False

    def event(watch: _Watch, cycle: int, bits: int) -> bool:
        nonlocal done
        going = listen(watch, cycle, bits)
        if watch.good["x"] and not done:
            done = True
            simulator.state[simulator.layout.state("memory_x/mem").offset] ^= 64
        return going

    monkeypatch.setattr(_Watch, "event", event)
    found = found_in(compare_hardware(recorded, simulator, recorded.image))
    feed = [task for task in recorded.plan.program("prefill") if task.engine == "feed"][1]
    assert found.op == "lut.linear" and found.module == feed.source
    assert found.notes[0].startswith(
        f"its input {feed.reads[0]} was right and has been overwritten: 1 words of memory x"
    )


def test_runs_that_do_not_come_to_their_end(recorded: Recording, simulator: Simulator) -> None:
    image = recorded.image.copy()
    image[16] ^= 1  # which accelerator the image is for, and the header's check
    image[72:74] = list(crc(image[:72].view("<u8").tolist()).to_bytes(2, "big"))
    assert "expected error 'none', got 'config'" in compare_hardware(recorded, simulator, image).stopped
    assert "expected error 'none', got 'config'" in compare_outcome(recorded, simulator, image).stopped


def test_an_image_of_which_nothing_shows(recorded: Recording, simulator: Simulator) -> None:
    """A row of the embedding that no token asks for."""
    row = recorded.plan.regions["model.embed_tokens.e"].size // 61
    unused = next(i for i in range(61) if i not in recorded.sequence)
    image = flipped(recorded, "model.embed_tokens.e", unused * row + 8)
    found = compare_hardware(recorded, simulator, image)
    assert not found.equal and found.difference is None
    assert "differs in 1 bytes, the first at address" in found.stopped and "model.embed_tokens.e" in found.stopped


@pytest.mark.parametrize(
    ("engine", "op"),
    [
        ("norm", "lut.rms_norm + lut.rescale"),
        ("store", "lut.linear"),
        ("swiglu", "lut.swiglu"),
        ("attention", "lut.attention"),
        ("residual", "lut.embedding"),
    ],
)
def test_a_broken_task_beside_the_golden_model(
    made: Hardware, monkeypatch: pytest.MonkeyPatch, engine: str, op: str
) -> None:
    def broken(chip: Any, job: Job, right: Callable[[Any, Job], None] = FUNCTIONS[engine]) -> None:
        right(chip, job)
        chip.written[0].values[-1, 2] += 1

    monkeypatch.setitem(FUNCTIONS, engine, broken)
    found = found_in(compare_golden(record(made.module, made.tensors, PROMPT, 1)))
    assert found.op == op and found.got == found.expected + 1 and found.token == 3 and found.cycle is None
    assert (found.channel is None) == (engine in ("attention", "store"))  # whose last word is padding of a head


def test_a_wrong_token(made: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(chip: Any, job: Job, right: Callable[[Any, Job], None] = FUNCTIONS["pick"]) -> None:
        right(chip, job)
        chip.token ^= 1
        for written in chip.written:
            written.values[:] ^= 1

    monkeypatch.setitem(FUNCTIONS, "pick", broken)
    found = found_in(compare_golden(record(made.module, made.tensors, PROMPT, 1)))
    assert (found.op, found.module, found.token, found.channel) == ("lut.argmax", "lm_head", 4, None)
    assert found.got == found.expected ^ 1 and found.program == "head" and "token 4: expected" in str(found)


def test_a_bench_comes_back_to_a_checkpoint(recorded: Recording, simulator: Simulator) -> None:
    """And goes on as if nothing had been in between: same events, same cycles, same memory."""
    accelerator = Accelerator(recorded.plan.config, simulator, recorded.image)
    accelerator.host.prompt(PROMPT)
    accelerator.host.begin(len(PROMPT), 2)
    seen: list[int] = []

    def listen(cycle: int, bits: int) -> bool:
        seen.append(cycle)
        return len(seen) < 40

    assert accelerator.bench.run(listener=listen).cycles == seen[-1] + 1
    place = accelerator.bench.checkpoint()
    ends = []
    for _ in range(2):
        accelerator.bench.restore(place)
        result = accelerator.bench.run().check()
        assert result.events is not None and result.events[:40, 0].tolist() == seen
        ends.append((result.cycles, result.events.tolist(), accelerator.memory.data.tobytes()))
    assert ends[0] == ends[1]


def test_words_are_unpacked() -> None:
    rng = np.random.default_rng(0)
    for bits, lanes in ((26, 4), (16, 8), (64, 1), (24, 3)):
        values = rng.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1, (5, lanes), endpoint=True)
        words = [sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(row)) for row in values]
        size = -(-bits * lanes // 8)
        raw = np.array([list(word.to_bytes(size, "little")) for word in words], np.uint8)
        np.testing.assert_array_equal(unpacked(raw, bits, lanes), values)


def test_levels(recorded: Recording, simulator: Simulator) -> None:
    assert check_levels(["hw", "transaction", "lut"]) == ["lut", "hw"]
    for wrong in ([], ["transaction"], ["lut", "gates"]):
        with pytest.raises(InputError, match="expected levels to compare among lut, transaction, hw, rtl, got"):
            check_levels(wrong)
    asked: list[str] = []

    def make(kind: str) -> Simulator:
        asked.append(kind)
        return simulator

    found = compare_levels(recorded, recorded.image, ["lut", "hw", "rtl"], make, quiet=True)
    assert found.equal and asked == ["arc", "verilator"]
    assert [c["levels"][1] for c in found.to_dict()["comparisons"]] == ["transaction", "hw", "rtl"]
    assert len(str(found).splitlines()) == 3


@pytest.fixture(scope="module")
def mlp() -> Recording:
    """An MLP alone, of 6 rows from outside."""
    model = random_model(float_mlp(16, 24), EXACT)
    made = Hardware.of(model.lut(), model.tensors, target="tiny")
    rows = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (6, 16))
    inputs = Activations(made.module, made.tensors, made.image).inputs_image([rows])
    return record(made.module, made.tensors, [0] * 6, 0, inputs=inputs)


def test_an_mlp_alone(mlp: Recording) -> None:
    """No tokens and no head; rows are loaded and saved."""
    assert [each.tokens for each in mlp.passes] == [4, 2] and len(mlp.results) == 20
    simulator = build(mlp.plan.config, "arc")
    assert compare_golden(mlp).equal
    for found in (compare_hardware(mlp, simulator, mlp.image), compare_outcome(mlp, simulator, mlp.image)):
        assert found.equal, str(found)
    (region,) = (each.name for each in mlp.plan.regions_of("x"))
    image = flipped(mlp, region, 2 * 16 * 4 + 2 * 5)  # of the second pass: words of tokens 4 and 5 by turns
    found = found_in(compare_hardware(mlp, simulator, image))
    assert (found.engine, found.memory, found.turn, found.token, found.channel) == ("load", "x", 1, 5, 1)
    assert found.notes[0].startswith(f"its region {region} differs in 1 of")
    image = flipped(mlp, "mlp.down_proj.0.q", 0)  # a multiplier
    found = found_in(compare_hardware(mlp, simulator, image))
    assert (found.op, found.module, found.engine, found.memory) == ("lut.linear", "mlp.down_proj", "save", "saved")
    assert (found.token, found.channel) == (0, 0) and found.cycle is not None
    outcome = found_in(compare_outcome(mlp, simulator, image))
    assert (outcome.expected, outcome.got, outcome.channel) == (found.expected, found.got, 0)
