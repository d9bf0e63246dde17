"""The verbs of the command `lutllm`, one a file: arguments in, the API called, an exit code out."""
