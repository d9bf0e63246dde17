"""What estimates were compared with: errors and factors in `calibration.json`, which benchmarks write.

`cycles`: predicted against simulated, by `test/bench/prediction.py`. `resources`: by structure against Yosys, of whole
accelerators by kind of resource, and of LUTs by module; `factors`: LUTs a bit by kind of op; both by
`test/bench/area.py`. An error is a share, by its size: `median` and `worst` `of` so many.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lutllm import store

_FILE = Path(__file__).with_name("calibration.json")


@cache
def calibration() -> Mapping[str, Any]:
    values: Mapping[str, Any] = json.loads(_FILE.read_text())
    return values


def keep(**values: Any) -> None:
    """Write some of it again; the rest stays."""
    store.write_json(_FILE, {**calibration(), **values})


def error_of(errors: Iterable[float]) -> dict[str, float]:
    """The median and the worst of errors, which may have a sign."""
    sizes = sorted(map(abs, errors)) or [0.0]
    return {"median": round(statistics.median(sizes), 4), "worst": round(sizes[-1], 4), "of": len(sizes)}
