"""RAM, FIFO and power-on leaves: with ROMs the only modules whose body differs between simulation and synthesis."""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, const, mux, pack, select, up_down
from lutllm.numerics import bits_for

ULTRA_BITS = 288 * 1024  # from here a RAM asks for ultra RAM (one URAM288 holds 4096 x 72)
BLOCK_BITS = 4 * 1024  # from here a RAM asks for block RAM
DEEP, DEEP_BITS = 128, 16 * 1024  # from here on, words and bits, a FIFO's words are in block RAM
FIFO_LATENCY = 1  # cycles from a push until the word may be taken, from a pop until its room is there


def ram(design: Design, depth: int, width: int, *, read_latency: int = 1, zeroed: bool = False) -> str:
    """A RAM of `depth` words of `width` bits; ports we, wa, wd, (re,) ra -> rd. `zeroed`: it holds zeros once the
    device is configured. Returns the module's name."""
    bits = depth * width
    style = "distributed"
    if read_latency:
        style = "ultra" if bits >= ULTRA_BITS and depth >= 1024 else "block" if bits >= BLOCK_BITS else "distributed"
    name = f"ram_{style}_{depth}x{width}" + ("" if read_latency else "_async") + ("_zeroed" if zeroed else "")
    if name not in design.modules:
        _ram_body(design, depth, width, read_latency=read_latency, style=style, name=name, zeroed=zeroed)
    return name


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


def fifo(design: Design, width: int, depth: int) -> str:
    """A stream FIFO of `depth` words: in_valid in_data out_ready -> in_ready out_valid out_data count.

    Words fall through after one cycle; both ends move every cycle. No path leads from out_ready to in_ready.
    """
    count_bits = bits_for(depth + 1)

    def body(m: Module) -> dict[str, Signal]:
        level = FillLevel(m, depth)
        in_ready, out_valid = level.room, level.any
        push, pop = m["in_valid"] & in_ready, out_valid & m["out_ready"]
        level.move(push, pop)
        stored = _deep if depth * width >= DEEP_BITS and depth >= DEEP else _storage
        data = m.reg(m["in_data"], "word", enable=push) if depth == 1 else stored(m, push, pop)
        return dict(in_ready=in_ready, out_valid=out_valid, out_data=data, count=level.count)

    def _storage(m: Module, push: Signal, pop: Signal) -> Signal:
        head, tail = pointer(m, "write_pointer", depth, push), pointer(m, "read_pointer", depth, pop)
        store = ram(design, depth, width, read_latency=0)
        return m.output_of(store, "store", we=push, wa=head, wd=m["in_data"], ra=tail)

    def _deep(m: Module, push: Signal, pop: Signal) -> Signal:
        """In block RAM, which is read a cycle ahead: a word that is written just then goes past it."""
        head, tail = pointer(m, "write_pointer", depth, push), m.state(bits_for(depth), "read_pointer", reset=0)
        ahead, data = mux(pop, following(tail.signal, depth), tail.signal), m["in_data"]
        tail.set(ahead)
        read = m.output_of(ram(design, depth, width), "store", we=push, wa=head, wd=data, re=const(1, 1), ra=ahead)
        passes = push & head.eq(ahead)
        return mux(m.reg(passes, "passed", reset=0), m.reg(data, "passed_word", enable=passes), read)

    inputs = {"in_valid": 1, "in_data": width, "out_ready": 1}
    outputs = {"in_ready": 1, "out_valid": 1, "out_data": width, "count": count_bits}
    if depth > 1:
        ram(design, depth, width, read_latency=0)
    return design.module(f"fifo_{depth}x{width}", inputs, outputs, body)


class FillLevel:
    """How many of `depth` words a memory holds: registers `count`, whether there are `any`, whether there is `room`."""

    def __init__(self, m: Module, depth: int) -> None:
        self._count = m.state(bits_for(depth + 1), "count", reset=0)
        self._any, self._room = m.state(1, "filled", reset=0), m.state(1, "spare", reset=1)
        self.depth, self.count, self.any, self.room = depth, self._count.signal, self._any.signal, self._room.signal

    def move(self, push: Signal, pop: Signal) -> None:
        up_down(self._count, push, pop)
        self._any.set(push | self.count.ne(1), push ^ pop)
        self._room.set(pop | self.count.ne(self.depth - 1), push ^ pop)


def pointer(m: Module, name: str, depth: int, step: Signal, jump: tuple[Signal, Signal] | None = None) -> Signal:
    """Counts around a memory of `depth` words, a word at each `step`; with `jump` = (whether, where to), elsewhere."""
    place = m.state(bits_for(depth), name, reset=0)
    after = following(place.signal, depth)
    return place.set(after if jump is None else mux(jump[0], jump[1], after), step)


