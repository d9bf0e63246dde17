"""Weights from safetensors files: a directory and an empty module go in, the module is filled and checked.

Every tensor must be present, of the right shape and finite; the first that is not is named. No pickle is ever opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.models.hf import one_line, require
from lutllm.store import what_is

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_FLOATS = ("F32", "F16", "BF16", "F64")


def refuse_pickle(path: Path) -> None:
    """Stop at a file that Python would have to unpickle."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise InputError(
            f"{path}: expected safetensors or GGUF, got a pickle file ({path.suffix}), which can run code when opened "
            "and is refused; convert it to safetensors where you trust it"
        )


def weight_files(directory: Path) -> dict[Path, set[str] | None]:
    """The safetensors files of a checkpoint directory, as transformers chooses them - `model.safetensors`, else the
    shards of its index - with the tensors each holds by the index. No other is read; an adapter beside is refused."""
    one, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if (directory / "adapter_config.json").is_file():
        raise InputError(
            f"{directory / 'adapter_config.json'}: expected a model, got an adapter, which would change it; "
            "merge it into the weights, or remove it"
        )
    if one.is_file():
        return {one: None}
    if index.is_file():
        return _shards(directory, index)
    pickles = sorted(p for p in directory.iterdir() if p.suffix.lower() in PICKLE_SUFFIXES)
    others = sorted(path.name for path in directory.glob("*.safetensors"))
    if pickles and not others:
        refuse_pickle(pickles[0])
    raise InputError(
        f"{directory}: expected {one.name} or {index.name} with its shards, found {', '.join(others[:4]) or 'none'}; "
        f"{'rename the file with the weights' if others else 'download them'}"
    )


def _shards(directory: Path, index: Path) -> dict[Path, set[str] | None]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(f, str) for f in weight_map.values()):
        raise InputError(f"{index}: expected a 'weight_map' of tensor name to file; download the checkpoint again")
    found: dict[Path, set[str] | None] = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not (directory / file).is_file():
            raise InputError(f"{index}: expected the file {file} beside it, found none; download it")
        found[directory / file] = {name for name, other in weight_map.items() if other == file}
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or one error."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected this file, found none; {path.parent} holds {what_is(path.parent)}"
        ) from None
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


def fill(module: Any, files: Mapping[Path, set[str] | None], source: str, *, some_layers: bool = False) -> None:
    """Load every parameter of `module` from `files`, each with the tensors it is to hold, in the module's dtype, and
    tie the LM head if declared. With `some_layers` the files may hold more decoder layers than the module."""
    torch = require("torch")
    wanted = dict(module.named_parameters(remove_duplicate=False))
    found: dict[str, Any] = {}
    for path, assigned in files.items():
        with _opened(path) as tensors:
            names = set(tensors.keys())
            _check_assigned(names, assigned, path)
            _refuse_unknown(names, module, path, some_layers)
            for name in sorted(names & wanted.keys()):
                found[name] = _tensor(tensors, name, wanted[name], path, torch)
    for tied, first in module.all_tied_weights_keys.items():
        own = found.pop(tied, None)
        if own is not None and not torch.equal(found.setdefault(first, own), own):
            raise InputError(
                f"{source}: expected one weight for '{first}' and '{tied}', which config.json ties, got two unlike; "
                "set tie_word_embeddings to false where the second is meant, or remove it"
            )
    wanted = dict(module.named_parameters())
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"{source}: expected {len(wanted)} tensors, {len(missing)} are missing, the first is '{missing[0]}'; "
            "check config.json against the weights, or download the checkpoint again"
        )
    module.load_state_dict(found, strict=False, assign=True)
    module.tie_weights()
    module.requires_grad_(False)


def _check_assigned(names: set[str], assigned: set[str] | None, path: Path) -> None:
    """A shard holds what its index says, no more and no less: of two tensors of one name, one would win in silence."""
    if assigned is None or names == assigned:
        return
    name = min(names ^ assigned)
    there, not_there = f"tensor '{name}'", f"no tensor '{name}'"
    expected, got = (there, not_there) if name in assigned else (not_there, there)
    raise InputError(f"{path}: expected {expected}, as the index says, got {got}; download the checkpoint again")


def in_float32(files: Iterable[Path]) -> bool:
    """Whether every tensor of the files is stored in float32."""
    for path in files:
        with _opened(path) as tensors:
            if {tensors.get_slice(name).get_dtype() for name in tensors.keys()} - {"F32"}:  # noqa: SIM118
                return False
    return True


def _opened(path: Path) -> Any:
    safetensors = require("safetensors")
    try:
        return safetensors.safe_open(path, framework="pt")
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole safetensors file, got {one_line(error)}; download or write it again"
        ) from None


def _refuse_unknown(names: set[str], module: Any, path: Path, some_layers: bool) -> None:
    """A tensor the model has no place for means the configuration describes another model."""
    known = set(module.state_dict())
    layers = module.config.num_hidden_layers
    for name in sorted(names - known):
        if name.endswith("rotary_emb.inv_freq") or (some_layers and _layer_index(name) >= layers):
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
