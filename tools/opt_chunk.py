"""One module through lutllm-opt: bytes in, bytes and diagnostics out."""

import argparse
import io
import sys
import time

from lutllm import dialect
from lutllm.bindings import Diagnostic, capture_diagnostics, ir, load_torch_dialects
from lutllm.passes import Pipeline, PipelineError
from lutllm.tools.opt_diagnostics import compare, expected_in, format_diagnostic
from lutllm.tools.opt_input import Source
from lutllm.tools.opt_observer import OptObserver, Timer


class Chunk:
    """A whole input, or one part of a split one."""

    def __init__(self, source: Source, data: bytes, options: argparse.Namespace, timer: Timer | None) -> None:
        self.source = source
        self.data = data
        self.options = options
        self.timer = timer
        self.diagnostics: list[Diagnostic] = []

    def process(self, pipeline: Pipeline) -> bytes | None:
        """The resulting module as the options want it written; None after an error."""
        context = dialect.context()
        context.allow_unregistered_dialects = self.options.allow_unregistered_dialect
        if b"torch" in self.data or "torch" in str(pipeline.tree):
            load_torch_dialects(context)
        with context, ir.Location.unknown():
            module = self._parse(context)
            if module is None or not self._run(module, pipeline):
                return None
            return self._print(module)

    def finish(self) -> bool:
        """Print the diagnostics, or compare them with the comments that expect them; whether all is well."""
        if self.options.verify_diagnostics:
            wrong = compare(expected_in(self.data), self.diagnostics, self.source)
        else:
            wrong = self.diagnostics
        for diagnostic in wrong:
            print(format_diagnostic(diagnostic, self.source), file=sys.stderr)
        return not any(d.severity == "error" for d in wrong)

    def _parse(self, context: ir.Context) -> ir.Module | None:
        start = time.perf_counter()
        with capture_diagnostics(context) as seen:
            module = self._module_or_none()
            if module is not None and not dialect.verify(module):
                module = None
        self.diagnostics += seen
        if module is None and not any(d.severity == "error" for d in seen):
            self.diagnostics.append(
                Diagnostic("error", "cannot be parsed, and MLIR does not say why", self.source.name)
            )
        if self.timer:
            self.timer.add("Parser", time.perf_counter() - start)
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
        before, after = (
            None if every else {name for names in some for name in names.split(",")}
            for every, some in (
                (o.mlir_print_ir_before_all, o.mlir_print_ir_before),
                (o.mlir_print_ir_after_all, o.mlir_print_ir_after),
            )
        )
        observer = OptObserver(before, after, self.timer, o.mlir_print_debuginfo)
        try:
            pipeline.run(module, verify_each=o.verify_each, observer=observer, raise_defects=o.debug)
        except PipelineError as problem:
            self.diagnostics += [*observer.diagnostics, *problem.diagnostics]
            return False
        self.diagnostics += observer.diagnostics
        return True

    def _print(self, module: ir.Module) -> bytes:
        start = time.perf_counter()
        if self.options.emit_bytecode:
            buffer = io.BytesIO()
            module.operation.write_bytecode(buffer)
            data = buffer.getvalue()
        else:
            data = module.operation.get_asm(
                binary=True,
                enable_debug_info=self.options.mlir_print_debuginfo,
                print_generic_op_form=self.options.mlir_print_op_generic,
            )
            data = data.rstrip(b"\n") + b"\n"
        if self.timer:
            self.timer.add("Output", time.perf_counter() - start)
        return data
