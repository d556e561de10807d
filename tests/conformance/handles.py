"""Bodies that leave file objects to the interpreter; run as a script, they are run on the real disk.

Each gets a directory to work in and `look`, which tells what a file of it holds at that moment.
"""

# ruff: noqa: SIM115 - files without a context manager are what this is about

import atexit
import csv
import functools
import gc
import gzip
import io
import json
import os
import pickle
import sys
import threading
import zipfile
import zlib
from pathlib import Path

KEPT = []


def write_and_forget(base, look):
    open(f"{base}/a", "w").write("rows\n")
    return look("a")


def dump_json_and_forget(base, look):
    json.dump({"last": 7}, open(f"{base}/a", "w"))
    return look("a")


def dump_pickle_and_forget(base, look):
    pickle.dump(list(range(3000)), open(f"{base}/a", "wb"), protocol=2)
    return look("a")


def print_and_forget(base, look):
    for number in range(3):
        print(number, file=open(f"{base}/a", "a"))
    return look("a")


def forget_through_pathlib(base, look):
    Path(base, "a").open("w").write("rows\n")
    return look("a")


def forget_through_a_wrapper(base, look):
    io.TextIOWrapper(open(f"{base}/a", "wb")).write("rows\n")
    return look("a")


def forget_a_csv_writer(base, look):
    csv.writer(open(f"{base}/a", "w", newline="")).writerows([[1, "a"], [2, "b"]])
    return look("a")


def forget_a_descriptor(base, look):
    os.fdopen(os.open(f"{base}/a", os.O_CREAT | os.O_WRONLY), "w").write("rows\n")
    return look("a")


def forget_a_gzip_file(base, look):
    gzip.GzipFile(f"{base}/a", "wb", mtime=0).write(b"rows\n" * 1000)
    return look("a")


def forget_a_zip_archive(base, look):
    zipfile.ZipFile(f"{base}/a", "w").writestr(zipfile.ZipInfo("rows"), "rows\n")
    return look("a")


def forget_what_was_read(base, look):
    open(f"{base}/a", "w").write("rows\n")
    return open(f"{base}/a").read()


def hold_in_a_local(base, look):
    def save():
        file = open(f"{base}/a", "w")
        file.write("rows\n")
        return look("a")

    return save(), look("a")


def hold_until_reassigned(base, look):
    file = open(f"{base}/a", "w")
    file.write("first\n")
    file = open(f"{base}/a", "w")
    file.write("second\n")
    before = look("a")
    del file
    return before, look("a")


def hold_in_a_closure(base, look):
    def writer():
        file = open(f"{base}/a", "w")
        return lambda text: [file.write(text)]

    write = writer()
    write("rows\n")
    before = look("a")
    del write
    return before, look("a")


def hold_in_a_generator(base, look):
    def rows():
        with open(f"{base}/a", "w") as file:
            while True:
                file.write((yield))

    sink = rows()
    next(sink)
    sink.send("rows\n")
    before = look("a")
    del sink
    return before, look("a")


def hold_in_a_traceback(base, look):
    def fail():
        file = open(f"{base}/a", "w")
        file.write("rows\n")
        raise ValueError

    try:
        fail()
    except ValueError:
        inside = look("a")
    return inside, look("a")


def hold_in_a_cycle(base, look):
    holder = {"file": open(f"{base}/a", "w")}
    holder["self"] = holder
    holder["file"].write("rows\n")
    del holder
    before = look("a")
    gc.collect()
    return before, look("a")


def hold_in_a_cycle_to_the_end(base, look):
    holder = {"file": open(f"{base}/a", "w")}
    holder["self"] = holder
    holder["file"].write("rows\n")
    return look("a")


def hold_in_a_global_to_the_end(base, look):
    KEPT.append(open(f"{base}/a", "w"))
    KEPT[-1].write("rows\n")
    return look("a")


