"""The host's side of an accelerator: image, prompt and tokens over any `Device`, in the order that the manual wants.

In: registers and memory that can be read and written. The register map is the hardware's own; docs/accelerator.md,
"Host" and "How a run ends", is the manual.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lutllm.errors import DeviceError, InputError
from lutllm.lowering.hardware.control import register_map as rm
from lutllm.lowering.machine.accelerator import ERRORS, IMAGE_HEADER

PATIENCE = 1 << 15  # pauses until the bus must be quiet after a reset
Progress = Callable[[list[int]], None]


class Device(Protocol):
    """What a driver needs: words of 32 bits at byte offsets of `s_axi_control`, memory to write at addresses as the
    accelerator has them, and to wait."""

    def read_register(self, offset: int) -> int: ...

    def write_register(self, offset: int, value: int) -> None: ...

    def write_memory(self, address: int, data: np.ndarray) -> None: ...

    def wait(self) -> bool:
        """Let the accelerator work: until its interrupt (True), or for a while (False)."""

    def pause(self) -> None:
        """Let a short time pass."""

    def reset(self) -> None:
        """Set `ap_rst_n` to 0, then to 1 again."""


@dataclass
class Outcome:
    """What a run made: `tokens`, the `error` by name, `cycles`. `busy`: the bus is not quiet yet, the run has not
    ended; `watchdog`: nothing moved for too long, and engine i was busy then where bit i of `stalled` is 1."""

    tokens: list[int]
    error: str
    cycles: int
    busy: bool = False
    watchdog: bool = False
    stalled: int = 0

    def check(self) -> Outcome:
        """Return self, or raise `DeviceError`."""
        if self.busy or self.error != "none":
            raise DeviceError(
                f"expected a run without an error, got '{self.error}' after {self.cycles} cycles"
                + ("; memory has not answered: reset memory and accelerator" if self.busy else "")
            )
        return self


@dataclass
class Driver:
    """One accelerator, whose sequences have up to `context` tokens, at a `device`.

    The image lies at `base`, a multiple of 4096 bytes, and is of `model`. `sequence` is what the KV caches are of.
    """

    device: Device
    context: int
    base: int = 0
    model: int = 0
    sequence: list[int] = field(default_factory=list)

    @classmethod
    def connect(cls, device: Device) -> Driver:
        """Of an accelerator that says itself what it is. Raises `DeviceError` where its registers are others."""
        version = device.read_register(rm.OFFSETS["VERSION"])
        if version != rm.VERSION:
            raise DeviceError(f"expected an accelerator whose registers have version {rm.VERSION}, got {version}")
        return cls(device, device.read_register(rm.OFFSETS["CONTEXT"]))

    def read(self, register: str) -> int:
        return self.device.read_register(rm.OFFSETS[register])

    def write(self, register: str, value: int) -> None:
        self.device.write_register(rm.OFFSETS[register], value)

    def load(self, image: np.ndarray, base: int = 0) -> None:
        """Write an image to memory and have the accelerator check all of it. Raises `DeviceError` where it is damaged,
        or of another accelerator."""
        self.device.write_memory(base, image)
        self.use(image, base)
        self.verify().check()

    def use(self, image: np.ndarray, base: int = 0) -> None:
        """Work with an image that is in memory."""
        self.base = base
        self.model = int(image[: 8 * len(IMAGE_HEADER)].view("<u8")[IMAGE_HEADER.index("model")])
        self.sequence = []

    def verify(self) -> Outcome:
        """Have every region of the image checked, whose bytes the accelerator does not change; error `checksum` where
        one is damaged."""
        self.begin(0, 0, verify=True)
        return self.wait(0)

    def prompt(self, ids: Sequence[int], position: int = 0) -> None:
        """Write token ids into the sequence from `position` on."""
        first = rm.window(self.context) + rm.WORD_BYTES * position
        for i, token in enumerate(ids):
            self.device.write_register(first + rm.WORD_BYTES * i, int(token))
        self.sequence[position:] = map(int, ids)

    def generate(
        self,
        prompt: Sequence[int],
        tokens: int,
        *,
        stops: Collection[int] = (),
        position: int = 0,
        progress: Progress | None = None,
    ) -> Outcome:
        """Read `prompt` from `position` on and make up to `tokens` tokens, greedily; ends after any of `stops`.

        `progress` is called now and then with the tokens made so far.
        """
        length = len(self.sequence[:position]) + len(prompt)
        if length > self.context:
            raise InputError(f"expected at most {self.context} tokens, the context, got {length}; shorten the prompt")
        self.prompt(prompt, position)
        self.begin(length, tokens, stops=stops, position=position)
        return self.wait(length, progress)

    def begin(
        self,
        length: int,
        tokens: int,
        *,
        stops: Collection[int] = (),
        position: int = 0,
        model: int | None = None,
        verify: bool = False,
    ) -> None:
        """Start a run on the sequence of `length` tokens, as the registers take it, and let it go."""
        model = self.model if model is None else model
        values = {
            "GIE": 1,
            "IER": rm.ENDED | rm.STUCK,
            "ISR": rm.ENDED | rm.STUCK,
            "POSITION": position,
            "LENGTH": length,
            "TOKENS": tokens,
            "IMAGE_LOW": self.base & 0xFFFFFFFF,
            "IMAGE_HIGH": self.base >> 32,
            "MODEL_LOW": model & 0xFFFFFFFF,
            "MODEL_HIGH": model >> 32,
        }
        if len(stops) > rm.STOPS:
            raise InputError(f"expected at most {rm.STOPS} tokens that end a run, got {len(stops)}; leave some out")
        places = [rm.STOP_ENABLE | stop for stop in sorted(stops)] + [0] * (rm.STOPS - len(stops))
        values |= {f"STOP{i}": value for i, value in enumerate(places)}
        for name, value in values.items():
            self.write(name, value)
        self.write("CONTROL", rm.VERIFY if verify else rm.START)

    def wait(self, length: int, progress: Progress | None = None) -> Outcome:
        """Wait for the interrupt of a run that began with `length` tokens, acknowledge it, and read what came of it.

        An outcome that is `busy` is one that the watchdog has told of: wait again, or give up.
        """
        tokens: list[int] = []
        while not self.device.wait():
            if progress is not None:
                # The last one may lie beyond the sequence's memory.
                tokens += self._made(length, len(tokens), min(self._count(), self.context - length))
                progress(tokens)
        self.write("ISR", self.read("ISR"))
        return self.outcome(length)

    def outcome(self, length: int) -> Outcome:
        """What the registers say of the run on `length` tokens."""
        status, made = self.read("STATUS"), self._count()
        cycles = self.read("CYCLES_LOW") | self.read("CYCLES_HIGH") << 32
        last = self.read("LAST")
        tokens = self._made(length, 0, made - 1) + [last][: min(made, 1)]
        self.sequence = self.sequence[:length] + tokens
        error = status >> rm.STATUS_ERROR_SHIFT & rm.STATUS_ERROR_MASK
        return Outcome(
            tokens=tokens,
            error=ERRORS[error] if error < len(ERRORS) else "unknown",
            cycles=cycles,
            busy=bool(status & rm.STATUS_BUSY),
            watchdog=bool(status & rm.STATUS_WATCHDOG),
            stalled=self.read("STALLED"),
        )

    def abort(self, length: int) -> Outcome:
        """End a run on `length` tokens before its end; its tokens so far are right."""
        self.write("CONTROL", rm.ABORT)
        return self.wait(length)

    def reset(self) -> None:
        """Reset the accelerator, and let it find out what memory still owes it. Caches are as they were, but nothing is
        known of them."""
        self.device.reset()
        self.settle()

    def settle(self) -> None:
        """Wait until the bus is quiet after a reset."""
        left = PATIENCE
        while self.read("STATUS") & rm.STATUS_BUSY:
            left -= 1
            if not left:
                raise DeviceError("expected a quiet bus after a reset, got STATUS busy; reset memory too")
            self.device.pause()
        self.sequence = []

    def _count(self) -> int:
        """Tokens made so far. Raises `DeviceError` for what none can be: a bus that nobody answers on reads as ones."""
        found = self.read("MADE")
        if found > self.context:
            raise DeviceError(
                f"expected at most {self.context} tokens made, the context, got {found}; the device does not answer"
            )
        return found

    def _made(self, length: int, first: int, end: int) -> list[int]:
        """Tokens number `first` .. `end` - 1 of a run that began with `length`."""
        address = rm.window(self.context) + rm.WORD_BYTES * length
        return [self.device.read_register(address + rm.WORD_BYTES * i) for i in range(first, end)]
