"""What to run: a directory of `lutllm quantize` goes in, or a float model, which is quantized into the cache, once; a
`QuantizedModel` comes out."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

from lutllm import models
from lutllm.errors import InputError
from lutllm.models.cache import cache_directory
from lutllm.models.catalog import no_model
from lutllm.models.hf import QUANTIZATION
from lutllm.models.text import Text, text_file
from lutllm.progress import note
from lutllm.quantized.pretrained import CONFIG, QuantizedModel, open_pretrained
from lutllm.quantizer.resume import RUN
from lutllm.scheme import EXACT, Scheme
from lutllm.store import read_json

FOLDER = "quantized"  # in the cache


def quantized_model(
    spec: Path | str,
    *,
    scheme: Scheme | None = None,
    text: Path | str | None = None,
    tokens: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> QuantizedModel:
    """The model of a directory that `lutllm quantize` made; or what `models.load` takes, by `scheme` (default: exact)
    and calibration `text` (default: `default_corpus`), from the cache if it is there."""
    path = Path(spec).expanduser()
    if is_quantized(path):
        if (given := {"scheme": scheme, "text": text, "calibration tokens": tokens}) and any(given.values()):
            name = next(name for name, value in given.items() if value)
            raise InputError(f"'{path}': expected no {name} for a model that is quantized, got one; leave it out")
        return open_pretrained(path)
    if str(spec) not in models.BUILTIN_NAMES and not path.exists():
        raise no_model(str(spec), "a directory made by lutllm quantize, ")
    return _from_cache(spec, scheme or EXACT, text, tokens, seed, quiet)


def is_quantized(path: Path) -> bool:
    """Whether a directory is of `lutllm quantize`, finished or not."""
    if (path / RUN).is_file():
        return True
    return (path / CONFIG).is_file() and QUANTIZATION in read_json(path / CONFIG)


def check_block(model: QuantizedModel, target: str) -> None:
    """`InputError` for a model whose codebooks are not of the blocks that a search chose with the target."""
    from lutllm.lowering.machine.targets import find_target

    block = find_target(target).model.block
    for linear in model.linears.values():
        if block and block != linear.scheme.G:
            raise InputError(
                f"{target}: expected codebooks of {block} outputs, as the search took them, got {linear.scheme.G} in "
                f"{linear.name}; quantize with a recipe that has block: {block}, or remove it from the file"
            )


def _from_cache(
    spec: Path | str, scheme: Scheme, text: Path | str | None, tokens: int | None, seed: int, quiet: bool
) -> QuantizedModel:
    from lutllm.models.corpus import default_corpus
    from lutllm.quantizer import driver, whole
    from lutllm.quantizer.recipe import Rule, with_exact_head

    calibration = default_corpus() if text is None else text_file(text)
    count = tokens or whole.CALIBRATION_TOKENS
    identity = {
        "version": [driver.VERSION, whole.VERSION],
        "model": models.fingerprint(spec, seed),
        "scheme": scheme.to_dict(),
        "text": calibration.sha256,
        "tokens": count,
        "seed": seed,
    }
    directory = cache_directory() / FOLDER / _entry(Path(spec).stem, scheme, identity)
    if (directory / CONFIG).is_file():
        note(f"{spec}: quantized earlier, in {directory}", quiet=quiet)
        return open_pretrained(directory)
    _announce(spec, scheme, calibration, directory, quiet)
    source = str(Path(spec).resolve()) if Path(spec).exists() else str(spec)
    directory.mkdir(parents=True, exist_ok=True)
    recipe = with_exact_head(Rule(scheme=scheme), "scheme")
    model = models.load(spec, seed)
    found = whole.quantize_model(
        model, directory, recipe, source=source, text=calibration, tokens=count, seed=seed, progress=not quiet
    )
    note(f"{spec}: quantized in {found.seconds:.0f} s", quiet=quiet)
    return replace(found.model, directory=directory)


def _entry(name: str, scheme: Scheme, identity: dict) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)}-{scheme.kind}-{scheme.R}-{digest[:16]}"


def _announce(spec: Path | str, scheme: Scheme, text: Text, directory: Path, quiet: bool) -> None:
    state = "going on with quantizing it" if directory.exists() else "quantizing it first"
    note(
        f"{spec} is a float model: {state} ({scheme.kind}, R={scheme.R}, calibrated on {text.source}) into "
        f"{directory}; minutes for 135 M parameters, only once, and an interrupted run goes on where it was",
        quiet=quiet,
    )
