"""The page of the register map: every register, error and engine of one accelerator."""

from pathlib import Path

from lutllm.lowering.accelerator import ENGINES, ERRORS, AcceleratorConfig
from lutllm.lowering.accelerator_hw.register_map import REGISTERS, register_table, window
from lutllm.lowering.accelerator_hw.register_page import register_page, write_register_map


def test_it_names_every_register_error_and_engine(tmp_path: Path) -> None:
    config = AcceleratorConfig(context=1500)
    path = write_register_map(config, tmp_path / "reports" / "registers.md")
    text = path.read_text()
    assert text == register_page(config) and register_table(config) in text
    assert all(f"`{register.name}`" in text for register in REGISTERS)
    assert f"{window(config):#x}" in text and "1500 tokens" in text
    for i, error in enumerate(ERRORS):
        assert f"| {i} | {error.replace('_', ' ')} |" in text
    for i, engine in enumerate(ENGINES):
        assert f"| {i} | {engine} |" in text
    assert "{" not in text


def test_it_follows_the_accelerator() -> None:
    assert register_page(AcceleratorConfig(context=64)) != register_page(AcceleratorConfig(context=4096))
