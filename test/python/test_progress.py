"""How long work is shown: to a listener, as plain lines, or not at all."""

import pytest

from lutllm.progress import Step, metered, note, progress, reported


def test_a_listener_hears_of_everything(capfd):
    steps: list[Step] = []
    with reported(steps.append) as quiet:
        note("begun", quiet=quiet)
        assert list(progress("ab", "letters", quiet=quiet)) == ["a", "b"]
        with metered("cycles", 100, quiet=quiet) as told:
            told(40, "2 tokens")
            told(130)
    assert steps == [
        Step("begun", 0, 0), Step("letters", 1, 2), Step("letters", 2, 2), Step("cycles", 40, 100),
        Step("cycles", 130, 100),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("total", "told", "lines"),
    [
        (1000, [10, 99, 100, 150, 470, 1000], ["100/1,000", "470/1,000", "1,000/1,000"]),
        (1003, range(1, 1004), [f"{101 * i:,}/1,003" for i in range(1, 10)] + ["1,003/1,003"]),
        (None, [9, 10, 11, 35], ["10", "35"]),
        (3, [1, 2, 3, 5], ["1/3", "2/3", "3/3", "5/3"]),
    ],
)
def test_plain_lines_are_a_tenth(capsys, total, told, lines):
    with metered("work", total) as tell:
        for done in told:
            tell(done)
    assert [line.split(" (")[0] for line in capsys.readouterr().err.splitlines()] == [f"work: {x}" for x in lines]


def test_quiet_work_says_nothing(capfd):
    with reported(False) as quiet:
        assert list(progress([1], "x", quiet=quiet)) == [1]
        note("x", quiet=quiet)
    assert capfd.readouterr() == ("", "")
