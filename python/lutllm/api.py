"""What Python and the command line do with a model, a function for each verb: a model's name or directory in, a result
as plain data out, which is text (`str`), a frame (`to_frame`) and a table in a notebook.

`progress`: True shows how far long work is on stderr; a function is told of each `lutllm.progress.Step` instead. All
raise `lutllm.errors.LutllmError` for what a user can mend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.progress import Listener, reported
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained

if TYPE_CHECKING:
    from lutllm.importer.convertible import Conversion
    from lutllm.models import LoadedModel
    from lutllm.quantizer.plan import Plan
    from lutllm.quantizer.whole import Quantized
    from lutllm.report.estimate import Estimate
    from lutllm.run.evaluate import Evaluation
    from lutllm.run.generate import Generation
    from lutllm.run.sampling import Sampling

Model = QuantizedModel | Path | str


def load(
    model: Path | str,
    *,
    scheme: str | None = None,
    text: Path | str | None = None,
    tokens: int | None = None,
    progress: bool | Listener = False,
) -> QuantizedModel:
    """A quantized model: a directory of `quantize`; or a float model, quantized into the cache by `scheme` (default
    `exact:2`) with `tokens` (32,768) of calibration `text` if it is not there yet."""
    from lutllm.quantized.resolve import quantized_model
    from lutllm.scheme import parse_schemes

    found = next(iter(parse_schemes([scheme]).values())) if scheme else None
    with reported(progress) as quiet:
        return quantized_model(model, scheme=found, text=text, tokens=tokens, quiet=quiet)


def check(model: Any, example: Sequence[Any] | None = None, *, seed: int = 0, layers: int | None = None) -> Conversion:
    """What becomes of every op of a float model, or which keep it from being converted; `layers`: of its first ones.
    `model` may be an `nn.Module`, exported with the inputs of `example`."""
    from lutllm.importer.convertible import check_module, check_spec

    if isinstance(model, str | Path):
        if example is not None:
            raise InputError("expected no example of a model that is named, got one; leave it out")
        return check_spec(model, seed, layers=layers)
    if example is None or layers is not None:
        raise InputError("expected a module with an example of its inputs and no layers; give the example alone")
    return check_module(model, example, name=type(model).__name__)


def quantize(
    model: LoadedModel | Path | str,
    directory: Path | str,
    *,
    scheme: str | None = None,
    stages: int | None = None,
    bits: float | None = None,
    table_bits: int | None = None,
    recipe: Path | str | Sequence[Any] | None = None,
    budget_ms: float | None = None,
    target: str | None = None,
    kv: int | None = None,
    text: Path | str | None = None,
    tokens: int | None = None,
    own: float | None = None,
    distill: int | None = None,
    batch: int | None = None,
    move_codes: bool = False,
    device: str | None = None,
    threads: int | None = None,
    cluster: str | None = None,
    seed: int = 0,
    progress: bool | Listener = False,
    listener: Callable[[dict[str, Any]], None] | None = None,
) -> Quantized:
    """A whole model in integers, written to `directory`; a run that was killed goes on there.

    How: `scheme` (`exact`, `paper`, `additive`) with `stages` of 16 entries and `table_bits`; or `bits` effective bits
    a weight; or `budget_ms` milliseconds a token after `kv` (256) others on a `target` (v80), by its estimate; or a
    `recipe`, a YAML file or rules (`lutllm.quantizer.recipe`). On what: `tokens` (32,768) of `text`, of
    whose windows a share `own` (0.5) are written by the model. Then `distill` steps of `batch` windows, in which
    `move_codes`. `threads` of this process from now on (default: one a core), and a Dask `cluster` whose workers fit
    linears, change no byte. `listener` gets an object a linear. Defaults are those of `lutllm quantize`.
    """
    from lutllm import models
    from lutllm.quantizer.products import use_threads
    from lutllm.quantizer.whole import CALIBRATION_TOKENS, chosen_recipe, quantize_model

    wanted = chosen_recipe(scheme, stages, bits, table_bits, recipe, budget_ms, target, kv)
    if distill == 0 and (batch or move_codes):
        raise InputError("expected steps of distillation for its batch and codes, got none (distill 0); leave one out")
    if threads is not None:
        use_threads(threads)
    how: dict[str, Any] = {"own": own, "batch": batch, "device": device, "codes": move_codes, "cluster": cluster}
    source = None
    if isinstance(model, str | Path):
        source = str(Path(model).resolve()) if Path(model).exists() else str(model)
        model = models.load(model, seed)
    with reported(progress) as quiet:
        return quantize_model(
            model,
            directory,
            wanted,
            source=source,
            text=text,
            tokens=tokens or CALIBRATION_TOKENS,
            seed=seed,
            progress=not quiet,
            listener=listener,
            distillation=distill,
            **{key: value for key, value in how.items() if value is not None},
        )


def plan_quantize(
    model: Path | str,
    *,
    scheme: str | None = None,
    stages: int | None = None,
    table_bits: int | None = None,
    recipe: Path | str | Sequence[Any] | None = None,
    tokens: int | None = None,
    own: float | None = None,
    distill: int | None = None,
    batch: int | None = None,
    threads: int | None = None,
) -> Plan:
    """What `quantize` with these options would take, by an estimate: bits, disk, memory, seconds on this machine. Of a
    directory no more than its config.json is read."""
    from lutllm import models
    from lutllm.quantizer.plan import planned
    from lutllm.quantizer.products import use_threads
    from lutllm.quantizer.recipe import Recipe
    from lutllm.quantizer.whole import CALIBRATION_TOKENS, OWN, WINDOW, Amounts, chosen_recipe

    wanted = chosen_recipe(scheme, stages, None, table_bits, recipe)
    assert isinstance(wanted, Recipe)  # not a budget
    if threads is not None:
        use_threads(threads)
    share = OWN if own is None else own
    amounts = Amounts(tokens or CALIBRATION_TOKENS, WINDOW, distill, batch or 1, False, share)
    return planned(*models.outline(model), wanted, amounts)


def eval(
    model: Model,
    *,
    text: Path | str | None = None,
    tokens: int | None = None,
    window: int | None = None,
    source: str | None = None,
    against: str | None = None,
    out_of_domain: bool | None = None,
    source_tokens: int | None = None,
    prompts: int | None = None,
    backend: str = "cpu",
    seed: int = 0,
    progress: bool | Listener = False,
) -> Evaluation:
    """Perplexities of a quantized model beside those of its float model: see `lutllm.run.evaluate.evaluate`."""
    from lutllm.run.evaluate import evaluate

    apart = text is None if out_of_domain is None else out_of_domain
    if source_tokens and not apart:
        raise InputError("expected source tokens where texts out of domain are measured, got none; ask for both")
    sizes: dict[str, Any] = {"tokens": tokens, "window": window, "source_tokens": source_tokens}
    with reported(progress) as quiet:
        return evaluate(
            model,
            text=text,
            source=source,
            against=against,
            out_of_domain=out_of_domain,
            prompts=prompts,
            backend=backend,
            seed=seed,
            quiet=quiet,
            **{name: value for name, value in sizes.items() if value is not None},
        )


def generate(
    model: Model,
    prompt: str,
    *,
    tokens: int = 256,
    raw: bool = False,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    context: int | None = None,
    backend: str = "cpu",
    threads: int | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Generation:
    """At most `tokens` tokens after `prompt`, one turn of a chat where the model has a template, unless `raw`.
    `on_text` gets each piece of text as it is certain. The model keeps its session: what it has read is not read
    again."""
    from lutllm.run.generate import respond
    from lutllm.run.prompts import prompt_ids
    from lutllm.run.session import kept_session

    found = model if isinstance(model, QuantizedModel) else load(model)
    session = kept_session(found, context, backend=backend, threads=threads)
    ids = prompt_ids(found.tokenizer, prompt, raw=raw)
    show = on_text or (lambda _piece: None)
    return respond(found, session, ids, tokens, show, sampling=sampling, strings=stop)


def estimate(
    model: Model,
    target: str = "v80",
    *,
    kv: int = 256,
    prefill: int = 128,
    scheme: str | None = None,
    block: int | None = None,
    head: bool = True,
    seed: int = 0,
) -> Estimate:
    """Cycles, traffic, resources and energy of a model on a target, from its schedule: of a token that sees `kv` others
    and of a prompt of `prefill`. Of a float model weights are not read, `scheme` (default `exact:1`) is of all linears
    and `block` their outputs a codebook."""
    from lutllm.cost.planning import Planner
    from lutllm.lowering.machine.targets import find_target
    from lutllm.report.estimate import estimate, longest

    positions = longest(kv, prefill)
    shapes = of_shape(model, positions, target, scheme, block, seed)
    plan, name = Planner(shapes, positions).plan(target), Path(target).stem
    bits = shapes.bits["effective"]
    return estimate(plan, name, find_target(target), bits, kv=kv, prefill=prefill, head=head)


def of_shape(
    model: Model,
    positions: int,
    target: str = "v80",
    scheme: str | None = None,
    block: int | None = None,
    seed: int = 0,
) -> QuantizedModel:
    """A quantized model as it is; of a float one, or of a shape that has a name, what has its integers' shapes."""
    from lutllm import models
    from lutllm.lowering.machine.targets import find_target
    from lutllm.lowering.quantize.graph import FloatGraph
    from lutllm.quantized.resolve import check_block, is_quantized
    from lutllm.quantizer.blocks import blocks_of
    from lutllm.quantizer.random.float_models import float_decoder
    from lutllm.quantizer.random.model import hollow_model
    from lutllm.run.decoder_bench import SHAPES
    from lutllm.scheme import parse_schemes

    if isinstance(model, QuantizedModel) or is_quantized(Path(model).expanduser()):
        if scheme or block:
            given = "scheme" if scheme else "block"
            raise InputError(f"expected no {given} for a model that is quantized, got one; leave it out")
        found = model if isinstance(model, QuantizedModel) else from_pretrained(model)
        check_block(found, target)
        return found
    (parsed,) = parse_schemes([scheme or "exact:1"]).values()
    size = block or find_target(target).model.block
    if str(model) in SHAPES and not Path(model).exists():
        module = float_decoder(**SHAPES[str(model)])
    else:
        from lutllm.quantizer.whole import structure_of

        module = structure_of(models.load(model, seed)).module
    blocks = blocks_of(FloatGraph(module))
    return hollow_model(module, lambda name: parsed.with_(G=size or blocks[name]), positions=positions)
