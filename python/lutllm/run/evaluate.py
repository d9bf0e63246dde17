"""Perplexity of a quantized model: its directory and a text in; float model, tables in floats, and integers out.

Windows do not overlap and each starts with an empty context, without a start token; every token of a window but its
first is predicted from those before it. Perplexity is exp of the mean negative log likelihood. The three programs see
the same windows: `float` is the model the directory was made from, `lut_float` that model with its linears replaced by
what the tables compute in floats, `lut_integer` the integer program, whose logits alone become floats.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import models
from lutllm.errors import InputError
from lutllm.models.text import Text, perplexity_of, text_file, token_ids, windows
from lutllm.progress import note, progress
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained

if TYPE_CHECKING:
    from lutllm.models import LoadedModel
    from lutllm.run.session import Session

TOKENS, WINDOW = 20480, 512
_ROWS = 64  # of logits that are floats at a time


@dataclass
class Perplexities:
    """Of one text: the float model's, with tables in floats, in integers. `tokens` are those in the windows,
    `predicted` those the mean is taken over."""

    reference: float
    tables: float
    integers: float
    corpus: dict[str, Any]
    windows: int
    context: int
    tokens: int
    predicted: int

    @property
    def ratios(self) -> dict[str, float]:
        """Quantization's cost, the integers' cost, and both."""
        pairs = {
            "lut_float/float": (self.tables, self.reference),
            "lut_integer/lut_float": (self.integers, self.tables),
            "lut_integer/float": (self.integers, self.reference),
        }
        return {name: round(a / b, 5) if math.isfinite(b) else math.nan for name, (a, b) in pairs.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: infinity and what is divided by it as the words `inf` and `nan`."""
        values = asdict(self)
        named = {"float": "reference", "lut_float": "tables", "lut_integer": "integers"}
        ratios = {name: _word(value) for name, value in self.ratios.items()}
        return {**{key: _word(values.pop(name)) for key, name in named.items()}, "ratios": ratios, **values}


@dataclass
class Against:
    """Beside an original checkpoint, on the windows of the corpus: its `perplexity`, and for the float model (`float`)
    and the integers (`lut_integer`) the mean Kullback-Leibler divergence from its predictions, in nats, and the share
    of tokens on which the likeliest next one is the same. `same_tokens`: its tokenizer cuts the windows' text alike."""

    model: str
    perplexity: float
    same_tokens: bool
    divergence: dict[str, float]
    top1_agreement: dict[str, float]


@dataclass
class Evaluation:
    """Perplexities of the corpus, and of a text of another kind where one was asked for."""

    corpus: Perplexities
    bits: dict[str, float]
    backend: str
    about: dict[str, Any] = field(default_factory=dict)
    out_of_domain: Perplexities | None = None
    against: Against | None = None

    def to_dict(self) -> dict[str, Any]:
        """`float`, `lut_float`, `lut_integer` and `bits_effective`, with everything they depend on."""
        bits = {f"bits_{name}": value for name, value in self.bits.items()}
        other = {"out_of_domain": self.out_of_domain.to_dict()} if self.out_of_domain else {}
        if self.against:
            values = asdict(self.against)
            other["against"] = {**values, "perplexity": _word(self.against.perplexity)}
        return {**self.corpus.to_dict(), **bits, "backend": self.backend, **self.about, **other}


