"""What to expect and to do about an error of the operating system. Knows error numbers, and no file."""

import errno

_LOCKS = (
    "a file system with locks (flock)",
    "put state_dir on another file system, or set state_lock = False and keep a second process away yourself",
)
_FILES = (
    "a file descriptor to spare",
    "find what this process keeps open, or raise the limit (ulimit -n), and run the collector again",
)
_ROOM = ("room on the disk", "make room and run the collector again")
_BY_NUMBER = {
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _FILES,
    errno.ENAMETOOLONG: (
        "a name that the file system takes, mostly 255 bytes; 16 of them are for the lock and copies",
        "return a shorter name from get_state_file_name(), or shorten state_dir",
    ),
    errno.ENFILE: _FILES,
    errno.ENOLCK: _LOCKS,
    errno.ENOSPC: _ROOM,
    errno.EOPNOTSUPP: _LOCKS,
    errno.EROFS: (
        "a file system that can be written to, for the lock file beside the state as well",
        "mount it for writing, or name another state_dir",
    ),
}


def advise(exc: BaseException, expected: str, todo: str) -> tuple[str, str]:
    """Return what is expected and what to do about `exc`; `expected` and `todo` where nothing better is known."""
    if isinstance(exc, MemoryError):
        return "memory enough for the state", "give the process more memory and run the collector again"
    if isinstance(exc, OSError):
        return _BY_NUMBER.get(exc.errno or 0, (expected, todo))
    return expected, todo
