"""Targets are TOML: each number has a source, and what is wrong in a file is named with the file."""

import tomllib
from pathlib import Path

import pytest

from lutllm.errors import InputError
from lutllm.lowering.machine.target_files import DIRECTORY, NAMES
from lutllm.lowering.machine.targets import configured, find_target
from lutllm.lowering.pipelines import to_scheduled

MINE = 'like = "tiny"\nsummary = "mine"\n[memory]\nlatency = 9\n[sources]\nmemory = "measured"\n'


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source(name: str) -> None:
    """Read without the reader, which refuses what has none."""
    given = tomllib.loads((DIRECTORY / f"{name}.toml").read_text())
    numbers = {f"{table}.{key}" for table, values in given.items() if isinstance(values, dict) for key in values}
    for number in numbers - {f"sources.{key}" for key in given["sources"]}:
        assert given["sources"].get(number) or given["sources"].get(number.partition(".")[0]), number
    assert find_target(name).summary == given["summary"]


def test_what_a_file_does_not_say_is_as_in_another(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    found, tiny = find_target(str(tmp_path / "mine.toml")), find_target("tiny")
    assert (found.memory.latency, found.memory.bytes) == (9, tiny.memory.bytes)
    assert (found.engine, found.device) == (tiny.engine, tiny.device)
    assert tiny.memory.latency != 9


def test_a_file_like_another_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "again.toml").write_text(MINE.replace("tiny", "mine.toml").replace("latency = 9", "bytes = 99"))
    found = find_target(str(tmp_path / "again.toml"))
    assert (found.memory.latency, found.memory.bytes) == (9, 99)
    (tmp_path / "mine.toml").write_text(MINE.replace("tiny", "again.toml"))
    with pytest.raises(InputError, match="expected to be like another target, got itself; change 'like'"):
        find_target(str(tmp_path / "mine.toml"))


def test_a_configuration_is_of_a_target(tmp_path: Path) -> None:
    path = tmp_path / "point.toml"
    path.write_text(
        MINE.replace("[memory]", '[model]\nrow_source = "built_row"\nblock = 64\n[memory]').replace(
            "memory =", "model = 'me'\nmemory ="
        )
    )
    assert configured("tiny", str(path)) == str(path)
    found = find_target(str(path)).model
    assert (found.row_source, found.block) == ("built_row", 64)
    assert "row-source=built_row" in to_scheduled(str(path)) and "row-source=exact_row" in to_scheduled(
        str(path), "exact_row"
    )
    with pytest.raises(InputError, match="expected a configuration of target small, got one of tiny"):
        configured("small", str(path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'like = "tiny"',
            'like = "fast"',
            "expected like to be one of small, tiny, u280, v80, or a .toml file, got 'fast'",
        ),
        ('like = "tiny"\n', "", "expected device.name, got none; add it, or the target it is like"),
        ('summary = "mine"', "", "expected a summary, a line of text, got None"),
        ("latency = 9", "latency = -9", "expected memory.latency to be a whole number above 0, got -9"),
        ("latency = 9", "latency = true", "expected memory.latency to be a whole number above 0, got True"),
        (
            "latency = 9",
            "delay = 9",
            "expected memory to have bytes, latency, gb_per_s, share, port_gb_per_s, ports, got",
        ),
        (
            "[memory]",
            "[memori]",
            "expected tables device, clock, memory, dram, power, accelerator, engine, model, got",
        ),
        ('memory = "measured"', "", "expected a source of memory.latency, got none; say in [sources] where it comes"),
        (
            "[sources]",
            "[engine]\npairs = 3\n[sources]\nengine = 'me'",
            "2 * pairs = 6 and requant_lanes to divide each",
        ),
        ("latency = 9", "latency = ", "expected TOML, got Invalid value (at line 4, column 11)"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in MINE
    path.write_text(MINE.replace(old, new))
    with pytest.raises(InputError) as raised:
        find_target(str(path))
    assert raised.value.message.startswith(f"{path}: ") and message in raised.value.message


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a target among small, tiny, u280, v80, or a \.toml file, got"):
        find_target("v81")
    with pytest.raises(InputError, match="expected a target's file, got none that can be read"):
        find_target(str(tmp_path / "none.toml"))
