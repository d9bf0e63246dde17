"""torch and transformers, imported late and silently; a configuration goes in, an empty float module comes out."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from lutllm.errors import InputError, MissingDependencyError

_POSITIVE = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"),
    *("num_attention_heads", "num_key_value_heads", "intermediate_size"),
)
QUANTIZATION = "quantization_config"  # the key transformers looks for
QUANTIZATION_METHOD = "lutllm"
GENERATION = "generation_config.json"
_CHANGING = ("dynamic", "longrope")
_QUIET = {
    "HF_HUB_OFFLINE": "1",  # never the network: a model is a path or a built-in name
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def require(name: str) -> ModuleType:
    """Import one of the packages of the `models` extra, or say how to install it."""
    set_environment()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingDependencyError(
            f"expected the Python package '{package}' for working with models, got {error}; "
            "run `pip install lutllm[models]`"
        ) from None


@functools.cache
def set_environment() -> None:
    """Variables that torch and transformers read when first used. Kernels for AVX2 on every processor that has them:
    those for AVX-512 add in another order."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    kernels = {"ATEN_CPU_CAPABILITY": "avx2"} if features.get("avx2") and features.get("fma") else {}
    for key, value in {**_QUIET, **kernels}.items():
        os.environ.setdefault(key, value)


@contextmanager
def silent() -> Iterator[None]:
    """Keep transformers' progress bars, log lines and warnings off the terminal."""
    logging = require("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def decoder_class(kind: Any) -> str | None:
    """The class of transformers that reads text of a `model_type`, None where it has none."""
    known = require("transformers.models.auto.modeling_auto").MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    found = known.get(kind) if isinstance(kind, str) else None
    return found[0] if isinstance(found, tuple) else found


def make_config(values: dict[str, Any], source: str) -> Any:
    """The transformers configuration described by `values` (the contents of a `config.json`)."""
    kind = values.get("model_type")
    if decoder_class(kind) is None:
        raise InputError(
            f"{source}: expected the model_type of a decoder that transformers knows, got {kind!r}; give another"
        )
    quantization = values.get(QUANTIZATION)
    if isinstance(quantization, dict) and quantization.get("quant_method") == QUANTIZATION_METHOD:
        raise InputError(
            f"{source}: expected a float model, got one that lutllm has quantized; "
            f"give the model it was made from ({_source_of(quantization)}), or run `lutllm eval` or `lutllm run` on it"
        )
    if quantization:
        raise InputError(
            f"{source}: expected float weights, got a quantization_config; use the original, unquantized checkpoint"
        )
    known = {key: value for key, value in values.items() if key not in ("auto_map", "_name_or_path")}
    try:
        with silent():
            config = require("transformers").AutoConfig.for_model(**known)
        for name in _POSITIVE:
            if not isinstance(size := getattr(config, name, 1), int) or size < 1:
                raise ValueError(f"{name} is {size!r}, not a whole number above 0")
        if getattr(config, "num_attention_heads", 1) % (getattr(config, "num_key_value_heads", None) or 1):
            raise ValueError("num_attention_heads is not a multiple of num_key_value_heads")
    except MissingDependencyError:
        raise
    except Exception as error:
        raise InputError(
            f"{source}: expected a usable {kind} configuration, got {one_line(error)}; fix {Path(source).name}"
        ) from None
    rope = getattr(config, "rope_parameters", None) or {}
    for part in (rope, *(part for part in rope.values() if isinstance(part, dict))):  # one for each kind of layer
        if part.get("rope_type") in _CHANGING:
            raise InputError(
                f"{source}: expected frequencies of RoPE that do not change with the length of a text, got rope_type "
                f"'{part['rope_type']}'; choose another model"
            )
    return config


def _source_of(quantization: dict[str, Any]) -> str:
    model = quantization.get("model")
    return str(model.get("source")) if isinstance(model, dict) else "unknown"


def empty_module(config: Any, source: str, dtype: Any = None) -> Any:
    """The CausalLM module of `config`, its parameters allocated but not filled (memory is touched when they are)."""
    torch = require("torch")
    initialization = require("transformers.initialization")
    model_class = getattr(require("transformers"), str(decoder_class(config.model_type)))
    before = torch.get_default_dtype()
    try:
        with silent(), initialization.no_init_weights():
            torch.set_default_dtype(dtype or torch.float32)
            module = model_class(config)
            module.tie_weights()  # part of the initialisation left out
    except Exception as error:
        raise InputError(
            f"{source}: expected a configuration a {config.model_type} model can be built from, got {one_line(error)}; "
            f"fix {Path(source).name}"
        ) from None
    finally:
        torch.set_default_dtype(before)
    return module.eval().requires_grad_(False)


def on_device(module: Any, device: str) -> Any:
    """`module` where it is for "cpu", else a copy on that device in bfloat16; RoPE's frequencies stay as they are."""
    if device == "cpu":
        return module
    torch = require("torch")
    moved = copy.deepcopy(module).to(device)
    for parameter in moved.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return moved


def one_line(error: BaseException) -> str:
    """An exception of another library as part of one sentence."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
