"""Weights from safetensors files: a directory and an empty module go in, the module is filled and checked.

Every tensor must be present, of the right shape and finite; the first that is not is named. No pickle is ever opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.models.hf import one_line, require

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_FLOATS = ("F32", "F16", "BF16", "F64")


def refuse_pickle(path: Path) -> None:
    """Stop at a file that Python would have to unpickle."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(
            f"{path}: expected safetensors or GGUF, got a pickle file ({path.suffix}), which can run code when opened "
            "and is refused; convert it to safetensors where you trust it"
        )


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint directory, the index's shards where there is an index."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputError(f"{index}: expected a 'weight_map' of tensor name to file; download the checkpoint again")
        files = [directory / Path(str(name)).name for name in sorted(set(weight_map.values()))]
        missing = [f.name for f in files if not f.is_file()]
        if missing:
            raise InputError(f"{index}: expected the files {', '.join(missing)} beside it; download them")
        return files
    files = sorted(directory.glob("*.safetensors"))
    if files:
        return files
    pickles = sorted(p for p in directory.iterdir() if p.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        refuse_pickle(pickles[0])
    raise InputError(f"{directory}: expected *.safetensors files with the weights, found none; download them")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or one error."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected this file, found none; give a directory with config.json") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected a readable JSON file, got {one_line(error)}; download it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(values).__name__}; download it again")
    return values


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of `files`, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def fill(module: Any, files: list[Path], source: str) -> None:
    """Load every parameter of `module` from `files`, in the module's dtype, and tie the LM head if declared."""
    torch = require("torch")
    wanted = dict(module.named_parameters())  # a tied parameter appears once, under its first name
    found: dict[str, Any] = {}
    for path in files:
        with _opened(path) as tensors:
            names = set(tensors.keys())
            _refuse_unknown(names, module, path)
            for name in sorted(names & wanted.keys()):
                found[name] = _tensor(tensors, name, wanted[name], path, torch)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"{source}: expected {len(wanted)} tensors, {len(missing)} are missing, the first is '{missing[0]}'; "
            "check config.json against the weights, or download the checkpoint again"
        )
    module.load_state_dict(found, strict=False, assign=True)
    module.tie_weights()
    module.requires_grad_(False)


def _opened(path: Path) -> Any:
    safetensors = require("safetensors")
    try:
        return safetensors.safe_open(path, framework="pt")
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole safetensors file, got {one_line(error)}; download or write it again"
        ) from None


def _refuse_unknown(names: set[str], module: Any, path: Path) -> None:
    """A tensor the model has no place for means the configuration describes another model."""
    known = set(module.state_dict())
    layers = module.config.num_hidden_layers
    for name in sorted(names - known):
        if name.endswith("rotary_emb.inv_freq") or _layer_index(name) >= layers:
            continue  # a buffer older versions of transformers saved; a layer left out on purpose
        raise InputError(
            f"{path}: expected the tensors of a {module.config.model_type} model, got the unknown tensor '{name}'; "
            "check config.json against the weights"
        )


def _layer_index(name: str) -> int:
    """12 for `model.layers.12.mlp.up_proj.weight`, -1 for a tensor outside the layers."""
    head, _, rest = name.partition("model.layers.")
    return int(rest.partition(".")[0]) if not head and rest.partition(".")[0].isdigit() else -1


def _tensor(tensors: Any, name: str, like: Any, path: Path, torch: Any) -> Any:
    """One tensor, checked for type, shape and finite values, in the dtype of `like`."""
    view = tensors.get_slice(name)
    if view.get_dtype() not in _FLOATS:
        raise InputError(
            f"{path}: expected '{name}' in {', '.join(_FLOATS)}, got {view.get_dtype()}; use an unquantized checkpoint"
        )
    if tuple(view.get_shape()) != tuple(like.shape):
        raise InputError(
            f"{path}: expected '{name}' of shape {list(like.shape)}, got {list(view.get_shape())}; "
            "check config.json against the weights"
        )
    tensor = tensors.get_tensor(name)
    check_finite(name, tensor, str(path))
    return torch.nn.Parameter(tensor.to(like.dtype), requires_grad=False)


def check_finite(name: str, tensor: Any, source: str) -> None:
    """Refuse NaN and infinity, naming the first element that is one."""
    torch = require("torch")
    if tensor.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all()):
        return
    where = torch.nonzero(~torch.isfinite(tensor))[0].tolist()
    value = float(tensor[tuple(where)])
    raise InputError(f"{source}: expected finite weights, got {value} in '{name}' at {where}; use another checkpoint")
