"""When words move, compiled: memory ports, LutLinear's rounds, head norms and attention, step by step.

In: constants of the hardware (the classes below, filled by `timing` from what the units declare) and the cycles at which
what comes from outside may begin. Out: cycles. Each step happens one cycle after the one before it at the earliest,
and not before what it needs is there and what it fills has room; so everything follows from earlier steps, and no cycle
is walked through. State stays in arrays: the times of the last steps, as far back as a FIFO is deep.

Everything compiled lives in this file: numba's cache does not see changes in other files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """njit, cached on disk where a directory for that can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable place for the cache
        return njit(nogil=True)(function)


(DEPTH, BURST, LATENCY, ASKED, ASKED_AT, ARRIVED_AT, POPPED, POPPED_AT, COMMAND, LEFT, PLACE, COMMANDS,
 PORT_FIELDS) = range(13)  # fmt: skip
SEEN, BEATS, FIRST, ACCEPTED = range(4)  # of a command: when it stands at the reader, its beats, their place in a burst
NEVER = -(1 << 40)


class Port(NamedTuple):
    """A read master: `state`, its `commands`, when each of the last beats was taken (`pops`) and arrived."""

    state: np.ndarray
    commands: np.ndarray
    pops: np.ndarray
    arrivals: np.ndarray


def make_port(depth: int, burst: int, latency: int, commands: int) -> Port:
    """A reader with room for `depth` beats, `latency` cycles from asking for a burst until its first beat is there."""
    state = np.zeros(PORT_FIELDS, np.int64)
    state[[DEPTH, BURST, LATENCY]] = depth, burst, latency
    state[[ASKED_AT, ARRIVED_AT, POPPED_AT]] = NEVER
    ring = depth + burst
    return Port(state, np.zeros((commands, 4), np.int64), np.zeros(ring, np.int64), np.zeros(ring, np.int64))


@_compiled
def command(port, seen, beats, place):  # type: ignore[no-untyped-def]
    """A transfer for the reader, which sees it in cycle `seen`; its first beat is number `place` of a burst."""
    n = port.state[COMMANDS]
    port.commands[n, SEEN], port.commands[n, BEATS], port.commands[n, FIRST] = seen, beats, place % port.state[BURST]
    port.state[COMMANDS] = n + 1


@_compiled
def arrival(port):  # type: ignore[no-untyped-def]
    """When the next beat is there. Bursts are asked for one a cycle, in order, each when a whole one fits."""
    s, ring = port.state, port.pops.shape[0]
    while s[ASKED] <= s[POPPED]:
        at = s[ASKED_AT] + 1
        if s[LEFT] == 0:
            n = s[COMMAND]
            if n >= s[COMMANDS]:
                raise ValueError("a transfer that is never asked for")
            port.commands[n, ACCEPTED] = max(port.commands[n, SEEN], s[ASKED_AT])
            at = port.commands[n, ACCEPTED] + 1
            s[LEFT], s[PLACE], s[COMMAND] = port.commands[n, BEATS], port.commands[n, FIRST], n + 1
            if s[LEFT] == 0:
                continue
        beats = min(s[LEFT], s[BURST] - s[PLACE])
        freed = s[ASKED] + s[BURST] - s[DEPTH]  # beats that must be gone
        if freed > 0:
            at = max(at, port.pops[(freed - 1) % ring] + 1)
        for i in range(beats):
            s[ARRIVED_AT] = max(s[ARRIVED_AT] + 1, at + s[LATENCY])
            port.arrivals[(s[ASKED] + i) % ring] = s[ARRIVED_AT]
        s[ASKED] += beats
        s[LEFT] -= beats
        s[PLACE] = (s[PLACE] + beats) % s[BURST]
        s[ASKED_AT] = at
    return port.arrivals[s[POPPED] % ring]


@_compiled
def take(port, earliest):  # type: ignore[no-untyped-def]
    """Take the next beat, not before `earliest`; returns when."""
    s = port.state
    at = max(arrival(port), earliest, s[POPPED_AT] + 1)
    port.pops[s[POPPED] % port.pops.shape[0]] = at
    s[POPPED] += 1
    s[POPPED_AT] = at
    return at


