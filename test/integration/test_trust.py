"""What a driver may rely on: a whole accelerator in the arc JIT, stopped, reset and fed damaged memory at any time."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import Hardware, build
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.control.register_map import ABORT, STATUS_BUSY, STATUS_DONE
from lutllm.lowering.machine.accelerator import HEAD_MODES, IMAGE_HEADER, LIST_BITS
from lutllm.lowering.machine.form import machine_op
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT
from lutllm.simulate import AxiTiming, Simulator
from lutllm.simulate import native as n
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun

KEY = HEAD_MODES.index("key")
PROMPT, TOKENS = [5, 17, 200, 3, 9, 11, 250], 2
SLOW = AxiTiming(latency=150)


TARGETS = {
    "one clock": "",
    "two clocks": "[clock]\nmemory_mhz = 400\nbus_bits = 32\n",
    "odd clocks": "[clock]\ncore_mhz = 237\nmemory_mhz = 251\nbus_bits = 64\n",
}
target: list[str] = []  # its file


@pytest.fixture(scope="module", autouse=True, params=TARGETS)
def _made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything below is of this target."""
    path: Path = tmp_path_factory.mktemp("target") / "mine.toml"
    head = 'like = "tiny"\nsummary = "for tests"\n'
    path.write_text(head + TARGETS[request.param] + '[sources]\nclock = "chosen"\n')
    for found in (hardware, simulator, undisturbed, moments):
        found.cache_clear()
    target[:] = [str(path)]
    yield


@cache
def hardware() -> Hardware:
    model = random_model(float_decoder(layers=1), EXACT.with_(R=1), positions=64)
    program = model.lut()
    module = Hardware.of(program, model.tensors, target=target[0]).module
    with module.context:
        machine_op(module.operation).attributes["watchdog"] = dialect.i64(8000)  # type: ignore[union-attr]
    return Hardware(program, module, model.tensors, whole_image(module, model.tensors))


@cache
def simulator() -> Simulator:
    return build(hardware().plan.config, "arc")


def accelerator(image: np.ndarray | None = None, **options: object) -> Accelerator:
    image = hardware().image if image is None else image
    return Accelerator(hardware().plan.config, simulator(), image, **options)  # type: ignore[arg-type]


def timing() -> dict[str, AxiTiming]:
    """A slow memory, which takes a byte of the KV cache a cycle, so that rows are under way for long."""
    config = hardware().plan.config
    ports = {f"m_axi_{name}": SLOW for name in (*config.read_ports, *config.write_ports)}
    return ports | {"m_axi_kv": AxiTiming(latency=SLOW.latency, bytes_per_cycle=1)}


@cache
def undisturbed() -> tuple[AcceleratorRun, np.ndarray]:
    """A run, and memory after it."""
    one = accelerator(timing=timing())
    return one.generate(PROMPT, TOKENS).check(), one.memory.data


def whole() -> AcceleratorRun:
    return undisturbed()[0]


def nothing_wrong_in_memory(one: Accelerator) -> bool:
    """Whether every byte is what an undisturbed run leaves there, or what was there before."""
    return bool(((one.memory.data == undisturbed()[1]) | (one.memory.data == hardware().image)).all())


def again(disturbed: Accelerator) -> None:
    """The next run is like the first one."""
    run = disturbed.generate(PROMPT, TOKENS).check()
    assert run.tokens == whole().tokens
    if hardware().plan.config.clocks is None:  # else they depend on where the clocks are when a run begins
        assert run.cycles == whole().cycles


def quiet(one: Accelerator) -> bool:
    """Whether memory has nothing left to do."""
    return not one.bench._ports[:, n.COUNT].any()


def begun(one: Accelerator, cycles: int) -> Accelerator:
    """A run under way for some cycles."""
    one.host.prompt(PROMPT)
    one.host.begin(len(PROMPT), TOKENS)
    one.bench.run(cycles)
    return one


@cache
def moments() -> list[int]:
    """Cycles of a run: some, and such in which a row of the KV cache is on its way to memory."""
    run = whole()
    begun = run.result.cycles - run.cycles
    first = run.result.write_cycle(next(hardware().plan.regions_of("k")).address)
    assert first is not None
    some = np.random.default_rng(1).integers(100, run.cycles - 100, 6)
    return [int(cycle) for cycle in (*some, *range(first - begun - 20, first - begun + 40, 6))]


