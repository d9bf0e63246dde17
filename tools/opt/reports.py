"""The tables on stderr at the end of a run: `--mlir-timing` and `--mlir-pass-statistics`."""

from collections import Counter

from lutllm.passes import Pipeline

_RULE = f"==={'-' * 73}==="


class Timer:
    """Wall-clock seconds by name, in order of first appearance."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def report(self) -> str:
        total = sum(self.seconds.values())
        rows = [*self.seconds.items(), ("Total", total)]
        lines = [*_title("Execution time report"), f"  Total Execution Time: {total:.4f} seconds", ""]
        lines += ["  ----Wall Time----  ----Name----"]
        lines += [f"  {s:8.4f} ({100 * s / total if total else 0:5.1f}%)  {name}" for name, s in rows]
        return "\n".join(lines)


class Statistics:
    """Numbers by pass: how many operations it got and left, and what a pass of ours counts itself.

    MLIR's passes have counters of their own, but the wheel is built without them.
    """

    def __init__(self) -> None:
        self.operations: dict[str, Counter[str]] = {}

    def add(self, name: str, what: str, count: int) -> None:
        self.operations.setdefault(name, Counter())[what] += count

    def report(self, pipeline: Pipeline) -> str:
        counted: dict[str, Counter[str]] = {}
        for step in pipeline.steps:
            if step.own:
                counted.setdefault(step.own.name, Counter()).update(step.own.statistics)
        lines = _title("Pass statistics report")
        for name, operations in self.operations.items():
            rows = [*operations.items(), *sorted(counted.get(name, {}).items())]
            width = max(len(str(number)) for _, number in rows)
            lines += [name, *(f"  (S) {number:{width}} {what}" for what, number in rows)]
        return "\n".join(lines)


def _title(title: str) -> list[str]:
    return [_RULE, f"{f'... {title} ...':^79}".rstrip(), _RULE]
