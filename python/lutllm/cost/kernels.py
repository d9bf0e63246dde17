"""When words move, compiled: memory ports, LutLinear's rounds, head norms and attention, step by step.

In: constants of the hardware (from `timing`), and when what comes from outside may begin. Out: cycles. A step happens a
cycle after the one before it at the earliest, and not before what it needs is there and what it fills has room; so each
follows from earlier steps, whose times stay in arrays as far back as a FIFO is deep.

All that is compiled lives in this file: numba's cache does not see changes in other files.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """njit, cached on disk where a directory for that can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable place for the cache
        return njit(nogil=True)(function)


NEVER = -(1 << 40)  # before all cycles

(DEPTH, BURST, LATENCY, ASKED, ASKED_AT, ARRIVED_AT, POPPED, POPPED_AT, COMMAND, LEFT, PLACE, COMMANDS, PARTS,
 BUS_ASKED, BUS_BEAT, PORT_FIELDS) = range(16)  # fmt: skip
SEEN, BEATS, FIRST, ACCEPTED, COMMAND_FIELDS = range(5)
RING = 256  # commands that are remembered


# A read master: `state`, its last `commands`, when each of the last beats was taken (`pops`) and arrived. It has room
# for `DEPTH` beats; `LATENCY`: cycles from asking for a burst until its first beat is there. Where `clocks` has two,
# `LATENCY` is that of memory, in cycles of the bus, of whose beats `PARTS` are one here.
Port = namedtuple("Port", "state commands pops arrivals clocks")


CORE, BUS, PHASE, CROSSING, EDGES = range(5)  # periods; the bus's first edge; depth of a crossing's FIFO, its way


@_compiled
def _to_bus(clocks, cycle):  # type: ignore[no-untyped-def]
    """In which cycle of the bus what the core did in `cycle` is seen there."""
    return (cycle * clocks[CORE] - clocks[PHASE]) // clocks[BUS] + clocks[EDGES]


@_compiled
def _to_core(clocks, cycle):  # type: ignore[no-untyped-def]
    return (cycle * clocks[BUS] + clocks[PHASE]) // clocks[CORE] + clocks[EDGES]


@_compiled
def _cross_back(port, n, asked):  # type: ignore[no-untyped-def]
    """When beat number `n`, of a burst that the bus takes in cycle `asked`, is there."""
    s, clocks, ring = port.state, port.clocks, port.pops.shape[0]
    beat = max(s[BUS_BEAT] + 1, asked + s[LATENCY]) + s[PARTS] - 1
    if n >= clocks[CROSSING]:
        beat = max(beat, _to_bus(clocks, port.arrivals[(n - clocks[CROSSING]) % ring] - 1))
    s[BUS_BEAT] = beat
    return _to_core(clocks, beat) + 1


@_compiled
def command(port, seen, beats, place):  # type: ignore[no-untyped-def]
    """A transfer, which the reader sees in cycle `seen`; its first beat is number `place` of a burst. Returns which of
    the port's commands it is."""
    n = port.state[COMMANDS]
    own = port.commands[n % RING]
    own[SEEN], own[BEATS], own[FIRST] = seen, beats, place % port.state[BURST]
    port.state[COMMANDS] = n + 1
    return n


@_compiled
def arrival(port):  # type: ignore[no-untyped-def]
    """When the next beat is there. Bursts are asked for one a cycle, in order, each when a whole one fits."""
    s, ring = port.state, port.pops.shape[0]
    while s[ASKED] <= s[POPPED]:
        at = s[ASKED_AT] + 1
        if s[LEFT] == 0:
            if s[COMMAND] == s[COMMANDS]:
                raise ValueError("a beat that nothing asks for")
            own = port.commands[s[COMMAND] % RING]
            own[ACCEPTED] = max(own[SEEN], s[ASKED_AT])
            at = own[ACCEPTED] + 1
            s[LEFT], s[PLACE] = own[BEATS], own[FIRST]
            s[COMMAND] += 1
        beats = min(s[LEFT], s[BURST] - s[PLACE])
        gone = s[ASKED] + s[BURST] - s[DEPTH]  # beats that must have been taken
        if gone > 0:
            at = max(at, port.pops[(gone - 1) % ring] + 1)
        if s[PARTS]:
            s[BUS_ASKED] = max(s[BUS_ASKED] + 1, _to_bus(port.clocks, at + 1))
        for i in range(beats):
            there = _cross_back(port, s[ASKED] + i, s[BUS_ASKED]) if s[PARTS] else at + s[LATENCY]
            s[ARRIVED_AT] = max(s[ARRIVED_AT] + 1, there)
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
    s[POPPED], s[POPPED_AT] = s[POPPED] + 1, at
    return at


