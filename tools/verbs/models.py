"""`lutllm models`: what can be named as a model, and what the cache holds."""

from __future__ import annotations

import argparse
from typing import Any


def models_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(metavar="rm", dest="what")
    remove = what.add_parser("rm", help="take entries out of the cache")
    remove.add_argument("entries", nargs="+", metavar="ENTRY", help="as lutllm models lists it")


def models(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.models.catalog import catalog, remove
    from lutllm.report.text import align

    if options.what == "rm":
        gone = remove(options.entries)
        print(f"removed {len(gone)} entries, {sum(entry.bytes for entry in gone) / 1e6:,.1f} MB")
    found = catalog()
    rows = [("model", "parameters", "download", "licence", "source")]
    for one in found["models"]:
        size = f"{one['bytes'] / 1e6:,.0f} MB" if one["bytes"] else "-"
        rows.append((one["name"], one["parameters"], size, one["licence"], one["source"]))
    print(align(rows))
    print(f"\ncache {found['cache']}")
    if found["entries"]:
        print(align([("entry", "MB"), *((one["name"], f"{one['bytes'] / 1e6:,.1f}") for one in found["entries"])]))
    return 0, found
