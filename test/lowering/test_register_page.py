"""The page of the register map: every register, error and engine of one accelerator."""

from lutllm.lowering.hardware.control.register_map import REGISTERS, register_table, window
from lutllm.lowering.hardware.control.register_page import register_page
from lutllm.lowering.machine.accelerator import ERROR_MEANINGS, AcceleratorConfig


def test_it_names_every_register_error_and_engine() -> None:
    config = AcceleratorConfig(context=1500)
    text = register_page(config)
    assert register_table(config) in text
    assert all(f"`{register.name}`" in text for register in REGISTERS)
    assert f"{window(config.context):#x}" in text and "1500 tokens" in text
    for i, (error, meaning) in enumerate(ERROR_MEANINGS.items()):
        assert f"| {i} | {error.replace('_', ' ')} | {meaning} |" in text
    for i, engine in enumerate(config.engines):
        assert f"| {i} | {engine} |" in text
    assert "{" not in text


def test_it_follows_the_accelerator() -> None:
    assert register_page(AcceleratorConfig(context=64)) != register_page(AcceleratorConfig(context=4096))