@_compiled
def take_all(port, beats, first):  # type: ignore[no-untyped-def]
    """Take `beats` beats, the first not before `first`; returns when the last is taken."""
    at = first - 1
    for _ in range(beats):
        at = take(port, at + 1)
    return at


@_compiled
def word(port, beats):  # type: ignore[no-untyped-def]
    """Join all but the last of a word's beats as they come; returns when the last is there."""
    for _ in range(beats - 1):
        take(port, NEVER)
    return max(arrival(port), port.state[POPPED_AT] + 1)


(W_BURST, W_LATENCY, W_FIRST, W_ACCEPTED, W_ISSUED_AT, W_PLACE, W_HELD, W_WORDS, W_BURSTS, W_BUS, W_ANSWER, W_PARTS,
 W_BUS_ASKED, W_BUS_BEAT, W_BUS_ANSWER, WRITER_FIELDS) = range(16)  # fmt: skip


# A write master: `state`, when each of the last words was on the bus, and when each of the last bursts was begun
# there (`lengths`) and answered. A burst's first word is on the bus `W_FIRST` cycles after its last one came. Of two
# `clocks` as in `Port`; the bus is then the crossing, and `sent` says when words left that.
Writer = namedtuple("Writer", "state words lengths answers clocks sent")


@_compiled
def begin(w, seen, place):  # type: ignore[no-untyped-def]
    """A transfer, which the writer sees in cycle `seen`; its first word is number `place` of a burst. Returns when the
    writer takes it."""
    s = w.state
    s[W_ACCEPTED], s[W_PLACE] = max(seen, s[W_ISSUED_AT]), place % s[W_BURST]
    return s[W_ACCEPTED]


@_compiled
def writable(w):  # type: ignore[no-untyped-def]
    """When there is room for another word."""
    return w.words[w.state[W_WORDS] % w.words.shape[0]] + 1


@_compiled
def _cross(w, first):  # type: ignore[no-untyped-def]
    """A burst to the bus, its first word from cycle `first` on; returns when its answer is here."""
    s, clocks, ring, depth = w.state, w.clocks, w.words.shape[0], w.sent.shape[0]
    s[W_BUS_ASKED] = max(s[W_BUS_ASKED] + 1, _to_bus(clocks, s[W_ISSUED_AT] + 1))
    s[W_BUS], s[W_BUS_BEAT] = max(s[W_BUS], first - 1), max(s[W_BUS_BEAT], s[W_BUS_ASKED])
    for n in range(s[W_WORDS] - s[W_HELD], s[W_WORDS]):
        s[W_BUS] = max(s[W_BUS] + 1, _to_core(clocks, w.sent[n % depth]))
        s[W_BUS_BEAT] = max(s[W_BUS_BEAT] + 1, _to_bus(clocks, s[W_BUS])) + s[W_PARTS] - 1
        w.words[n % ring], w.sent[n % depth] = s[W_BUS], s[W_BUS_BEAT]
    s[W_BUS_ANSWER] = max(s[W_BUS_ANSWER] + 1, s[W_BUS_BEAT] + s[W_LATENCY])
    return _to_core(clocks, s[W_BUS_ANSWER])


