"""The parts of lutllm-opt: options, input, expected diagnostics, printing, reports."""
