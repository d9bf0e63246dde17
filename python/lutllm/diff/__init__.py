"""`lutllm diff`: two levels of one run beside each other, and the first number in which they differ."""

from lutllm.diff.difference import Comparison, Difference, DiffResult
from lutllm.diff.golden import compare_golden
from lutllm.diff.hardware import compare_hardware
from lutllm.diff.recording import Recording, record
