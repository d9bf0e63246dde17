"""Logic levels of modules as `lutllm.cost.levels` counts them, beside those of Yosys's mapping to LUTs of 6 inputs.

    python test/bench/levels.py [--built tiny] [--only NAME] [--seconds 120]

Each module is mapped with all below it, so that paths go through instances in both; paths from or to a port count. The
mapping has no carry chains and no DSPs: sums, comparisons and products are LUTs, which take more levels than here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from area import BUILT, configuration

from lutllm.cost.levels import ModuleLevels, levels
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.report.text import align


def ours(own: ModuleLevels) -> float:
    """The longest of all paths, ports included."""
    found = [path.levels for path in own.longest.values()]
    found += [path.levels for arrival in own.outputs.values() for path in arrival.values()]
    return max([0.0, *found, *(path.levels for ways in own.inputs.values() for path in ways.values())])


def mapped(files: list[Path], top: str, seconds: float) -> int | None:
    """Cells on the longest path; None where Yosys takes too long."""
    script = f"read_verilog -sv {' '.join(map(str, files))}; synth -flatten -lut 6 -top {top}; ltp -noff"
    try:
        done = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        return None
    return int(done.stdout.rpartition("(length=")[2].partition(")")[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--built", choices=BUILT, default="tiny", help="whose modules")
    parser.add_argument("--only", default="", help="modules whose name has this in it")
    parser.add_argument("--seconds", type=float, default=120, help="of a run of Yosys at most")
    options = parser.parse_args()
    design = accelerator_to_hw(configuration(options.built), "sv")
    rows = [("module", "Yosys", "here")]
    with tempfile.TemporaryDirectory() as folder:
        files = [path for path in hw_to_sv(design, ACCELERATOR_TOP, Path(folder)) if path.suffix == ".sv"]
        for name, own in sorted(levels(design).items(), key=lambda item: -ours(item[1])):
            if options.only in name and ours(own) > 1 and (count := mapped(files, name, options.seconds)) is not None:
                rows.append((name.removeprefix(design.prefix), str(count), f"{ours(own):.1f}"))
                print(*rows[-1], file=sys.stderr, flush=True)
    print(align(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
