"""From a PyTorch model to SystemVerilog, schedule and memory image: seconds and memory of each stage.

    python test/bench/whole_flow.py [--target v80] [--layers N] [--json FILE]

Qwen3-1.7B with random weights is imported as any model is; integers of its shape, zeros, stand for the quantizer's.
Seconds of this processor (all threads), then those that passed; the most memory this process has held so far.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lutllm import models, store
from lutllm.accelerator.hardware import PASSES
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.export.image.whole import IMAGE, write_image
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.schedule.read import read_plan
from lutllm.passes import run_pipeline
from lutllm.quantizer.driver import peak_memory_mb
from lutllm.quantizer.random.model import hollow_model
from lutllm.quantizer.whole import structure_of
from lutllm.report.text import align
from lutllm.scheme import EXACT

MODEL, CONTEXT = "qwen3-1.7b", 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="v80")
    parser.add_argument("--layers", type=int, help="the first N decoder layers (default: 28)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    used, passed = time.process_time(), time.perf_counter()

    def done(stage: str) -> None:
        nonlocal used, passed
        row = dict(stage=stage, cpu=time.process_time() - used, seconds=time.perf_counter() - passed)
        rows.append(row | dict(peak_memory_mb=peak_memory_mb()))
        used, passed = time.process_time(), time.perf_counter()
        print(rows[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        module = structure_of(models.load(MODEL, layers=options.layers)).module
        done("import")
        model = hollow_model(module, EXACT.with_(R=1, G=1024), positions=CONTEXT)
        scheduled = model.lut(CONTEXT)
        done("lut")
        run_pipeline(scheduled, pipelines.to_scheduled(options.target), passes=PASSES)
        plan = read_plan(scheduled)
        done("schedule")
        hw_to_sv(accelerator_to_hw(plan.config, "sv"), ACCELERATOR_TOP, Path(folder))
        done("SystemVerilog")
        write_image(Path(folder) / IMAGE, scheduled, model.tensors)
        done(f"image of {plan.memory_bytes / 1e6:,.0f} MB")
    sums = {key: sum(row[key] for row in rows) for key in ("cpu", "seconds")}
    rows.append(dict(stage="all", **sums, peak_memory_mb=peak_memory_mb()))
    head = ("stage", "CPU s", "seconds", "peak MB")
    print(align([head, *((row["stage"], *(f"{row[k]:,.1f}" for k in list(row)[1:])) for row in rows)]))
    if options.json:
        store.write_json(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
