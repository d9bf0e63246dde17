"""LUTs of modules, counted by Yosys, against what `lutllm.cost.area` makes of their structure: a fit and its errors.

    python test/bench/area.py [--only NAME] [--seconds 900] [--json FILE] [--write]

Each distinct module of the configurations below is synthesized once, which takes minutes the first time. `--write`
keeps factors and errors in the package (`lutllm/cost/calibration.json`), beside those of cycles. Factors of the error
are fitted without the configuration that it is of.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from lutllm import store
from lutllm.cost.area import KINDS, Counts, Structure, structures
from lutllm.cost.calibration import error_of, keep
from lutllm.cost.planning import Planner
from lutllm.cost.resources import counted
from lutllm.cost.yosys import synthesize
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.models.cache import cache_directory
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import hollow_model
from lutllm.report.text import align
from lutllm.run.decoder_bench import SHAPES
from lutllm.scheme import ADDITIVE, EXACT, Scheme

LEAST = 32  # LUTs of a module whose error counts
KV = 256
# Target, shape of the model, scheme, row source.
BUILT: dict[str, tuple[str, str, Scheme, str]] = {
    "tiny": ("tiny", "tiny", EXACT, ""),
    "tiny, searching": ("tiny", "tiny", ADDITIVE, ""),
    "small": ("small", "smollm2-135m", EXACT.with_(R=1, G=1024), ""),
    "small, searching": ("small", "smollm2-135m", ADDITIVE, "built_row"),
    "v80": ("v80", "qwen3-1.7b", EXACT.with_(R=1, G=1024), ""),
}


def configuration(name: str) -> AcceleratorConfig:
    """What is synthesized: the accelerator that one layer of a model asks for."""
    target, shape, scheme, source = BUILT[name]
    model = hollow_model(float_decoder(**SHAPES[shape] | {"layers": 1}), scheme, positions=KV + 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "target.toml"
        choice = f'[model]\nrow_source = "{source}"\n' if source else ""
        path.write_text(f'like = "{target}"\nsummary = "a row"\n{choice}[sources]\nmodel = "the row"\n')
        return Planner(model, KV + 2).plan(str(path)).config


def measured(config: AcceleratorConfig, seconds: float) -> dict[str, tuple[Structure, Counts]]:
    """Every module's structure and what Yosys makes of it."""
    design = accelerator_to_hw(config, "sv")
    with tempfile.TemporaryDirectory() as folder:
        files = [path for path in hw_to_sv(design, ACCELERATOR_TOP, Path(folder)) if path.suffix == ".sv"]
        found = synthesize(files, cache_directory() / "yosys", seconds=seconds, jobs=1)
    for name, problem in found.problems.items():
        print(f"left out: {name}: {problem}", file=sys.stderr)
    return {name: (own, counted(found.cells[name])) for name, own in structures(design).items() if name in found.cells}


def fitted(rows: list[tuple[Structure, Counts]]) -> dict[str, float]:
    """LUTs a bit of every kind of op, none below zero; an error counts by its share of the module."""
    kinds = sorted({kind for own, _ in rows for kind in own.bits if kind != "register"})
    kept = [(own, counts) for own, counts in rows if counts["LUT"] > 0]
    weights = np.array([1 / max(LEAST, counts["LUT"]) ** 0.75 for _, counts in kept])
    bits = np.array([[own.bits[kind] for kind in kinds] for own, _ in kept], float)
    factors, _ = nnls(bits * weights[:, None], np.array([counts["LUT"] for _, counts in kept]) * weights)
    return {kind: round(float(f), 4) for kind, f in zip(kinds, factors, strict=True)}


def whole(modules: dict[str, tuple[Structure, Counts]], factors: dict[str, float] | None) -> Counts:
    """Of the top module with all below; by Yosys where there are no factors. What Yosys left out counts as nothing."""

    @cache
    def below(name: str) -> np.ndarray:
        if name not in modules:
            return np.zeros(len(KINDS))
        own, counts = modules[name]
        one = own.counts(factors) if factors else counts
        sums = np.array([one[kind] for kind in KINDS])
        return sums + sum(times * below(child) for child, times in own.instances.items())

    return dict(zip(KINDS, map(float, below(ACCELERATOR_TOP)), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="configurations whose name has this in it")
    parser.add_argument("--seconds", type=float, default=900, help="of a run of Yosys at most")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", action="store_true", help="keep factors and errors in the package")
    options = parser.parse_args()
    found = {name: measured(configuration(name), options.seconds) for name in BUILT if options.only in name}
    errors: dict[str, list[float]] = {kind: [] for kind in ("LUT", "FF", "DSP", "BRAM", "URAM")}
    lines = [("configuration", *(f"{kind}, {by}" for kind in errors for by in ("Yosys", "model")))]
    modules: list[float] = []
    for name, own in found.items():
        others = [row for other, rows in found.items() if other != name or len(found) == 1 for row in rows.values()]
        factors = fitted(others)
        yosys, model = whole(own, None), whole(own, factors)
        lines.append((name, *(f"{values[kind]:,.0f}" for kind in errors for values in (yosys, model))))
        for kind, list_ in errors.items():
            if yosys[kind]:
                list_.append(model[kind] / yosys[kind] - 1)
        modules += [s.counts(factors)["LUT"] / c["LUT"] - 1 for s, c in own.values() if c["LUT"] >= LEAST]
    print(align(lines))
    summary = {kind: error_of(values) for kind, values in errors.items()} | {"LUT by module": error_of(modules)}
    for kind, values in summary.items():
        print(f"{kind}: error {values}")
    if options.write:
        factors = fitted([row for rows in found.values() for row in rows.values()])
        keep(factors=factors, resources=summary)
    if options.json:
        store.write_json(options.json, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