@_compiled
def write(w, at, last):  # type: ignore[no-untyped-def]
    """A word to the writer in cycle `at`, the `last` of its command or not. A burst goes out when all of it is here."""
    s, ring = w.state, w.words.shape[0]
    s[W_HELD] += 1
    s[W_PLACE] += 1
    s[W_WORDS] += 1
    if not last and s[W_PLACE] < s[W_BURST]:
        return
    j = s[W_BURSTS] % w.lengths.shape[0]
    s[W_ISSUED_AT] = max(at, s[W_ISSUED_AT], s[W_ACCEPTED], w.lengths[j], w.answers[j]) + 1
    first = max(s[W_ISSUED_AT] + s[W_FIRST] - 1, s[W_BUS] + 1)
    if s[W_PARTS]:
        s[W_ANSWER] = max(s[W_ANSWER] + 1, _cross(w, first))
    else:
        for i in range(s[W_HELD]):
            w.words[(s[W_WORDS] - s[W_HELD] + i) % ring] = first + i
        s[W_BUS] = first + s[W_HELD] - 1
        s[W_ANSWER] = max(s[W_ANSWER] + 1, s[W_BUS] + s[W_LATENCY])
    w.lengths[j] = first - 1
    w.answers[j] = s[W_ANSWER]
    s[W_BURSTS] += 1
    s[W_HELD], s[W_PLACE] = 0, 0


# LutLinear. Units of port w for a codebook, a chunk's codes, a table; steps of a row, and chunks in which a token is
# looked up before the next is; centroids that a table is built from; words of stream c that a search takes; beats of a
# word of c and of q; words of memory x of one of stream x, or `parts` of stream x of one of memory x. What each FIFO
# holds. Then the cycles of `linear_timing`; `fed`: from a read of memory x to its word of stream x; `written`: from the
# write of a group's last word to its first read.
Engine = namedtuple(
    "Engine",
    "codebook_units codes_units table_units row_steps strip centroids centroid_words c_beats q_beats joined parts "
    "codes codebooks tables banks jobs x results "
    "weights_there codes_room codebook_room build_room table_room table_reused table_built bank_room centroids_there "
    "centroids_used operands_there summed bank_drained drained fed written",
)


EXACT_ROW, BUILT_ROW, BUILT_TABLE, STORED_TABLE = range(4)


# What of a round decides how long it takes.
Round = namedtuple("Round", "source tokens stages groups blocks block_chunks last_chunks")


X_AT, Y_AT, SHADOW, CODES, CODEBOOKS, TABLES, GROUPS, WORDS, RESULTS, ROWS, LINEAR_FIELDS = range(11)


# LutLinear's state. `at`: when the last word of x and of y was taken, when centroids may be loaded again, how many
# codes, codebooks ... there were. Rings of the steps that give back room: codes, codebooks and tables used, banks of
# operands, jobs and words of x, results taken, rows looked up in.
Linear = namedtuple("Linear", "at codes codebooks tables banks jobs words results halves")


@_compiled
def _operands(e, s, r, c, c_at, step):  # type: ignore[no-untyped-def]
    """A group's inputs: its words of c, then of x, which the engine feeds after `step`. Returns when the last word of c
    is taken, the last word of memory x read."""
    n = s.at[GROUPS]
    job = s.jobs[n % e.jobs] + 1  # there is room for another
    c_at = take(c, max(word(c, e.c_beats), c_at + 1, s.banks[n % e.banks] + e.bank_room, job))
    if r.source != EXACT_ROW:
        for _ in range(e.centroid_words):
            c_at = take(c, max(word(c, e.c_beats), c_at + 1, s.at[SHADOW], job))
    for token in range(r.tokens):
        place = s.at[WORDS] % e.x
        step = max(step + 1, s.words[place] + 1) + e.joined - 1
        s.at[X_AT] = max(s.at[X_AT] + 1, step + e.fed, c_at + 1)
        s.words[place] = s.at[X_AT]
        s.at[WORDS] += 1
        if r.source != EXACT_ROW and token == 0:
            s.at[SHADOW] = s.at[X_AT] + e.centroids_used
    s.jobs[n % e.jobs] = s.at[X_AT]
    return c_at, step


@_compiled
def _rows(e, s, r, w, w_at):  # type: ignore[no-untyped-def]
    """What a block's rows come from, out of port w; returns when its last unit is taken."""
    if r.source == STORED_TABLE:
        return take_all(w, e.table_units, max(w_at + 1, s.tables[s.at[TABLES] % e.tables] + e.table_room))
    room = e.build_room if r.source == BUILT_TABLE else e.codebook_room
    w_at = take_all(w, e.codebook_units - 1, w_at + 1)
    return take(w, max(w_at + 1, s.codebooks[s.at[CODEBOOKS] % e.codebooks] + room))


