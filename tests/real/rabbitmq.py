"""Runs a command with a RabbitMQ on the loopback: the one that answers there, or one from Debian's packages.

`rabbitmq.py COMMAND...` installs and starts RabbitMQ if none answers, runs the command, and stops what it started.
`rabbitmq.py --possible` says in one line whether that would work here; its exit status is 0 or 1.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time

ADDRESS = ("127.0.0.1", 5672)
STARTUP_S_MAX = 120
_GREETING = b"AMQP\x00\x00\x09\x01"  # AMQP 0-9-1, 4.2.2; a broker answers with a method frame, of type 1
_FALLBACK_PATH = "/usr/sbin:/sbin"  # where Debian puts rabbitmq-server, and cron does not look


def answers() -> bool:
    """Whether an AMQP broker answers."""
    try:
        with socket.create_connection(ADDRESS, timeout=5) as broker:
            broker.sendall(_GREETING)
            return broker.recv(1) == b"\x01"
    except OSError:
        return False


def why_not() -> str | None:
    """What stands in the way of a broker here; `None`: nothing."""
    if answers():
        return None
    if os.geteuid() != 0:
        return "no RabbitMQ answers on 127.0.0.1:5672, and starting one takes root"
    if _found("rabbitmq-server") is None and _found("apt-get") is None:
        return "no RabbitMQ answers on 127.0.0.1:5672, and there is neither rabbitmq-server nor apt-get"
    return None


def install() -> None:
    """Install RabbitMQ from the distribution's packages, if it is not there."""
    if _found("rabbitmq-server") is None:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update -qq", "install -qq --no-install-recommends rabbitmq-server"):
            subprocess.run(
                ["apt-get", "-y", *command.split()], check=True, env=quiet, stdout=subprocess.DEVNULL
            )


def start() -> None:
    """Start RabbitMQ and wait until it answers.

    Raises:
        RuntimeError: it does not, in `STARTUP_S_MAX` seconds.
    """
    server = _found("rabbitmq-server")
    assert server is not None
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    subprocess.Popen([server, "-detached"], **quiet).wait()  # type: ignore[call-overload]  # two of its options
    deadline_s = time.monotonic() + STARTUP_S_MAX
    while not answers():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"RabbitMQ did not answer on {ADDRESS} within {STARTUP_S_MAX} seconds")
        time.sleep(0.2)


def stop() -> None:
    """Stop RabbitMQ."""
    subprocess.run([_found("rabbitmqctl") or "rabbitmqctl", "stop"], check=False, stdout=subprocess.DEVNULL)


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_FALLBACK_PATH)


def main(arguments: list[str]) -> int:
    """Run the command line; the exit status is the command's, or 1 if there is no broker to be had."""
    reason = why_not()
    if reason is not None or arguments == ["--possible"]:
        print(f"publishing to a real RabbitMQ: {f'not checked: {reason}' if reason else 'can be checked'}")
        return 0 if reason is None else 1
    is_ours = not answers()
    if is_ours:
        install()
        if not answers():  # some packages start it
            start()
    try:
        return subprocess.run(arguments, check=False).returncode
    finally:
        if is_ours:
            stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
