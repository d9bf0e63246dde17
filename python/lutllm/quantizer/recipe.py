"""A recipe: which linear is quantized how. Rules as a YAML file or Python objects in, a scheme and a quantizer for
each linear out.

    - targets: ["*"]                      # globs of whole names, or re: and a regular expression
      scheme: exact                       # paper, additive, exact, or a mapping of the scheme's fields
      stages: 2                           # R
    - targets: ['re:.*[.](gate|up)_proj']
      ignore: ["model.layers.0.*"]        # exceptions to this rule's targets
      scheme: exact
      stages: 1
      block: 256                          # G
      table_bits: 12                      # of a table entry
      quantizer: vq                       # an entry point of the group lutllm.quantizers

Of the rules that match a linear the last one counts. Every linear needs a rule, and every target a linear.
"""

import fnmatch
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.models.hf import require
from lutllm.quantizer.protocol import FloatLinear, QuantizerFactory
from lutllm.scheme import NAMED_SCHEMES, QuantizedLinear, Scheme, parse_schemes

ENTRY_POINTS = "lutllm.quantizers"
DEFAULT_QUANTIZER = "vq"
HEAD = "lm_head"  # the name of the LM head in Llama and Qwen3 models
SECONDS = 2  # for a regular expression and a name: microseconds are enough but for those that try every way
INPUT_FIELDS = ("kind", "v", "c_a", "S", "metric", "x_bits", "act_bits")  # one value for all readers of an input


@dataclass(frozen=True)
class Rule:
    """`targets` and `ignore` are patterns of linears' names. `scheme` is a name or a mapping of `Scheme`'s fields
    (those left out are the kind's defaults); `stages` is its R, `block` its G, `table_bits` its own. The named scheme
    exact without a block takes that of `blocks`."""

    targets: Sequence[str] = ("*",)
    ignore: Sequence[str] = ()
    scheme: str | Mapping[str, Any] | Scheme = "exact"
    stages: int | None = None
    block: int | None = None
    table_bits: int | None = None
    quantizer: str = DEFAULT_QUANTIZER

    def matches(self, name: str) -> bool:
        return any(_matches(p, name) for p in self.targets) and not any(_matches(p, name) for p in self.ignore)

    def resolved(self, usual: int | None = None) -> Scheme:
        """The scheme this rule asks for, for a linear whose block is `usual` where nobody says."""
        block = usual if self.scheme == "exact" and self.block is None else self.block
        changes = {"R": self.stages, "G": block, "table_bits": self.table_bits}
        return _scheme(self.scheme).with_(**{key: value for key, value in changes.items() if value is not None})


@dataclass(frozen=True)
class Assignment:
    """How one linear is quantized."""

    scheme: Scheme
    quantizer: str = DEFAULT_QUANTIZER


@dataclass(frozen=True)
class Recipe:
    """Rules in the order of the file, and where they come from."""

    rules: Sequence[Rule]
    source: str = "recipe"

    def assign(self, names: Sequence[str], blocks: Mapping[str, int] | None = None) -> dict[str, Assignment]:
        """An assignment for each linear of `names`, whose usual `blocks` have so many outputs; InputError for linears
        without a rule and targets without a linear."""
        for index, rule in enumerate(self.rules):
            for pattern in (*rule.targets, *rule.ignore):
                try:
                    found_one = any([_matches(pattern, name) for name in names])
                except InputError as error:
                    raise InputError(f"{self.source}: rule {index + 1}: {error.message}") from None
                if not found_one:
                    raise InputError(
                        f"{self.source}: rule {index + 1}: expected '{pattern}' to match a linear, got none; "
                        f"linears are called {', '.join(names[:2])} ... {names[-1]}"
                    )
        found: dict[str, Assignment] = {}
        for rule in self.rules:
            for name in filter(rule.matches, names):
                found[name] = Assignment(rule.resolved((blocks or {}).get(name)), rule.quantizer)
        without = [name for name in names if name not in found]
        if without:
            raise InputError(
                f"{self.source}: expected a rule for every linear, got none for {len(without)} of {len(names)}, the "
                f"first is '{without[0]}'; put a rule for '*' first"
            )
        return {name: found[name] for name in names}


