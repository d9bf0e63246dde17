"""One point of a search: a job as plain data in, its estimate as plain data out, in any process on any machine."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lutllm.compiler.levels import parsed
from lutllm.cost.planning import Planner
from lutllm.errors import CapacityError, IRError
from lutllm.lowering.machine.targets import find_target
from lutllm.models.cache import sources
from lutllm.quantized.pretrained import from_pretrained
from lutllm.quantizer.random.model import hollow_model
from lutllm.report.estimate import estimate
from lutllm.scheme import Scheme


@dataclass(frozen=True)
class Job:
    """`file`: a target's, as text, called `name`; `model`: text of the float level, with `scheme` for all linears, or
    the directory of a quantized model."""

    name: str
    file: str
    model: str
    scheme: Scheme | None
    kv: int
    prefill: int

    @property
    def key(self) -> str:
        """Of all that decides the estimate, the package's code too."""
        text = json.dumps(asdict(self), sort_keys=True) + code()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def evaluate(job: Job) -> dict[str, Any]:
    """`Estimate.to_dict`, or `refused`: why there is no such accelerator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{job.name}.toml"
        path.write_text(job.file)
        try:
            target = find_target(str(path))
            planner = _planner(job.model, job.scheme, target.model.block, max(job.kv + 2, job.prefill + 1))
            plan, bits = planner.plan(str(path)), planner.model.bits["effective"]
            return estimate(plan, job.name, target, bits, kv=job.kv, prefill=job.prefill).to_dict()
        except (CapacityError, IRError) as problem:
            return {"refused": problem.message}


@lru_cache(maxsize=8)
def _planner(model: str, scheme: Scheme | None, block: int, context: int) -> Planner:
    """Of the job's model, without weights where it is a float one."""
    if scheme is None:
        return Planner(from_pretrained(model), context)
    return Planner(hollow_model(parsed(model), scheme.with_(G=block or scheme.G), positions=context), context)


def code() -> str:
    """A hash of the sources and data that estimates come from."""
    return sources("cost", "dialect", "lowering", "passes", "report")
