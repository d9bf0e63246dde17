"""A conversation with a model: turns in, answers out; what stays the same is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from lutllm.errors import InputError
from lutllm.run.generate import Generation, respond
from lutllm.run.prompts import Turn, chat_ids
from lutllm.run.sampling import Sampling

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.session import Session


class Conversation:
    """Turns of a chat on a session. Each answer's seed is the one after that of the answer before."""

    def __init__(self, model: QuantizedModel, session: Session, *, system: str = "", sampling: Sampling) -> None:
        self.model, self.session, self.system, self.sampling = model, session, system, sampling
        self.turns: list[Turn] = []
        self.clear()
        chat_ids(model.tokenizer, [*self.turns, {"role": "user", "content": "?"}])  # whether there is a template

    def clear(self) -> None:
        """Back to the beginning."""
        self.turns = [{"role": "system", "content": self.system}] if self.system else []

    def say(self, text: str, limit: int, show: Callable[[str], None], strings: Sequence[str] = ()) -> Generation | None:
        """The answer to `text`, shown as it is made; None where Ctrl-C ended it: what was said by then stays, and the
        conversation goes on. InputError where it has no room: the turn is taken back."""
        asked, said = [*self.turns, {"role": "user", "content": text}], ""

        def out(piece: str) -> None:
            nonlocal said
            said += piece
            show(piece)

        ids = chat_ids(self.model.tokenizer, asked)
        if len(ids) >= self.session.context:
            raise InputError(
                f"expected a conversation of fewer than {self.session.context} tokens, the context, got {len(ids)}; "
                "begin a new one, or give a longer --context"
            )
        found = None
        with suppress(KeyboardInterrupt):
            found = respond(self.model, self.session, ids, limit, out, sampling=self.sampling, strings=strings)
        self.turns = [*asked, {"role": "assistant", "content": said}]
        self.sampling = replace(self.sampling, seed=self.sampling.seed + 1)
        return found
