"""From the passes a command line names to one pipeline: pass flags, a text, or the pipeline of a reproducer."""

from collections.abc import Sequence

from lutllm.bindings import capture_diagnostics, ir, passmanager
from lutllm.errors import InputError
from lutllm.passes import Pass
from lutllm.passes.pipeline import Nest, PassItem
from lutllm.passes.runner import check_upstream


class UsageError(InputError):
    """The command line is wrong: exit code 2."""


def pipeline_of(flags: Sequence[PassItem], passes: Sequence[type[Pass]]) -> Nest:
    """Flags as a pipeline. As in MLIR's tools, a pass that runs on functions only is nested without being asked."""
    registry = {p.name: p for p in passes}
    items: list[PassItem | Nest] = []
    for flag in flags:
        _check_flag(flag, registry)
        own = registry.get(flag.name)
        on_function = own.anchor == "func.func" if own else _runs_on_functions_only(flag)
        items.append(Nest("func.func", (flag,)) if on_function else flag)
    return Nest("builtin.module", tuple(items))


def _check_flag(flag: PassItem, registry: dict[str, type[Pass]]) -> None:
    """A flag is a pass of ours or of MLIR's; anything else is a wrong command line."""
    try:
        if flag.name in registry:
            registry[flag.name].from_options(flag.options)
        else:
            check_upstream(flag, registry)
    except InputError as problem:
        raise UsageError(f"--{flag.name}: {problem.message}") from None


def _runs_on_functions_only(flag: PassItem) -> bool:
    """Whether MLIR refuses the pass on a module: when it parses the pipeline, or when it schedules it.

    Scheduling happens when a pipeline starts. This one starts with a pass that fails, so that the one in question
    never runs: on a context without its dialects it might crash.
    """
    with ir.Context() as ctx, ir.Location.unknown(), capture_diagnostics(ctx) as seen:
        try:
            manager = passmanager.PassManager("builtin.module")
            manager.add(lambda _, this: this.signal_pass_failure(), name="stop")
            manager.add(str(flag))
            manager.run(ir.Module.create().operation)
        except ValueError as problem:
            return "restricted to 'func.func'" in str(problem)
        except ir.MLIRError:
            return any("unable to schedule pass" in d.message for d in seen)
    return False
