"""The main job: a model in, verified SystemVerilog, memory images and reports out.

    PyTorch -> torch IR -> float -> lut -> steps -> placed -> scheduled -> SystemVerilog + image -> simulated, compared

A whole model (`model`), or the linears of some decoder layers one by one (`linears`): the same passes, hardware and
reports. Every level is written to the output directory. The same input gives the same bytes, except
`reports/timing.json`.
"""

from __future__ import annotations

from pathlib import Path

from lutllm.compiler.options import Options, Result
from lutllm.progress import Listener, reported


def compile(
    spec: str | Path, directory: str | Path, options: Options | None = None, *, progress: bool | Listener = False
) -> Result:
    """Run the main job on `spec`: a directory of `lutllm quantize`, or a float model as `models.load` takes it. See
    `Options` and `Result`. `progress`: on stderr, none, or to a listener."""
    options = options or Options()
    with reported(progress) as quiet:
        if options.layers is None:
            from lutllm.compiler.model import ModelJob

            return ModelJob(str(spec), Path(directory), options, quiet=quiet).run()
        from lutllm.compiler.linears import LinearsJob

        return LinearsJob(str(spec), Path(directory), options, quiet=quiet).run()


def pipeline(spec: str | Path, options: Options, directory: str | Path | None = None) -> str:
    """The passes of `compile` from the torch level (`ir/*.torch.mlir`) to the scheduled one, as `lutllm-opt
    --pass-pipeline` takes them. Of a whole model `spec` must be quantized already; of linears `directory` says where
    their parameters are."""
    from lutllm.compiler.linears import plain
    from lutllm.compiler.options import CONTEXT, LAYER_SCHEMES
    from lutllm.errors import InputError
    from lutllm.lowering import pipelines
    from lutllm.quantized.pretrained import from_pretrained
    from lutllm.scheme import parse_schemes

    options = options.checked()
    if options.layers is None:
        model = from_pretrained(spec)
        context = min(options.context or CONTEXT, model.positions)
        return pipelines.joined(pipelines.to_program(str(spec), context), pipelines.to_scheduled(options.target))
    names = options.schemes or LAYER_SCHEMES
    if directory is None or len(names) > 1:
        raise InputError("expected -o DIR and one --scheme, got others: each scheme has a pipeline of its own")
    (scheme,) = parse_schemes(names).values()
    parameters = Path(directory) / "parameters" / plain(names[0])
    return pipelines.joined(
        pipelines.to_lut(str(parameters)),
        pipelines.to_linears(),
        pipelines.to_scheduled(options.target, scheme.row_sources[-1]),
    )
