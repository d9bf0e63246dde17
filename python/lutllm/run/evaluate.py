"""Perplexity of a quantized model: its directory and a text in; float model, tables in floats, and integers out.

Windows do not overlap and each starts with an empty context, without a start token; every token of a window but its
first is predicted from those before it. Perplexity is exp of the mean negative log likelihood. The three programs see
the same windows: `float` is the model the directory was made from, `lut_float` that model with its linears replaced by
what the tables compute in floats, `lut_integer` the integer program, whose logits alone become floats.
"""

import math
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import models
from lutllm.errors import InputError
from lutllm.models.text import Text, text_file, windows
from lutllm.progress import note, progress
from lutllm.quantized.pretrained import QuantizedModel, from_pretrained
from lutllm.run.compare import compare, of_module, of_session
from lutllm.run.greedy import PROMPT, Greedy, compare_greedy
from lutllm.run.greedy import TOKENS as WRITTEN
from lutllm.tabular import Tabular

if TYPE_CHECKING:
    from lutllm.models import LoadedModel
    from lutllm.run.session import Session

TOKENS, WINDOW = 20480, 512
SOURCE_TOKENS = 8192  # of each text out of domain
PROMPTS = 20  # that greedy texts follow
CHAT, CHAT_SEED = "chat", 1_000_003  # turns that the float model writes itself; no seed of calibration


