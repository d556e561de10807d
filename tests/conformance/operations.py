"""Small programs of file operations, as data, and what carries one out; run on either disk, they tell what they saw.

A program is a tuple of operations, an operation its name and its arguments. Files and descriptors that a program
opens lie in numbered slots of the function that opened them, which ends when its operations are done.
"""

import errno
import json
import os
import pickle
import shutil
import stat
import tempfile
from itertools import count
from pathlib import Path

DIRECTORIES = ("d", "v")
LAID = (("a", 10), ("b", 9_000), ("d/a", 3))
LINKS = (("s", "a"), ("n", "c"))
HELD = []
"""What a program holds until the interpreter ends."""


def perform(program, base):
    """Carry out a program in the directory `base`; what each operation gave or raised."""
    names = (f"t{number}" for number in count())
    tempfile._name_sequence = names
    told = []
    try:
        Function(base, told).run(program, stops=False)
    finally:
        tempfile._name_sequence = None
    return told


def lay(base):
    """What lies in `base` before each program."""
    os.mkdir(base, 0o755)
    for name in DIRECTORIES:
        os.mkdir(f"{base}/{name}", 0o755)
    for name, size in LAID:
        with open(f"{base}/{name}", "wb") as file:
            file.write(binary(size, 0))
    for name, target in LINKS:
        os.symlink(target, f"{base}/{name}")


def text(size, seed):
    """Some text, a character in 50 of two bytes, a line end in 71."""
    letters = ["abcdefghij"[(n * 7 + seed) % 10] for n in range(size)]
    letters[25::50] = "é" * len(letters[25::50])
    letters[70::71] = "\n" * len(letters[70::71])
    return "".join(letters)


def binary(size, seed):
    """Some bytes."""
    return text(size, seed).encode()[:size]


