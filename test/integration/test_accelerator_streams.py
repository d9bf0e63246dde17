"""The FIFOs' chosen depths in simulation: no cycle lost, no word too many, and one made smaller is seen and named."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import Hardware, build
from lutllm.errors import CapacityError
from lutllm.lowering.export.image.whole import whole_image
from lutllm.lowering.hardware.streams.depths import verify_depths
from lutllm.lowering.hardware.streams.fifos import fifos
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.passes.walk import ops_in
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import EXACT
from lutllm.simulate import Simulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun
from lutllm.simulate.occupancy import Occupancy, occupancies, registers, table

CONTEXT, VOCABULARY = 48, 150
DEEP = 512
PROMPTS = {"decode": [7], "prefill": [i * 11 % VOCABULARY for i in range(18)]}


@cache
def hardware(kind: str) -> Hardware:
    """Heads of several beats with norms: every stream is in use. But for `chosen`, depths are changed by hand."""
    shape = float_decoder(vocabulary=VOCABULARY, qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36, layers=1)
    model = random_model(shape, EXACT, positions=CONTEXT)
    made = Hardware.of(model.lut(), model.tensors, target="tiny")
    with made.module.context:
        (machine,) = ops_in(made.module.operation, dialect.MachineOp)
        machine.attributes["watchdog"] = dialect.i64(4000)
        (engine,) = ops_in(made.module.operation, dialect.LinearEngineOp)
        for fifo in ops_in(made.module.operation, dialect.FifoOp):
            name = fifo.sym_name.value
            if kind == "deep" and name != "codebooks":  # codebooks, like codes, are not: what more they hold is the
                fifo.attributes["depth"] = dialect.i64(DEEP)  # next round's, to come sooner
            if kind == "shrunk" and name == "write_kv":
                fifo.attributes["depth"] = dialect.i64(6)
        if kind == "shrunk":
            engine.attributes["codes_depth"] = dialect.i64(2)
    return Hardware(made.program, made.module, made.tensors, whole_image(made.module, made.tensors))


@cache
def golden(length: int, tokens: int) -> list[int]:
    prompt = next(p for p in PROMPTS.values() if len(p) == length)
    session, made = GoldenSession(hardware("chosen").program, hardware("chosen").tensors), []
    for _ in range(tokens):
        made.append(int(np.argmax(session.forward(made[-1:] or prompt)[-1])))
    return made


@dataclass
class Built:
    """A machine, simulated once."""

    hardware: Hardware
    simulator: Simulator

    @property
    def config(self) -> AcceleratorConfig:
        return self.hardware.plan.config

    def run(self, prompt: list[int], tokens: int, **options: int) -> tuple[AcceleratorRun, dict[str, Occupancy]]:
        probes = registers(self.config)
        accelerator = Accelerator(self.config, self.simulator, self.hardware.image, probes=probes, **options)
        run = accelerator.generate(prompt, tokens)
        return run, {row.stream: row for row in occupancies(self.config, run.result.peaks)}


@cache
def built(kind: str) -> Built:
    made = hardware(kind)
    return Built(made, build(made.plan.config, "arc"))


@pytest.mark.parametrize("kind", PROMPTS)
def test_no_cycle_is_lost_against_very_deep_fifos(kind: str) -> None:
    prompt = PROMPTS[kind]
    run, rows = built("chosen").run(prompt, 3)
    deep, _ = built("deep").run(prompt, 3)
    assert run.check().tokens == deep.check().tokens == golden(len(prompt), 3)
    assert run.token_cycles == deep.token_cycles
    assert all(row.peak <= row.depth for row in rows.values())
    assert not any(row.short for row in rows.values())


def test_peaks_as_rows_and_as_a_table() -> None:
    _, rows = built("chosen").run(PROMPTS["prefill"], 2)
    assert rows["codes"].full and rows["x"].full  # what the head of LutLinear waits for is kept ready
    assert all(rows[name].peak for name in ("read_w", "read_k", "read_v", "results", "roots", "kv", "write_kv", "e"))
    back = json.loads(json.dumps([row.to_dict() for row in rows.values()]))
    assert {entry["stream"] for entry in back} == set(rows)
    lines = table(list(rows.values())).splitlines()
    assert lines[0].split() == ["stream", "from", "to", "bits", "words/cycle", "bound", "depth", "peak"]
    assert re.search(r"^results +drain +residual, store, swiglu, pick +96 +1\.00 +7 +7 +\d$", "\n".join(lines), re.M)


def test_a_fifo_that_is_too_small_costs_cycles_and_is_named() -> None:
    fast, _ = built("chosen").run(PROMPTS["decode"], 2)
    slow, rows = built("shrunk").run(PROMPTS["decode"], 2)
    assert slow.check().tokens == golden(1, 2)
    assert slow.cycles > 1.2 * fast.cycles
    assert [name for name, row in rows.items() if row.stalls] == ["codes"]
    assert [name for name, row in rows.items() if row.short] == ["codes", "write_kv"]
    (line,) = (line for line in table(list(rows.values())).splitlines() if "stalls" in line)
    assert re.match(r"codes +weights +lookup +32 +1\.00 +7 +2 +2 +stalls: too small, and full$", line)


def test_a_burst_that_never_fits_stands_still_and_is_named() -> None:
    run, rows = built("shrunk").run(PROMPTS["prefill"], 2, watchdog=9000)
    assert run.watchdog and "heads" in run.stalled and run.tokens == []
    assert run.error == "watchdog" and run.result.ports["m_axi_kv"].bytes == 0  # nothing of the burst was seen outside
    assert rows["write_kv"].stalls and rows["write_kv"].peak == 6


def test_the_proof_names_what_simulation_sees() -> None:
    streams = {f.name: f for f in fifos(built("shrunk").config, 64)}
    for name, problem in (("codes", "it would stall"), ("write_kv", "a deadlock")):
        with pytest.raises(CapacityError, match=f"stream {name}: .*{problem}"):
            verify_depths([streams[name]])
