"""Names of raised values: terms in, for each a PyTorch module path that no other has.

A linear, norm or embedding has the path of its module, attention that of the module it stands in. What has no module
of its own gets a part after the path: `.rope` of what it turns, `.gated`, and of a sum what is added, `.attention` or
the module that made it. A second op of one name gets `#1`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lutllm.lowering.raising.linears import module_path
from lutllm.lowering.raising.reader import Term


def names_of(terms: Sequence[Term]) -> dict[Term, str]:
    """The name of each term; a term comes after those it is made of."""
    names: dict[Term, str] = {}
    uses: dict[str, int] = {}
    attentions = {path_of(term) for term in terms if term.kind == "attention"}
    for term in terms:
        name = _name(term, names, attentions)
        count = uses.get(name, 0)
        uses[name] = count + 1
        names[term] = f"{name}#{count}" if count else name
    return names


def path_of(term: Term) -> str:
    """The module path in the location of a term's op; "" in the outermost module."""
    return (module_path(term.op.location) if term.op is not None else None) or ""


def _name(term: Term, names: dict[Term, str], attentions: set[str]) -> str:
    path = path_of(term)
    if term.kind == "linear":
        return term.data.name
    if term.kind in ("rope", "slice"):
        return _joined(names.get(term.inputs[0], path), term.kind)
    if term.kind == "tanh":
        return _joined(path, "softcap")
    if term.kind == "gated":
        return _joined(path, "gated")
    if term.kind == "add":
        return _joined(path, _added(path, term.inputs[1], attentions))
    symbol = {"embedding": getattr(term.data, "weight", ""), "norm": getattr(term.data, "gain", "")}.get(
        term.kind, "attention"
    )
    return path or symbol.removesuffix(".weight")


def _added(path: str, term: Term, attentions: set[str]) -> str:
    """What a sum in the module `path` adds: the module in it that made its second operand, or the operand's kind."""
    made = path_of(term)
    inner = made.removeprefix(f"{path}." if path else "")
    part = inner.split(".")[0] if inner != made or not path else made.rpartition(".")[2]
    return "attention" if _joined(path, part) in attentions else part or term.kind


def _joined(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
