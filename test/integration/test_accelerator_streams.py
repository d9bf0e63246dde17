"""The FIFOs' chosen depths in simulation: no cycle lost, no word too many, and one made smaller is seen and named."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from lutllm.decoder import QuantizedDecoder
from lutllm.errors import CapacityError
from lutllm.hardware import build
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.image.whole import whole_image
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.stream_depths import verify_depths
from lutllm.lowering.streams import fifos
from lutllm.lowering.targets import find_target
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import EXACT
from lutllm.session import GoldenSession
from lutllm.simulate import Simulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun
from lutllm.simulate.occupancy import Occupancy, occupancies, registers, table

CONTEXT, VOCABULARY = 48, 150
DEEP = 512
PROMPTS = {"decode": [7], "prefill": [i * 11 % VOCABULARY for i in range(18)]}


@cache
def decoder() -> QuantizedDecoder:
    """Heads of several beats with norms: every stream is in use."""
    shape = decoder_like(vocabulary=VOCABULARY, qk_norm=True, heads=3, kv_heads=1, head_dim=20, hidden=36, layers=1)
    return random_decoder(shape, EXACT, positions=CONTEXT)


@cache
def golden(length: int, tokens: int) -> list[int]:
    prompt = next(p for p in PROMPTS.values() if len(p) == length)
    session, made = GoldenSession.of(decoder(), CONTEXT), []
    for _ in range(tokens):
        made.append(int(np.argmax(session.forward(made[-1:] or prompt)[-1])))
    return made


@dataclass
class Built:
    """A configuration, simulated once."""

    config: AcceleratorConfig
    simulator: Simulator

    def run(self, prompt: list[int], tokens: int, **options: int) -> tuple[AcceleratorRun, dict[str, Occupancy]]:
        image = whole_image(plan_decoder(DecoderSpec.of(decoder()), self.config), decoder())
        accelerator = Accelerator(self.config, self.simulator, image, probes=registers(self.config), **options)
        run = accelerator.generate(prompt, tokens)
        return run, {row.stream: row for row in occupancies(self.config, run.result.peaks)}


@cache
def built(kind: str) -> Built:
    chosen = replace(config_for(DecoderSpec.of(decoder()), find_target("tiny"), CONTEXT), watchdog=4000)
    depths = dict(chosen.depths)
    if kind == "deep":  # codebooks, like codes, are not: what more they hold is the next round's, to come sooner
        depths |= {name: DEEP for name in depths if name != "codebooks"}
    if kind == "shrunk":
        depths |= {"write_kv": 6}
        chosen = replace(chosen, engine=replace(chosen.engine, codes_depth=2))
    config = replace(chosen, depths=depths)
    return Built(config, build(config, "arc"))


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
    assert re.search(r"^results +drain +residual, store, swiglu, pick +128 +1\.00 +7 +7 +\d$", "\n".join(lines), re.M)


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
    assert not run.result.ok and "m_axi_kv" not in run.result.message  # nothing of the burst was seen outside
    assert rows["write_kv"].stalls and rows["write_kv"].peak == 6


def test_the_proof_names_what_simulation_sees() -> None:
    streams = {f.name: f for f in fifos(built("shrunk").config, 64)}
    for name, problem in (("codes", "it would stall"), ("write_kv", "a deadlock")):
        with pytest.raises(CapacityError, match=f"stream {name}: .*{problem}"):
            verify_depths([streams[name]])