class Function:
    """One call of a function: its open files, and the operations it knows."""

    def __init__(self, base, told):
        self.base, self.told = base, told
        self.files, self.numbers = {}, {}

    def run(self, program, stops):
        """Do the operations, and end at the first error if `stops`."""
        for name, *arguments in program:
            try:
                found = getattr(self, name)(*arguments)
            except (OSError, ValueError, KeyError, TypeError) as problem:
                self.told.append(_short(name, problem))
                if stops:
                    return
            else:
                self.told.append((name, found))

    def call(self, program, stops):
        """Call another function, whose open files nobody holds when it ends."""
        Function(self.base, self.told).run(program, stops)

    def at(self, name):
        return f"{self.base}/{name}"

    def data(self, slot, size, seed):
        return (text if hasattr(self.files[slot], "encoding") else binary)(size, seed)

    # -- file objects -----------------------------------------------------------------------------------
    def open(self, slot, name, mode, buffering):
        encoding = None if "b" in mode else "utf-8"
        self.files[slot] = open(self.at(name), mode, buffering, encoding)  # noqa: SIM115

    def fdopen(self, slot, number, mode, buffering, closefd):
        encoding = None if "b" in mode else "utf-8"
        self.files[slot] = os.fdopen(self.numbers[number], mode, buffering, encoding, closefd=closefd)

    def named_temporary(self, slot, mode, delete):
        encoding = None if "b" in mode else "utf-8"
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115
            mode, dir=self.base, delete=delete, encoding=encoding
        )
        self.files[slot] = file
        return os.path.basename(file.name)

    def temporary(self, slot):
        self.files[slot] = tempfile.TemporaryFile(dir=self.base)  # noqa: SIM115

    def write(self, slot, size, seed):
        return self.files[slot].write(self.data(slot, size, seed))

    def writelines(self, slot, sizes):
        self.files[slot].writelines([self.data(slot, size, size) for size in sizes])

    def print(self, slot, size):
        print(text(size, 1), file=self.files[slot])

    def json_dump(self, slot, size):
        json.dump({"cursor": size, "seen": [text(7, n) for n in range(size)]}, self.files[slot])

    def pickle_dump(self, slot, size):
        pickle.dump([binary(size, 3), {"size": size}], self.files[slot])

    def read(self, slot, size):
        return self.files[slot].read(size)

    def readline(self, slot):
        return self.files[slot].readline()

    def seek(self, slot, offset, whence):
        return self.files[slot].seek(offset, whence)

    def tell(self, slot):
        return self.files[slot].tell()

    def truncate(self, slot, size):
        return self.files[slot].truncate(size)

    def flush(self, slot):
        self.files[slot].flush()

    def fsync(self, slot):
        self.files[slot].flush()
        os.fsync(self.files[slot].fileno())

    def fchmod(self, slot, mode):
        os.fchmod(self.files[slot].fileno(), mode)

    def close(self, slot):
        self.files[slot].close()

    def drop(self, slot):
        del self.files[slot]

    def hold(self, slot):
        if not HELD and not isinstance(self.files[slot], tempfile._TemporaryFileWrapper):
            HELD.append(self.files.pop(slot))

    # -- descriptors ------------------------------------------------------------------------------------
    def os_open(self, number, name, flags, mode):
        opened = os.open(self.at(name), flags, mode)
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            os.close(opened)
            raise KeyError(number)
        self.numbers[number] = opened

    def mkstemp(self, number):
        self.numbers[number], path = tempfile.mkstemp(dir=self.base)
        return os.path.basename(path)

    def os_write(self, number, size, seed):
        return os.write(self.numbers[number], binary(size, seed))

    def os_read(self, number, size):
        return os.read(self.numbers[number], size)

    def os_lseek(self, number, offset, whence):
        return os.lseek(self.numbers[number], offset, whence)

    def os_pwrite(self, number, size, offset):
        return os.pwrite(self.numbers[number], binary(size, 2), offset)

    def os_writev(self, number, size):
        return os.writev(self.numbers[number], [binary(size, 1), b"", binary(3, 2)])

    def os_readv(self, number, size):
        parts = [bytearray(size), bytearray(4)]
        return os.readv(self.numbers[number], parts), *parts

    def os_pwritev(self, number, size, offset):
        return os.pwritev(self.numbers[number], [binary(size, 5), b"end"], offset)

    def os_preadv(self, number, size, offset):
        parts = [bytearray(size)]
        return os.preadv(self.numbers[number], parts, offset), *parts

    def os_copy_range(self, number, other, size, offset, place):
        return os.copy_file_range(self.numbers[number], self.numbers[other], size, offset, place)

    def os_advise(self, number):
        os.posix_fadvise(self.numbers[number], 0, 0, os.POSIX_FADV_DONTNEED)
        return os.isatty(self.numbers[number]), os.get_inheritable(self.numbers[number])

    def os_ftruncate(self, number, size):
        os.ftruncate(self.numbers[number], size)

    def os_fsync(self, number):
        os.fsync(self.numbers[number])

    def os_dup(self, number, other):
        self.numbers[other] = os.dup(self.numbers[number])

    def os_close(self, number):
        os.close(self.numbers.pop(number))

    def sync_directory(self, name):
        number = os.open(self.at(name), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    # -- names ------------------------------------------------------------------------------------------
    def rename(self, old, new):
        os.rename(self.at(old), self.at(new))

    def replace(self, old, new):
        os.replace(self.at(old), self.at(new))

    def link(self, old, new):
        os.link(self.at(old), self.at(new))

    def symlink(self, target, name):
        os.symlink(target, self.at(name))

    def unlink(self, name):
        os.unlink(self.at(name))

    def mkdir(self, name, mode):
        os.mkdir(self.at(name), mode)

    def makedirs(self, name, exist_ok):
        os.makedirs(self.at(name), exist_ok=exist_ok)

    def rmdir(self, name):
        os.rmdir(self.at(name))

    def chmod(self, name, mode):
        os.chmod(self.at(name), mode)

    def utime(self, name):
        os.utime(self.at(name))

    def os_truncate(self, name, size):
        os.truncate(self.at(name), size)

    def umask(self, mask):
        os.umask(mask)

    def stat(self, name, follow):
        found = os.stat(self.at(name), follow_symlinks=follow)
        kind = stat.S_IFMT(found.st_mode)
        return (
            kind,
            stat.S_IMODE(found.st_mode),
            None if stat.S_ISDIR(kind) else (found.st_size, found.st_nlink),
        )

    def listdir(self, name):
        return sorted(os.listdir(self.at(name)))

    # -- pathlib and shutil -----------------------------------------------------------------------------
    def path_write_text(self, name, size):
        return Path(self.at(name)).write_text(text(size, 4), "utf-8")

    def path_write_bytes(self, name, size):
        return Path(self.at(name)).write_bytes(binary(size, 5))

    def path_touch(self, name, mode, exist_ok):
        Path(self.at(name)).touch(mode, exist_ok)

    def path_rename(self, old, new):
        Path(self.at(old)).rename(self.at(new))

    def path_replace(self, old, new):
        Path(self.at(old)).replace(self.at(new))

    def path_unlink(self, name, missing_ok):
        Path(self.at(name)).unlink(missing_ok)

    def path_mkdir(self, name, parents, exist_ok):
        Path(self.at(name)).mkdir(0o777, parents, exist_ok)

    def path_chmod(self, name, mode):
        Path(self.at(name)).chmod(mode)

    def copyfile(self, old, new):
        shutil.copyfile(self.at(old), self.at(new))

    def copy(self, old, new):
        shutil.copy(self.at(old), self.at(new))

    def move(self, old, new):
        if os.path.isdir(self.at(old)) and not os.path.islink(self.at(old)):
            raise KeyError(old)  # where rename(2) refuses, shutil copies a tree and removes it
        shutil.move(self.at(old), self.at(new))


def _short(name, problem):
    if isinstance(problem, OSError) and problem.errno is not None:
        return name, errno.errorcode[problem.errno]
    return name, type(problem).__name__
