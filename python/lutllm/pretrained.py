"""A quantized model as a directory like Hugging Face's: `save_pretrained` writes it, `from_pretrained` reads it.

config.json                  the model's configuration, with `quantization_config` (quant_method: lutllm); written last
generation_config.json       where the model has one
tokenizer.json, ...          the tokenizer's files, chat template included
parameters.safetensors       all integers
quantization.json            what is no array; holds the hash of the parameters, and config.json holds its own

Every file is written whole or not at all. Nothing is unpickled.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutllm import store
from lutllm.decoder import QuantizedDecoder, QuantizedEmbedding
from lutllm.decoder_store import load_decoder, save_decoder
from lutllm.errors import InputError
from lutllm.models.hf import QUANTIZATION, QUANTIZATION_METHOD
from lutllm.models.tokenizer import load_tokenizer
from lutllm.quantize.resume import RUN
from lutllm.scheme import MULTIPLIER_BITS

CONFIG, GENERATION, TOKENIZER_CONFIG = "config.json", "generation_config.json", "tokenizer_config.json"
_HOW_IT_WAS_READ = ("is_local", "local_files_only")  # transformers notes this of a tokenizer from a directory
VERSION = 1


@dataclass
class QuantizedModel:
    """A quantized model: the integers, the tokenizer or None, and the configurations as in their files.

    `about` says where it comes from: `model` (name, source, fingerprint), `calibration`. `directory` is where it was
    read from.
    """

    decoder: QuantizedDecoder
    tokenizer: Any | None
    config: dict[str, Any]
    generation: dict[str, Any] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    directory: Path | None = None

    @property
    def chat_template(self) -> str | None:
        return None if self.tokenizer is None else getattr(self.tokenizer, "chat_template", None)

    @property
    def bits(self) -> dict[str, float]:
        """Bits per weight of all linears, codes alone and with everything the linears need, and of the embedding."""
        return bits_per_weight(self.decoder)


def bits_per_weight(decoder: QuantizedDecoder) -> dict[str, float]:
    """`code` and `effective` over the weights of all linears, the head's too; `embedding` over the embedding's."""
    weights = code = effective = 0.0
    for linear in decoder.linears.values():
        size = 2 * linear.pairs * linear.outputs
        bits = linear.bits_per_weight()
        weights, code, effective = weights + size, code + size * bits[0], effective + size * bits[1]
    return {
        "code": round(code / weights, 4),
        "effective": round(effective / weights, 4),
        "embedding": round(_embedding_bits(decoder.embedding), 4),
    }


def _embedding_bits(embedding: QuantizedEmbedding) -> float:
    return 8 + MULTIPLIER_BITS / embedding.rows.shape[1]


def save_pretrained(model: QuantizedModel, directory: Path | str) -> Path:
    """Write `model`; the same model gives the same bytes. `config.json` comes last: with it the directory is whole."""
    directory = Path(directory)
    (directory / CONFIG).unlink(missing_ok=True)
    save_decoder(directory, model.decoder, about=model.about)
    for name, content in _tokenizer_files(model.tokenizer).items():
        store.write_atomic(directory / name, content)
    if model.generation is not None:
        store.write_json(directory / GENERATION, model.generation)
    schemes = Counter(linear.scheme for linear in model.decoder.linears.values())
    quantization = {
        "quant_method": QUANTIZATION_METHOD,
        "version": VERSION,
        "schemes": [{"linears": count, **scheme.to_dict()} for scheme, count in schemes.items()],
        "bits": model.bits,
        **model.about,
        "sha256": store.sha256(directory / store.SIDECAR),
    }
    config = {key: value for key, value in model.config.items() if key != QUANTIZATION}
    store.write_json(directory / CONFIG, {**config, QUANTIZATION: quantization})
    return directory


def _tokenizer_files(tokenizer: Any | None) -> dict[str, bytes]:
    if tokenizer is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
    values = json.loads(files[TOKENIZER_CONFIG])
    kept = {key: value for key, value in values.items() if key not in _HOW_IT_WAS_READ}
    return {**files, TOKENIZER_CONFIG: (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()}


def from_pretrained(directory: Path | str) -> QuantizedModel:
    """Read what `save_pretrained` wrote. Raises `InputError` for a directory that is missing, not whole, changed, of
    another version or of a float model."""
    directory = Path(directory).expanduser()
    quantization, config = _configuration(directory)
    sidecar = directory / store.SIDECAR
    digest = store.sha256(sidecar)
    if digest != quantization.get("sha256"):
        raise InputError(
            f"'{sidecar}': expected SHA-256 {quantization.get('sha256')}, as {CONFIG} says, got {digest}; "
            "the file was changed or is of another run: quantize again"
        )
    generation = directory / GENERATION
    return QuantizedModel(
        decoder=load_decoder(directory),
        tokenizer=load_tokenizer(directory),
        config=config,
        generation=store.read_json(generation) if generation.is_file() else None,
        about={key: quantization[key] for key in ("model", "calibration") if key in quantization},
        directory=directory,
    )


def _configuration(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(quantization_config, config) of a directory that `save_pretrained` finished."""
    if not directory.is_dir():
        raise InputError(
            f"'{directory}': expected a directory made by lutllm quantize, got none; "
            f"run `lutllm quantize MODEL -o {directory}`"
        )
    path = directory / CONFIG
    if not path.is_file():
        state = "one that is not finished: run the same lutllm quantize again, it goes on where it was"
        got = state if (directory / RUN).exists() else f"one without {CONFIG}; give another"
        raise InputError(f"'{directory}': expected a directory made by lutllm quantize, got {got}")
    config = store.read_json(path)
    quantization = config.pop(QUANTIZATION, None)
    if not isinstance(quantization, dict) or quantization.get("quant_method") != QUANTIZATION_METHOD:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise InputError(
            f"'{path}': expected {QUANTIZATION} of quant_method '{QUANTIZATION_METHOD}', got "
            f"{repr(method) if method else 'a float model'}; run `lutllm quantize {directory} -o DIR` and give DIR"
        )
    if quantization.get("version") != VERSION:
        raise InputError(
            f"'{path}': expected version {VERSION} of the directory, got {quantization.get('version')!r}; "
            "quantize again with this lutllm, or use the one that wrote it"
        )
    return quantization, config
