"""lutllm compiles a PyTorch LLM into a table-lookup accelerator."""

__version__ = "0.1.0"