def named_rule(scheme: str | None, stages: int | None, table_bits: int | None) -> Rule:
    """For every linear a scheme by its name, `exact` where there is none, optionally `name:R`."""
    name = scheme or "exact"
    (found,) = parse_schemes([name], stages).values()
    return Rule(scheme=name.partition(":")[0], stages=found.R, table_bits=table_bits)


def with_exact_head(rule: Rule, source: str) -> Recipe:
    """`rule` for every linear, but exact rows for the LM head where the rule quantizes activations: an error of the
    head's input moves every logit at once."""
    head = () if rule.resolved().kind == "exact" else (Rule(targets=(HEAD,), scheme="exact"),)
    return Recipe((rule, *head), source)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return require("regex").fullmatch(pattern[3:], name, timeout=SECONDS) is not None
        except TimeoutError:
            raise InputError(
                f"expected '{pattern}' to be matched with '{name}' in {SECONDS} s, got no end; "
                "write one without nested repetitions"
            ) from None
    return fnmatch.fnmatchcase(name, pattern)


def _scheme(scheme: str | Mapping[str, Any] | Scheme) -> Scheme:
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, Mapping):
        base = NAMED_SCHEMES["exact" if scheme.get("kind") == "exact" else "paper"]
        return Scheme.from_dict({**base.to_dict(), **scheme})
    if scheme not in NAMED_SCHEMES:
        raise InputError(f"scheme: expected one of {', '.join(NAMED_SCHEMES)} or a mapping of fields, got {scheme!r}")
    return NAMED_SCHEMES[scheme]


def load_recipe(source: Path | str | Iterable[Rule | Mapping[str, Any]]) -> Recipe:
    """A recipe from a YAML file (JSON is YAML), or from a list of rules or mappings. Mistakes are located."""
    if isinstance(source, (str, Path)):
        return _recipe(_yaml(Path(source)), str(source))
    return _recipe(list(source), "recipe")


