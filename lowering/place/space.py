"""The memory map: regions one after the other, and how large each must be."""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.dialect.machines import builders as build
from lutllm.errors import CapacityError

ALIGNMENT = 4096  # bytes; AXI bursts must not cross such a boundary, so regions start on one


@dataclass(frozen=True)
class Region:
    """`size` bytes at `address`, as `lut.region` says them."""

    name: str
    kind: str
    address: int
    size: int

    def write(self) -> None:
        build.region(self.name, kind=self.kind, address=self.address, size=self.size)


class AddressSpace:
    """Hands out addresses, aligned; a region named twice is one region."""

    def __init__(self, limit: int, known: dict[str, Region] | None = None) -> None:
        self.regions: dict[str, Region] = dict(known or {})
        self.limit = limit
        self._next = _aligned(max((r.address + r.size for r in self.regions.values()), default=0))

    def add(self, name: str, kind: str, size: int) -> Region:
        """The region of that name, placed after all others if it is new. What wants the same bytes has one name."""
        if name in self.regions:
            return self.regions[name]
        region = Region(name, kind, self._next, size)
        self._next = _aligned(region.address + size)
        if self._next > self.limit:
            raise CapacityError(
                f"memory map: expected at most {self.limit} bytes, got {self._next} with region {name} of {size} "
                "bytes; "
                "place fewer linears or tokens, or a target with more memory"
            )
        self.regions[name] = region
        return region


def _aligned(address: int) -> int:
    return -(-address // ALIGNMENT) * ALIGNMENT