def following(place: Signal, depth: int) -> Signal:
    return mux(place.eq(depth - 1), const(0, place.width), place + 1)


class Stream:
    """One end of a stream inside a module under construction."""

    def __init__(self, valid: Signal, data: Signal, ready: Wire) -> None:
        self.valid, self.data, self.ready = valid, data, ready


def buffered(m: Module, name: str, valid: Signal, data: Signal, depth: int) -> tuple[Stream, Signal]:
    """Put a FIFO behind (valid, data); returns its output end (drive `.ready`) and the ready for the input end."""
    ready = Wire(1)
    made = fifo(m.design, data.width, depth)
    out = m.instance(made, name, in_valid=valid, in_data=data, out_ready=ready.signal)
    return Stream(out["out_valid"], out["out_data"], ready), out["in_ready"]


def _ram_body(
    design: Design, depth: int, width: int, *, read_latency: int, style: str, name: str, zeroed: bool
) -> None:
    """Add a two-port RAM `name`: ports we, wa, wd, (re,) ra -> rd. One write and one read port.

    `read_latency` 1 is a clocked read with enable (block or ultra RAM); 0 reads at once (distributed RAM). Reading
    the word being written gives the old one. `style` goes to the `ram_style` attribute of the array.
    """
    address = bits_for(depth)
    enable = ", in %re: i1" if read_latency else ""
    ports = f"in %clk: !seq.clock, in %we: i1, in %wa: i{address}, in %wd: i{width}{enable}, "
    ports += f"in %ra: i{address}, out rd: i{width}"
    body = _ARC_RAM[read_latency] if design.target == "arc" else _SV_RAM[read_latency]
    body = _SV_ZEROS + body if zeroed and design.target == "sv" else body
    text = f"hw.module @$NAME$({ports}) {{{body}}}"
    values = dict(MEM=f"{depth} x {width}", W=f"i{width}", A=f"i{address}", ARRAY=f"uarray<{depth}xi{width}>")
    values |= dict(DEPTH=str(depth), COUNT=f"i{address + 1}")
    values["STYLE"] = f'#sv.attribute<"ram_style" = "\\"{style}\\"">'
    for key, value in values.items():
        text = text.replace(f"${key}$", value)
    inputs = {"we": 1, "wa": address, "wd": width, **({"re": 1} if read_latency else {}), "ra": address}
    design.add_text(name, text, inputs, {"rd": width})


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
_ARC_RAM = {
    1: """
  %mem = seq.firmem 0, 1, undefined, undefined : <$MEM$>
  %q = seq.firmem.read_port %mem[%ra], clock %clk : <$MEM$>
  seq.firmem.write_port %mem[%wa] = %wd, clock %clk enable %we : <$MEM$>
  %rd = seq.compreg.ce %q, %clk, %re : $W$
  hw.output %rd : $W$
""",
    0: """
  %mem = seq.firmem 0, 1, undefined, undefined : <$MEM$>
  %rd = seq.firmem.read_port %mem[%ra], clock %clk : <$MEM$>
  seq.firmem.write_port %mem[%wa] = %wd, clock %clk enable %we : <$MEM$>
  hw.output %rd : $W$
""",
}
_SV_RAM = {
    1: """
  %c = seq.from_clock %clk
  %mem = sv.reg {sv.attributes=[$STYLE$]} : !hw.inout<$ARRAY$>
  %q = sv.reg : !hw.inout<$W$>
  %rp = sv.array_index_inout %mem[%ra] : !hw.inout<$ARRAY$>, $A$
  %rv = sv.read_inout %rp : !hw.inout<$W$>
  sv.always posedge %c {
    sv.if %we {
      %wp = sv.array_index_inout %mem[%wa] : !hw.inout<$ARRAY$>, $A$
      sv.passign %wp, %wd : $W$
    }
    sv.if %re { sv.passign %q, %rv : $W$ }
  }
  %rd = sv.read_inout %q : !hw.inout<$W$>
  hw.output %rd : $W$
""",
    0: """
  %c = seq.from_clock %clk
  %mem = sv.reg {sv.attributes=[$STYLE$]} : !hw.inout<$ARRAY$>
  %rp = sv.array_index_inout %mem[%ra] : !hw.inout<$ARRAY$>, $A$
  %rd = sv.read_inout %rp : !hw.inout<$W$>
  sv.always posedge %c {
    sv.if %we {
      %wp = sv.array_index_inout %mem[%wa] : !hw.inout<$ARRAY$>, $A$
      sv.passign %wp, %wd : $W$
    }
  }
  hw.output %rd : $W$
""",
}
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
