"""Time: one `lut.task` for each run of an engine, in the order of dispatch; what it waits for are its operands."""

from collections.abc import Sequence
from typing import Any

from lutllm.bindings import ext, ir
from lutllm.dialect.base import Lut, LutOp, expect, integer
from lutllm.dialect.machines.limits import COUNT_LIMIT, ENGINES

_Type: Any = Lut.Type  # ext makes this class, unseen by type checkers


class TokenType(_Type, name="token"):  # type: ignore[call-arg]
    """The end of a task."""


class TaskOp(LutOp, name="task"):
    """One run of an engine: a part of a cluster's work. Its token is there when it is done.

    Tasks of one engine run in order. A task is dispatched, in the order of the IR, once the tasks whose tokens it takes
    are done and its engine has room; what an earlier task waited for is done for all later ones. A feed follows the
    tasks that write its words, and needs no tokens of theirs, where feeds come in the order in which words are written.
    """

    of: ext.Operand[Any]
    engine: ir.StringAttr
    after: Sequence[ext.Operand[TokenType]]
    done: ext.Result[TokenType]

    OPTIONAL = {  # noqa: RUF012
        "round": ir.IntegerAttr,
        "parameters": ir.FlatSymbolRefAttr,
    }
    TYPES = {  # noqa: RUF012
        "of": "the result of a lut.cluster; of a task that loads RoPE's rows, the position",
        "after": "!lut.token of earlier tasks",
        "done": "!lut.token",
    }
    NOTES = {  # noqa: RUF012
        "engine": "one of the cluster's engines",
        "round": "of a linear, its feed and its sink: which of the cluster's rounds",
        "parameters": "of a task that loads RoPE's rows: their lut.region, as the clusters that turn by them name it",
    }
    DEFINITION = "its part of the cluster; all tasks of a cluster together are the cluster"
    EXAMPLE = """
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  %1 = "lut.task"(%0) {engine = "load"} : (tensor<?x8xi16, #x>) -> !lut.token
  %2 = "lut.task"(%0, %1) {engine = "feed", round = 0} : (tensor<?x8xi16, #x>, !lut.token) -> !lut.token
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        wanted = f"engine to be one of {', '.join(ENGINES)}"
        expect(self.engine.value in ENGINES, wanted, self.engine, "change it")
        if self.optional("round") is not None:
            integer(self.optional("round"), "round", 0, COUNT_LIMIT)
        for value in list(self.operation.operands)[1:]:
            owner = value.owner
            name = "a block argument" if isinstance(owner, ir.Block) else owner.operation.name
            expect(name == "lut.task", "tokens of 'lut.task' ops after the first operand", name, "change the operand")
