"""To be deleted."""

from lutllm.lowering.hardware.lib.stream import Stream


def delay(m, signal, cycles, name, *, reset=None):
    for _ in range(cycles):
        signal = m.reg(signal, name, reset=reset)
    return signal


def delay_record(m, record, signal, name, cycles):
    found = [record.unpack(signal)]
    for i in range(1, cycles + 1):
        late = {f: m.reg(s, f"{name}_{f}_{i}", reset=0 if f == "valid" else None) for f, s in found[-1].items()}
        found.append(late)
    return found


def buffered(m, name, valid, data, depth):
    given = Stream(valid, data=data)
    return given.fifo(m, name, depth), given.ready
