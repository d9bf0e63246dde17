"""`lutllm estimate`: what a model would take on a target, from its schedule, without weights or a simulator."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments


def model_arguments(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """What is estimated, and for which lengths."""
    said = "a float model, of which only shapes are read; or a directory of lutllm quantize"
    parser.add_argument("model", metavar="MODEL", nargs=nargs, help=said)
    parser.add_argument("--target", default="v80", help=f"{arguments.TARGET_HELP} (default v80)")
    parser.add_argument("--kv", type=arguments.positive, default=256, metavar="N", help="tokens a token sees (256)")
    parser.add_argument("--prefill", type=arguments.positive, default=128, metavar="N", help="of a prompt (128)")
    parser.add_argument("--scheme", help=f"of a float model: {arguments.SCHEME_HELP} (exact:1)")
    parser.add_argument("--block", type=arguments.positive, metavar="G", help="its outputs a codebook (as quantized)")


def estimate_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--no-head", action="store_true", help="a token without LM head and pick, as LUT-LLM counts")
    parser.add_argument(
        "--levels", action="store_true",
        help="only the longest logic paths by module; exits with 1 where one is longer than its clock allows",
    )  # fmt: skip


def estimate(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import api
    from lutllm.cost.planning import Planner
    from lutllm.lowering.machine.targets import find_target
    from lutllm.report.estimate import longest
    from lutllm.report.levels import levels_table, longest_paths

    shape = {"scheme": options.scheme, "block": options.block, "seed": options.seed}
    if options.levels:
        if options.no_head:
            raise InputError("expected no --no-head with --levels, which counts no cycles; leave it out")
        positions = longest(options.kv, options.prefill)
        plan = Planner(api.of_shape(options.model, positions, options.target, **shape), positions).plan(options.target)
        paths = longest_paths(plan.config, find_target(options.target).clock)
        print(levels_table(paths))
        return int(any(path.levels > path.budget for path in paths)), [asdict(path) for path in paths]
    sizes = {"kv": options.kv, "prefill": options.prefill}
    found = api.estimate(options.model, options.target, **sizes, **shape, head=not options.no_head)
    print(found)
    return 0, found.to_dict()