def evaluate(
    model: QuantizedModel | Path | str,
    *,
    text: Text | Path | str | None = None,
    tokens: int = TOKENS,
    window: int = WINDOW,
    source: "LoadedModel | str | None" = None,
    against: "LoadedModel | str | None" = None,
    out_of_domain: bool | None = None,
    backend: str = "cpu",
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Perplexities of a directory of `lutllm quantize`, over `tokens` tokens in windows of `window`.

    `text`: a text, or a file (default: what `default_corpus` holds apart, then also `out_of_domain_text`). A text that
    was calibrated on is measured on what is held apart. `source`: the float model, where the one the directory names
    is not there. `against`: the original checkpoint, to compare both with.
    """
    if window < 2 or tokens < window:
        raise InputError(f"expected a window of at least 2 tokens and tokens for one, got {window} and {tokens}")
    found = model if isinstance(model, QuantizedModel) else from_pretrained(model)
    if found.tokenizer is None:
        raise InputError(
            f"'{found.directory}': expected a directory with a tokenizer, got none; quantize again with one"
        )
    from lutllm.run.session import open_session

    session = open_session(found, window, backend=backend)
    corpora = _corpora(found, text, out_of_domain)
    count = tokens // window
    chosen = [windows(found.tokenizer, each, window, count, seed, shuffled=True) for each in corpora]
    reference = _source(found, source)
    results = [_measure(found, reference, session, t, w, quiet) for t, w in zip(corpora, chosen, strict=True)]
    about = {**found.about, "seed": seed}
    original = models.load(against) if isinstance(against, str) else against
    beside = None if original is None else _against(original, found.tokenizer, reference, session, chosen[0], quiet)
    other = results[1] if len(results) > 1 else None
    return Evaluation(results[0], found.bits, backend, about, out_of_domain=other, against=beside)


def _corpora(model: QuantizedModel, text: Text | Path | str | None, out_of_domain: bool | None) -> list[Text]:
    """What to measure: of a text that was calibrated on, and of the default, the documents held apart."""
    from lutllm.models.corpus import default_corpus, out_of_domain_text

    first = default_corpus() if text is None else text if isinstance(text, Text) else text_file(text)
    other = out_of_domain_text()
    wanted = text is None if out_of_domain is None else out_of_domain
    texts = [first, other] if wanted and not _calibrated_on(model, other) else [first]
    if text is None or _calibrated_on(model, first):
        texts[0] = first.held_apart
    return texts


def _calibrated_on(model: QuantizedModel, text: Text) -> bool:
    return model.about.get("calibration", {}).get("sha256") == text.sha256


def _source(model: QuantizedModel, source: "LoadedModel | str | None") -> "LoadedModel":
    """The float model, which must be the one that was quantized."""
    about = model.about.get("model", {})
    if source is None or isinstance(source, str):
        name = source or about.get("source")
        if not name:
            raise InputError(f"'{model.directory}': expected the name of the float model, got none; give --model")
        try:
            source = models.load(name, int(about.get("seed", 0)))
        except InputError as error:
            if Path(name).exists():
                raise
            raise InputError(f"{error.message}; give the model this one was made from with --model") from None
    if source.fingerprint != about.get("fingerprint"):
        raise InputError(
            f"'{source.name}': expected the model '{model.directory}' was made from "
            f"({str(about.get('fingerprint'))[:12]}...), got another ({source.fingerprint[:12]}...); give --model"
        )
    return source


def _measure(
    model: QuantizedModel,
    source: "LoadedModel",
    session: "Session",
    text: Text,
    chosen: np.ndarray,
    quiet: bool,
) -> Perplexities:
    from lutllm.quantize.observe.simulated import perplexity, simulated

    note(f"{text.source}: {len(chosen)} windows of {chosen.shape[1]} tokens", quiet=quiet)

    def shown(label: str) -> Iterable[np.ndarray]:
        return progress(chosen, label, total=len(chosen), quiet=quiet)

    return Perplexities(
        reference=perplexity(source.module, shown("float")),
        tables=perplexity(simulated(source.module, model.linears), shown("lut, float tables")),
        integers=integer_perplexity(session, shown("lut, integers")),
        corpus=text.info,
        windows=len(chosen),
        context=chosen.shape[1],
        tokens=int(chosen.size),
        predicted=len(chosen) * (chosen.shape[1] - 1),
    )


def _against(
    original: "LoadedModel", tokenizer: Any, source: "LoadedModel", session: "Session", chosen: np.ndarray, quiet: bool
) -> Against:
    if original.config.vocab_size != session.vocabulary:
        raise InputError(
            f"'{original.name}': expected a vocabulary of {session.vocabulary} tokens, got one of "
            f"{original.config.vocab_size}; give the checkpoint that the model was made from"
        )
    loss, count = 0.0, chosen[:, 1:].size
    divergence, agreement = {"float": 0.0, "lut_integer": 0.0}, {"float": 0, "lut_integer": 0}
    for window in progress(chosen, f"against {original.name}", total=len(chosen), quiet=quiet):
        ids = token_ids(window[:-1])
        session.reset()
        integers = session.forward(window[:-1], all_logits=True)
        wanted, given = (model.module(ids, use_cache=False).logits[0].float().numpy() for model in (original, source))
        for at in range(0, len(wanted), _ROWS):
            rows = slice(at, at + _ROWS)
            log_p = _log_softmax(wanted[rows])
            loss -= float(log_p[np.arange(len(log_p)), window[1:][rows]].sum())
            for name, logits in (("float", given[rows]), ("lut_integer", integers[rows] * 2.0**session.logit_exponent)):
                log_q = _log_softmax(logits)
                divergence[name] += float((np.exp(log_p) * (log_p - log_q)).sum())
                agreement[name] += int((log_p.argmax(axis=1) == log_q.argmax(axis=1)).sum())
    same = original.tokenizer is not None and all(
        original.tokenizer(text, add_special_tokens=False)["input_ids"]
        == tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in map(tokenizer.decode, chosen)
    )
    return Against(
        original.name,
        perplexity_of(loss, count),
        same,
        {name: total / count for name, total in divergence.items()},
        {name: total / count for name, total in agreement.items()},
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """[T, V] in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _word(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)


def integer_perplexity(session: "Session", chosen: Iterable[Sequence[int] | np.ndarray]) -> float:
    """exp of the mean cross entropy of each window's tokens after its first, in float64 from integer logits."""
    total, count = 0.0, 0
    for window in chosen:
        ids = np.asarray(window)
        session.reset()
        logits = session.forward(ids[:-1], all_logits=True)
        for at in range(0, len(logits), _ROWS):
            part = _log_softmax(logits[at : at + _ROWS] * 2.0**session.logit_exponent)
            total -= float(part[np.arange(len(part)), ids[1 + at : 1 + at + len(part)]].sum())
        count += len(logits)
    return perplexity_of(total, count)
