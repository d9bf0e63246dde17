"""`lutllm bench`: speed of a quantized model on this processor, or without one of the hardware engine in simulation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments

DESCRIPTION = (
    "With MODEL or --random: token/s of the decoder on this processor, as llama-bench prints them. "
    "Without: lookups per cycle and simulation speed of the hardware engine on random weights, every run checked. "
    "With --paper: LUT-LLM's latency table."
)


def bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="output directory of lutllm quantize; or a float model, quantized first",
    )
    model = parser.add_argument_group("a model on this processor")
    model.add_argument(
        "--random", metavar="SHAPE", help="random integers in the shape of smollm2-135m, qwen3-1.7b, tiny"
    )
    model.add_argument("--scheme", help=f"of --random or a float model: {arguments.SCHEME_HELP} (default exact:2)")
    model.add_argument("-p", "--prompt", type=arguments.count, metavar="N", help="tokens read (default 128; 0: none)")
    model.add_argument("-n", "--generate", type=arguments.count, metavar="N", help="tokens made (default 32; 0: none)")
    model.add_argument("-r", "--repetitions", type=arguments.positive, metavar="N", help="default 5")
    model.add_argument("--threads", type=arguments.numbers, metavar="LIST", help="as 1,2 (default: all cores)")
    model.add_argument(
        "--sequences", type=arguments.numbers, metavar="LIST", help="as 1,4: whose tokens are made at once (default 1)"
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="LUT-LLM's latency table with a column of ours, estimated; with --target (v80) and --scheme (exact:1)",
    )
    engine = parser.add_argument_group("the hardware engine in simulation")
    engine.add_argument("--target", help=f"{arguments.TARGET_HELP} (default small)")
    engine.add_argument("--tokens", type=arguments.numbers, metavar="LIST", help="tokens a round (default 16,1)")
    engine.add_argument("--blocks", type=arguments.numbers, metavar="LIST", help="block sizes (default 512,320)")


def bench(options: argparse.Namespace) -> tuple[int, Any]:
    of_model = _given(options, "scheme", "prompt", "generate", "repetitions", "threads", "sequences")
    of_engine = _given(options, "target", "tokens", "blocks")
    if options.paper:
        return _paper(options, of_model | of_engine)
    if options.model and options.random:
        raise InputError("expected a MODEL or --random SHAPE, got both; leave one out")
    if options.model or options.random:
        if of_engine:
            raise InputError(f"--{next(iter(of_engine))} is of the hardware engine: expected no model, got one")
        return _bench_model(options, of_model)
    if of_model:
        raise InputError(f"--{next(iter(of_model))} needs a MODEL or --random SHAPE, got none; give one")
    return _bench_engine(options, of_engine)


def _paper(options: argparse.Namespace, given: dict[str, Any]) -> tuple[int, Any]:
    from lutllm.cost.planning import Planner
    from lutllm.lowering.machine.targets import find_target
    from lutllm.quantizer.blocks import BLOCK
    from lutllm.quantizer.random.float_models import float_decoder
    from lutllm.quantizer.random.model import hollow_model
    from lutllm.report.paper import CONTEXT, paper
    from lutllm.run.decoder_bench import SHAPES
    from lutllm.scheme import parse_schemes

    target, name = given.pop("target", "v80"), given.pop("scheme", "exact:1")
    wrong = next(iter(given), None) or (options.model and "model") or (options.random and "random")
    if wrong:
        raise InputError(f"expected --paper with --target and --scheme alone, got {wrong} too; leave it out")
    (scheme,) = parse_schemes([name]).values()
    module = float_decoder(**SHAPES["qwen3-1.7b"])
    model = hollow_model(module, scheme.with_(G=BLOCK) if scheme.kind == "exact" else scheme, positions=CONTEXT)
    plan = Planner(model, CONTEXT).plan(target)
    found = paper(plan, Path(target).stem, find_target(target), name, model.bits["effective"])
    print(found)
    return 0, found.to_dict()


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _bench_model(options: argparse.Namespace, given: dict[str, Any]) -> tuple[int, Any]:
    from lutllm.cpu.features import cores
    from lutllm.quantized.resolve import quantized_model
    from lutllm.run import decoder_bench
    from lutllm.scheme import EXACT, parse_schemes

    scheme = next(iter(parse_schemes([given.pop("scheme")]).values())) if "scheme" in given else None
    settings = {"tokens" if name == "generate" else name: value for name, value in given.items()}
    settings.setdefault("threads", [cores()])
    if options.random:
        longest = max(settings.get("prompt", 0), settings.get("tokens", 0), 128)
        model = decoder_bench.random_like(options.random, scheme or EXACT, positions=longest, seed=options.seed)
        name = f"random {options.random}"
    else:
        model = quantized_model(options.model, scheme=scheme)
        name = Path(options.model).name
    found = decoder_bench.bench(model, name, seed=options.seed, **settings)
    print(found)
    return 0, found.to_dict()


def _bench_engine(options: argparse.Namespace, given: dict[str, Any]) -> tuple[int, Any]:
    from lutllm.accelerator.linear_bench import bench

    found = bench(seed=options.seed, **given)
    print(found)
    return (0 if all(m.equal for m in found.measurements) else 1), json.loads(json.dumps(found.to_dict()))
