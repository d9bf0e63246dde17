"""A model of chats that several verbs are tested on."""

from dataclasses import replace

import pytest

from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT

TEMPLATE = (
    "{% for turn in messages %}{{ turn.role[0] }}:{{ turn.content }};{% endfor %}{% if add_generation_prompt %}a:"
    "{% endif %}"
)


@pytest.fixture(scope="package")
def chat_model():
    """Makes a tiny decoder of so many positions: random integers, a token a byte, and a chat template."""

    def made(positions: int):
        from lutllm.models.tokenizer import byte_tokenizer

        shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
        tokenizer = byte_tokenizer()
        tokenizer.chat_template = TEMPLATE
        model = random_model(shape, EXACT, seed=3, positions=positions)
        return replace(model, tokenizer=tokenizer, config={"model_type": "llama"}, about={"model": {"name": "tiny"}})

    return made
