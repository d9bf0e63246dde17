"""Several quantizations of one model on one target: a directory of them in; how good each is, and which of all their
configurations no other beats in quality, time and area, out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutllm import store
from lutllm.errors import InputError
from lutllm.explore.search import AREA, Found
from lutllm.quantized.pretrained import QuantizedModel, open_pretrained
from lutllm.quantized.resolve import is_quantized
from lutllm.run.evaluate import evaluate

TOKENS = 2048  # of each text


@dataclass
class Candidate:
    """A quantized model: `ratio` is perplexity in integers over the float model's, the mean of texts out of domain
    where those were measured; `points` are what was found for it."""

    directory: Path
    ratio: float
    bits: float
    points: list[Found] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.directory.name, "ratio": self.ratio, "bits_effective": self.bits}


def candidates(folder: Path, kept: Path, *, text: str | None, tokens: int, quiet: bool) -> list[Candidate]:
    """The quantized models in a folder, which must be of one float model; what was measured of one is kept in `kept`.
    On `tokens` of `text`, or of each text that `lutllm eval` measures. `InputError` where there is none, or a text or a
    model is not as expected."""
    found = [path for path in sorted(folder.iterdir()) if is_quantized(path)] if folder.is_dir() else []
    if not found:
        raise InputError(f"'{folder}': expected a directory of directories of lutllm quantize, got none; make some")
    models = [open_pretrained(path) for path in found]
    first = models[0].about.get("model", {})
    for path, model in zip(found, models, strict=True):
        if (other := model.about.get("model", {})).get("fingerprint") != first.get("fingerprint"):
            raise InputError(
                f"'{path}': expected a quantization of {first.get('name')} like '{found[0]}', got one of "
                f"{other.get('name')}; compare models of one float model"
            )
    return [
        Candidate(path, _ratio(model, path.name, kept, text, tokens, quiet), model.bits["effective"])
        for path, model in zip(found, models, strict=True)
    ]


def front(made: Iterable[Candidate], time: str) -> list[tuple[Candidate, Found]]:
    """What none beats in ratio, time and area, the best ratio first; of those alike the first."""
    every = [(one, point) for one in made for point in one.points]
    every.sort(key=lambda pair: (pair[0].ratio, pair[1].value(time), pair[1].value(AREA)))
    best: list[tuple[Candidate, Found]] = []
    for one, point in every:
        if not any(p.value(time) <= point.value(time) and p.value(AREA) <= point.value(AREA) for _, p in best):
            best.append((one, point))
    return best


def _ratio(model: QuantizedModel, name: str, kept: Path, text: str | None, tokens: int, quiet: bool) -> float:
    about = [model.sha256, None if text is None else store.sha256(text), tokens]
    known = kept / f"{name}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.json"
    if not known.is_file():
        found = evaluate(model, text=text, tokens=tokens, source_tokens=tokens, prompts=0, quiet=quiet)
        ratio = found.out_of_domain or found.corpus.ratios["lut_integer/float"]
        store.write_json(known, {**found.to_dict(), "ratio": ratio})
    return float(store.read_json(known)["ratio"])
