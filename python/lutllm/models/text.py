"""Text to calibrate and evaluate on: documents with a recorded source go in, windows of token ids come out.

The default needs no download: the topics of Python's language reference that CPython ships with its `pydoc`. Documents
are split by hash into calibration and evaluation text, so that nothing is ever measured on what was calibrated on.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lutllm.errors import InputError

EVALUATION_SHARE = 10  # one document in this many is held apart


@dataclass(frozen=True)
class Text:
    """Documents by name, and where they come from. `info` goes into reports: source, licence, documents, sha256.

    `key` is hashed before a document's name to split the text; the source unless given.
    """

    documents: dict[str, str]
    source: str
    licence: str
    key: str | None = None

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for name, body in sorted(self.documents.items()):
            digest.update(f"{name}\0{body}\0".encode())
        return digest.hexdigest()

    @property
    def info(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "licence": self.licence,
            "documents": len(self.documents),
            "characters": sum(map(len, self.documents.values())),
            "sha256": self.sha256,
        }

    def split(self) -> tuple[Text, Text]:
        """(calibration, evaluation): a document is for evaluation when SHA-256(key + name) mod 10 is 0, unless all
        would be."""
        key = self.source if self.key is None else self.key
        held = {name for name in self.documents if _hash(key + name) % EVALUATION_SHARE == 0}
        held = set() if held == set(self.documents) else held
        calibration = {name: body for name, body in self.documents.items() if name not in held}
        evaluation = {name: body for name, body in self.documents.items() if name in held}
        return replace(self, documents=calibration), replace(self, documents=evaluation)

    @property
    def held_apart(self) -> Text:
        """The evaluation part, which says so."""
        return replace(self.split()[1], source=f"{self.source}, documents held apart")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def default_text() -> Text:
    """Python's language reference as `pydoc` carries it: English prose with some code, one document a topic."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError(
            "text: expected the module pydoc_data.topics of the Python standard library, found none; give a text file"
        ) from None
    return Text({name: topics[name] for name in sorted(topics)}, "pydoc_data.topics", "PSF-2.0")


def text_file(path: str | Path) -> Text:
    """A plain-text file in UTF-8; a document is a run of paragraphs of about 4000 characters."""
    path = Path(path)
    try:
        body = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected a text file, got {error.strerror}; give a readable file") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}; convert it"
        ) from None
    if not body.strip():
        raise InputError(f"{path}: expected text, got an empty file (0 tokens); give a file with a few thousand words")
    return Text(_documents(body), path.name, "unknown (given by the user)")


def _documents(body: str, size: int = 4000) -> dict[str, str]:
    """Cut at empty lines, so that documents do not break sentences; at words where paragraphs are longer."""
    found: list[str] = []
    current = ""
    parts = (re.findall(rf"(?s).{{1,{2 * size}}}(?!\S)|\S+", paragraph + "\n\n") for paragraph in body.split("\n\n"))
    for part in itertools.chain.from_iterable(parts):
        current += part
        if len(current) >= size:
            found.append(current)
            current = ""
    if current.strip():
        found.append(current)
    return {f"{index:06d}": part for index, part in enumerate(found)}


def windows(
    tokenizer: Any,
    text: Text | str,
    length: int,
    count: int,
    seed: int = 0,
    *,
    shuffled: bool = False,
    again: bool = False,
) -> np.ndarray:
    """`count` windows of `length` token ids, int64 [count, length], no start token, chosen by `seed` without overlap.

    The documents are joined and cut into windows that do not overlap; where there are too few of them, they come
    `again`, or it is an error that says how many tokens there are. They come in the order of the text, or `shuffled`.
    """
    if length < 1 or count < 1:
        raise InputError(f"text: expected at least 1 window of at least 1 token, got {count} of {length}; ask for more")
    if tokenizer is None:
        raise InputError("expected a model with a tokenizer, got none; add tokenizer.json to its directory")
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}")
    documents = [text] if isinstance(text, str) else list(text.documents.values())
    ids = _tokenized(tokenizer, "\n\n".join(d for d in documents if d.strip()))
    check_embedded(tokenizer, ids)
    available = len(ids) // length
    if available < (1 if again else count):
        source = "text" if isinstance(text, str) else text.source
        raise InputError(
            f"{source}: expected at least {count * length} tokens ({count} windows of {length}), got {len(ids)}; "
            "give a longer text or ask for fewer or shorter windows"
        )
    chosen = np.resize(np.random.default_rng(seed).permutation(available), count)
    return ids[: available * length].reshape(available, length)[chosen if shuffled else np.sort(chosen)]


@functools.lru_cache(maxsize=4)  # ten seconds for the default corpus, asked for several times in a run
def _tokenized(tokenizer: Any, body: str) -> np.ndarray:
    return np.array(tokenizer(body, add_special_tokens=False)["input_ids"] if body else [], dtype=np.int64)


def check_embedded(tokenizer: Any, ids: np.ndarray) -> None:
    """Refuse token ids that the model of a tokenizer has no embedding for."""
    rows = getattr(tokenizer, "embedded", None)
    if rows is not None and len(ids) and ids.max() >= rows:
        token = tokenizer.convert_ids_to_tokens(int(ids.max()))
        raise InputError(
            f"expected token ids below {rows}, the rows of the model's embedding, got {ids.max()} ('{token}'); "
            "the tokenizer is of another model"
        )


def evaluation_windows(tokenizer: Any, text: Text, length: int = 512, count: int = 40, seed: int = 0) -> np.ndarray:
    """`windows` of the documents held apart. The first n of them are the same for every `count` >= n."""
    return windows(tokenizer, text.held_apart, length, count, seed, shuffled=True)


def perplexity_of(loss: float, tokens: int) -> float:
    """exp of the mean loss of so many tokens; infinity where that is more than a number holds."""
    with np.errstate(over="ignore"):
        return float(np.exp(loss / tokens))


def token_ids(windows: np.ndarray, device: Any = "cpu") -> Any:
    """Token ids [T], or [windows, T], as a batch, int64 [windows, T], on a device of PyTorch's."""
    import torch

    return torch.from_numpy(np.atleast_2d(windows).astype(np.int64)).to(device)
