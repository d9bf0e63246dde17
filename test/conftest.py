"""Settings of every pytest run: property tests are reproducible and have no deadline, so that a slow machine passes."""

from pathlib import Path

import hypothesis
import pytest

import lutllm
from lutllm.models.hf import set_environment

set_environment()  # before a test uses torch by itself
hypothesis.settings.register_profile("lutllm", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lutllm")


def pytest_report_header(config: pytest.Config) -> str:
    return f"lutllm: {Path(lutllm.__file__).parent}"
