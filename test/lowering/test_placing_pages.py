"""What docs/placing.md and docs/scheduling.md show of the IR is what the command above it prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["placing", "scheduling"])
def test_excerpts_are_real(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    ((command, shown),) = re.findall(r"```console\n\$ lutllm-opt (.*)\n((?:.*\n)*?)```", text)
    tool = [sys.executable, "-m", "lutllm.tools.lutllm_opt"]
    done = subprocess.run([*tool, *command.split()], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = iter(done.stdout.split("\n"))
    for line in shown.splitlines():  # in order, some left out, some cut short
        start = line.removesuffix("...")
        assert any(found.startswith(start) for found in lines), line
