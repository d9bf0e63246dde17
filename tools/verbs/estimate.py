"""`lutllm estimate`: what a model would take on a target, from its schedule, without weights or a simulator."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutllm.tools.verbs import arguments

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel


BLOCK = 1024


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """What is estimated, and for which lengths."""
    parser.add_argument(
        "model", metavar="MODEL", help="a float model, of which only shapes are read; or a directory of lutllm quantize"
    )
    parser.add_argument("--target", default="v80", help=f"{arguments.TARGET_HELP} (default v80)")
    parser.add_argument("--kv", type=arguments.positive, default=256, metavar="N", help="tokens a token sees (256)")
    parser.add_argument("--prefill", type=arguments.positive, default=128, metavar="N", help="of a prompt (128)")
    parser.add_argument("--scheme", default="exact:1", help=f"of a float model: {arguments.SCHEME_HELP} (exact:1)")
    parser.add_argument("--block", type=arguments.positive, metavar="G", help="its outputs a codebook (1024)")


def estimate_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument("--no-head", action="store_true", help="a token without LM head and pick, as LUT-LLM counts")
    parser.add_argument(
        "--levels", action="store_true",
        help="only the longest logic paths by module; exits with 1 where one is longer than its clock allows",
    )  # fmt: skip


def estimate(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.cost.planning import Planner
    from lutllm.lowering.machine.targets import find_target
    from lutllm.report import estimate as report
    from lutllm.report.levels import levels_table, longest_paths

    target = find_target(options.target)
    longest = max(options.kv + 2, options.prefill + 1)
    model = hollow(options, longest)
    plan = Planner(model, longest).plan(options.target)
    if options.levels:
        paths = longest_paths(plan.config, target.clock)
        print(levels_table(paths))
        return int(any(path.levels > path.budget for path in paths)), [asdict(path) for path in paths]
    name, sizes = Path(options.target).stem, {"kv": options.kv, "prefill": options.prefill}
    found = report.estimate(plan, name, target, model.bits["effective"], head=not options.no_head, **sizes)
    print(found)
    return 0, found.to_dict()


def hollow(options: argparse.Namespace, positions: int) -> QuantizedModel:
    """A quantized model as it is; of a float one, or of a shape that has a name, what has its integers' shapes."""
    from lutllm.lowering.machine.targets import find_target
    from lutllm.quantized.pretrained import from_pretrained
    from lutllm.quantized.resolve import check_block, is_quantized
    from lutllm.quantizer.random.float_models import float_decoder
    from lutllm.quantizer.random.model import hollow_model
    from lutllm.run.decoder_bench import SHAPES
    from lutllm.scheme import parse_schemes

    path = Path(options.model).expanduser()
    if is_quantized(path):
        model = from_pretrained(path)
        check_block(model, options.target)
        return model
    block = options.block or find_target(options.target).model.block or BLOCK
    (scheme,) = parse_schemes([options.scheme]).values()
    if options.model in SHAPES and not path.exists():
        module = float_decoder(**SHAPES[options.model])
    else:
        from lutllm import models
        from lutllm.quantizer.whole import structure_of

        module = structure_of(models.load(options.model, options.seed)).module
    return hollow_model(module, scheme.with_(G=block), positions=positions)
