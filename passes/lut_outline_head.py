"""Split what makes the next token off the functions that read tokens, for hardware. lut level in and out."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm.bindings import func, ir
from lutllm.dialect import fixed_of
from lutllm.passes.pass_base import Pass
from lutllm.passes.walk import attributes_text

HEAD, PREFILL, FORWARD = "head", "prefill", "forward"
_UNUSED = "score"


@dataclass(frozen=True)
class LutOutlineHead(Pass):
    """Move everything from lut.last_token on to a function @head, and name functions as hardware does.

    @head returns the next token alone; @prefill and @decode then return the residual stream instead, then their caches;
    logits stay inside. @score, which hardware has no use for, goes. Without lut.last_token nothing is split off, nor
    where there is a @head; @forward, of a model that reads no tokens, becomes the @prefill of any number of rows.
    """

    name: ClassVar[str] = "lut-outline-head"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        functions: list[Any] = [f for f in op.regions[0].blocks[0] if isinstance(f, func.FuncOp) and not f.is_external]
        names = {f.name.value: f for f in functions}
        if FORWARD in names and PREFILL not in names:
            names[FORWARD].attributes["sym_name"] = ir.StringAttr.get(PREFILL)
        heads: list[tuple[Any, Any]] = []
        for function in functions if HEAD not in names else ():
            tail = _tail(function.entry_block)
            if tail:
                heads.append((function, self._outline(function, tail, first=not heads)))
            elif function.name.value == _UNUSED:
                function.operation.erase()
        for function, text in heads[1:]:
            if text != heads[0][1]:
                self.fail(function, f"expected the head of @{heads[0][0].name.value}, got another; they share one")

    def _outline(self, function: Any, tail: list[ir.Operation], *, first: bool) -> str:
        """Take `tail` out of a function; returns what identifies it."""
        x = tail[0].operands[0]
        picks = [op for op in tail if op.name == "lut.argmax"]
        if len(picks) != 1:
            self.fail(tail[0], f"expected one lut.argmax after it, got {len(picks)}; hardware picks the next token")
        numbers = {value: i for i, value in enumerate([x, *(result for op in tail for result in op.results)])}
        for op in tail:
            if not all(value in numbers for value in op.operands):
                self.fail(op, "expected operands that the last token of the residual stream decides, got others; "
                              "hardware's head "
                          "has nothing else")  # fmt: skip
        if first:
            _write(function, tail, x, picks[0])
        text = [fixed_of(x.type), *((op.name, attributes_text(op), [numbers[value] for value in op.operands],
                                     [str(result.type) for result in op.results]) for op in tail)]  # fmt: skip
        end = list(function.entry_block.operations)[-1].operation
        made = {result for op in tail for result in op.results}
        results = [x, *(value for value in end.operands if value not in made)]
        with ir.InsertionPoint(end), end.location:
            func.ReturnOp(results)
        end.erase()
        for op in reversed(tail):
            op.erase()
        type_ = ir.FunctionType.get([a.type for a in function.arguments], [value.type for value in results])
        function.attributes["function_type"] = ir.TypeAttr.get(type_)
        return str(text)


def _tail(block: ir.Block) -> list[ir.Operation]:
    """lut.last_token and everything that depends on it, in order."""
    found: list[ir.Operation] = []
    made: set[ir.Value] = set()
    for op in block.operations:
        operation = op.operation
        if operation.name == "func.return":
            break
        if operation.name == "lut.last_token" or any(value in made for value in operation.operands):
            found.append(operation)
            made |= set(operation.results)
    return found


def _write(function: Any, tail: list[ir.Operation], x: ir.Value, pick: ir.Operation) -> None:
    """@head, behind the last function."""
    rows = ir.RankedTensorType(x.type)
    sizes = [ir.ShapedType.get_dynamic_size(), *rows.shape[1:]]
    with ir.InsertionPoint(function.operation.parent.regions[0].blocks[0]), function.location:
        type_ = ir.RankedTensorType.get(sizes, rows.element_type, rows.encoding)
        head = func.FuncOp(HEAD, ([type_], [pick.results[0].type]))
        block = head.add_entry_block()
    values: dict[ir.Value, ir.Value] = {x: block.arguments[0]}
    with ir.InsertionPoint(block):
        for op in tail:
            new = op.clone()
            for i, value in enumerate(op.operands):
                new.operands[i] = values[value]
            values |= dict(zip(op.results, new.results, strict=True))
        with pick.location:
            func.ReturnOp([values[pick.results[0]]])