@pytest.mark.parametrize("cycles", [1, 4, 64])
def test_a_reset_while_memory_owes_answers_changes_no_token(cycles: int) -> None:
    """Memory goes on: what it was asked for comes after the reset. Where it waits for the rest of a burst, every start
    is refused until it was reset too."""
    torn = 0
    for moment in moments():
        one = begun(accelerator(timing=timing()), moment)
        one.bench.reset(cycles, memory=False)
        assert quiet(one) or one.host.read("STATUS") & STATUS_BUSY
        one.host.sequence = []
        run = one.generate(PROMPT, TOKENS)  # waits for the bus
        if run.error == "reset":
            torn += 1
            assert one.generate(PROMPT, TOKENS).error == "reset"
            one.reset()
            run = one.generate(PROMPT, TOKENS)
        assert run.check().tokens == whole().tokens and nothing_wrong_in_memory(one)
    assert 0 < torn < 12  # some, but none of those where no row is on its way


def test_a_reset_of_memory_too_is_noticed() -> None:
    """What was asked for never comes; the accelerator does not wait for it for ever. Nor does a write go on of which
    memory knows nothing."""
    for moment in moments()[::3]:
        one = begun(accelerator(timing=timing()), moment)
        one.reset()
        if one.generate(PROMPT, TOKENS).error == "reset":
            one.reset()
        assert one.generate(PROMPT, TOKENS).check().tokens == whole().tokens and nothing_wrong_in_memory(one)


def test_an_abort_ends_a_run_once_the_bus_is_quiet() -> None:
    one = accelerator(timing=timing())
    for moment in moments():
        begun(one, moment)
        one.host.write("CONTROL", ABORT)
        run = one.wait(len(PROMPT), 10_000)
        assert quiet(one) and (run.error, run.result.ok) == ("abort", True) and nothing_wrong_in_memory(one)
        assert one.host.read("STATUS") & (STATUS_BUSY | STATUS_DONE) == STATUS_DONE
        again(one)
    one.host.write("CONTROL", ABORT)  # of no run
    assert one.generate(PROMPT, TOKENS).check().tokens == whole().tokens


@pytest.mark.parametrize("kind", ["p", "w", "c", "e", "k", "v"])
def test_an_error_ends_a_run_once_the_bus_is_quiet(kind: str) -> None:
    region = next(hardware().plan.regions_of(kind))
    one = accelerator(timing=timing(), fault=(region.address, region.address + region.size))
    run = one.generate(PROMPT, TOKENS)
    assert run.error == ("memory_write" if kind in "kv" else "memory_read") and quiet(one)
    one.bench._control[[n.FAULT_LOW, n.FAULT_HIGH]] = 0
    one.host.sequence = []
    again(one)


@pytest.mark.parametrize("offset", [8, 64, 0x800])
def test_an_image_must_begin_at_a_page(offset: int) -> None:
    one = accelerator(base=0x4000_0000 + offset)
    assert one.generate(PROMPT, 1).error == "alignment"
    assert not any(port.bursts for port in one.bench.run(0).ports.values())


def test_the_watchdog_interrupts_and_the_run_ends_once_the_bus_is_quiet() -> None:
    """Memory stands still for longer than the watchdog waits, then goes on."""
    limit = hardware().plan.config.watchdog
    one = accelerator(watchdog=4 * limit, timing={"m_axi_k0": AxiTiming(latency=2 * limit)})
    first = one.generate(PROMPT, 1)
    assert (first.error, first.watchdog) == ("watchdog", True) and "attention" in first.stalled
    assert one.host.read("ISR") == 0 and one.host.read("STATUS") & STATUS_BUSY and not quiet(one)
    second = one.wait(len(PROMPT), 4 * limit)
    assert second.error == "watchdog" and one.host.read("ISR") == 0 and quiet(one)
    one.bench._ports[:, n.LATENCY] = SLOW.latency
    one.host.sequence = []
    assert one.generate(PROMPT, TOKENS).check().tokens == whole().tokens


def sealed(image: np.ndarray, **lists: tuple[int, list[int]]) -> np.ndarray:
    """The image with other lists (address, words), all checks right."""
    header = image[: 8 * len(IMAGE_HEADER)].view("<u8")
    for name, (address, words) in lists.items():
        header[IMAGE_HEADER.index(name)] = address | len(words) << LIST_BITS["address"]
    start = crc_hqx(header[:-1].tobytes(), 0)
    header[-1] = int.from_bytes(start.to_bytes(2, "big"), "little")
    for address, words in lists.values():
        check, first = start, 0
        while first < len(words):
            size, words[first] = words[first] >> 24 & 0xFF, words[first] >> 16 << 16
            check = crc_hqx(np.array(words[first : first + size], "<u8").tobytes(), check)
            words[first] |= check
            first += size
        image[address : address + 8 * len(words)].view("<u8")[:] = words
    return image


