"""What the main job is asked for, and what came of it: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.lowering.machine.targets import find_target
from lutllm.scheme import parse_schemes
from lutllm.tabular import Tabular

if TYPE_CHECKING:
    from lutllm.accelerator.activations import Mismatch
    from lutllm.accelerator.hardware import Answer
    from lutllm.report.gantt import Drawing
    from lutllm.simulate.transactions.records import TaskRecord

SIMULATORS = ("arc", "verilator")
PROMPT = "The capital of France is"
CONTEXT = 256  # of the accelerator of a whole model, where nothing else is asked for
TOKENS, LAYER_TOKENS = 4, 16  # to make; of each linear
LAYER_CALIBRATION = 16384
LAYER_SCHEMES = ("paper", "exact")


@dataclass
class Options:
    """What the main job does.

    `layers`: the linears of these decoder layers one by one, for every row source; None: the whole model. `schemes`:
    names, optionally `name:R` for R weight stages; of a whole model one, which a directory of `lutllm quantize` has
    already. `tokens`: to make, or of each linear. `calibration`: tokens the quantizer sees, of the file `text`.
    `simulator`: arc, verilator, or None to simulate nothing. Of a whole model: `prompt` to go on with, `context` tokens
    of a sequence at most, `resources` to ask Yosys for an estimate.
    """

    layers: Sequence[int] | None = None
    schemes: Sequence[str] = ()
    target: str = "small"
    tokens: int | None = None
    text: str | None = None
    calibration: int | None = None
    seed: int = 0
    simulator: str | None = "arc"
    prompt: str | None = None
    context: int | None = None
    resources: bool = False

    def checked(self) -> Options:
        """Self; `InputError` for what does not go together."""
        if self.simulator not in (None, *SIMULATORS):
            raise InputError(f"expected a simulator among {', '.join(SIMULATORS)}, got '{self.simulator}'")
        find_target(self.target)
        parse_schemes(self.schemes)
        of_models = {"prompt": self.prompt, "context": self.context, "resources": self.resources or None}
        given = [name for name, value in of_models.items() if value is not None]
        if self.layers is not None and given:
            raise InputError(f"--{given[0]} is for a whole model: expected no --layers, got them; leave one out")
        if self.layers is None and len(self.schemes) > 1:
            raise InputError(f"expected one scheme for a whole model, got {', '.join(self.schemes)}; or give --layers")
        return self


@dataclass
class Result(Tabular):
    """`rows` is `reports/equality.json`: one entry for each linear, scheme and row source, where linears were compiled
    one by one; `answer` is what hardware made of the prompt, where a whole model was simulated. `predicted_cycles` are
    the schedule's; `tasks` when each task ran, in simulation or as predicted."""

    directory: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    answer: Answer | None = None
    predicted_cycles: int = 0
    tasks: list[TaskRecord] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cycles_per_second: list[float] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        """`rows`; of a whole model what it answered, or what is predicted."""
        whole = {"predicted_cycles": self.predicted_cycles} if self.answer is None else self.answer.to_dict()
        return self.rows or [{key: value for key, value in whole.items() if not isinstance(value, list)}]

    def __str__(self) -> str:
        from lutllm.report import text

        return f"{text.table(self.rows)}\n{text.verdict(self)}" if self.rows else text.model_verdict(self)

    def gantt(self, turn: int | None = None) -> Drawing:
        """The tasks of a list of the run, by engine (default: the last, of a token that is made)."""
        from lutllm.report.gantt import drawn

        turns = sorted({record.turn for record in self.tasks})
        if not turns:
            raise InputError("expected a whole model that was compiled, got no tasks; compile without layers")
        wanted = turns[-1] if turn is None else turn
        if wanted not in turns:
            raise InputError(f"expected a list of the run, 0 to {turns[-1]}, got {turn}")
        return drawn([record for record in self.tasks if record.turn == wanted])

    @property
    def equal(self) -> bool:
        return not self.mismatches and (self.answer is None or self.answer.equal)
