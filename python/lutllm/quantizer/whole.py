"""A whole model: what `models.load` names and a recipe in, a directory as `lutllm.quantized.pretrained` reads it out.

    float level (refuses what has no integer form) -> gradients -> with a budget: sensitivities, and a scheme for each
    linear -> linears, layer by layer -> distillation -> constants of all other ops -> directory

A run that was killed goes on where it was; another model, text, recipe or seed is refused. The same input gives the
same bytes.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm import dialect, store
from lutllm.bindings import source_position
from lutllm.errors import InputError
from lutllm.lowering.quantize.forms import require_integer_form
from lutllm.lowering.quantize.graph import FloatGraph, name_of
from lutllm.models.hf import GENERATION, on_device
from lutllm.models.text import Text, text_file, windows
from lutllm.progress import note, progress
from lutllm.quantized.pretrained import CONFIG, QuantizedModel, from_pretrained, save_pretrained
from lutllm.quantizer import driver
from lutllm.quantizer.blocks import blocks_of
from lutllm.quantizer.budget import Budget, TimeBudget, measured
from lutllm.quantizer.linear.assembly import multiplied
from lutllm.quantizer.recipe import (
    Assignment,
    Recipe,
    check_shared_inputs,
    load_recipe,
    named_rule,
    quantizer_of,
    with_exact_head,
)
from lutllm.quantizer.resume import RUN, RunDirectory
from lutllm.scheme import QuantizedLinear, Scheme
from lutllm.tabular import Tabular

if TYPE_CHECKING:
    from lutllm.importer.agreement import FloatModel
    from lutllm.models import LoadedModel

IMPORTANCE, ALLOCATION, DISTILLED = "importance.safetensors", "allocation.json", "distillation.safetensors"
VERSION = 6  # of the other integers and of the files: raised whenever the same input would give others
CALIBRATION_TOKENS, WINDOW = 32768, 512
SOME_TOKENS = 8192  # of calibration, enough for exponents and sensitivities
OWN = 0.5  # of all windows: what the model writes itself
MOST_OWN = 8192  # windows, which come again after that
SMALL_MODEL = 1 << 30  # weights: larger models write no text, have no gradients, and exponents of the float model


@dataclass
class Quantized(Tabular):
    """What a run made and took; `seconds` and `peak_memory_mb` are this process's. Its records are the linears."""

    model: QuantizedModel
    directory: Path
    seconds: float
    peak_memory_mb: int

    def records(self) -> list[dict[str, Any]]:
        return [linear.record() for linear in self.model.linears.values()]

    def to_dict(self) -> dict[str, Any]:
        bits = {f"bits_{name}": value for name, value in self.model.bits.items()}
        cost = {"seconds": round(self.seconds, 1), "peak_memory_mb": self.peak_memory_mb}
        return {"directory": str(self.directory), "linears": len(self.model.linears), **bits, **cost}

    def __str__(self) -> str:
        bits = self.model.bits
        return (
            f"{len(self.model.linears)} linears, {bits['effective']:.3f} effective bits per weight "
            f"({bits['code']:.2f} of them codes), embedding {bits['embedding']:.2f}; "
            f"{self.seconds:.0f} s, at most {self.peak_memory_mb} MB\n"
            f"written to {self.directory}: `lutllm eval {self.directory}` measures its perplexity"
        )


def chosen_recipe(
    scheme: str | None = None,
    stages: int | None = None,
    bits: float | None = None,
    table_bits: int | None = None,
    recipe: Path | str | Sequence[Any] | None = None,
    budget_ms: float | None = None,
    target: str | None = None,
    kv: int | None = None,
) -> Recipe | Budget | TimeBudget:
    """A recipe as it is; of a scheme's name, stages and table bits for every linear; a budget of bits, or of
    milliseconds on a target (v80) after `kv` (256) tokens."""
    if recipe is not None:
        if scheme or stages or bits or table_bits or budget_ms or target or kv:
            raise InputError(
                "expected a recipe alone, got scheme, stages, bits, table bits, a budget, target or kv too; "
                "write schemes, stages and table bits into it"
            )
        return load_recipe(recipe)
    if (target or kv) and not budget_ms:
        raise InputError(f"expected {'target' if target else 'kv'} with a budget of milliseconds, got none; add one")
    given = {"bits": bits, "milliseconds": budget_ms, "stages": stages, "table bits": table_bits}
    first, *more = [name for name, value in given.items() if value] or [""]
    if more and first in ("bits", "milliseconds"):
        raise InputError(f"expected {first} or {more[0]}, got both; {first} choose the stages of exact rows")
    rule = named_rule(scheme, stages, table_bits)
    if bits:
        return Budget(bits, rule.resolved())
    if budget_ms:
        return TimeBudget(budget_ms, target or "v80", kv or 256, rule.resolved())
    return with_exact_head(rule, "scheme")


