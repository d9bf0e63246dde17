"""What `--mlir-print-ir-*` and `--mlir-timing` show on stderr while a pipeline runs."""

import sys
from collections.abc import Sequence

from lutllm.bindings import Diagnostic, ir
from lutllm.passes import Observer

_RULE = f"===-{'-' * 73}-==="


class Timer:
    """Wall-clock seconds by name, in order of first appearance."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def report(self) -> str:
        total = sum(self.seconds.values())
        rows = [*self.seconds.items(), ("Total", total)]
        lines = [_RULE, f"{'... Execution time report ...':^79}", _RULE]
        lines += [f"  Total Execution Time: {total:.4f} seconds", "", "  ----Wall Time----  ----Name----"]
        lines += [f"  {s:8.4f} ({100 * s / total if total else 0:5.1f}%)  {name}" for name, s in rows]
        return "\n".join(lines)


class OptObserver(Observer):
    """Prints the IR around the passes asked for, adds up times, keeps the warnings for the driver to print."""

    def __init__(self, before: set[str] | None, after: set[str] | None, timer: Timer | None, debug_info: bool) -> None:
        """`before` and `after` name passes, None means all; without `timer` nothing is timed."""
        self.names = {"Before": before, "After": after}
        self.timer = timer
        self.debug_info = debug_info
        self.each_pass = timer is not None or before != set() or after != set()
        self.diagnostics: list[Diagnostic] = []

    def before(self, name: str, op: ir.Operation) -> None:
        self._dump("Before", name, name, op)

    def after(self, name: str, op: ir.Operation, seconds: float, failed: bool) -> None:
        if self.timer:
            self.timer.add(name, seconds)
        self._dump("After", name, f"{name} Failed" if failed else name, op)

    def report(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics += diagnostics

    def _dump(self, when: str, name: str, title: str, op: ir.Operation) -> None:
        names = self.names[when]
        if names is None or name in names:
            text = op.get_asm(enable_debug_info=self.debug_info).rstrip("\n")
            print(f"// -----// IR Dump {when} {title} //----- //\n{text}\n", file=sys.stderr)
