"""The ROM leaf: a table of constants, read one cycle after its address. Its body differs between simulation and
synthesis, as a RAM's does."""

from collections.abc import Sequence

from lutllm.lowering.hardware.lib.circt import Design, WidthError
from lutllm.numerics import bits_for


def rom(design: Design, name: str, values: Sequence[int], width: int) -> str:
    """A ROM of unsigned `values` of `width` bits, address -> data a cycle later. Returns the module's name.

    One `name` is one table. Addresses past the end read as the last value.
    """
    values = [int(value) for value in values]
    if not values or min(values) < 0 or max(values) >> width:
        raise WidthError(f"ROM {name}: expected values of {width} bits, got {min(values, default=0)}..{max(values)}")
    address = bits_for(len(values))
    if name not in design.modules:
        text = (_arc_rom if design.target == "arc" else _sv_rom)(values, width, address)
        ports = f"in %clk: !seq.clock, in %address: i{address}, out data: i{width}"
        design.add_text(name, f"hw.module @$NAME$({ports}) {{{text}}}", {"address": address}, {"data": width})
    return name


def _arc_rom(values: list[int], width: int, address: int) -> str:
    """An array the JIT indexes: one load. Filled up to a power of two, because it does not check the index."""
    filled = values + [values[-1]] * ((1 << address) - len(values))
    array = f"!hw.array<{len(filled)}xi{width}>"
    entries = ", ".join(f"{value} : i{width}" for value in reversed(filled))  # index 0 is written last
    return f"""
  %table = hw.aggregate_constant [{entries}] : {array}
  %entry = hw.array_get %table[%address] : {array}, i{address}
  %data = seq.compreg %entry, %clk : i{width}
  hw.output %data : i{width}
"""


def _sv_rom(values: list[int], width: int, address: int) -> str:
    """A clocked case statement, which synthesis takes for a ROM; an array would be written as a tree of `?:`."""
    constants = "".join(f"  %v{value} = hw.constant {value} : i{width}\n" for value in sorted(set(values)))
    cases = "".join(
        f"    case b{index:0{address}b}: {{ sv.passign %q, %v{value} : i{width} }}\n"
        for index, value in enumerate(values[:-1])
    )
    return f"""
{constants}  %c = seq.from_clock %clk
  %q = sv.reg name "entry" : !hw.inout<i{width}>
  sv.always posedge %c {{
    sv.case %address : i{address}
{cases}    default: {{ sv.passign %q, %v{values[-1]} : i{width} }}
  }}
  %data = sv.read_inout %q : !hw.inout<i{width}>
  hw.output %data : i{width}
"""