@_compiled
def word(port, beats):  # type: ignore[no-untyped-def]
    """Join all but the last of a word's beats as they come; returns when the last is there."""
    for _ in range(beats - 1):
        take(port, NEVER)
    return max(arrival(port), port.state[POPPED_AT] + 1)


class Engine(NamedTuple):
    """LutLinear. Counts: units of port w for a codebook, a chunk's codes, a table; `centroids` that a table is built
    from; words of stream c that a search takes; beats of a word of c and q; memory words of one of x. FIFOs: how many
    words they hold. Then cycles, from a step until what it allows may happen: see `LinearTiming`."""

    codebook_units: int
    codes_units: int
    table_units: int
    centroids: int
    centroid_words: int
    c_beats: int
    q_beats: int
    joined: int
    codes: int
    codebooks: int
    tables: int
    banks: int
    jobs: int
    x: int
    results: int
    weights_there: int
    codes_room: int
    codebook_room: int
    build_room: int
    table_room: int
    table_reused: int
    table_built: int
    bank_room: int
    searched: int
    centroids_used: int
    centroids_there: int
    operands_there: int
    fed: int
    summed: int
    bank_drained: int
    drained: int


class Round(NamedTuple):
    """What of a round's descriptor decides how long it takes. `source`: 0 rows from codebooks of exact inputs, 1 of
    found centroids, 2 built tables, 3 stored tables."""

    source: int
    tokens: int
    stages: int
    groups: int
    blocks: int
    block_chunks: int
    last_chunks: int


(X_AT, LOADED_AT, W_AT, ISSUED_AT, BUILT_AT, SHADOW, CODES, CODEBOOKS, TABLES, GROUPS, WORDS, RESULTS, RESULT_AT,
 Y_AT, LINEAR_FIELDS) = range(15)  # fmt: skip


class Linear(NamedTuple):
    """LutLinear's state: times of the last steps of each kind (`at`, by the names above, and how many there were), and
    rings of those that give back room: codes, codebooks and tables taken, banks of operands freed, jobs and words of x
    taken, results taken."""

    at: np.ndarray
    codes: np.ndarray
    codebooks: np.ndarray
    tables: np.ndarray
    banks: np.ndarray
    jobs: np.ndarray
    words: np.ndarray
    results: np.ndarray


def make_linear(e: Engine) -> Linear:
    at = np.full(LINEAR_FIELDS, NEVER)
    at[[CODES, CODEBOOKS, TABLES, GROUPS, WORDS, RESULTS]] = 0
    sizes = (e.codes, e.codebooks, e.tables, e.banks, e.jobs, e.x, e.results)
    return Linear(at, *(np.full(size, NEVER) for size in sizes))


