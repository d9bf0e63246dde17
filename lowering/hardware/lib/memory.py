"""RAM, ROM and power-on leaves: the only modules whose body differs between simulation and synthesis."""

from collections.abc import Sequence

from lutllm.lowering.hardware.lib.bundle import Link
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, Time, WidthError, aligned, const, mux, pack, select
from lutllm.numerics import bits_for

ULTRA_BITS = 288 * 1024  # from here a RAM asks for ultra RAM (one URAM288 holds 4096 x 72)
BLOCK_BITS = 4 * 1024  # from here a RAM asks for block RAM
WIDEST, PART = 2048, 256  # bits of a word; arc takes minutes over wider ones, so there they are stored in parts


def ram(design: Design, depth: int, width: int, *, read_latency: int = 1, zeroed: bool = False) -> str:
    """A RAM of `depth` words of `width` bits; ports we, wa, wd, (re,) ra -> rd. Returns the module's name.

    `read_latency` 1 is a clocked read with enable (block or ultra RAM); 0 reads at once (distributed RAM). Reading
    the word being written gives the old one. `zeroed`: it holds zeros once the device is configured.
    """
    bits, address, style = depth * width, bits_for(depth), "distributed"
    if read_latency:
        style = "ultra" if bits >= ULTRA_BITS and depth >= 1024 else "block" if bits >= BLOCK_BITS else "distributed"
    name = f"ram_{style}_{depth}x{width}" + ("" if read_latency else "_async") + ("_zeroed" if zeroed else "")
    if name in design.modules:
        return name
    inputs = {"we": 1, "wa": address, "wd": width, **({"re": 1} if read_latency else {}), "ra": address}
    if design.target == "arc" and width > WIDEST:
        return _ram_of_parts(design, name, depth, inputs, read_latency=read_latency, zeroed=zeroed)
    ports = ", ".join(f"in %{port}: i{n}" for port, n in inputs.items())
    body, read = (_ARC_RAM, _ARC_READ) if design.target == "arc" else (_SV_RAM, _SV_READ)
    body = _SV_ZEROS + body if zeroed and design.target == "sv" else body
    text = f"hw.module @$NAME$(in %clk: !seq.clock, {ports}, out rd: i{width}) {{{body}}}"
    values = dict(zip(("$LATER$", "$LOAD$", "$READ$"), read[read_latency], strict=True))
    values |= {"$MEM$": f"{depth} x {width}", "$W$": f"i{width}", "$A$": f"i{address}", "$DEPTH$": str(depth)}
    values |= {"$ARRAY$": f"uarray<{depth}xi{width}>", "$COUNT$": f"i{address + 1}"}
    values["$STYLE$"] = f'#sv.attribute<"ram_style" = "\\"{style}\\"">'
    for key, value in values.items():
        text = text.replace(key, value)
    return design.add_text(name, text, inputs, {"rd": width})


def _ram_of_parts(
    design: Design, name: str, depth: int, inputs: dict[str, int], *, read_latency: int, zeroed: bool
) -> str:
    """A RAM of narrower ones beside each other."""
    width = inputs["wd"]
    widths = [min(PART, width - low) for low in range(0, width, PART)]
    parts = [ram(design, depth, each, read_latency=read_latency, zeroed=zeroed) for each in widths]

    def body(m: Module) -> dict[str, Signal]:
        shared = {port: m[port] for port in inputs if port != "wd"}
        written = [m["wd"][i * PART : i * PART + each] for i, each in enumerate(widths)]
        words = (
            m.output_of(part, f"part_{i}", wd=wd, **shared)
            for i, (part, wd) in enumerate(zip(parts, written, strict=True))
        )
        return dict(rd=pack(list(words)))

    return design.module(name, inputs, {"rd": width}, body, reset=False)


def copied_ram(design: Design, depth: int, width: int, copies: int) -> str:
    """Distributed RAM that is read at `copies` places at once, for each a copy: ports we, wa, wd, ra -> rd, of which
    `ra` and `rd` have a part for each."""
    address = bits_for(depth)

    def body(m: Module) -> dict[str, Signal]:
        write, places = {port: m[port] for port in ("we", "wa", "wd")}, m["ra"].chunks(address)
        if design.target == "sv":
            one = ram(design, depth, width, read_latency=0)
            words = [m.output_of(one, f"copy_{i}", ra=place, **write) for i, place in enumerate(places)]
        else:  # many reads of a memory take the arc JIT minutes to build
            kept = [m.reg(m["wd"], f"word_{i}", enable=m["we"] & m["wa"].eq(i)) for i in range(depth)]
            words = [select(kept, place) for place in places]
        return dict(rd=pack(words))

    inputs = {"we": 1, "wa": address, "wd": width, "ra": copies * address}
    if design.target == "sv":
        ram(design, depth, width, read_latency=0)
    return design.module(f"ram_copied_{depth}x{width}x{copies}", inputs, {"rd": copies * width}, body, reset=False)


