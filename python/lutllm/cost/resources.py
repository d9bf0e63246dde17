"""What an accelerator would take of a device, by module: SystemVerilog in, an estimate by Yosys out, data and tables.

Nothing is placed and nothing is timed: the figures are good for comparing modules and builds, not for a claim.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutllm.cost.yosys import Cells, synthesize, yosys_version
from lutllm.lowering.machine.targets import Device
from lutllm.models.cache import cache_directory

KINDS = ("LUT", "FF", "DSP", "BRAM", "URAM", "LUTRAM")
NOTE = (
    "UltraScale+-style estimate by Yosys, no placement, no timing. LUT contains LUTRAM (LUTs used as memory or shift "
    "register); BRAM counts blocks of 36 Kbit. Carry chains are not counted. Wide "
    "multiplexers are made of LUTs alone, as on Versal, which has no MUXF7 and MUXF8; its DSPs are wider than those "
    "this was synthesized for."
)
# LUTs that a memory or shift register takes.
_LUTRAM = {
    "RAM32X1D": 2, "RAM32X1S": 1, "RAM64X1D": 2, "RAM64X1S": 1, "RAM128X1D": 4, "RAM128X1S": 2, "RAM256X1D": 8,
    "RAM256X1S": 4, "RAM512X1S": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "SRL16E": 1, "SRLC16E": 1,
    "SRLC32E": 1,
}  # fmt: skip
_BRAM = {"RAMB36E2": 1.0, "RAMB18E2": 0.5}

Counts = dict[str, float]


@dataclass
class Resources:
    """`rows`: every module, with its `instances` and what one of them takes without what it instantiates, the
    largest first. `parts`: every instance in the top module, with all that is below it. `total`, and its `share` of the
    device. `problems`: modules without an estimate, which every sum leaves out; without Yosys, that."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    total: Counts = field(default_factory=dict)
    share: Counts = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    tool: str = ""
    device: str = ""
    available: Mapping[str, int] = field(default_factory=dict)
    note: str = NOTE


def estimate_resources(
    rtl: str | Path,
    top: str,
    device: Device,
    *,
    cache: str | Path | None = None,
    seconds: float = 300,
    jobs: int | None = None,
    quiet: bool = False,
) -> Resources:
    """Synthesize each module of `rtl`/filelist.f once and sum over the instances below `top`, as shares of `device`.

    Results are kept in `cache` (default: in the cache of models) by the text of the module. A run of Yosys takes at
    most `seconds`. Without Yosys the estimate is empty and says so.
    """
    tool = yosys_version()
    if tool is None:
        return Resources(problems=["yosys is not installed (apt install yosys): no estimate of resources"])
    rtl = Path(rtl)
    files = [rtl / name for name in (rtl / "filelist.f").read_text().split()]
    place = cache_directory() / "yosys" if cache is None else Path(cache)
    found = synthesize(files, place, seconds=seconds, jobs=jobs, quiet=quiet)
    one = {name: counted(cells) for name, cells in found.cells.items()}
    children = _children(files)
    times: Counter[str] = Counter({top: 1})
    for name in _parents_first(top, children):
        for child in children[name].values():
            times[child] += times[name]
    rows = [{"module": name, "instances": times[name], **one[name]} for name in times if name in one]
    parts = [{"part": part, "module": child, **_below(child, children, one)} for part, child in children[top].items()]
    total = _below(top, children, one)
    return Resources(
        rows=sorted(rows, key=lambda row: (-row["instances"] * row["LUT"], row["module"])),
        parts=sorted(parts, key=lambda part: (-part["LUT"], part["part"])),
        total=total,
        share={kind: total[kind] / count for kind, count in device.available.items()},
        device=device.name,
        available=device.available,
        problems=[f"{name}: {problem}" for name, problem in sorted(found.problems.items())],
        tool=tool,
    )


def counted(cells: Cells) -> Counts:
    """Cells of UltraScale+ as what a device has."""

    def of(pattern: str) -> int:
        return sum(count for kind, count in cells.items() if re.fullmatch(pattern, kind))

    memory = sum(_LUTRAM.get(kind, 0) * count for kind, count in cells.items())
    bram = sum(_BRAM.get(kind, 0.0) * count for kind, count in cells.items())
    counts = (of("LUT[1-6]") + memory, of("FD[RSCP]E|LD[CP]E"), of("DSP48E2"), bram, of("URAM288"), memory)
    return dict(zip(KINDS, counts, strict=True))


def _children(files: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Of each module, the modules it instantiates by instance name."""
    names = {path.stem for path in files}
    found = {}
    for path in files:
        instances = re.findall(r"^ *(\w+) (\w+) \(", path.read_text(), re.M)
        found[path.stem] = {instance: module for module, instance in instances if module in names - {path.stem}}
    return found


def _parents_first(top: str, children: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Modules at and below `top`, each after all that instantiate it."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for child in children[name].values():
                visit(child)
            order[name] = None

    visit(top)
    return list(reversed(order))


def _below(name: str, children: Mapping[str, Mapping[str, str]], one: Mapping[str, Counts]) -> Counts:
    """A module with all that it instantiates."""
    sums = dict(one.get(name) or dict.fromkeys(KINDS, 0))
    for child in children[name].values():
        for kind, count in _below(child, children, one).items():
            sums[kind] += count
    return sums


def write_resources(rtl: str | Path, top: str, device: Device, directory: str | Path, **options: Any) -> list[Path]:
    """Estimate (`options`: those of `estimate_resources`) and write resources.json and resources.md to `directory`."""
    return save_resources(estimate_resources(rtl, top, device, **options), directory)


def save_resources(resources: Resources, directory: str | Path) -> list[Path]:
    """Write resources.json and resources.md to `directory`, made if missing."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "resources.json": json.dumps(asdict(resources), indent=1) + "\n",
        "resources.md": resources_markdown(resources),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / name for name in texts]


def resources_markdown(resources: Resources) -> str:
    """The estimate as a page of Markdown."""
    lines = ["# Resources", ""]
    lines += [f"{resources.tool}. {resources.note}", ""] if resources.rows else []
    lines += [f"* {problem}" for problem in resources.problems]
    for title, head, cells in _tables(resources):
        lines += ["", f"## {title}", "", "| " + " | ".join(head) + " |", "| --- |" + " --: |" * (len(head) - 1)]
        lines += [f"| `{name}` | " + " | ".join(row) + " |" for name, *row in cells]
    return "\n".join(lines) + "\n"


_Table = tuple[str, list[str], list[list[str]]]


def _tables(resources: Resources) -> list[_Table]:
    """(title, head, cells) of each table; none without an estimate."""
    if not resources.rows:
        return []
    head = [*KINDS, *(f"% of {resources.device}'s {kind}" for kind in resources.available)]

    def figures(counts: Mapping[str, Any], times: int = 1) -> list[str]:
        shares = [f"{100 * times * counts[kind] / count:.2f}" for kind, count in resources.available.items()]
        return [*_numbers(counts), *shares]

    parts = [[part["part"], *figures(part)] for part in resources.parts]
    parts.append(["everything", *figures(resources.total)])
    rows = [[row["module"], str(row["instances"]), *figures(row, row["instances"])] for row in resources.rows]
    return [
        ("By part of the top module, with all below", ["part", *head], parts),
        ("By module: one instance, and the share of all instances", ["module", "instances", *head], rows),
    ]


def _numbers(counts: Mapping[str, Any]) -> list[str]:
    return [f"{counts[kind]:,g}" if counts[kind] < 1e5 else f"{counts[kind]:,.0f}" for kind in KINDS]
