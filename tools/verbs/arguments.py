"""Options that several verbs of `lutllm` share: text of the command line in, checked values out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lutllm.lowering.machine.target_files import NAMES
from lutllm.models import BUILTIN_NAMES
from lutllm.quantized import CONTEXT

MODEL_HELP = f"a model directory (config.json + safetensors), a GGUF file, or {', '.join(BUILTIN_NAMES)}"
QUANTIZED_HELP = "output directory of lutllm quantize; or a float model, quantized first"
TARGET_HELP = f"{', '.join(NAMES)}, or a file in TOML, NAME.toml"
SCHEME_HELP = "paper, additive or exact, each optionally with :R for R weight stages"

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.sampling import Sampling


def sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """How a token is picked, as llama.cpp has it."""
    pick = parser.add_argument_group(
        "how a token is picked", "greedy, unless a temperature is given; --seed repeats it"
    )
    pick.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)")
    pick.add_argument("--top-k", type=int, default=0, metavar="K", help="among the K likeliest (default: all)")
    pick.add_argument("--top-p", type=float, default=1.0, metavar="P", help="among the likeliest that make up P")
    pick.add_argument("--min-p", type=float, default=0.0, metavar="P", help="at least P times as likely as the first")
    pick.add_argument(
        "--repeat-penalty", type=float, default=1.0, metavar="R", help="weaken what was said by R (default 1: not)"
    )
    pick.add_argument(
        "--repeat-last-n", type=int, default=64, metavar="N", help="... among the last N tokens (default 64)"
    )
    pick.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given again"
    )


def sampling(options: argparse.Namespace) -> Sampling:
    """What `sampling_arguments` say."""
    from lutllm.run.sampling import Sampling

    names = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n", "seed")
    return Sampling(**{name: getattr(options, name) for name in names})


def float_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How a float MODEL is quantized."""
    float_model = parser.add_argument_group("a float model", "is quantized into the cache, once")
    float_model.add_argument("--scheme", help=f"{SCHEME_HELP} (default exact:2)")
    float_model.add_argument("--text", metavar="FILE", help="calibration text, as for lutllm quantize")
    float_model.add_argument("--calibration-tokens", type=positive, metavar="N", help="default 32768")


def model_of(options: argparse.Namespace) -> QuantizedModel:
    """MODEL, quantized as `float_model_arguments` say where it is not yet."""
    from lutllm import api

    how = {"scheme": options.scheme, "text": options.text, "tokens": options.calibration_tokens}
    return api.load(options.model, **how, progress=not options.quiet)


def context_argument(parser: argparse.ArgumentParser, what: str = "tokens kept") -> None:
    parser.add_argument("--context", type=positive, metavar="N", help=f"{what} (default {CONTEXT})")


def layers(text: str) -> list[int]:
    """`0,3-5` as [0, 3, 4, 5]."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"expected layers as 12 or 0,3-5, got '{text}'")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise argparse.ArgumentTypeError(f"expected layers as 12 or 0,3-5, got '{text}'")
    return sorted(set(found))


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got '{text}'")
    return int(text)


def count(text: str) -> int:
    """A whole number, 0 allowed."""
    return 0 if text == "0" else positive(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got '{text}'")
    return value


def above(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return value


def bits(text: str) -> float:
    """Bits a weight, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 64.0:
        raise argparse.ArgumentTypeError(f"expected bits a weight such as 3.2, got '{text}'")
    return value


def names(text: str) -> list[str]:
    """A list with commas."""
    return [part for part in text.split(",") if part]


def numbers(text: str) -> list[int]:
    """Whole numbers above 0, with commas."""
    return [positive(part) for part in text.split(",")]
