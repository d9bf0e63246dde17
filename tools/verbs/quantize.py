"""`lutllm quantize` and `lutllm eval`: from a float model to a directory of integers, and what that costs."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments

if TYPE_CHECKING:
    from lutllm.quantizer.recipe import Rule


def quantize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.MODEL_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="directory to make, or to go on with")
    how = parser.add_argument_group("how each linear is quantized")
    how.add_argument("--scheme", help="exact (default), paper or additive; the LM head has exact rows in each")
    how.add_argument("--stages", type=arguments.positive, metavar="R", help="weight stages of 16 entries")
    how.add_argument(
        "--bits", type=arguments.bits, metavar="B", help="B effective bits a weight, stages where they count"
    )
    how.add_argument(
        "--recipe",
        metavar="FILE",
        help="YAML: rules with targets, ignore, scheme, stages, block, table_bits, quantizer",
    )
    how.add_argument("--table-bits", type=arguments.positive, metavar="N", help="bits of a table entry, with --scheme")
    text = parser.add_argument_group("calibration")
    text.add_argument("--text", metavar="FILE", help="text to calibrate on (default: speeches and a novel from npm)")
    text.add_argument("--tokens", type=arguments.positive, metavar="N", help="tokens of it (default 32768)")
    text.add_argument(
        "--own", type=arguments.share, metavar="SHARE", help="of its windows: those the model writes (default 0.5)"
    )
    text.add_argument(
        "--distill",
        type=arguments.count,
        metavar="STEPS",
        help="steps of distillation (default: as many as windows of calibration, 64)",
    )
    text.add_argument(
        "--batch", type=arguments.positive, metavar="N", help="windows of 512 tokens a step of distillation (default 1)"
    )
    text.add_argument(
        "--move-codes", action="store_true", help="distillation moves codes too, which takes many windows to pay"
    )
    text.add_argument("--device", choices=("cpu", "cuda"), help="where distillation and sampling run (default cpu)")
    parser.add_argument("--layers", type=arguments.layers, metavar="LIST", help="only linears of these decoder layers")
    parser.add_argument("--calibration-tokens", type=arguments.positive, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def quantize(options: argparse.Namespace) -> tuple[int, Any]:
    options.tokens = options.tokens or options.calibration_tokens
    return _quantize_layers(options) if options.layers is not None else _quantize_model(options)


def _quantize_layers(options: argparse.Namespace) -> tuple[int, Any]:
    """Single layers, without the rest of the model: no program can be made of these."""
    from lutllm import models
    from lutllm.quantizer import quantize
    from lutllm.report import text as report

    for_all = ("recipe", "bits", "own", "distill", "batch", "move_codes", "device")
    given = [f"--{name.replace('_', '-')}" for name in for_all if getattr(options, name)]
    if given:
        raise InputError(f"expected {given[0]} for a whole model, got --layers too; leave one out")
    scheme = _rule(options).resolved()
    found = quantize(
        models.load(options.model, options.seed, layers=max(options.layers) + 1),
        layers=options.layers,
        scheme=scheme,
        text=options.text,
        tokens=options.tokens or 16384,
        seed=options.seed,
        out_dir=options.output,
        progress=not options.quiet,
    )
    rows = report.quantized(found)
    print(report.quantized_table(rows))
    return 0, rows


def _quantize_model(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import models
    from lutllm.quantizer.whole import CALIBRATION_TOKENS, quantize_model

    recipe = _recipe(options)
    if options.distill == 0 and (options.batch or options.move_codes):
        raise InputError("expected steps of distillation with --batch and --move-codes, got --distill 0; leave one out")
    how = {"own": options.own, "batch": options.batch, "device": options.device, "codes": options.move_codes}
    model = models.load(options.model, options.seed)
    source = str(Path(options.model).resolve()) if Path(options.model).exists() else options.model
    with _log(options.json) as listener:
        found = quantize_model(
            model,
            options.output,
            recipe,
            source=source,
            text=options.text,
            tokens=options.tokens or CALIBRATION_TOKENS,
            seed=options.seed,
            progress=not options.quiet,
            listener=listener,
            distillation=options.distill,
            **{key: value for key, value in how.items() if value is not None},
        )
        if listener:
            listener(found.to_dict())
    print(found)
    return 0, None


def _recipe(options: argparse.Namespace) -> Any:
    from lutllm.quantizer.recipe import load_recipe, with_exact_head
    from lutllm.quantizer.whole import Budget

    if options.recipe and (options.scheme or options.stages or options.bits or options.table_bits):
        raise InputError(
            "expected --recipe without --scheme, --stages, --bits and --table-bits, got both; write them into it"
        )
    if options.bits and (options.stages or options.table_bits):
        given = "--stages" if options.stages else "--table-bits"
        raise InputError(f"expected --bits or {given}, got both; --bits chooses stages of exact rows")
    if options.recipe:
        return load_recipe(options.recipe)
    rule = _rule(options)
    scheme = rule.resolved()
    return Budget(options.bits, scheme) if options.bits else with_exact_head(rule, "--scheme")


def _rule(options: argparse.Namespace) -> Rule:
    """What --scheme, --stages and --table-bits ask for of every linear."""
    from lutllm.quantizer.recipe import Rule
    from lutllm.scheme import parse_schemes

    name = options.scheme or "exact"
    (scheme,) = parse_schemes([name], options.stages).values()
    return Rule(scheme=name.partition(":")[0], stages=scheme.R, table_bits=options.table_bits)


@contextlib.contextmanager
def _log(path: str | None) -> Iterator[Callable[[dict], None] | None]:
    """Writes a JSON object a line, each as soon as it is there."""
    if path is None:
        yield None
        return
    with open(path, "w", encoding="utf-8") as file:

        def write(entry: dict) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()

        yield write


def eval_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="output directory of lutllm quantize")
    parser.add_argument("--text", metavar="FILE", help="plain text (default: what is held apart of the default corpus)")
    parser.add_argument("--tokens", type=arguments.positive, default=20480, metavar="N", help="default 20480")
    parser.add_argument("--window", type=arguments.positive, default=512, metavar="N", help="default 512")
    parser.add_argument("--model", metavar="MODEL", help="the float model (default: the one DIR names)")
    parser.add_argument(
        "--against", metavar="MODEL", help="the original checkpoint, to compare the float model and the integers with"
    )
    parser.add_argument(
        "--out-of-domain",
        action=argparse.BooleanOptionalAction,
        help="measure texts of other kinds too (default: with the default corpus)",
    )
    parser.add_argument("--source-tokens", type=arguments.positive, metavar="N", help="of each of those, default 8192")
    parser.add_argument("--backend", choices=("cpu", "golden"), default="cpu", help="what runs the integers")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def evaluate(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.report import text as report
    from lutllm.run.evaluate import SOURCE_TOKENS, evaluate

    apart = options.text is None if options.out_of_domain is None else options.out_of_domain
    if options.source_tokens and not apart:
        raise InputError("expected --source-tokens where texts of other kinds are measured; give --out-of-domain too")
    found = evaluate(
        options.directory,
        text=options.text,
        tokens=options.tokens,
        window=options.window,
        source=options.model,
        against=options.against,
        out_of_domain=options.out_of_domain,
        source_tokens=options.source_tokens or SOURCE_TOKENS,
        backend=options.backend,
        seed=options.seed,
        quiet=options.quiet,
    )
    print(report.perplexities(found))
    return 0, found.to_dict()