@_compiled
def look_up(e, s, r, c, w, loader, distributor, head, rows, builder, feed, bank, x_rows):  # type: ignore[no-untyped-def]
    """A round from its inputs to its sums. Each unit begins at the cycle given; `feed` is the engine's first step,
    `bank` when a bank of sums is free, `x_rows` when each word of memory x is written for all tokens, where the feed
    follows that. Returns when the last word of x, of c, of w is taken, the last table built, the last row made, the
    last lookup made."""
    c_at, w_at, issued, made = loader - 1, distributor - 1, max(head, bank) - 1, rows - 1
    built, step = builder - 1, feed - 1
    for group in range(r.groups):
        written = NEVER
        if x_rows.size > 0 and group % e.parts == 0:
            written = x_rows[min(group // e.parts * e.joined + e.joined, x_rows.size) - 1] + e.written
        c_at, step = _operands(e, s, r, c, c_at, max(step, written - 1))
        begin = s.at[X_AT] + e.operands_there
        for part in range(r.stages * r.blocks):
            w_at = _rows(e, s, r, w, w_at)
            there, book, table = w_at + e.weights_there, s.at[CODEBOOKS] % e.codebooks, s.at[TABLES] % e.tables
            if r.source == BUILT_TABLE:
                centroids = c_at + e.centroids_there if part == 0 else NEVER
                built = max(built + 1, there, s.tables[table] + e.table_reused, centroids)
                s.codebooks[book] = built
                built += e.centroids * e.row_steps - 1
                there = built + e.table_built
            there = max(there, begin if part == 0 else NEVER)
            chunks = r.last_chunks if part % r.blocks == r.blocks - 1 else r.block_chunks
            for strip in range(0, chunks, e.strip):
                for token in range(r.tokens):
                    first = strip == 0 and token == 0
                    if e.row_steps > 1:
                        made = max(made, s.halves[s.at[ROWS] % 2], there - 1 if first else NEVER) + 1
                        if first and r.source < BUILT_TABLE:
                            s.codebooks[book] = made
                        made += e.row_steps - 1
                        issued = max(issued, made)
                    elif first:
                        issued = max(issued, there - 1)
                    for chunk in range(min(e.strip, chunks - strip)):
                        place = (s.at[CODES] + chunk) % e.codes
                        issued += 1
                        if token == 0:
                            w_at = take_all(w, e.codes_units - 1, w_at + 1)
                            w_at = take(w, max(w_at + 1, s.codes[place] + e.codes_room))
                            issued = max(issued, w_at + e.weights_there)
                        if e.row_steps == 1:
                            if first and r.source < BUILT_TABLE:
                                s.codebooks[book] = issued
                            if token == 0:
                                s.codes[place] = issued
                        elif token == r.tokens - 1:
                            s.codes[place] = issued
                    s.halves[s.at[ROWS] % 2] = issued
                    s.at[ROWS] += 1
                s.at[CODES] += min(e.strip, chunks - strip)
            s.at[CODEBOOKS] += r.source != STORED_TABLE
            if r.source >= BUILT_TABLE:
                s.tables[table] = made if e.row_steps > 1 else issued
                s.at[TABLES] += 1
        s.banks[s.at[GROUPS] % e.banks] = issued
        s.at[GROUPS] += 1
    return s.at[X_AT], c_at, w_at, built, made, issued


@_compiled
def drain(e, s, words, tokens, q, start, sink, p, with_p, writer, saves):  # type: ignore[no-untyped-def]
    """A round's sums, `words` of each token, to a sink whose first step may be in cycle `sink`. `with_p`: each word
    takes a beat of p, too; `saves`: results go to a writer. Returns when the last sum is read, and when the last result
    of each word is taken."""
    read, taken, ends = start - 1, max(s.at[Y_AT], sink - 1), np.zeros(words, np.int64)
    for i in range(words):
        there = word(q, e.q_beats)
        parameters = word(p, 1) if with_p else NEVER
        for token in range(tokens):
            place = s.at[RESULTS] % e.results
            read = max(read + 1, there, s.results[place] + 1)
            taken = max(taken + 1, read + e.drained, parameters)
            if saves:
                taken = max(taken, writable(writer))
            s.results[place] = taken
            s.at[RESULTS] += 1
            if saves:
                write(writer, taken, i == words - 1 and token == tokens - 1)
        take(q, read)
        if with_p:
            take(p, taken)
        ends[i] = taken
    s.at[Y_AT] = taken
    return read, ends


@_compiled
def steps(p, start, words, tokens, taker, there=0, depth=1, before=0):  # type: ignore[no-untyped-def]
    """Words of a vector engine, in each the tokens; a word takes a beat of p with its last one, and `before` the first.
    Who takes them from `taker` on has each `there` later, and room for `depth`. Returns words' last steps, and his."""
    at, out, ends, taken = start - 1, taker - 1, np.zeros(words, np.int64), np.full(depth, NEVER)
    for n in range(words * tokens):
        at = take_all(p, before * (n % tokens == 0), max(at, taken[n % depth]) + 1)
        at = max(at + 1, word(p, 1))
        taken[n % depth] = out = max(out + 1, at + there)
        ends[n // tokens] = take(p, at) if n % tokens == tokens - 1 else at
    return ends, out


@_compiled
def load(x, start, words, tokens):  # type: ignore[no-untyped-def]
    """The same, with a beat of x for each step."""
    at, ends = start - 1, np.zeros(words, np.int64)
    for i in range(words):
        at = take_all(x, tokens, at + 1)
        ends[i] = at
    return ends


@_compiled
def embed(e, start, residual, tokens, words, asked, there, rows, depth):  # type: ignore[no-untyped-def]
    """Embeddings into the residual stream: `start` and `residual` are the first steps of both engines. `asked`: cycles
    from a token's step to its command, of which `rows` may wait; `there`: from a beat of a row to its word of stream e,
    which holds `depth`. Returns the last step of residual."""
    fire, beat, out, n = start - 1, start - 1, residual - 1, 0
    taken = np.full(depth, NEVER)
    for token in range(tokens):
        room = e.commands[(e.state[COMMANDS] - rows) % RING, ACCEPTED] + 1 if token >= rows else NEVER
        fire = max(fire + 1, room)
        command(e, fire + asked, words + 1, 0)
        beat = take(e, beat + 1)
        for _ in range(words):
            beat = take(e, max(beat + 1, taken[n % depth] + 1))
            out = max(out + 1, beat + there)
            taken[n % depth] = out
            n += 1
    return out


# Engine heads. `root`: cycles from a row's last square to its root, at most `roots` at a time. A beat of `ratio` words
# has one of `beats` places until written, `leave` cycles after its last word. `command`: to its transfer.
Heads = namedtuple("Heads", "root roots ratio beats leave command")


@_compiled
def heads(h, p, start, count, tokens, words, normed, whole, writer, rows, size, place, stride):  # type: ignore[no-untyped-def]
    """`count` heads of rows of `words` words: in each cycle a value where all it needs is there, else a square. `rows`:
    they go to a writer, a command for `size` of them, the first at `place` in a burst, each `stride` beats after
    the one before. With `whole` a token has one root, of the squares of all heads. Returns the last value's cycle."""
    total, before = count * tokens * words, (count - 1) * tokens if whole else 0  # rows that give no root
    roots, used, left = np.full(h.roots, NEVER), np.full(h.roots, NEVER), np.full(h.beats, NEVER)
    at, values, squares, gone, seen = start - 1, 0, 0, NEVER, start + h.command
    while values < total:
        at += 1
        row, beat = values // words, values // h.ratio
        first_token = row % tokens == 0  # a head's parameters come with it
        ready = not first_token or word(p, 1) <= at
        if normed and row < count * tokens - before:
            ready = ready and squares >= (before + row + 1) * words and roots[row % h.roots] <= at
        if rows and values % h.ratio == 0:
            ready = ready and left[beat % h.beats] < at
        if ready:
            if first_token:
                take(p, at)
            if rows and values % size == 0:
                seen = begin(writer, seen, place + values // size * stride) + 1
            values += 1
            if rows and values % h.ratio == 0:
                gone = max(gone + 1, at + h.leave, writable(writer))
                left[beat % h.beats] = gone
                write(writer, gone, values % size == 0)
            if values % words == 0 and row < count * tokens - before:
                used[row % h.roots] = at
        elif normed and squares < total:
            row = squares // words - before
            done = min(values // words, count * tokens - before)  # rows whose root is taken
            if squares % words > 0 or row < h.roots or (done > row - h.roots and used[row % h.roots] < at):
                squares += 1
                if squares % words == 0 and row >= 0:
                    roots[row % h.roots] = at + h.root
    return at


# Attention: `ways` of a unit, `rows` it takes at a time, `parts` vector words of a word, of which a port has
# `port_beats`; the rest as in `attention_timing`.
Attention = namedtuple(
    "Attention",
    "ways rows parts port_beats k_rows v_rows rights first scored bank_free v_freed loaded weighted sums_free "
    "right_freed done",
)


@_compiled
def _use_rows(a, port, freed, at, first, beats, reps, position, tokens, late):  # type: ignore[no-untyped-def]
    """All rows of an item, some at a time, from group number `first` on: into a buffer of each way, whose words were
    freed at `freed`, and used, `at` the last step of each way so far; freed `late` after that."""
    ring, joined = freed.shape[1], a.port_beats
    for row in range(0, position + tokens, a.rows):
        here, there = (first + row // a.rows) * beats, NEVER
        for i in range(here, here + beats):
            there = take(port, max(word(port, joined), freed[:, i % ring].max() + 1))
        at[:] = np.maximum(at, there) + reps * beats * (tokens - max(0, row - position))
        for i in range(here, here + beats):
            freed[:, i % ring] = at + late


@_compiled
def attend(a, k, v, p, start, kv_heads, items, reps, beats, tokens, position, places, stride):  # type: ignore[no-untyped-def]
    """Items of attention through its stages, each as soon as it may; `start`: the stages' first cycle. `k` and `v`:
    ports of its units, each of which has `kv_heads` of `items` a way; the first head's rows are at `places` in a burst,
    each other's `stride` beats further on. Returns the last step of each word of the division."""
    rows, units, words = -(-(position + tokens) // a.rows), len(k), reps * beats * a.parts
    k_freed, v_freed = np.full((units, a.ways, a.k_rows), NEVER), np.full((units, a.ways, a.v_rows), NEVER)
    read, divided = np.full((units, a.ways, 2), NEVER), np.full((units, a.ways, 2), NEVER)
    right_freed = np.full(a.rights, NEVER)
    there, loaded = np.zeros(a.ways * words, np.int64), np.zeros(a.ways, np.int64)
    scores, out, p_at, right = np.full((units, a.ways), start - 1), start - 1, start - 1, 0
    weights, ends = scores.copy(), np.zeros(kv_heads * items * units * a.ways * words, np.int64)
    for n in range(kv_heads * items * units):
        u, item = n % units, n // units
        bank, first, head = item % 2, item * rows, item // items * units + u
        command(k[u], start, rows * beats * a.port_beats, places[0] + head * stride)
        command(v[u], start, rows * beats * a.port_beats, places[1] + head * stride)
        for w in range(a.ways):
            p_at = take_all(p, reps, max(p_at + 1, read[u, w, bank] + a.bank_free))
            loaded[w] = p_at + a.loaded
            scores[u, w] = max(scores[u, w], read[u, w, bank] + a.bank_free - 1)
            if w < a.ways - 1:  # there is room for the shifts of all ways
                for i in range(w * words, (w + 1) * words):
                    there[i] = p_at = take(p, max(p_at + 1, right_freed[(right + i) % a.rights] + 1))
        _use_rows(a, k[u], k_freed[u], scores[u], first, beats, reps, position, tokens, 0)
        ready = np.maximum(scores[u] + a.scored, np.maximum(loaded, divided[u, :, bank] + a.sums_free)) - 1
        weights[u] = np.maximum(weights[u], ready)
        _use_rows(a, v[u], v_freed[u], weights[u], first, beats, reps, position, tokens, a.v_freed)
        for w in range(a.ways):
            read[u, w, bank] = weights[u, w]
            out = max(out, weights[u, w] + a.weighted - 1)
            for i in range(w * words, (w + 1) * words):
                if w == a.ways - 1:
                    there[i] = p_at = take(p, max(p_at + 1, right_freed[right % a.rights] + 1))
                out = max(out + 1, there[i] + 1) + tokens - 1
                right_freed[right % a.rights] = out + a.right_freed
                ends[right] = out
                right += 1
            divided[u, w, bank] = out
    return ends
