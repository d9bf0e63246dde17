"""How many threads a run takes: times of runs in, all threads or one out.

Threads wait for each other at every barrier, so one that other work keeps from its core holds up all: with a busy
machine all threads may take many times as long as one.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_ALONE = 64  # runs of one thread between two of all
AGAIN = 1024  # runs of all threads until one thread is tried again


@dataclass
class Crew:
    """For runs of one kind: all threads, until they take longer than one alone; then one, and all are tried again after
    4 runs, 8, 16 ... `MOST_ALONE`. `alone` is what a run of one thread took, in seconds."""

    threads: int
    alone: float = 0.0
    left: int = 0  # runs of one thread until all are tried
    pause: int = 0  # how many there were last time
    runs: int = 0  # of all threads, since one was tried

    def choose(self) -> int:
        """Threads of the next run."""
        if self.threads == 1:
            return 1
        if self.left:
            self.left -= 1
            return 1
        return 1 if self.runs and (not self.alone or self.runs >= AGAIN) else self.threads

    def took(self, threads: int, seconds: float) -> None:
        """A run took so long."""
        if threads == 1:
            self.alone, self.runs = (self.alone + seconds) / 2 if self.alone else seconds, 0
            return
        self.runs += 1
        if not self.alone or seconds <= self.alone:
            self.pause = 0
        else:
            self.pause = min(MOST_ALONE, 2 * self.pause or 4)
            self.left = self.pause