def prefill() -> tuple[int, list[int], list[int]]:
    """Where its list is, its words, and where each task begins in them."""
    region = hardware().plan.regions["prefill.d"]
    words = hardware().image[region.address : region.address + region.size].view("<u8").tolist()
    sizes = [hardware().plan.config.task_words(task.engine) for task in hardware().plan.program("prefill")]
    return region.address, words, [sum(sizes[:i]) for i in range(len(sizes))]


def test_a_list_cut_short_has_an_end() -> None:
    """After the task of a linear, before that which feeds it."""
    address, words, begins = prefill()
    tasks = hardware().plan.program("prefill")
    cut = begins[next(i for i, task in enumerate(tasks) if task.engine == "linear") + 1]
    one = accelerator(sealed(hardware().image.copy(), prefill=(address, words[:cut])), watchdog=10**7)
    run = one.generate(PROMPT, 1, max_cycles=10**7)
    assert run.error == "watchdog" and "linear" in run.stalled and quiet(one)


# Which word of a task's descriptor is an address: of stream p, of a field, of stream c.
ADDRESSES = {"norm": 1, "heads": 6, "embed": 4, "attention": 5, "linear": 5}


@pytest.mark.parametrize("engine", ADDRESSES)
def test_nothing_reaches_beyond_the_image_or_between_words(engine: str) -> None:
    """An address that all checks say is right: far beyond the image, at its end, odd, and such that the end of the
    transfer is in the image again."""
    address, words, begins = prefill()
    tasks = hardware().plan.program("prefill")
    found = (i for i, t in enumerate(tasks) if t.engine == engine and (engine != "heads" or t.fields["mode"] == KEY))
    place = begins[next(found)] + ADDRESSES[engine]
    wraps = [(1 << 64) - hardware().plan.config.engine.port_bits["c"] // 8] if engine == "linear" else []
    for value in ((1 << 64) - 4096, hardware().image.size, 4096 + 1, *wraps):
        other = [*words[:place], value, *words[place + 1 :]]
        one = accelerator(sealed(hardware().image.copy(), prefill=(address, other)))
        assert one.generate(PROMPT, 1).error == "bounds", value  # and the bench found no burst outside of memory


REGIONS = {"header": "h", "lists": "d", "w": "w", "c": "c", "q": "q", "p": "p", "embedding": "e"}


@pytest.mark.parametrize("part", REGIONS)
def test_every_flipped_bit_is_found(part: str) -> None:
    """By a run that verifies, and what changed places; the memory that runs change is none of its business."""
    plan, rng = hardware().plan, np.random.default_rng(3)
    one = accelerator()
    for region in plan.regions_of("k"):
        one.memory.data[region.address] ^= 1
    assert one.verify().check().tokens == []
    regions = list(plan.regions_of(REGIONS[part]))
    for _ in range(20):
        region = regions[rng.integers(len(regions))]
        place, bit = region.address + int(rng.integers(region.size)), 1 << int(rng.integers(8))
        one.memory.data[place] ^= bit
        error = {"header": "image", "lists": "task" if region.name == "verify.d" else "checksum"}.get(part, "checksum")
        assert one.verify().error == error, region.name
        one.memory.data[place] ^= bit
    data = one.memory.data[regions[0].address :][: regions[0].size]
    for size in (2, 4, 8, 32):
        rows = data[: len(data) // size * size].reshape(-1, size)
        differ = np.flatnonzero((rows[1:] != rows[:-1]).any(1))
        for i in differ[:1]:
            rows[[i, i + 1]] = rows[[i + 1, i]]
            assert one.verify().error != "none", size
            rows[[i, i + 1]] = rows[[i + 1, i]]
    one.verify().check()
    assert one.generate(PROMPT, TOKENS).check().tokens == whole().tokens


def test_signals_that_an_interconnect_wants_are_constant() -> None:
    one = accelerator()
    for port in hardware().plan.config.read_ports:
        assert [one.bench.simulator.peek(f"m_axi_{port}_ar{name}") for name in ("id", "cache", "prot")] == [0, 3, 0]
    for port in hardware().plan.config.write_ports:
        assert [one.bench.simulator.peek(f"m_axi_{port}_aw{name}") for name in ("id", "cache", "prot")] == [0, 3, 0]


def test_verifying_goes_at_the_speed_of_memory() -> None:
    """Every port reads its regions one after the other, a word a cycle, all ports at a time."""
    one, plan = accelerator(), hardware().plan
    run = one.verify()
    beats = max(port.beats for port in run.result.ports.values())
    assert beats < run.cycles < beats + len(plan.regions) * 2 * plan.latency
