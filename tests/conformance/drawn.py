"""Strategies: small programs of file operations."""

import functools
import operator
import os

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "c", "d", "d/a", "d/b", "e", "e/a", "s", "n", "v"])
SIZES = st.sampled_from([0, 1, 5, 100, 4_095, 4_096, 4_097, 8_191, 8_192, 8_193, 10_000, 20_000])
SMALL = st.sampled_from([0, 1, 3, 7, 100, 5_000])
MODES = st.sampled_from(
    [mode + more for mode in ("r", "w", "a", "x", "r+", "w+", "a+", "x+") for more in ("", "b")]
)
BUFFERING = st.sampled_from([-1, -1, -1, 0, 1, 16, 5_000])
SLOTS = st.sampled_from([0, 1])
SEEDS = st.integers(0, 3)
BITS = st.sampled_from([0o600, 0o644, 0o640, 0o755, 0o666])
RIGHTS = st.sampled_from([0o700, 0o755, 0o744, 0o777])
FLAGS = st.builds(
    lambda access, more: access | functools.reduce(operator.or_, more, 0),
    st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]),
    st.sets(st.sampled_from([os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_EXCL | os.O_CREAT])),
)
BOOLS = st.booleans()

FILES = [
    ("open", SLOTS, NAMES, MODES, BUFFERING),
    ("open", SLOTS, NAMES, MODES, st.just(-1)),
    ("fdopen", SLOTS, SLOTS, MODES, BUFFERING, BOOLS),
    ("named_temporary", SLOTS, st.sampled_from(["w", "w+b", "wb"]), BOOLS),
    ("temporary", SLOTS),
    ("write", SLOTS, SIZES, SEEDS),
    ("write", SLOTS, SIZES, SEEDS),
    ("write", SLOTS, SMALL, SEEDS),
    ("write", SLOTS, SMALL, SEEDS),
    ("writelines", SLOTS, st.lists(SMALL, max_size=4).map(tuple)),
    ("print", SLOTS, SMALL),
    ("json_dump", SLOTS, st.sampled_from([0, 3, 900])),
    ("pickle_dump", SLOTS, SIZES),
    ("read", SLOTS, st.sampled_from([-1, 0, 1, 50, 5_000])),
    ("readline", SLOTS),
    ("seek", SLOTS, st.sampled_from([0, 0, 2, 9, 4_096, 12_000]), st.sampled_from([0, 0, 2, 1])),
    ("tell", SLOTS),
    ("truncate", SLOTS, st.sampled_from([None, None, 0, 4, 9_500])),
    ("flush", SLOTS),
    ("fsync", SLOTS),
    ("fchmod", SLOTS, RIGHTS),
    ("close", SLOTS),
    ("close", SLOTS),
    ("drop", SLOTS),
    ("hold", SLOTS),
]
NUMBERS = [
    ("os_open", SLOTS, NAMES, FLAGS, BITS),
    ("os_open", SLOTS, NAMES, FLAGS, BITS),
    ("mkstemp", SLOTS),
    ("os_write", SLOTS, SIZES, SEEDS),
    ("os_write", SLOTS, SMALL, SEEDS),
    ("os_read", SLOTS, SMALL),
    ("os_lseek", SLOTS, st.sampled_from([0, 3, 11_000]), st.sampled_from([0, 1, 2])),
    ("os_pwrite", SLOTS, SMALL, st.sampled_from([0, 5, 10_000])),
    ("os_writev", SLOTS, SMALL),
    ("os_readv", SLOTS, SMALL),
    ("os_pwritev", SLOTS, SMALL, st.sampled_from([0, 5, 10_000])),
    ("os_preadv", SLOTS, SMALL, st.sampled_from([0, 5, 10_000])),
    ("os_copy_range", SLOTS, SLOTS, SMALL, st.sampled_from([None, 2]), st.sampled_from([None, 4])),
    ("os_advise", SLOTS),
    ("os_ftruncate", SLOTS, SMALL),
    ("os_fsync", SLOTS),
    ("os_dup", SLOTS, SLOTS),
    ("os_close", SLOTS),
]
PATHS = [
    ("rename", NAMES, NAMES),
    ("replace", NAMES, NAMES),
    ("link", NAMES, NAMES),
    ("symlink", st.sampled_from(["a", "c", "d", "d/a", "s"]), NAMES),
    ("unlink", NAMES),
    ("mkdir", st.sampled_from(["a", "c", "d/b", "d/g", "e", "e/f", "n"]), st.sampled_from([0o777, 0o700])),
    ("makedirs", st.sampled_from(["e", "e/f", "e/f/g", "d/g", "a/b"]), BOOLS),
    ("rmdir", st.sampled_from(["a", "d", "d/g", "e", "n", "v", "v", "v"])),
    ("chmod", NAMES, RIGHTS),
    ("utime", NAMES),
    ("os_truncate", NAMES, SMALL),
    ("umask", st.sampled_from([0o022, 0o077, 0])),
    ("stat", NAMES, BOOLS),
    ("listdir", NAMES),
    ("sync_directory", NAMES),
    ("path_write_text", NAMES, SIZES),
    ("path_write_bytes", NAMES, st.one_of(SIZES, st.just(150_000))),
    ("path_touch", NAMES, st.sampled_from([0o666, 0o600]), BOOLS),
    ("path_rename", NAMES, NAMES),
    ("path_replace", NAMES, NAMES),
    ("path_unlink", NAMES, BOOLS),
    ("path_mkdir", st.sampled_from(["e", "e/f", "e/f/g", "d/g", "a/b"]), BOOLS, BOOLS),
    ("path_chmod", NAMES, RIGHTS),
    ("copyfile", NAMES, NAMES),
    ("copy", NAMES, NAMES),
    ("move", NAMES, NAMES),
]


