"""Run a pipeline of lutllm's and MLIR's own passes on a module: text and registered passes in, changed module out.

The bindings register no Python pass, so `PassManager.parse` knows none of ours. A pipeline is therefore cut: our
passes are called here, every maximal run of MLIR's passes goes to one upstream PassManager.
"""

import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from lutllm import bindings, dialect
from lutllm.bindings import Diagnostic, capture_diagnostics, ir, passmanager
from lutllm.errors import InputError, IRError, LutllmError
from lutllm.passes.pass_base import Pass
from lutllm.passes.pipeline import Nest, PassItem, parse_pipeline


class PipelineError(IRError):
    """A step failed; `diagnostics` says why, the first error is the message."""

    def __init__(self, diagnostics: Sequence[Diagnostic], step: str) -> None:
        first = next(d for d in diagnostics if d.severity == "error")
        super().__init__(first.message, location=first.location)
        self.diagnostics = list(diagnostics)
        self.step = step


class Observer:
    """What a driver may watch. With `each_pass`, MLIR's passes run one by one, so that every one can be seen."""

    each_pass = False

    def before(self, name: str, op: ir.Operation) -> None:
        """Called before a pass runs on `op`."""

    def after(self, name: str, op: ir.Operation, seconds: float, failed: bool) -> None:
        """Called after a pass ran on `op`."""

    def report(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Called with what a step that succeeded reported, be it an error."""
        for diagnostic in diagnostics:
            print(diagnostic, file=sys.stderr)


@dataclass(frozen=True)
class Step:
    """One of our passes, or a run of upstream pipeline items, on the operations that `path` leads to."""

    path: tuple[str, ...]
    own: Pass | None = None
    upstream: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.own) if self.own else ",".join(self.upstream)

    @property
    def name(self) -> str:
        return self.own.name if self.own else re.sub(r"\{[^{}]*\}", "", ",".join(self.upstream))

    def run(self, op: ir.Operation) -> None:
        if self.own:
            self.own.run(op)
        else:
            passmanager.PassManager.parse(f"{self.path[-1]}({self})", context=op.context).run(op)

    def targets(self, root: ir.Operation) -> list[ir.Operation]:
        """`root`, or the operations below it whose names follow `path`."""
        found = [root]
        for anchor in self.path[1:]:
            found = [c for op in found for c in _children(op) if c.name == anchor]
        return found


def _children(op: ir.Operation) -> Iterator[ir.Operation]:
    for region in op.regions:
        for block in region.blocks:
            for child in block.operations:
                yield child.operation


class Pipeline:
    """A checked pipeline. Building one finds unknown passes and bad options before any IR is touched."""

    def __init__(self, pipeline: str | Nest, passes: Sequence[type[Pass]]) -> None:
        self.tree = parse_pipeline(pipeline) if isinstance(pipeline, str) else pipeline
        self.registry = {p.name: p for p in passes}
        self.steps = list(self._flatten(self.tree, ()))

    def __str__(self) -> str:
        """The pipeline as it will run: our passes with their options, MLIR's with all of theirs spelled out."""
        return self._spell(self.tree)

    def run(
        self,
        module: ir.Module,
        *,
        verify_each: bool = True,
        observer: Observer | None = None,
        raise_defects: bool = False,
    ) -> None:
        """Run on `module`; `PipelineError` where a step or the verification after it fails.

        A Python exception in a pass becomes such an error too, unless `raise_defects`.
        """
        observer = observer or Observer()
        for step in self.steps if observer.each_pass else _merged(self.steps):
            with capture_diagnostics(module.context) as seen, module.context:
                well = self._run_step(step, module, observer, seen, raise_defects)
                if well and verify_each and not dialect.verify(module):
                    well = False
                    if not has_error(seen):
                        seen.append(Diagnostic("error", "the module does not verify, without saying why"))
            if not well:
                raise PipelineError(seen, str(step))
            observer.report(seen)

    def _run_step(
        self, step: Step, module: ir.Module, observer: Observer, seen: list[Diagnostic], raise_defects: bool
    ) -> bool:
        """Whether the step succeeded. Errors it reported do not count, as in MLIR: a pass fails by saying so."""
        well = True
        for op in step.targets(module.operation):
            observer.before(step.name, op)
            start = time.perf_counter()
            try:
                step.run(op)
            except (LutllmError, ir.MLIRError) as problem:
                well = False
                _keep(problem, seen, step)
            except Exception as problem:
                if raise_defects:
                    raise
                well = False
                said = f"pass '{step.name}' stopped with {type(problem).__name__}: {problem}; this is a defect of it"
                seen.append(Diagnostic("error", said))
            observer.after(step.name, op, time.perf_counter() - start, not well)
            if not well:
                break
        return well

    def _flatten(self, nest: Nest, path: tuple[str, ...]) -> Iterator[Step]:
        path = (*path, nest.anchor)
        for item in nest.items:
            if isinstance(item, PassItem):
                yield self._step(item, path)
            elif item.anchor == "any":
                yield Step(path, upstream=(self._check_any(item),))
            else:
                yield from self._flatten(item, path)

    def _step(self, item: PassItem, path: tuple[str, ...]) -> Step:
        own = self.registry.get(item.name)
        if own is None:
            check_upstream(item, self.registry, path[-1])
            return Step(path, upstream=(str(item),))
        if own.anchor is not None and own.anchor != path[-1]:
            raise InputError(f"pass '{own.name}' runs on {own.anchor}, got {path[-1]}; write {own.anchor}({own.name})")
        return Step(path, own=own.from_options(item.options))

    def _check_any(self, nest: Nest) -> str:
        """`any(...)` visits whatever can hold a pipeline, which only the upstream PassManager knows."""
        for item in nest.passes():
            if item.name in self.registry:
                raise InputError(f"pass '{item.name}' cannot run in any(...); name an operation: func.func(...)")
            check_upstream(item, self.registry)
        return str(nest)

    def _spell(self, item: Nest | PassItem) -> str:
        if isinstance(item, Nest):
            return f"{item.anchor}({','.join(map(self._spell, item.items))})"
        own = self.registry.get(item.name)
        return str(own.from_options(item.options)) if own else check_upstream(item, self.registry)


def check_upstream(item: PassItem, known: Iterable[str] = (), anchor: str = "any") -> str:
    """The text MLIR prints for one of its passes on `anchor`, all options spelled out; `InputError` where it has none.

    `known` are names to suggest instead.
    """
    try:
        return _upstream_text(item, anchor)
    except ValueError:
        _ = bindings.torch_dialect  # importing it registers torch-mlir's passes
    try:
        return _upstream_text(item, anchor)
    except ValueError as problem:
        raise InputError(_upstream_problem(item, str(problem), known)) from None


def _upstream_text(item: PassItem, anchor: str) -> str:
    with ir.Context():
        text = str(passmanager.PassManager.parse(f"{anchor}({item})"))
    return " ".join(text.removeprefix(f"{anchor}(").removesuffix(")").split())


def _upstream_problem(item: PassItem, said: str, known: Iterable[str]) -> str:
    if "does not refer to a registered pass" in said:
        close = get_close_matches(item.name, list(known), 1)
        hint = f"did you mean '{close[0]}'?" if close else "see lutllm-opt --list-passes"
        return f"expected a registered pass, got '{item.name}'; {hint}"
    restricted = re.search(r"restricted to '([\w.]+)' on a PassManager intended to run on '([\w.]+)'", said)
    if restricted:
        return f"pass '{item.name}' runs on {restricted[1]}, got {restricted[2]}; write {restricted[1]}({item.name})"
    reason = next((line for line in said.split("\n") if "no such option" in line), "")
    reason = reason.removeprefix("<Pass-Options-Parser>: ")
    return f"pass '{item.name}' does not take the options `{item.options}`{': ' if reason else ''}{reason}"


def has_error(diagnostics: Sequence[Diagnostic]) -> bool:
    return any(d.severity == "error" for d in diagnostics)


def _keep(problem: LutllmError | ir.MLIRError, seen: list[Diagnostic], step: Step) -> None:
    """Make sure that a failure has an error diagnostic."""
    if has_error(seen):
        return
    if isinstance(problem, LutllmError):
        seen.append(located(problem))
    else:
        seen.append(Diagnostic("error", f"pass '{step.name}' failed without saying why"))


def located(problem: LutllmError) -> Diagnostic:
    """A raised error as a diagnostic."""
    match = re.fullmatch(r"(.*):(\d+):(\d+)", problem.location or "")
    if match:
        return Diagnostic("error", problem.message, match[1], int(match[2]), int(match[3]))
    return Diagnostic("error", problem.message, problem.location)


def _merged(steps: Sequence[Step]) -> Iterator[Step]:
    """Join neighbouring runs of upstream passes on the same operations."""
    pending: Step | None = None
    for step in steps:
        if pending and step.upstream and step.path == pending.path:
            pending = replace(pending, upstream=(*pending.upstream, *step.upstream))
            continue
        if pending:
            yield pending
            pending = None
        if step.upstream:
            pending = step
        else:
            yield step
    if pending:
        yield pending
