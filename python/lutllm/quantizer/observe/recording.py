"""Recording: a torch module and windows of tokens in, the inputs of chosen linears out.

A model with a list of decoder layers is walked layer by layer: the hidden states between layers are kept, so that
each layer runs once however many are wanted. Any other module is run whole and stopped after the last linear wanted.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from math import inf
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.models.text import token_ids
from lutllm.quantizer.protocol import FloatLinear, require_finite
from lutllm.scheme import QuantizedLinear

AHEAD = 16  # windows run before the first is handed out: torch's threads and numpy's, taking turns, wait for each other
_LAYER = re.compile(r"^(?P<list>(?:.*\.)?layers)\.(?P<index>\d+)\.")


class Stop(Exception):
    """Raised inside a forward pass when nothing more is needed of it."""


def linears(module: Any, wanted: Sequence[int | str] | None = None) -> list[str]:
    """Names of the linears of the decoder layers (or modules) `wanted`, in the module's order; None: of all layers.

    An integer is a decoder layer; a string is a linear or a module that holds some.
    """
    import torch

    names = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    if wanted is None:
        return [n for n in names if _LAYER.match(n)] or names
    found: list[str] = []
    for want in wanted:
        if isinstance(want, int):
            match = [n for n in names if (m := _LAYER.match(n)) and int(m["index"]) == want]
            have = sorted({int(m["index"]) for n in names if (m := _LAYER.match(n))})
            hint = f"layers {have[0]}..{have[-1]}" if have else "no numbered layers"
        else:
            match = [n for n in names if n == want or n.startswith(f"{want}.") or want == ""]
            hint = "linears such as " + ", ".join(names[:3])
        if not match:
            raise InputError(f"layers: expected layers of this model that hold linears ({hint}), got {want!r}")
        found += [n for n in match if n not in found]
    return sorted(found, key=names.index)


def by_layer(names: Iterable[str]) -> list[list[str]]:
    """Linears of each decoder layer, and at last those of none."""
    layers: dict[float, list[str]] = {}
    for name in names:
        match = _LAYER.match(name)
        layers.setdefault(int(match["index"]) if match else inf, []).append(name)
    return [layers[i] for i in sorted(layers)]


def float_linear(
    module: Any, name: str, input_name: str, importance: Mapping[str, np.ndarray] | None = None
) -> FloatLinear:
    """A linear of the module as float32 arrays, checked. `importance`: that of the outputs, by linear."""
    part = module.get_submodule(name)
    bias = None if part.bias is None else part.bias.detach().float().numpy()
    weight = part.weight.detach().float().numpy()
    return FloatLinear(name, input_name, weight, bias, None if importance is None else importance[name])


def record(module: Any, names: Sequence[str], windows: Iterable[np.ndarray]) -> Iterator[dict[str, "Recorded"]]:
    """For each window, {linear name: `Recorded`}. Runs the module only as far as the last linear wanted."""
    for window in windows:
        yield _capture(module, names, partial(run_window, module, window), stop=True)


class Recorded:
    """One linear's input in one window: the name it shares with all readers of the tensor, and float32 [T, K]."""

    def __init__(self, input_name: str, x: np.ndarray) -> None:
        self.input_name = input_name
        self.x = x