OPENING = ("open", "fdopen", "named_temporary", "temporary", "os_open", "mkstemp")


@st.composite
def functions(draw, most, calls):
    """The operations of one function: most are about what it has open."""
    files, numbers, done = set(), set(), []
    for _ in range(draw(st.integers(2, most))):
        opening = [one for one in FILES + NUMBERS if one[0] in OPENING and (numbers or one[0] != "fdopen")]
        using = [one for one in FILES if files and one[0] not in OPENING]
        using += [one for one in NUMBERS if numbers and one[0] not in OPENING]
        known = using if using and draw(st.integers(0, 2)) else opening + PATHS
        if calls and draw(st.integers(0, 9)) == 0:
            done.append(("call", draw(functions(6, calls=False)), draw(BOOLS)))
            continue
        name, *strategies = draw(st.sampled_from(known))
        arguments = [draw(strategy) for strategy in strategies]
        if strategies[:1] == [SLOTS]:
            slots = numbers if (name, *strategies) in NUMBERS else files
            if name in OPENING:
                slots.add(arguments[0])
            else:
                arguments[0] = draw(st.sampled_from(sorted(slots)))
            if name == "os_dup":
                slots.add(arguments[1])
            if name == "fdopen":
                arguments[1] = draw(st.sampled_from(sorted(numbers)))
            if name in ("drop", "hold", "os_close"):
                slots.discard(arguments[0])
        done.append((name, *arguments))
    return tuple(done)


PROGRAMS = functions(14, calls=True)


def flat(program):
    """The operations of a program, and those of the functions that it calls."""
    for operation in program:
        if operation[0] == "call":
            yield from operation[1]
        else:
            yield operation


def named_plainly(program):
    """Whether no name of the program is a symbolic link, and no file has two."""
    return not any(
        name in ("link", "symlink") or {"s", "n"} & {text for text in arguments if isinstance(text, str)}
        for name, *arguments in flat(program)
    )