def hold_in_a_partial_to_the_end(base, look):
    KEPT.append(functools.partial(print, "row", file=open(f"{base}/a", "w")))
    KEPT[-1]()
    return look("a")


def hold_more_than_a_buffer(base, look):
    KEPT.append(open(f"{base}/a", "w"))
    KEPT[-1].write("x" * 20_000)
    return look("a")


def hold_a_line_buffer(base, look):
    KEPT.append(open(f"{base}/a", "w", buffering=1))
    KEPT[-1].write("one\ntwo")
    return look("a")


def hold_without_a_buffer(base, look):
    KEPT.append(open(f"{base}/a", "wb", buffering=0))
    KEPT[-1].write(b"rows")
    return look("a")


def hold_two_of_one_file(base, look):
    KEPT.extend([open(f"{base}/a", "a"), open(f"{base}/b", "a")])
    KEPT[0].write("first\n")
    KEPT[1].write("second\n")
    return look("a"), look("b")


def hold_what_was_renamed(base, look):
    KEPT.append(open(f"{base}/b", "w"))
    KEPT[-1].write("rows\n")
    os.replace(f"{base}/b", f"{base}/a")
    return look("a")


def hold_what_was_removed(base, look):
    KEPT.append(open(f"{base}/a", "w"))
    KEPT[-1].write("rows\n")
    os.remove(f"{base}/a")
    return os.listdir(base)


def write_at_exit(base, look):
    file = open(f"{base}/a", "w")
    file.write("rows\n")
    atexit.register(file.write, "and more\n")
    return look("a")


def close_at_exit(base, look):
    KEPT.append(open(f"{base}/a", "w"))
    KEPT[-1].write("rows\n")
    atexit.register(KEPT[-1].close)
    return look("a")


def fail_with_an_open_file(base, look):
    file = open(f"{base}/a", "w")
    file.write("rows\n")
    raise ValueError(look("a"))


def exit_with_an_open_file(base, look):
    file = open(f"{base}/a", "w")
    file.write("rows\n")
    sys.exit(0)


def hold_in_a_thread(base, look):
    def work():
        file = open(f"{base}/a", "w")
        file.write("rows\n")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return look("a")


BODIES = [
    write_and_forget, dump_json_and_forget, dump_pickle_and_forget, print_and_forget, forget_through_pathlib,
    forget_through_a_wrapper, forget_a_csv_writer, forget_a_descriptor, forget_a_gzip_file, forget_a_zip_archive,
    forget_what_was_read, hold_in_a_local, hold_until_reassigned, hold_in_a_closure, hold_in_a_generator,
    hold_in_a_traceback, hold_in_a_cycle, hold_in_a_cycle_to_the_end, hold_in_a_global_to_the_end,
    hold_in_a_partial_to_the_end, hold_more_than_a_buffer, hold_a_line_buffer, hold_without_a_buffer,
    hold_two_of_one_file, hold_what_was_renamed, hold_what_was_removed, write_at_exit, close_at_exit,
    fail_with_an_open_file, exit_with_an_open_file, hold_in_a_thread,
]  # fmt: skip


def run(body, base):
    """Run one body in a directory, and print what it saw."""

    def look(name):
        data = Path(base, name).read_bytes()
        return f"{len(data)} bytes, {zlib.crc32(data)}"

    print(json.dumps(body(base, look)))


def run_all(base):
    """Run each body in a process and a directory of its own; what it printed goes to `NAME.out`, its end to `.end`."""
    for body in BODIES:
        os.mkdir(f"{base}/{body.__name__}")
        pid = os.fork()
        if pid == 0:
            sys.stdout = open(f"{base}/{body.__name__}.out", "w")
            sys.stderr = open(os.devnull, "w")
            run(body, f"{base}/{body.__name__}")
            sys.exit()
        Path(base, f"{body.__name__}.end").write_text(str(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    run_all(sys.argv[1])
