"""What verbs show as it is made, and what is typed."""

import io
import sys


def show(text: str) -> None:
    """Text to standard output, at once; a terminal that cannot show a character gets a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors != "replace":
        sys.stdout.reconfigure(errors="replace")
    sys.stdout.write(text)
    sys.stdout.flush()
