"""The placed level's form: what all passes from `lut-layout` on, and all readers, take for granted of a module.

A module in; `IRError` at the first op that hardware could not mean. Places and time are checked elsewhere.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

from lutllm.bindings import func, ir
from lutllm.dialect import fault
from lutllm.lowering.machine.accelerator import PROGRAMS
from lutllm.lowering.place import chains
from lutllm.lowering.place.clusters import Cluster, clusters_of, home
from lutllm.passes.lut_outline_head import HEAD

_OPS = ("lut.cluster", "lut.task", "func.return")
_OF_HEAD = ("lut.last_token", "lut.argmax")
# What ops take of the pass, and as which operand.
_FROM_PASS = {"lut.embedding": {0: "ids", 1: "position"}} | {
    f"lut.{name}": {i: "position"} for name, i in (("rope", 1), ("append", 2), ("attention", 3))
}


def placed_functions(module: ir.Operation) -> dict[str, Any]:
    """The functions of a placed module, by name, in order; checked."""
    functions: list[Any] = [op for op in module.regions[0].blocks[0] if isinstance(op, func.FuncOp)]
    for function in functions:
        check_program(function)
        _check_function(function)
    if PROGRAMS[0] not in {function.name.value for function in functions}:
        _wrong(module.opview, f"a function @{PROGRAMS[0]}, which hardware runs first", "none", "name one so")
    return {function.name.value: function for function in functions}


def check_program(function: Any) -> None:
    """Whether hardware has a use for a function, and can have one."""
    name = function.name.value
    if name not in PROGRAMS or function.is_external or len(function.regions[0].blocks) != 1:
        wanted = f"a function of one block named {', '.join(f'@{p}' for p in PROGRAMS)}, which hardware runs"
        _wrong(function, wanted, f"@{name}", "rename or remove it")


def _check_function(function: Any) -> None:
    for op in function.entry_block.operations:
        if op.operation.name not in _OPS:
            _wrong(op, "clusters and tasks in a function", "it", "run lut-place")
    clusters = clusters_of(function)
    for label, count in Counter(cluster.label for cluster in clusters).items():
        if count > 1:
            again = [cluster for cluster in clusters if cluster.label == label][1]
            _wrong(again.op, "a label that no other cluster of the function has", f"'{label}' again", "change it")
    for cluster in clusters:
        for op, problem in chains.problems(cluster):
            raise fault(op, problem)
        _check_tokens(function.name.value, cluster)
    _check_position(clusters)
    _check_caches(clusters)
    _check_results(function, clusters)


def _check_tokens(program: str, cluster: Cluster) -> None:
    """The head works on one token and picks the next; other functions do neither."""
    for op in cluster.ops:
        if op.operation.name in _OF_HEAD and program != HEAD:
            _wrong(
                op, f"it in @{HEAD} alone, which works on the last token", f"it in @{program}", "run lut-outline-head"
            )
    shape = cluster.result.type.shape
    if len(shape) != (1 if cluster.last == "pick" else 2):
        _wrong(cluster.op, "one dimension of tokens", f"a result of type {cluster.result.type}", "change the type")
    if program == HEAD and (shape[0] != 1 or cluster.engines in (("load",), ("embed", "residual"), ("attention",))):
        _wrong(
            cluster.op, f"clusters of @{HEAD} to work on the last token of the residual stream", "another", "move it"
        )


def _check_position(clusters: list[Cluster]) -> None:
    """A pass has one position and one row of token ids, which are not the same."""
    found: dict[str, ir.Value] = {}
    for op in (op for cluster in clusters for op in cluster.ops):
        operands = list(op.operation.operands)
        for number, what in _FROM_PASS.get(op.operation.name, {}).items():
            if number == len(operands):  # an embedding of token ids has no position
                continue
            value, others = operands[number], [v for k, v in found.items() if k != what]
            if found.setdefault(what, value) != value or value in others:
                wanted = f"the {what} of the pass, one argument of the function"
                _wrong(op, wanted, "another value", f"change operand {number}")


def _check_caches(clusters: list[Cluster]) -> None:
    """A KV cache is changed in place, so once, and not read as it was before."""
    for cluster in clusters:
        cache = cluster.cache
        if cache is not None and len(list(cache.uses)) > 1:
            _wrong(
                cluster.op, "a KV cache that nobody else takes as it was before", "another use of it", "take its result"
            )


def _check_results(function: Any, clusters: list[Cluster]) -> None:
    """What a function returns must be where hardware leaves it: caches in their places, saved, picked, or the residual
    stream as it is at the end."""
    end = list(function.entry_block.operations)[-1]
    returned = list(end.operation.operands)
    caches = {cluster.result: cluster.cache.arg_number for cluster in clusters if cluster.cache is not None}
    kept = [caches[value] for value in returned if value in caches]
    if kept != sorted(caches.values()):
        _wrong(end, f"the KV caches of arguments {sorted(caches.values())} in this order", kept, "change its operands")
    streams = [value for value in returned if value not in caches and home(value) == "r"]
    for value in returned:
        owner = value.owner
        last = "" if isinstance(owner, ir.Block) else Cluster(owner.opview).last
        if value not in caches and value not in streams and last not in ("save", "pick"):
            _wrong(end, "values that hardware keeps: saved, picked, KV caches or the residual stream",
                   f"operand {returned.index(value)}, which it does not", "change its operands")  # fmt: skip
    changes = [cluster.result for cluster in clusters if home(cluster.result) == "r"]
    if streams and (len(streams) > 1 or streams != changes[-1:]):
        _wrong(end, "the residual stream as the last cluster leaves it", "an earlier state of it", "return the last")


def _wrong(op: Any, expected: str, got: object, do: str) -> NoReturn:
    raise fault(op, f"expected {expected}, got {got}; {do}")