def quantize_model(
    model: "LoadedModel",
    directory: Path | str,
    recipe: Recipe | Budget | TimeBudget,
    *,
    source: str | None = None,
    text: Text | Path | str | None = None,
    tokens: int = CALIBRATION_TOKENS,
    window: int = WINDOW,
    seed: int = 0,
    progress: bool = True,
    listener: Callable[[dict], None] | None = None,
    distillation: int | None = None,
    own: float = OWN,
    device: str = "cpu",
    batch: int = 1,
    codes: bool = False,
    cluster: str | None = None,
) -> Quantized:
    """Quantize every linear of `model` as `recipe` says or allows, then everything else, and write `directory`.

    `source` is what `models.load` was given, for `lutllm eval`. `text`: calibration text (default: `default_corpus`),
    of which `tokens` are used. `own`: the share of all windows that `model` writes itself, 0 where it is large or its
    weights are random. `distillation`: its steps of `batch` windows each (None: as many as windows of calibration), in
    which `codes` move or not, on `device`, `cpu` or `cuda`: on the latter in bfloat16, with other bits every time.
    `listener` and `cluster`: see `quantizer.quantize`.
    """
    from lutllm.quantizer.reproducible import reproducible

    start = time.monotonic()
    directory = Path(directory)
    _refuse_foreign(directory)
    _check_device(device)
    note("float level: every op of the model", quiet=not progress)
    structure = structure_of(model)
    if model.origin.get("weights") == "random" or model.module.num_parameters() > SMALL_MODEL:
        own = 0.0
    amounts = Amounts(tokens, window, distillation, batch, codes, own)
    run = _Run(model, structure, recipe, _text(text), amounts, seed, not progress, listener, device, cluster)
    run_directory = RunDirectory(directory, run.identity)
    with run_directory.opened():
        if not (directory / CONFIG).exists():
            about = {"model": _about(model, source), "calibration": run.calibration}
            with reproducible():
                made = run.quantized(directory / "parts", about)
            save_pretrained(made, directory)
        shutil.rmtree(directory / "parts", ignore_errors=True)
        found = from_pretrained(directory)
    return Quantized(found, directory, time.monotonic() - start, driver.peak_memory_mb())


def structure_of(model: "LoadedModel") -> "FloatModel":
    """What `model` computes, in the float level, its odd linears padded; an error that names what has no integer form,
    before any long work."""
    from lutllm.importer.agreement import import_float
    from lutllm.importer.padding import pad_odd_linears
    from lutllm.models.wrappers import whole_model

    pad_odd_linears(model.module)
    found = import_float(*whole_model(model.module))
    graph = FloatGraph(found.module)
    require_integer_form(graph)
    modules = dialect.FloatLinearOp | dialect.FloatNormOp | dialect.FloatEmbeddingOp
    again = next((op for op in graph.ops if isinstance(op, modules) and "#" in name_of(op)), None)
    if again is not None:
        raise InputError(
            f"expected modules that are called once, got '{name_of(again)}'; give each call a module of its own",
            location=source_position(again.location),
        )
    return found