@_compiled
def look_up(e, l, r, c, w, loader, distributor, head, build, feed, bank):  # type: ignore[no-untyped-def]
    """A round from its inputs to its sums. Each unit begins at the cycle given: `feed` is the engine's first step,
    `bank` when a bank of sums is free. Returns when the last word of x, of c, of w is taken, the last table built, the
    last lookup made."""
    at = l.at
    c_at, w_at, issued, built = loader - 1, distributor - 1, head - 1, build - 1
    step = feed - 1
    for group in range(r.groups):
        # The group's words of c, a bank of operands, a job for the feeder.
        n = at[GROUPS]
        c_at = max(word(c, e.c_beats), c_at + 1, l.banks[n % e.banks] + e.bank_room, l.jobs[n % e.jobs] + 1)
        c_at = take(c, c_at)
        if r.source:
            for _ in range(e.centroid_words):
                c_at = take(c, max(word(c, e.c_beats), c_at + 1, at[SHADOW], l.jobs[n % e.jobs] + 1))
        centroids = c_at + e.centroids_there
        job = c_at + 1
        for token in range(r.tokens):
            m = at[WORDS]
            step = max(step + 1, l.words[m % e.x] + 1) + e.joined - 1
            at[X_AT] = max(at[X_AT] + 1, step + e.fed, job)
            l.words[m % e.x] = at[X_AT]
            at[WORDS] = m + 1
            if r.source and token == 0:
                at[SHADOW] = at[X_AT] + e.centroids_used
        l.jobs[n % e.jobs] = at[X_AT]
        operands = at[X_AT] + e.operands_there
        for stage in range(r.stages):
            for block in range(r.blocks):
                k = at[CODEBOOKS]
                if r.source == 3:
                    k = at[TABLES]
                    w_at = max(w_at, l.tables[k % e.tables] + e.table_room - 1)
                    for _ in range(e.table_units):
                        w_at = take(w, w_at + 1)
                else:
                    for _ in range(e.codebook_units - 1):
                        w_at = take(w, w_at + 1)
                    room = e.build_room if r.source == 2 else e.codebook_room
                    w_at = take(w, max(w_at + 1, l.codebooks[k % e.codebooks] + room))
                rows = w_at + e.weights_there
                if r.source == 2:
                    table = at[TABLES]
                    built = max(built + 1, rows, l.tables[table % e.tables] + e.table_reused)
                    if stage == 0 and block == 0:
                        built = max(built, centroids)
                    l.codebooks[k % e.codebooks] = built
                    built += e.centroids - 1
                    rows = built + e.table_built
                at[CODEBOOKS] += r.source != 3
                for chunk in range(r.last_chunks if block == r.blocks - 1 else r.block_chunks):
                    i = at[CODES] % e.codes
                    for _ in range(e.codes_units - 1):
                        w_at = take(w, w_at + 1)
                    w_at = take(w, max(w_at + 1, l.codes[i] + e.codes_room))
                    issued = max(issued + 1, w_at + e.weights_there)
                    if chunk == 0:
                        issued = max(issued, rows)
                        if stage == 0 and block == 0:
                            issued = max(issued, operands)
                            if group == 0:
                                issued = max(issued, bank)
                        if r.source < 2:
                            l.codebooks[k % e.codebooks] = issued
                    l.codes[i] = issued
                    at[CODES] += 1
                    issued += r.tokens - 1
                if r.source >= 2:
                    l.tables[at[TABLES] % e.tables] = issued
                    at[TABLES] += 1
        l.banks[n % e.banks] = issued
        at[GROUPS] = n + 1
    return at[X_AT], c_at, w_at, built, issued


@_compiled
def drain(e, l, words, tokens, q, p, start, sink, with_p):  # type: ignore[no-untyped-def]
    """A round's sums, `words` of each token, to a sink whose first step may be in cycle `sink`; `with_p`: each word
    also takes a beat of stream p. Returns when the last sum is read and the last result taken."""
    at = l.at
    read, taken = start - 1, sink - 1
    for _ in range(words):
        there = word(q, e.q_beats)
        parameters = arrival(p) if with_p else NEVER
        for _ in range(tokens):
            n = at[RESULTS]
            read = max(read + 1, there, l.results[n % e.results] + 1)
            at[Y_AT] = max(at[Y_AT] + 1, taken + 1, read + e.drained, parameters)
            taken = at[Y_AT]
            l.results[n % e.results] = taken
            at[RESULTS] = n + 1
        take(q, read)
        if with_p:
            take(p, taken)
    return read, taken


@_compiled
def steps(p, start, words, tokens, with_p):  # type: ignore[no-untyped-def]
    """Words of a vector engine, in each the tokens, a step a cycle; each word takes a beat of p with its last token.
    Returns the last step."""
    at = start - 1
    for _ in range(words):
        if with_p:
            at = max(at, arrival(p) - 1)
        at += tokens
        if with_p:
            take(p, at)
    return at


