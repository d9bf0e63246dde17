"""The files of targets, one each; `lowering.machine.targets` reads them."""

from pathlib import Path

DIRECTORY = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in DIRECTORY.glob("*.toml")))
