"""`lut-bind-parameters`: loads of globals whose data lies in safetensors files in, constants out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lutllm import store
from lutllm.bindings import arith, ir, ops_below
from lutllm.dialect.stored import read_header
from lutllm.dialect.symbols import store_of, symbol_table
from lutllm.errors import InputError
from lutllm.passes import Pass

_ELEMENTS = {"U8": "i8", "I8": "i8", "I16": "i16", "I32": "i32", "I64": "i64", "F16": "f16", "F32": "f32", "F64": "f64"}


@dataclass(frozen=True)
class LutBindParameters(Pass):
    """Turn every load of an external global into a constant, its entry in a parameter store.

    `store` names files, or directories with parameters.safetensors, separated by commas; the first that has a name
    counts. Where the module says `lut.store`, one of them must have that SHA-256. The globals go with symbol-dce.
    """

    name: ClassVar[str] = "lut-bind-parameters"
    anchor: ClassVar[str | None] = "builtin.module"
    store: str = ""

    def run(self, op: ir.Operation) -> None:
        if not self.store:
            raise InputError("lut-bind-parameters: expected store=FILE, got none; name the parameters")
        module: Any = op.opview
        stores = [store.load(name) for name in self.store.split(",")]
        if (wanted := store_of(module)) is not None:
            if wanted not in [store.sha256(each.path) for each in stores]:
                self.fail(op, f"expected a store of SHA-256 {wanted}, as lut.store says, got others; name this model's")
            del op.attributes["lut.store"]
        found: dict[str, tuple[store.Store, str]] = {}
        for each in reversed(stores):
            found |= {name: (each, _type_text(entry)) for name, entry in read_header(each.path).items()}
        table = symbol_table(module)
        for load in [each for each in ops_below(op) if each.name == "ml_program.global_load_const"]:
            name = ir.FlatSymbolRefAttr(load.attributes["global"]).value
            if "#ml_program.extern" in str(table[name].attributes["value"]):
                self._bind(load, name, *found.get(name, (None, "none")))

    def _bind(self, load: ir.Operation, name: str, held: Mapping[str, np.ndarray] | None, have: str) -> None:
        type_ = ir.RankedTensorType(load.results[0].type)
        if held is None or have != str(type_):
            self.fail(load, f"expected @{name} in {self.store} to be {type_}, got {have}; write it there")
        array = np.asarray(held[name], order="C")
        with ir.InsertionPoint(load), load.location:
            data = ir.DenseElementsAttr.get(array, type=type_.element_type, shape=type_.shape)
            load.results[0].replace_all_uses_with(arith.constant(type_, data))
        load.erase()


def _type_text(entry: str) -> str:
    """How MLIR spells what a header says, `I8 [4, 2]`."""
    dtype, _, sizes = entry.partition(" ")
    return f"tensor<{''.join(f'{size}x' for size in json.loads(sizes))}{_ELEMENTS.get(dtype, dtype)}>"
