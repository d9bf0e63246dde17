"""One module through lutllm-opt: bytes in, bytes and diagnostics out."""

import argparse
import io
import re
import sys
import time

from lutllm import dialect
from lutllm.bindings import Diagnostic, capture_diagnostics, ir, load_torch_dialects
from lutllm.passes import Pipeline, PipelineError
from lutllm.tools.opt.diagnostics import format_diagnostic
from lutllm.tools.opt.expected import compare, expected_in
from lutllm.tools.opt.input import Source
from lutllm.tools.opt.observer import OptObserver
from lutllm.tools.opt.printing import Form
from lutllm.tools.opt.reproducer import IGNORED, Reproducer

_TORCH = re.compile(rb"torch|tm_tensor")


class Chunk:
    """A whole input, or one part of a split one."""

    def __init__(
        self,
        source: Source,
        data: bytes,
        options: argparse.Namespace,
        observer: OptObserver,
        reproducer: Reproducer | None,
    ) -> None:
        self.source = source
        self.data = data
        self.options = options
        self.observer = observer
        self.reproducer = reproducer
        self.diagnostics: list[Diagnostic] = []

    def process(self, pipeline: Pipeline) -> bytes | None:
        """The resulting module as the options want it written; None after an error."""
        context = dialect.context()
        context.allow_unregistered_dialects = self.options.allow_unregistered_dialect
        if _TORCH.search(self.data) or "torch" in str(pipeline.tree):
            load_torch_dialects(context)
        with context, ir.Location.unknown():
            module = self._parse(context)
            if module is None or not self._run(module, pipeline):
                return None
            return self._print(module)

    def finish(self, failed: bool) -> bool:
        """Print the diagnostics, or compare them with the comments that expect them; whether all is well.

        Where diagnostics are expected, they alone decide. Otherwise a pass that succeeds may report errors, as in MLIR.
        """
        wanted = self.options.verify_diagnostics
        shown = self.diagnostics
        if wanted:
            expected, wrong = expected_in(self.data, self.source)
            shown = wrong + compare(expected, shown, self.source, only_expected=wanted == "only-expected")
        for diagnostic in shown:
            print(format_diagnostic(diagnostic, self.source), file=sys.stderr)
        if self.reproducer:
            self.reproducer.keep()
        return not (shown if wanted else failed)

    def _parse(self, context: ir.Context) -> ir.Module | None:
        start = time.perf_counter()
        with capture_diagnostics(context) as seen:
            module = self._module_or_none()
            if module is not None and not dialect.verify(module):
                module = None
        self.diagnostics += [d for d in seen if not (self.options.run_reproducer and d.message == IGNORED)]
        if module is None and not any(d.severity == "error" for d in seen):
            self.diagnostics.append(
                Diagnostic("error", "cannot be parsed, and MLIR does not say why", self.source.name)
            )
        self.observer.add_time("Parser", time.perf_counter() - start)
        return module

    def _module_or_none(self) -> ir.Module | None:
        try:
            whole = self.source.path is not None and self.data is self.source.data
            # Only a parsed file gives its name to the locations of its ops; text from memory is called "-".
            return ir.Module.parseFile(str(self.source.path)) if whole else ir.Module.parse(self.data)
        except ir.MLIRError:
            return None

    def _run(self, module: ir.Module, pipeline: Pipeline) -> bool:
        o = self.options
        if self.reproducer:
            self.reproducer.begin(module, pipeline)
        try:
            pipeline.run(module, verify_each=o.verify_each, observer=self.observer, raise_defects=o.debug)
        except PipelineError as problem:
            self.diagnostics += [*self.observer.take(), *problem.diagnostics]
            return False
        self.diagnostics += self.observer.take()
        if self.reproducer:
            self.reproducer.drop()
        return True

    def _print(self, module: ir.Module) -> bytes:
        start = time.perf_counter()
        if self.options.emit_bytecode:
            buffer = io.BytesIO()
            module.operation.write_bytecode(buffer)
            data = buffer.getvalue()
        else:
            data = Form.of(self.options).text(module.operation)
        self.observer.add_time("Output", time.perf_counter() - start)
        return data
