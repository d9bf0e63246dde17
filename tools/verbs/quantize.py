"""`lutllm quantize` and `lutllm eval`: from a float model to a directory of integers, and what that costs."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments


def quantize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.MODEL_HELP)
    parser.add_argument("-o", "--output", metavar="DIR", help="directory to make, or to go on with")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="no more than an estimate of bits, disk, memory and time; no weight is read",
    )
    how = parser.add_argument_group("how each linear is quantized")
    how.add_argument("--scheme", help="exact (default), paper or additive; the LM head has exact rows in each")
    how.add_argument("--stages", type=arguments.positive, metavar="R", help="weight stages of 16 entries")
    how.add_argument(
        "--bits", type=arguments.bits, metavar="B", help="B effective bits a weight, stages where they count"
    )
    how.add_argument(
        "--budget-ms", type=arguments.above, metavar="MS", help="MS milliseconds a token on a target, by its estimate"
    )
    how.add_argument("--target", help=f"of --budget-ms: {arguments.TARGET_HELP} (default v80)")
    how.add_argument("--kv", type=arguments.positive, metavar="N", help="of --budget-ms: tokens a token sees (256)")
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
    parser.add_argument(
        "--threads", type=arguments.positive, metavar="N", help="no byte depends on it (default: all cores)"
    )
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler whose workers fit linears, with the same bytes"
    )
    parser.add_argument("--layers", type=arguments.layers, metavar="LIST", help="only linears of these decoder layers")
    parser.add_argument("--calibration-tokens", type=arguments.positive, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def quantize(options: argparse.Namespace) -> tuple[int, Any]:
    options.tokens = options.tokens or options.calibration_tokens
    if options.dry_run:
        return _plan(options)
    if not options.output:
        raise InputError("expected a directory to write, got none; give -o DIR")
    return _quantize_layers(options) if options.layers is not None else _quantize_model(options)


def _plan(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import api

    other = ("bits", "budget_ms", "target", "kv", "text", "move_codes", "device", "cluster", "layers")
    if given := [f"--{name.replace('_', '-')}" for name in other if getattr(options, name)]:
        raise InputError(f"expected a dry run without {given[0]}, which it does not count, got both; leave one out")
    how = ("scheme", "stages", "table_bits", "recipe", "tokens", "own", "distill", "batch", "threads")
    found = api.plan_quantize(options.model, **{name: getattr(options, name) for name in how})
    print(found)
    return 0, found.to_dict()


def _quantize_layers(options: argparse.Namespace) -> tuple[int, Any]:
    """Single layers, without the rest of the model: no program can be made of these."""
    from lutllm import models
    from lutllm.quantizer import quantize
    from lutllm.quantizer.products import use_threads
    from lutllm.quantizer.recipe import named_rule
    from lutllm.report import text as report

    for_all = ("recipe", "bits", "budget_ms", "target", "kv", "own", "distill", "batch", "move_codes", "device")
    given = [f"--{name.replace('_', '-')}" for name in for_all if getattr(options, name)]
    if given:
        raise InputError(f"expected {given[0]} for a whole model, got --layers too; leave one out")
    if options.threads:
        use_threads(options.threads)
    scheme = named_rule(options.scheme, options.stages, options.table_bits).resolved()
    found = quantize(
        models.load(options.model, options.seed, layers=max(options.layers) + 1),
        layers=options.layers,
        scheme=scheme,
        text=options.text,
        tokens=options.tokens or 16384,
        seed=options.seed,
        out_dir=options.output,
        progress=not options.quiet,
        cluster=options.cluster,
    )
    rows = report.quantized(found)
    print(report.quantized_table(rows))
    return 0, rows


def _quantize_model(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import api

    how = ("scheme", "stages", "bits", "table_bits", "recipe", "budget_ms", "target", "kv")
    what = ("text", "tokens", "own", "distill", "batch", "move_codes", "device", "threads", "cluster", "seed")
    given = {name: getattr(options, name) for name in (*how, *what)}
    with _log(options.json) as listener:
        found = api.quantize(options.model, options.output, **given, progress=not options.quiet, listener=listener)
        if listener:
            listener(found.to_dict())
    print(found)
    return 0, None


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
    parser.add_argument(
        "--prompts",
        type=arguments.count,
        metavar="N",
        help="beginnings of windows that both go on with greedily (20 with texts of other kinds, else 0)",
    )
    parser.add_argument("--backend", choices=("cpu", "golden"), default="cpu", help="what runs the integers")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def evaluate(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import api

    same = ("text", "tokens", "window", "against", "out_of_domain", "source_tokens", "prompts", "backend", "seed")
    how = {name: getattr(options, name) for name in same}
    found = api.eval(options.directory, **how, source=options.model, progress=not options.quiet)
    print(found)
    return 0, found.to_dict()
