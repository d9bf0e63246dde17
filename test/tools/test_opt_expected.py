"""Expectations in comments: which line each means, what its text matches, what is said of one written wrongly."""

import pytest

from lutllm.bindings import Diagnostic
from lutllm.tools.opt.expected import compare, expected_in
from lutllm.tools.opt.input import Source

SOURCE = Source("a.mlir", None, b"")


def test_places() -> None:
    text = b"""// expected-error@+2 {{a}}
// expected-warning@below {{b}}
x // expected-note@below {{c {d}}} e}}
// expected-remark@-1 {{f}}
// expected-error@above {{g}}
y
// expected-error@unknown {{h}}
// expected-error@above {{i}}
// expected-error@below {{j}}
"""
    expected, wrong = expected_in(text.rstrip(b"\n"), SOURCE)
    assert wrong == []
    assert [(e.severity, e.line, e.message) for e in expected] == [
        ("error", 3, "a"),
        ("warning", 6, "b"),  # the next line without an expectation, as in MLIR
        ("note", 6, "c {d}}} e"),
        ("remark", 3, "f"),
        ("error", 0, "g"),
        ("error", None, "h"),
        ("error", 6, "i"),
        ("error", 9, "j"),  # nothing follows
    ]


@pytest.mark.parametrize(
    ("message", "said", "matches"),
    [
        ("got {{[0-9]+}} (of {{a|b}})", "it got 12 (of b)", True),
        ("got {{[0-9]+}} (of {{a|b}})", "it got x (of b)", False),
        ("a.c", "abc", False),
        ("{{^}}abc{{$}}", "abc", True),
        ("{{^}}abc{{$}}", "xabc", False),
    ],
)
def test_regular_expressions(message: str, said: str, matches: bool) -> None:
    (expected,), _ = expected_in(f"// expected-error-re {{{{{message}}}}}".encode(), SOURCE)
    assert expected.matches(Diagnostic("error", said, "-", 1, 1)) == matches


def test_without_re_braces_stand_for_themselves() -> None:
    (expected,), _ = expected_in(b"// expected-error {{a {{.*}}}}", SOURCE)
    assert expected.matches(Diagnostic("error", "a {{.*}}", "-", 1, 1))
    assert not expected.matches(Diagnostic("error", "a b", "-", 1, 1))


def test_an_expectation_is_fulfilled_once() -> None:
    seen = Diagnostic("error", "long text", "-", 1, 1)
    expected, _ = expected_in(b"// expected-error {{text}}", SOURCE)
    wrong = compare(expected, [seen, seen, Diagnostic("note", "see current operation: x", "-", 1, 1)], SOURCE)
    assert [d.message for d in wrong] == ["unexpected error: long text"]
