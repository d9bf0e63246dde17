"""Models as PyTorch modules: a directory, a GGUF file or a built-in name goes in, a `LoadedModel` comes out.

Importing this package is cheap; torch and transformers are imported by the first `load`.
"""

from lutllm.models.catalog import BUILTIN_NAMES
from lutllm.models.loader import LoadedModel, fingerprint, load, outline