class LayerStream:
    """Windows on their way through a model's decoder layers; `layer(names)` records one layer and moves past it.

    Linears outside the decoder layers come last, behind all of them. `replace` makes the windows leave the layer last
    recorded, or skipped, through quantized linears.
    """

    def __init__(self, module: Any, names: Sequence[str], windows: np.ndarray | Sequence[np.ndarray]) -> None:
        lists = {m["list"] for n in names if (m := _LAYER.match(n))}
        self.module, self.windows = module, windows
        self.list = lists.pop() if len(lists) == 1 else None
        self.blocks: Any = None if self.list is None else module.get_submodule(self.list)
        self._states: list[tuple[tuple, dict]] = []
        self._next: list[tuple[tuple, dict]] = []
        self._at = -1

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """`names` divided into what is recorded at a time: one decoder layer, what follows them, or everything."""
        return [list(names)] if self.blocks is None else by_layer(names)

    def layer(self, names: Sequence[str], *, leave: bool = True) -> Iterator[dict[str, Recorded]]:
        """Like `record`, for linears of one group, later than those asked before. Without `leave` the windows stay
        before the layer, which saves its last product where `replace` follows."""
        found = self._recorded(names, leave)
        while ahead := list(islice(found, AHEAD)):
            yield from ahead

    def _recorded(self, names: Sequence[str], leave: bool) -> Iterator[dict[str, Recorded]]:
        if self.blocks is None:
            yield from record(self.module, names, self.windows)
            return
        self._advance(self._index(names[0]))
        if self._at == len(self.blocks):
            for i in range(len(self.windows)):
                yield _capture(self.module, names, partial(self._leave, i), stop=True)
            return
        block = self.blocks[self._at]
        self._next = []
        for i in range(len(self.windows)):
            yield _capture(self.module, names, partial(self._pass, block, i), stop=not leave)

    def replace(self, linears: Mapping[str, QuantizedLinear]) -> None:
        """Let the windows leave the layer of `linears` as it is with these instead of its own."""
        if self.blocks is None or self._index(next(iter(linears))) == len(self.blocks):
            return
        from lutllm.quantizer.observe.simulated import simulated

        self._advance(self._index(next(iter(linears))))
        prefix = f"{self.list}.{self._at}."
        block = simulated(self.blocks[self._at], {n.removeprefix(prefix): q for n, q in linears.items()})
        self._next = [self._through(block, i) for i in range(len(self.windows))]

    def _index(self, name: str) -> int:
        match = _LAYER.match(name)
        return int(match["index"]) if match else len(self.blocks)

    def _advance(self, index: int) -> None:
        if not self._states:
            self._states = [self._enter(window) for window in self.windows]
            self._at = 0
        while self._at < index:
            block = self.blocks[self._at]
            self._states = self._next or [self._through(block, i) for i in range(len(self.windows))]
            self._next = []
            self._at += 1

    def _enter(self, window: np.ndarray) -> tuple[tuple, dict]:
        """What the first decoder layer is called with."""
        caught: list[tuple[tuple, dict]] = []

        def hook(_module: Any, args: tuple, kwargs: dict) -> None:
            caught.append((args, kwargs))
            raise Stop

        handle = self.blocks[0].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            run_window(self.module, window)
        except Stop:
            pass
        finally:
            handle.remove()
        if not caught or not caught[0][0]:
            raise InputError("model: expected decoder layers called with the hidden states first, got another call")
        return caught[0]

    def _pass(self, block: Any, i: int) -> None:
        self._next.append(self._through(block, i))

    def _through(self, block: Any, i: int) -> tuple[tuple, dict]:
        import torch

        args, kwargs = self._states[i]
        with torch.no_grad():
            out = block(*args, **kwargs)
        hidden = out[0] if isinstance(out, tuple) else out
        return (hidden, *args[1:]), kwargs

    def _leave(self, i: int) -> None:
        """Run what follows the decoder layers."""
        import torch

        class Passed(torch.nn.Module):
            def forward(self, *_args: Any, **_kwargs: Any) -> Any:
                return hidden

        hidden = self._states[i][0][0]
        parent, _, name = str(self.list).rpartition(".")
        owner = self.module.get_submodule(parent)
        setattr(owner, name, torch.nn.ModuleList([Passed()]))
        try:
            run_window(self.module, self.windows[i])
        finally:
            setattr(owner, name, self.blocks)


def run_window(module: Any, window: np.ndarray) -> None:
    """One forward pass: token ids as a batch of one, floats as they are."""
    import torch

    with torch.no_grad():
        if np.issubdtype(window.dtype, np.floating):
            module(torch.from_numpy(np.ascontiguousarray(window)))
        else:
            module(token_ids(window), **({"use_cache": False} if hasattr(module, "config") else {}))


def _capture(module: Any, names: Sequence[str], run: Callable[[], None], *, stop: bool) -> dict[str, Recorded]:
    """Run once with a hook on each linear; linears given the very same tensor share an input name."""
    inputs: dict[tuple, Recorded] = {}
    alive: list[Any] = []  # so that no tensor takes the address of another within the window
    seen: dict[str, Recorded] = {}

    def hook(name: str) -> Callable:
        def keep(_module: Any, args: tuple) -> None:
            x = args[0]
            key = (x.data_ptr(), x._version, tuple(x.shape), x.dtype)
            if key not in inputs:
                alive.append(x)
                values = x.detach().float().reshape(-1, x.shape[-1]).numpy().copy()
                require_finite(values, f"{name}.input")
                inputs[key] = Recorded(f"{name}.input", values)
            seen.setdefault(name, inputs[key])
            if stop and len(seen) == len(names):
                raise Stop

        return keep

    handles = [module.get_submodule(n).register_forward_pre_hook(hook(n)) for n in names]
    try:
        run()
    except Stop:
        pass
    finally:
        for handle in handles:
            handle.remove()
    missing = [n for n in names if n not in seen]
    if missing:
        raise InputError(
            f"'{missing[0]}': expected this linear to be used by the model, but it never ran; leave it out"
        )
    return seen
