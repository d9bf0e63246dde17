"""Command lines: `lutllm-opt` for IR, `lutllm` for models, and the documentation generator."""
