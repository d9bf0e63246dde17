"""What lutllm-opt watches while a pipeline runs: dumps of IR, times, statistics, warnings."""

from collections.abc import Sequence

from lutllm.bindings import Diagnostic, ir, ops_below
from lutllm.passes import Observer
from lutllm.tools.opt.dump import Dumps
from lutllm.tools.opt.reports import Statistics, Timer


class OptObserver(Observer):
    """Serves the options given; keeps the diagnostics of steps that succeeded until `take`n."""

    def __init__(self, dumps: Dumps, timer: Timer | None, statistics: Statistics | None) -> None:
        self.dumps = dumps
        self.timer = timer
        self.statistics = statistics
        self.each_pass = bool(dumps) or timer is not None or statistics is not None
        self.diagnostics: list[Diagnostic] = []

    def before(self, name: str, op: ir.Operation) -> None:
        self.dumps.before(name, op)
        if self.statistics:
            self.statistics.add(name, "operations-before", len(ops_below(op)))

    def after(self, name: str, op: ir.Operation, seconds: float, failed: bool) -> None:
        if self.timer:
            self.timer.add(name, seconds)
        if self.statistics:
            self.statistics.add(name, "operations-after", len(ops_below(op)))
        self.dumps.after(name, op, failed)

    def report(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics += diagnostics

    def add_time(self, name: str, seconds: float) -> None:
        if self.timer:
            self.timer.add(name, seconds)

    def take(self) -> list[Diagnostic]:
        taken, self.diagnostics = self.diagnostics, []
        return taken