def power_on(design: Design) -> str:
    """A leaf whose output `reset` is 1 until the first clock after the device was configured, and never again."""
    if "power_on" not in design.modules:
        body = _ARC_POWER_ON if design.target == "arc" else _SV_POWER_ON
        design.add_text(
            "power_on", f"hw.module @$NAME$(in %clk: !seq.clock, out reset: i1) {{{body}}}", {}, {"reset": 1}
        )
    return "power_on"


def pointer(m: Module, name: str, depth: int, step: Signal, jump: tuple[Signal, Signal] | None = None) -> Signal:
    """Counts around a memory of `depth` words, a word at each `step`; with `jump` = (whether, where to), elsewhere."""
    place = m.state(bits_for(depth), name, reset=0)
    after = following(place.signal, depth)
    return place.set(after if jump is None else mux(jump[0], jump[1], after), step)


def following(place: Signal, depth: int) -> Signal:
    return mux(place.eq(depth - 1), const(0, place.width), place + 1)


def stored(
    m: Module, name: str, depth: int, *, write: Link | tuple[Signal, ...], read: Signal | tuple[Signal, Signal]
) -> Signal:
    """The word read from a RAM of `depth` words: `write` is a link, or (enable, address, data), `read` an address,
    whose word is there at once, or (enable, address): a cycle later."""
    we, wa, wd = write.forward.values() if isinstance(write, Link) else aligned(*write)
    at_once = isinstance(read, Signal)
    re, ra = (None, read) if isinstance(read, Signal) else aligned(*read)
    given = dict(we=we, wa=wa, wd=wd, ra=ra) | ({} if re is None else dict(re=re))
    word: Signal = m.output_of(ram(m.design, depth, wd.width, read_latency=0 if at_once else 1), name, **given)
    word.time = ra.time.later(0 if at_once else 1) if isinstance(ra.time, Time) else None
    return word


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
        design.add_text(
            name, f"hw.module @$NAME$({ports}) {{{text}}}", {"address": address}, {"data": width}, latency=1
        )
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


_ARC_POWER_ON = """
  %one = hw.constant true
  %on = seq.compreg name "power_on" %one, %clk : i1
  %reset = comb.xor %on, %one : i1
  hw.output %reset : i1
"""
_SV_POWER_ON = """
  %c = seq.from_clock %clk
  %zero = hw.constant false
  %one = hw.constant true
  %on = sv.reg : !hw.inout<i1>
  sv.initial { sv.bpassign %on, %zero : i1 }
  sv.always posedge %c { sv.passign %on, %one : i1 }
  %now = sv.read_inout %on : !hw.inout<i1>
  %reset = comb.xor %now, %one : i1
  hw.output %reset : i1
"""
_ARC_RAM = """
  %mem = seq.firmem 0, 1, undefined, undefined : <$MEM$>
  %q = seq.firmem.read_port %mem[%ra], clock %clk : <$MEM$>
  seq.firmem.write_port %mem[%wa] = %wd, clock %clk enable %we : <$MEM$>
  $LATER$
  hw.output $READ$ : $W$
"""
_ARC_READ = [("", "", "%q"), ("%rd = seq.compreg.ce %q, %clk, %re : $W$", "", "%rd")]  # at once; a cycle later
_SV_RAM = """
  %c = seq.from_clock %clk
  %mem = sv.reg {sv.attributes=[$STYLE$]} : !hw.inout<$ARRAY$>
  $LATER$
  %rp = sv.array_index_inout %mem[%ra] : !hw.inout<$ARRAY$>, $A$
  %rv = sv.read_inout %rp : !hw.inout<$W$>
  sv.always posedge %c {
    sv.if %we {
      %wp = sv.array_index_inout %mem[%wa] : !hw.inout<$ARRAY$>, $A$
      sv.passign %wp, %wd : $W$
    }
    $LOAD$
  }
  hw.output $READ$ : $W$
"""
_SV_LATER = "%q = sv.reg : !hw.inout<$W$>\n  %rd = sv.read_inout %q : !hw.inout<$W$>"
_SV_READ = [("", "", "%rv"), (_SV_LATER, "sv.if %re { sv.passign %q, %rv : $W$ }", "%rd")]
_SV_ZEROS = """
  sv.initial {
    %zero = hw.constant 0 : $W$
    %first = hw.constant 0 : $COUNT$
    %end = hw.constant $DEPTH$ : $COUNT$
    %step = hw.constant 1 : $COUNT$
    sv.for %i = %first to %end step %step : $COUNT$ {
      %a = comb.extract %i from 0 : ($COUNT$) -> $A$
      %zp = sv.array_index_inout %mem[%a] : !hw.inout<$ARRAY$>, $A$
      sv.bpassign %zp, %zero : $W$
    }
  }
"""
