"""Options that several verbs of `lutllm` share: text of the command line in, checked values out."""

import argparse

from lutllm.lowering.machine.target_files import NAMES

MODEL_HELP = (
    "a model directory (config.json + safetensors), a GGUF file, or smollm2-135m, tiny-llama, tiny-qwen3, qwen3-1.7b"
)
TARGET_HELP = f"{', '.join(NAMES)}, or a file in TOML, NAME.toml"
SCHEME_HELP = "paper, additive or exact, each optionally with :R for R weight stages"


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