@dataclass(frozen=True)
class Amounts:
    """Tokens of calibration and of a window; steps of distillation, windows of each, whether codes move; the share of
    all windows that the model writes itself."""

    tokens: int
    window: int
    distillation: int | None
    batch: int
    codes: bool
    own: float

    @property
    def calibration(self) -> int:
        return -(-self.tokens // self.window)

    @property
    def distilled(self) -> int:
        return self.batch * (self.calibration if self.distillation is None else self.distillation)

    @property
    def own_calibration(self) -> int:
        return round(self.calibration * self.own)

    @property
    def own_distilled(self) -> int:
        return round(self.distilled * self.own)


@dataclass
class _Run:
    model: "LoadedModel"
    structure: "FloatModel"
    recipe: Recipe | Budget | TimeBudget
    text: Text
    amounts: Amounts
    seed: int
    quiet: bool
    listener: Callable[[dict], None] | None
    device: str
    cluster: str | None

    @cached_property
    def graph(self) -> FloatGraph:
        return FloatGraph(self.structure.module)

    @property
    def identity(self) -> dict[str, Any]:
        from lutllm.quantizer.reproducible import arithmetic

        if not isinstance(self.recipe, Recipe):
            recipe = self.recipe.identity
        else:
            assigned = self._checked(self._assigned())
            recipe = {name: {"quantizer": a.quantizer, **a.scheme.to_dict()} for name, a in assigned.items()}
        return {
            "version": [driver.VERSION, VERSION],
            "arithmetic": arithmetic(),
            "model": self.model.fingerprint,
            "text": self.text.sha256,
            "seed": self.seed,
            **asdict(self.amounts),
            "device": self.device,
            "recipe": recipe,
        }

    @property
    def calibration(self) -> dict[str, Any]:
        return {
            **self.text.info,
            **asdict(self.amounts),
            "seed": self.seed,
        }

    def quantized(self, parts: Path, about: dict[str, Any]) -> QuantizedModel:
        from lutllm.quantizer.constants import FromPeaks, check_parameters
        from lutllm.quantizer.observe.peaks import Peaks

        importance = self._importance(parts)
        linears = self._distilled(parts, self._linears(parts, self._assignments(parts, importance), importance))
        note("other ops: norms, embedding, attention, residual stream", quiet=self.quiet)
        graph, parameters = self.graph, self.structure.parameters
        check_parameters(graph, parameters)
        peaks = Peaks(graph)
        peaks.record(self._simulated(linears), self._some_windows())
        positions = int(self.model.config.max_position_embeddings)
        scales = {name_of(op): op.number("scale", 1.0) for op in graph.of(dialect.FloatLinearOp)}
        linears = {name: multiplied(linears[name], scale) for name, scale in scales.items()}
        found = FromPeaks(graph, linears, positions, parameters, peaks).run()
        return QuantizedModel(
            module=self.structure.module,
            torch=self.structure.torch,
            constants=found.constants,
            linears=linears,
            arrays=found.arrays,
            tokenizer=self.model.tokenizer,
            config=_config(self.model),
            generation=_generation(self.model),
            about=about,
        )

    def _importance(self, parts: Path) -> dict[str, np.ndarray] | None:
        """How much the loss minds an error of each output of each linear; worked out once and kept in `parts`. None
        for a large model, whose gradients would take hours, where no budget needs them."""
        from lutllm.quantizer.observe.sensitivity import curvatures

        if isinstance(self.recipe, Recipe) and _weights(self.model.module, self.graph) > SMALL_MODEL:
            return None
        kept = parts / IMPORTANCE
        if not store.sealed(kept):
            shown = progress(self._some_windows(), "gradients", quiet=self.quiet)
            store.save(kept, curvatures(self.model.module, self.graph.linears, shown))
            store.seal(kept)
        return dict(store.load(kept))

    def _assignments(self, parts: Path, importance: Mapping[str, np.ndarray] | None) -> dict[str, Assignment]:
        """How each linear is quantized; what a budget allows is worked out once and kept in `parts`."""
        names = self.graph.linears
        if isinstance(self.recipe, Recipe):
            return self._assigned()
        kept = parts / ALLOCATION
        if not store.sealed(kept):
            windows = self._some_windows()
            assert importance is not None
            how: dict[str, Any] = {"quiet": self.quiet, "cluster": self.cluster}
            shapes, costs = measured(self.model.module, self.graph, self.recipe, windows, importance, **how)
            chosen = self.recipe.share_out(shapes, costs, self.structure.module, quiet=self.quiet)
            store.write_json(kept, {name: chosen[name].to_dict() for name in names})
            store.seal(kept)
        schemes = store.read_json(kept)
        return self._checked({name: Assignment(Scheme.from_dict(schemes[name])) for name in names})

    def _assigned(self) -> dict[str, Assignment]:
        assert isinstance(self.recipe, Recipe)
        return self.recipe.assign(self.graph.linears, blocks_of(self.graph))

    def _checked(self, assignments: dict[str, Assignment]) -> dict[str, Assignment]:
        check_shared_inputs(assignments, self.graph.shared_inputs)
        return assignments

    def _linears(
        self, parts: Path, assignments: Mapping[str, Assignment], importance: Mapping[str, np.ndarray] | None
    ) -> dict[str, QuantizedLinear]:
        return driver.quantize(
            self.model,
            layers=self.graph.linears,
            scheme={name: assignment.scheme for name, assignment in assignments.items()},
            text=self.text,
            tokens=self.amounts.tokens,
            seed=self.seed,
            out_dir=parts / "linears",
            progress=not self.quiet,
            quantizer=quantizer_of(assignments),
            window=self.amounts.window,
            listener=self.listener,
            importance=importance,
            own=self._own[: self.amounts.own_calibration],
            cluster=self.cluster,
        ).linears

    def _distilled(self, parts: Path, linears: dict[str, QuantizedLinear]) -> dict[str, QuantizedLinear]:
        """After distillation on other windows than those of calibration; a large model's linears stay as they are."""
        from lutllm.quantizer.observe.distillation import distill

        if self.amounts.distilled < 1 or _weights(self.model.module, self.graph) > SMALL_MODEL:
            return linears
        own = self._own[self.amounts.own_calibration :]
        chosen = driver.mixed(self._windows(self.amounts.distilled - len(own), self.seed + 1), own, self.seed)
        return distill(
            on_device(self.model.module, self.device),
            linears,
            chosen,
            batch=self.amounts.batch,
            codes=self.amounts.codes,
            checkpoint=parts / DISTILLED,
            progress=not self.quiet,
        )

    @cached_property
    def _own(self) -> np.ndarray:
        """The windows that the model writes: those of calibration, then those of distillation."""
        from lutllm.quantizer.observe.sampling import own_windows

        a = self.amounts
        count = a.own_calibration + a.own_distilled
        if not count:
            return np.empty((0, a.window), np.int64)
        most = min(count, MOST_OWN)
        few = own_windows(self.model, most, a.window, seed=self.seed, device=self.device, quiet=self.quiet)
        return few[np.arange(count) % len(few)]

    def _windows(self, count: int, seed: int) -> np.ndarray:
        """Windows of the calibration text, again and again where it is short."""
        text, a = self.text.split()[0], self.amounts
        if not count:
            return np.empty((0, a.window), np.int64)
        try:
            return windows(self.model.tokenizer, text, a.window, count, seed, shuffled=True, again=True)
        except InputError:  # a text too short to hold documents apart
            return windows(self.model.tokenizer, self.text, a.window, count, seed, shuffled=True, again=True)

    def _simulated(self, linears: Mapping[str, QuantizedLinear]) -> Any:
        from lutllm.quantizer.observe.simulated import simulated

        module = self.model.module
        return module if _weights(module, self.graph) > SMALL_MODEL else simulated(module, linears)

    def _some_windows(self) -> np.ndarray:
        """Of both origins, enough for exponents and sensitivities."""
        count = -(-min(self.amounts.tokens, SOME_TOKENS) // self.amounts.window)
        own = self._own[: min(self.amounts.own_calibration, round(count * self.amounts.own))]
        return driver.mixed(self._windows(count - len(own), self.seed), own, self.seed)


def _weights(module: Any, graph: FloatGraph) -> int:
    return sum(module.get_submodule(name).weight.numel() for name in graph.linears)


def _refuse_foreign(directory: Path) -> None:
    """Never write over a directory that no run of ours has made."""
    if (directory / CONFIG).exists() and not (directory / RUN).exists():
        raise InputError(f"'{directory}': expected a new directory or one of an earlier run, got a model; give another")


def _check_device(device: str) -> None:
    import torch

    if device == "cpu" or (device == "cuda" and torch.cuda.is_available()):
        return
    have = "cpu, cuda" if torch.cuda.is_available() else "cpu: PyTorch sees no GPU here"
    raise InputError(f"device: expected one of {have}; got '{device}'; give one of these")


def _text(text: Text | Path | str | None) -> Text:
    if text is None:
        from lutllm.models.corpus import default_corpus

        return default_corpus()
    return text if isinstance(text, Text) else text_file(text)


def _about(model: "LoadedModel", source: str | None) -> dict[str, Any]:
    return {"name": model.name, "source": source or model.name, "fingerprint": model.fingerprint, **model.origin}


def _config(model: "LoadedModel") -> dict[str, Any]:
    values = json.loads(model.config.to_json_string(use_diff=False))
    return {key: value for key, value in values.items() if key != "_name_or_path"}


def _generation(model: "LoadedModel") -> dict[str, Any] | None:
    path = model.files[0].parent / GENERATION if model.files else None
    return store.read_json(path) if path and path.is_file() else None
