"""`--mlir-print-ir-*`: the IR before and after the passes named, on stderr or as a tree of files."""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.tools.opt.output import write
from lutllm.tools.opt.printing import Form

_EXACT = Form(generic=True, debug_info=True)


class Dumps:
    """Prints the IR around the passes asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        o = options
        self.names = {
            "Before": None if o.mlir_print_ir_before_all else _named(o.mlir_print_ir_before),
            "After": None if o.mlir_print_ir_after_all else _named(o.mlir_print_ir_after),
        }
        self.form = Form.of(options)
        self.on_change = o.mlir_print_ir_after_change
        self.previous = b""
        self.tree = Path(o.mlir_print_ir_tree_dir) if o.mlir_print_ir_tree_dir else None
        self.printed: Counter[Path] = Counter()

    def __bool__(self) -> bool:
        """Whether anything is to be printed."""
        return any(names != set() for names in self.names.values())

    def before(self, name: str, op: ir.Operation) -> None:
        if self.on_change and self._wants("After", name):
            self.previous = _EXACT.text(op)
        if self._wants("Before", name):
            self._print("Before", name, name, op)

    def after(self, name: str, op: ir.Operation, failed: bool) -> None:
        """A pass that failed is shown whether it changed something or not."""
        if self._wants("After", name) and (failed or not self.on_change or _EXACT.text(op) != self.previous):
            self._print("After", name, f"{name} Failed" if failed else name, op)

    def _wants(self, when: str, name: str) -> bool:
        names = self.names[when]
        return names is None or name in names

    def _print(self, when: str, name: str, title: str, op: ir.Operation) -> None:
        text = f"// -----// IR Dump {when} {title} //----- //\n{self.form.text(op).decode()}"
        if self.tree is None:
            print(text, file=sys.stderr)
        else:
            self._write(self._path(name, op), text)

    def _path(self, name: str, op: ir.Operation) -> Path:
        """As MLIR: a folder for each operation around `op`, its dumps and those of what is around it counted."""
        assert self.tree
        folder, numbers = self.tree, []
        for part in _folders(op):
            folder /= part
            numbers.append(max(self.printed[folder] - 1, 0))
        numbers[-1] = self.printed[folder]
        self.printed[folder] += 1
        return folder / f"{'_'.join(map(str, numbers))}_{_in_a_path(name)}.mlir"

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise InputError(f"cannot make the folder '{path.parent}': {problem.strerror}") from None
        write(str(path), text.encode())


def _named(lists: list[str]) -> set[str]:
    return {name for names in lists for name in names.split(",")}


def _folders(op: ir.Operation | None) -> list[str]:
    """`builtin_module_no-symbol-name`, `func_func_f`, ... from the outermost operation to `op`."""
    folders: list[str] = []
    while op is not None:
        symbol = op.attributes.get("sym_name", None)
        name = symbol.value if isinstance(symbol, ir.StringAttr) else "no-symbol-name"
        folders.insert(0, _in_a_path(f"{op.name.replace('.', '_')}_{name}"))
        op = op.parent.operation if op.parent else None
    return folders


def _in_a_path(name: str) -> str:
    """A symbol is any text; what a file name cannot be is replaced or cut off."""
    return re.sub(r"[^\w.-]", "_", name)[:100]