def _yaml(path: Path) -> Any:
    yaml = require("yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined,misc]
        """Refuses a key that stands twice, of which YAML's own loader takes the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            again = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
            if again is not None:
                line = node.start_mark.line + 1
                raise InputError(f"{path}:{line}: expected each key once, got '{again}' twice; remove one")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"{path}: expected a recipe, got {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from None


def _recipe(values: Any, source: str) -> Recipe:
    if not isinstance(values, list) or not values:
        raise InputError(f"{source}: expected a list of rules with targets and scheme, got {type(values).__name__}")
    rules, regex = [], require("regex")
    for index, value in enumerate(values):
        try:
            rule = value if isinstance(value, Rule) else _rule(value)
            rule.resolved()
            for pattern in (*rule.targets, *rule.ignore):
                regex.compile(pattern.removeprefix("re:") if pattern.startswith("re:") else "")
        except (InputError, regex.error) as error:
            what = error.message if isinstance(error, InputError) else f"expected a regular expression, got {error}"
            raise InputError(f"{source}: rule {index + 1}: {what}") from None
        rules.append(rule)
    return Recipe(tuple(rules), source)


def _rule(value: Any) -> Rule:
    known = [f.name for f in fields(Rule)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        got = sorted(map(str, set(value) - set(known))) if isinstance(value, Mapping) else type(value).__name__
        raise InputError(f"expected a mapping with keys among {', '.join(known)}, got {got}")
    values = dict(value)
    for key in ("targets", "ignore"):
        given = values.get(key, [])
        values[key] = [given] if isinstance(given, str) else given
        if not isinstance(values[key], (list, tuple)) or not all(isinstance(p, str) for p in values[key]):
            raise InputError(f"expected {key} to be a list of patterns, got {given!r}")
    if not isinstance(values.get("scheme", ""), (str, Mapping, Scheme)):
        raise InputError(f"expected scheme to be a name or a mapping of fields, got {values['scheme']!r}")
    if not isinstance(values.get("quantizer", ""), str):
        raise InputError(f"expected quantizer to be a name, got {values['quantizer']!r}")
    if not values["targets"]:
        raise InputError("expected targets, got none")
    for key in ("stages", "block", "table_bits"):
        number = values.get(key)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise InputError(f"expected {key} to be a whole number, got {number!r}")
    return Rule(**values)


def check_shared_inputs(assignments: Mapping[str, Assignment], groups: Iterable[Sequence[str]]) -> None:
    """Refuse linears that read one tensor (each group of `groups`) and would want it in different forms."""
    for group in groups:
        first = assignments[group[0]]
        for name in group[1:]:
            for key in INPUT_FIELDS:
                wanted, got = getattr(first.scheme, key), getattr(assignments[name].scheme, key)
                if wanted != got:
                    raise InputError(
                        f"'{name}': expected {key} = {wanted}, as of '{group[0]}', which reads the same input, "
                        f"got {got}; give both one scheme (stages and block may differ)"
                    )
            if assignments[name].quantizer != first.quantizer:
                raise InputError(
                    f"'{name}': expected quantizer '{first.quantizer}', as of '{group[0]}', which reads the same "
                    f"input, got '{assignments[name].quantizer}'; give both one quantizer"
                )


def find_quantizer(name: str) -> QuantizerFactory:
    """The quantizer registered under `name` in the entry point group `lutllm.quantizers`."""
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name == DEFAULT_QUANTIZER and name not in found:  # an installation older than the group
        from lutllm.quantizer.linear.vector import VectorQuantizer

        return VectorQuantizer
    if name not in found:
        known = ", ".join(sorted({*found, DEFAULT_QUANTIZER}))
        raise InputError(
            f"quantizer: expected one of {known}, got '{name}'; register it in the entry point group {ENTRY_POINTS}"
        )
    try:
        quantizer = found[name].load()
    except Exception as error:
        raise InputError(f"quantizer '{name}': expected {found[name].value} to load, got {error}") from None
    missing = [method for method in ("observe", "quantize_linear") if not hasattr(quantizer, method)]
    if missing:
        raise InputError(f"quantizer '{name}': expected a class with observe and quantize_linear, got no {missing[0]}")
    return quantizer


@dataclass
class ByLinear:
    """A quantizer factory that gives each linear to the quantizer its recipe names."""

    quantizers: Mapping[str, str]  # by linear
    factories: Mapping[str, QuantizerFactory] = field(init=False)

    def __post_init__(self) -> None:
        self.factories = {name: find_quantizer(name) for name in sorted(set(self.quantizers.values()))}
        self.__qualname__ = " ".join(self.factories)  # for the identity of a run

    def __call__(self, scheme: Scheme, *, seed: int, **options: Any) -> "_Dispatched":
        parts = {name: factory(scheme, seed=seed, **options) for name, factory in self.factories.items()}
        return _Dispatched(self.quantizers, parts)


@dataclass
class _Dispatched:
    quantizers: Mapping[str, str]
    parts: Mapping[str, Any]

    def observe(self, input_name: str, x: np.ndarray) -> None:
        for part in self.parts.values():
            part.observe(input_name, x)

    def quantize_linear(self, linear: FloatLinear) -> QuantizedLinear:
        return self.parts[self.quantizers[linear.name]].quantize_linear(linear)


def quantizer_of(assignments: Mapping[str, Assignment]) -> QuantizerFactory:
    """One factory for all linears."""
    names = {name: assignment.quantizer for name, assignment in assignments.items()}
    kinds = set(names.values())
    return find_quantizer(kinds.pop()) if len(kinds) == 1 else ByLinear(names)
