"""Tokens in, text out as soon as it is certain; where a stop string stands, no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_BYTE = re.compile("<0x[0-9A-F]{2}>")
_REPLACEMENT = "\ufffd"  # what tokenizers put for bytes that are no whole character


class TextStream:
    """Tokens in, text out as soon as it is certain: never half a character, and the pieces add up to the whole.

    A run of byte tokens is certain when another token follows: one bad byte makes U+FFFD of all of them.
    """

    _WINDOW = 32  # tokens decoded at once; some stay in front, since a token's text may depend on those before it

    def __init__(self, tokenizer: Any) -> None:
        self._decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        self._bytes = {number for token, number in tokenizer.get_vocab().items() if _BYTE.fullmatch(token)}
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._skipped = {number for number, token in added.items() if token.special}  # not in the text: no end of a run
        self._in_bytes = False
        self._ids: list[int] = []
        self._shown = 0  # characters of this window that are out

    def push(self, token: int) -> str:
        """The text that `token` makes certain, perhaps none."""
        self._ids.append(token)
        self._in_bytes = token in self._bytes or (self._in_bytes and token in self._skipped)
        if self._in_bytes:
            return ""
        text = self._decode(self._ids)
        piece = self._piece(text.rstrip(_REPLACEMENT))
        if len(self._ids) > self._WINDOW and not text.endswith(_REPLACEMENT):
            self._ids = self._ids[-self._WINDOW // 2 :]
            self._shown = len(self._decode(self._ids))
        return piece

    def finish(self) -> str:
        """What was held back: bytes that never became a character."""
        return self._piece(self._decode(self._ids))

    def _piece(self, text: str) -> str:
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return piece


class StopStrings:
    """Pieces of text in, the text before the first stop string out: what may be the beginning of one is held back."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [string for string in strings if string]
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """The text that is certain now; `found` says whether a stop string came, after which there is none."""
        if self.found:
            return ""
        text = self._held + piece
        starts = [at for at in map(text.find, self._strings) if at >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        most = max((len(string) for string in self._strings), default=1) - 1
        held = next(
            (n for n in range(min(most, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in self._strings)), 0
        )
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back, at the end of a text."""
        held, self._held = self._held, ""
        return held