@_compiled
def heads(p, start, rows, tokens, words, normed, root, depth, ratio, room, leave):  # type: ignore[no-untyped-def]
    """Rows of `words` words: in each cycle a value where all it needs is there, else a square. `root`: cycles from a
    row's last square to its root, of which `depth` may be under way. A beat of `ratio` words takes one of `room` places
    (0: there is no end of them) until `leave` cycles after its last word. Returns the last value's cycle."""
    roots, used, left = np.full(depth, NEVER), np.full(depth, NEVER), np.full(max(room, 1), NEVER)
    at, values, squares = start - 1, 0, 0
    while values < rows * words:
        at += 1
        row, place = values // words, values % words
        ready = row % tokens != 0 or arrival(p) <= at  # a head's parameters come with its first token
        if normed:
            ready = ready and squares > row * words + words - 1 and roots[row % depth] <= at
        beat = values // ratio
        if room > 0 and values % ratio == 0:
            ready = ready and left[beat % room] < at
        if ready:
            if row % tokens == 0:
                take(p, at)
            if values % ratio == ratio - 1:
                left[beat % room if room > 0 else 0] = at + leave
            if place == words - 1:
                used[row % depth] = at
            values += 1
        elif normed and squares < rows * words:
            row, place = squares // words, squares % words
            if place > 0 or (row < depth or (values > (row - depth + 1) * words - 1 and used[row % depth] < at)):
                if place == words - 1:
                    roots[row % depth] = at + root
                squares += 1
    return at


class Attention(NamedTuple):
    """Constants of attention: words of its row buffers and of its queue of shifts, and cycles from the end of an item
    until what it allows may happen: see `lowering.accelerator_hw.attention`."""

    k_rows: int
    v_rows: int
    rights: int
    scored: int
    bank_free: int
    v_freed: int
    loaded: int
    weighted: int
    sums_free: int
    right_freed: int


@_compiled
def _row(port, rows, state, beats, room):  # type: ignore[no-untyped-def]
    """A row of `beats` words into a buffer; returns when it may be used. `state`: words so far."""
    at = NEVER
    for _ in range(beats):
        n = state[0]
        at = take(port, rows[n % room] + 1)
        state[0] = n + 1
    return at + 1


@_compiled
def attend(a, k, v, p, start, items, reps, beats, parts, tokens, position):  # type: ignore[no-untyped-def]
    """Items of attention through its stages, each of them as soon as it may. `start`: the stages' first cycle. Returns
    the last step of the drain."""
    rows = position + tokens
    k_freed, v_freed = np.full(a.k_rows, NEVER), np.full(a.v_rows, NEVER)
    rights = np.full(a.rights, NEVER)
    k_words, v_words = np.zeros(1, np.int64), np.zeros(1, np.int64)
    read, drained = np.full(2, NEVER), np.full(2, NEVER)  # the ends of items that free a bank
    score, weight, out, right = start - 1, start - 1, start - 1, 0
    p_at = start - 1
    for item in range(items):
        bank = item % 2
        # Multipliers of the item's heads.
        p_at = max(p_at, read[bank] + a.bank_free - 1)
        for _ in range(reps):
            p_at = take(p, p_at + 1)
        loaded = p_at + a.loaded
        for row in range(rows):
            there = _row(k, k_freed, k_words, beats, a.k_rows)
            score = max(score + 1, there)
            if row == 0:
                score = max(score, read[bank] + a.bank_free)
            score += reps * beats * (tokens - max(0, row - position)) - 1
            for i in range(beats):
                k_freed[(k_words[0] - 1 - i) % a.k_rows] = score
        scored = score + a.scored
        for row in range(rows):
            there = _row(v, v_freed, v_words, beats, a.v_rows)
            weight = max(weight + 1, there)
            if row == 0:
                weight = max(weight, scored, loaded, drained[bank] + a.sums_free)
            weight += reps * beats * (tokens - max(0, row - position)) - 1
            for i in range(beats):
                v_freed[(v_words[0] - 1 - i) % a.v_rows] = weight + a.v_freed
        read[bank] = weight
        out = max(out, weight + a.weighted - 1)
        for _ in range(reps * beats * parts):
            p_at = take(p, max(p_at + 1, rights[right % a.rights] + 1))
            out = max(out + 1, p_at + 1)
            out += tokens - 1
            rights[right % a.rights] = out + a.right_freed
            right += 1
        drained[bank] = out
    return out
