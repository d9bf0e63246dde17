"""Resources from structure: counts of a design beside Yosys's, sums over units and SLRs, what is calibrated."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lutllm.cost.area import KINDS, Area, structures
from lutllm.cost.calibration import calibration, error_of
from lutllm.cost.resources import counted
from lutllm.cost.yosys import synthesize
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.targets import find_target

SMALL = EngineConfig(
    pairs=2, lanes=8, centroids=16, chains=2, requant_lanes=4, tokens=4, acc_words=64, codes_depth=4,
    port_bits={"w": 64, "c": 128, "q": 64},
)  # fmt: skip
V80 = find_target("v80").device


@pytest.fixture(scope="module")
def design() -> Design:
    """A register, two and four in a row, products of 12 x 12 and, with signs, 24 x 24 bits, three kinds of memory."""
    found = Design("sv")

    def body(m: Module) -> dict[str, Signal]:
        a, b = m["a"], m["b"]
        two = m.reg(m.reg(a, "two_0"), "two_1")
        four = m["c"]
        for i in range(4):
            four = m.reg(four, f"four_{i}")
        kept = m.reg(b, "kept", reset=0)
        narrow = m.reg(a.zext(24) * b.zext(24), "narrow")
        wide = m.reg(a.sext(24) * b.sext(24), "wide")
        block, ultra, small = ram(found, 512, 36), ram(found, 4096, 72), ram(found, 40, 14, read_latency=0)
        ports = {"we": b[0], "wa": m["address"]}
        read = m.output_of(block, "block", **ports, wd=m["word"], re=b[1], ra=m["address"])
        far = {"we": b[0], "wa": m["far"], "ra": m["far"], "wd": m["large"], "re": b[1]}
        low = {"we": b[0], "wa": m["address"][:6], "wd": narrow[:14], "ra": m["address"][3:9]}
        outputs = dict(two=two, four=four, kept=kept, narrow=narrow, wide=wide, read=read)
        return outputs | {"ultra": m.output_of(ultra, "ultra", **far), "small": m.output_of(small, "small", **low)}

    inputs = {"a": 12, "b": 12, "c": 12, "address": 9, "word": 36, "far": 12, "large": 72}
    widths = dict(two=12, four=12, kept=12, narrow=24, wide=24, read=36, ultra=72, small=14)
    found.module("top", inputs, widths, body, top=True)
    return found


def test_what_is_counted_as_it_is(design: Design) -> None:
    found = structures(design)
    top = found["top"]
    assert top.bits["register"] == 24 + 12 + 48 and top.bits["shift_register"] == 12
    assert top.fixed["DSP"] == 1 + 2  # Yosys does not see that a sign is repeated
    assert found["ram_block_512x36"].fixed["BRAM"] == 0.5 * 1
    assert found["ram_ultra_4096x72"].fixed["URAM"] == 1
    assert found["ram_distributed_40x14_async"].fixed["LUTRAM"] == 16
    assert dict(top.instances) == {name: 1 for name in found if name != "top"}


@pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed (apt install yosys)")
def test_that_is_what_yosys_counts(design: Design, tmp_path: Path) -> None:
    files = [path for path in hw_to_sv(design, "top", tmp_path / "rtl") if path.suffix == ".sv"]
    found = synthesize(files, tmp_path / "cache", quiet=True)
    assert not found.problems
    for name, own in structures(design).items():
        yosys, ours = counted(found.cells[name]), own.counts({})
        assert {kind: yosys[kind] for kind in KINDS[1:]} == {kind: ours[kind] for kind in KINDS[1:]}, name


def test_sums_over_units_and_slrs() -> None:
    area = Area(AcceleratorConfig(engine=SMALL, head_lanes=8, kv_bits=64, context=32, score_words=512), V80)
    total = area.total(V80)
    for kind, values in total.items():
        used = sum(unit[kind] for unit in area.units.values())
        assert values == {
            "used": round(used),
            "available": V80.available[kind],
            "share": round(used / V80.available[kind], 4),
        }
    slrs = area.slrs(V80)
    assert len(slrs) == V80.slrs
    for kind, values in total.items():
        assert sum(slr[kind] for slr in slrs) / V80.slrs == pytest.approx(values["share"], abs=2e-4)
    shares = [max(slr.values()) for slr in slrs]
    assert max(shares) - min(shares) < 0.05
    assert next(iter(area.units_by("LUT"))) == "linear_core"


def test_a_dsp_that_adds_products() -> None:
    """Eight channels of queries and of values, of two rows each, in bytes, three products a DSP; the rest is alike."""
    config = AcceleratorConfig(
        engine=SMALL, head_lanes=8, attention_rows=2, attention_ports=2, kv_bits=64, context=32, score_words=512
    )
    one = Area(config, replace(V80, dsp_products=1)).units["attention"]["DSP"]
    assert one - Area(config, V80).units["attention"]["DSP"] == 2 * 2 * (8 - 3) + 8 * 2 * (2 - 1)


def test_more_hardware_takes_more() -> None:
    def luts(**changes: int) -> dict[str, float]:
        engine = EngineConfig(**vars(SMALL) | changes)
        units = Area(AcceleratorConfig(engine=engine, head_lanes=8, kv_bits=64, context=32, score_words=512), V80).units
        return {name: unit["LUT"] for name, unit in units.items()}

    once, twice = luts(), luts(lanes=16)
    assert twice["linear_core"] > 1.1 * once["linear_core"] and twice["norm"] == once["norm"]


def test_the_calibration_says_of_how_many() -> None:
    """The promises: cycles within 3 % in the median and 8 % at worst, over sixteen runs or more."""
    found = calibration()
    assert found["cycles"]["of"] >= 16 and found["cycles"]["median"] <= 0.03 and found["cycles"]["worst"] <= 0.08
    assert set(found["resources"]) == {*V80.available, "LUT by module"}
    assert found["resources"]["LUT by module"]["of"] > 50
    assert all(factor >= 0 for factor in found["factors"].values())
    assert error_of([-0.2, 0.1, 0.1]) == {"median": 0.1, "worst": 0.2, "of": 3}