@dataclass
class Perplexities:
    """Of one text: the float model's, with tables in floats, in integers. `tokens` are those in the windows,
    `predicted` those the mean is taken over; `kl` and `top1`: see `lutllm.run.compare.Comparison`."""

    reference: float
    tables: float
    integers: float
    corpus: dict[str, Any]
    windows: int
    context: int
    tokens: int
    predicted: int
    kl: float
    top1: float

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
class Evaluation(Tabular):
    """Perplexities of the corpus, and of `sources`: texts of other kinds by name, where they were asked for. Its
    records are those."""

    corpus: Perplexities
    bits: dict[str, float]
    backend: str
    about: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Perplexities] = field(default_factory=dict)
    against: Against | None = None
    greedy: Greedy | None = None

    @property
    def out_of_domain(self) -> float | None:
        """The mean of integers / float over `sources`; None without any."""
        ratios = [p.integers / p.reference for p in self.sources.values()]
        return sum(ratios) / len(ratios) if ratios else None

    def records(self) -> list[dict[str, Any]]:
        texts = {str(self.corpus.corpus["source"]): self.corpus, **self.sources}
        keys = ("float", "lut_float", "lut_integer", "kl", "top1", "predicted")
        found = [(name, p.to_dict()) for name, p in texts.items()]
        return [
            {"text": name, **{key: v[key] for key in keys}, "ratio": v["ratios"]["lut_integer/float"]}
            for name, v in found
        ]

    def __str__(self) -> str:
        from lutllm.report.text import perplexities

        return perplexities(self)

    def to_dict(self) -> dict[str, Any]:
        """`float`, `lut_float`, `lut_integer` and `bits_effective`, with everything they depend on."""
        bits = {f"bits_{name}": value for name, value in self.bits.items()}
        sources = {name: p.to_dict() for name, p in self.sources.items()}
        first = next(iter(sources.values()), {})
        mean = {} if self.out_of_domain is None else {"mean_ratio": _word(round(self.out_of_domain, 5))}
        other: dict[str, Any] = {"out_of_domain": {**first, **mean}, "sources": sources} if sources else {}
        if self.against:
            values = asdict(self.against)
            other["against"] = {**values, "perplexity": _word(self.against.perplexity)}
        if self.greedy:
            other["greedy"] = asdict(self.greedy)
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
    source_tokens: int = SOURCE_TOKENS,
    prompts: int | None = None,
    backend: str = "cpu",
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Perplexities of a directory of `lutllm quantize`, over `tokens` tokens in windows of `window`.

    `text`: a text, or a file (default: what `default_corpus` holds apart). `out_of_domain` (default: without `text`):
    about `source_tokens` of each of `out_of_domain_texts` too, and of chats that the float model writes. A text that
    was calibrated on is measured on what is held apart. `prompts` (20 with texts out of domain, else 0): beginnings of
    windows of all these texts in turn, which float model and integers go on with greedily. `source`: the float model,
    where the one the directory names is not there. `against`: the original checkpoint, to compare both with.
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
    corpus = _corpus(found, text)
    chosen = windows(found.tokenizer, corpus, window, tokens // window, seed, shuffled=True)
    wanted = text is None if out_of_domain is None else out_of_domain
    others = _others(found, window, max(1, source_tokens // window), seed) if wanted else {}
    reference = _source(found, source)
    if wanted and found.chat_template:
        from lutllm.quantizer.observe.sampling import own_windows

        count = max(1, source_tokens // window)
        asked = own_windows(reference, count, window, seed=seed + CHAT_SEED, chat=True, quiet=quiet)
        others[CHAT] = {"source": f"chats that {reference.name} writes"}, asked
    first = _measure(found, reference, session, corpus.info, chosen, quiet)
    sources = {name: _measure(found, reference, session, *other, quiet) for name, other in others.items()}
    original = models.load(against) if isinstance(against, str) else against
    beside = None if original is None else _against(original, found.tokenizer, reference, session, chosen, quiet)
    count = prompts if prompts is not None else PROMPTS if sources else 0
    begun = _beginnings([chosen, *(each for _, each in others.values())], count)
    written = None
    if begun:
        shown = progress(begun, "greedy texts", total=len(begun), quiet=quiet)
        written = compare_greedy(reference.module, session, shown, min(WRITTEN, window - len(begun[0])))
    return Evaluation(first, found.bits, backend, {**found.about, "seed": seed}, sources, beside, written)


def _beginnings(texts: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The first tokens of `count` windows, of all texts in turn, as far as there are windows."""
    windows = [each for turn in zip_longest(*texts) for each in turn if each is not None]
    return [window[: min(PROMPT, len(window) // 2)] for window in windows[:count]]


def _corpus(model: QuantizedModel, text: Text | Path | str | None) -> Text:
    """What to measure first: of a text that was calibrated on, and of the default, the documents held apart."""
    from lutllm.models.corpus import default_corpus

    found = default_corpus() if text is None else text if isinstance(text, Text) else text_file(text)
    return found.held_apart if text is None or _calibrated_on(model, found) else found


def _others(model: QuantizedModel, window: int, count: int, seed: int) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Texts out of domain by name, what they are and their windows; none that was calibrated on."""
    from lutllm.models.corpus import out_of_domain_texts

    return {
        name: (text.info, windows(model.tokenizer, text, window, count, seed, shuffled=True))
        for name, text in out_of_domain_texts().items()
        if not _calibrated_on(model, text)
    }


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
    text: dict[str, Any],
    chosen: np.ndarray,
    quiet: bool,
) -> Perplexities:
    from lutllm.quantizer.observe.simulated import simulated

    note(f"{text['source']}: {len(chosen)} windows of {chosen.shape[1]} tokens", quiet=quiet)
    tables = of_module(simulated(source.module, model.linears))
    shown = progress(chosen, "float, lut float, lut integer", total=len(chosen), quiet=quiet)
    reference, found = compare(
        of_module(source.module), {"lut_float": tables, "lut_integer": of_session(session)}, shown
    )
    return Perplexities(
        reference=reference,
        tables=found["lut_float"].perplexity,
        integers=found["lut_integer"].perplexity,
        corpus=text,
        windows=len(chosen),
        context=chosen.shape[1],
        tokens=int(chosen.size),
        predicted=len(chosen) * (chosen.shape[1] - 1),
        kl=found["lut_integer"].kl,
        top1=found["lut_integer"].top1,
    )


def _against(
    original: "LoadedModel", tokenizer: Any, source: "LoadedModel", session: "Session", chosen: np.ndarray, quiet: bool
) -> Against:
    if original.config.vocab_size != session.vocabulary:
        raise InputError(
            f"'{original.name}': expected a vocabulary of {session.vocabulary} tokens, got one of "
            f"{original.config.vocab_size}; give the checkpoint that the model was made from"
        )
    programs = {"float": of_module(source.module), "lut_integer": of_session(session)}
    shown = progress(chosen, f"against {original.name}", total=len(chosen), quiet=quiet)
    own, found = compare(of_module(original.module), programs, shown)
    same = original.tokenizer is not None and all(
        original.tokenizer(text, add_special_tokens=False)["input_ids"]
        == tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in map(tokenizer.decode, chosen)
    )
    kl, top1 = ({name: getattr(each, key) for name, each in found.items()} for key in ("kl", "top1"))
    return Against(original.name, own, same, kl, top1)


def _word(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)
