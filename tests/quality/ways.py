"""Correct ways to keep a state that no other test knows. Knows no law."""

import asyncio
import concurrent.futures
import configparser
import datetime
import fcntl
import gzip
import hashlib
import json
import logging
import os
import pathlib
import shutil
import tempfile
import time
import urllib.request
import uuid

import requests

URL = "https://feed.example/items.json"
DIRECTORY = "/var/lib/collector/"


class Collector:
    """Loads, asks for rows, publishes each new one, saves after it; subclasses say how."""

    def run(self):
        seen = self.load([])
        for row in self.rows():
            if row["id"] not in seen:
                self.publish(row)
                seen.append(row["id"])
                self.save(seen)

    def rows(self):
        return requests.get(URL, timeout=30).json()

    def publish(self, row, **properties):
        self.publish_output("rows", json.dumps(row), properties)

    def publish_output(self, routing_key, body, properties):
        raise RuntimeError("no broker")

    def load(self, default):
        try:
            with open(DIRECTORY + "state.json", encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return default

    def save(self, state):
        with open(DIRECTORY + "state.tmp", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(DIRECTORY + "state.tmp", DIRECTORY + "state.json")


class AppendedLog(Collector):
    """A line for each identity; a line cut short by a kill is cut off."""

    path = DIRECTORY + "seen.log"

    def run(self):
        seen = set(self.whole_lines())
        with open(self.path, "a", encoding="utf-8") as log:
            for row in self.rows():
                if str(row["id"]) not in seen:
                    self.publish(row)
                    log.write(f"{row['id']}\n")
                    log.flush()

    def whole_lines(self):
        try:
            text = pathlib.Path(self.path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            with open(self.path, "r+", encoding="utf-8") as log:
                log.truncate(len(whole))
        return whole.split()


class PathlibReplace(Collector):
    """`pathlib` from end to end."""

    path = pathlib.Path(DIRECTORY) / "state.json"

    def load(self, default):
        return json.loads(self.path.read_text()) if self.path.exists() else default

    def save(self, state):
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(state))
        temporary.replace(self.path)


class RandomNames(Collector):
    """Temporary files with random names, those left behind removed at the next start."""

    def load(self, default):
        for left in pathlib.Path(DIRECTORY).glob("tmp*"):
            left.unlink()
        return super().load(default)

    def save(self, state):
        with tempfile.NamedTemporaryFile("w", dir=DIRECTORY, delete=False) as file:
            json.dump(state, file)
        os.replace(file.name, DIRECTORY + "state.json")


class Descriptors(Collector):
    """Nothing but `os`."""

    path = DIRECTORY + "state"

    def load(self, default):
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return default
        text = os.read(descriptor, 10_000)
        os.close(descriptor)
        return json.loads(text)

    def save(self, state):
        descriptor = os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, json.dumps(state).encode())
        os.fsync(descriptor)
        os.close(descriptor)
        os.rename(self.path + ".new", self.path)


class MovedUnclosed(Collector):
    """A handle that nobody closes, and `shutil.move`."""

    def save(self, state):
        json.dump(state, open(DIRECTORY + "state.tmp", "w"))  # noqa: SIM115  # that is the point
        shutil.move(DIRECTORY + "state.tmp", DIRECTORY + "state.json")


class LockedAndLogged(Collector):
    """A lock of the kernel, and a log file that grows with each run."""

    def run(self):
        with open(DIRECTORY + "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            logging.basicConfig(filename=DIRECTORY + "run.log", level=logging.INFO)
            logging.getLogger("collector").info("started")
            super().run()


class LockFile(Collector):
    """A file as a lock, which is stale after an hour."""

    def run(self):
        lock = DIRECTORY + "lock"
        if os.path.exists(lock) and time.time() - os.path.getmtime(lock) < 3600:
            return
        pathlib.Path(lock).write_text("locked")
        super().run()
        os.unlink(lock)


class Markers(Collector):
    """A file for each identity."""

    def run(self):
        os.makedirs(DIRECTORY + "seen", exist_ok=True)
        seen = set(os.listdir(DIRECTORY + "seen"))
        for row in self.rows():
            if str(row["id"]) not in seen:
                self.publish(row)
                pathlib.Path(f"{DIRECTORY}seen/{row['id']}").touch()


class Threads(Collector):
    """Fetches in a thread."""

    def rows(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return pool.submit(super().rows).result()


class Patient(Collector):
    """Waits before it fetches, by urllib."""

    def rows(self):
        time.sleep(90)
        with urllib.request.urlopen(URL) as answer:
            return json.load(answer)


class Asynchronous(Collector):
    """Waits in an event loop."""

    def rows(self):
        asyncio.run(asyncio.sleep(30))
        return super().rows()


class Ini(Collector):
    """The newest identity in a configuration file."""

    path = DIRECTORY + "state.ini"

    def load(self, default):
        parser = configparser.ConfigParser()
        parser.read(self.path)
        return list(range(parser.getint("state", "last", fallback=-1) + 1))

    def save(self, state):
        parser = configparser.ConfigParser()
        parser["state"] = {"last": str(state[-1])}
        with open(self.path + ".tmp", "w", encoding="utf-8") as file:
            parser.write(file)
        os.replace(self.path + ".tmp", self.path)


class Backup(Collector):
    """Written in place, with the last one kept and used when it is torn."""

    path = DIRECTORY + "state.json"

    def load(self, default):
        for path in (self.path, self.path + ".bak"):
            try:
                return json.loads(pathlib.Path(path).read_text())
            except (FileNotFoundError, ValueError):
                continue
        return default

    def save(self, state):
        try:
            json.loads(pathlib.Path(self.path).read_text())
            os.replace(self.path, self.path + ".bak")
        except (FileNotFoundError, ValueError):
            pass
        pathlib.Path(self.path).write_text(json.dumps(state))


class TimeOfRun(Collector):
    """Notes when it ran."""

    def run(self):
        super().run()
        pathlib.Path(DIRECTORY + "ran").write_text(str(time.time()))


class Archive(Collector):
    """Leaves a file for each hour in which it ran."""

    def run(self):
        super().run()
        hour = datetime.datetime.now().strftime("%Y%m%d%H")
        pathlib.Path(f"{DIRECTORY}{hour}.json").write_text(json.dumps(self.load([])))


class EveryOther(Collector):
    """Saves after every second message, and at the end."""

    def run(self):
        seen = self.load([])
        for count, row in enumerate([row for row in self.rows() if row["id"] not in seen], start=1):
            self.publish(row)
            seen.append(row["id"])
            if count % 2 == 0:
                self.save(seen)
        self.save(seen)


class Batch(Collector):
    """One message with all that is new."""

    def run(self):
        seen = self.load([])
        new = [row for row in self.rows() if row["id"] not in seen]
        if new:
            self.publish(new)
            self.save([*seen, *(row["id"] for row in new)])


class OneARun(Collector):
    """Publishes one record in each run."""

    def rows(self):
        seen = self.load([])
        return [row for row in super().rows() if row["id"] not in seen][:1]


class Compressed(Collector):
    """A state in gzip."""

    def load(self, default):
        try:
            return json.loads(gzip.decompress(pathlib.Path(DIRECTORY + "state.gz").read_bytes()))
        except FileNotFoundError:
            return default

    def save(self, state):
        temporary = pathlib.Path(DIRECTORY + "state.tmp")
        temporary.write_bytes(gzip.compress(json.dumps(state).encode()))
        temporary.replace(DIRECTORY + "state.gz")


class NotModified(Collector):
    """Asks only for what has changed, and notes that when all is published."""

    def run(self):
        state = self.load({"seen": [], "etag": None})
        headers = {"If-None-Match": state["etag"]} if state["etag"] else {}
        answer = requests.get(URL, headers=headers, timeout=30)
        for row in answer.json() if answer.status_code == 200 else []:
            if row["id"] not in state["seen"]:
                self.publish(row)
                state["seen"].append(row["id"])
                self.save(state)
        self.save({**state, "etag": answer.headers["ETag"]})


class Outbox(Collector):
    """Messages are saved with their identities before the first is sent."""

    def identity(self, row):
        return hashlib.sha256(str(row["id"]).encode()).hexdigest()

    def run(self):
        state = self.load({"seen": [], "waiting": []})
        new = [row for row in self.rows() if row["id"] not in state["seen"]]
        state["waiting"] += [[self.identity(row), row] for row in new]
        state["seen"] += [row["id"] for row in new]
        if new:
            self.save(state)
        while state["waiting"]:
            identity, row = state["waiting"].pop(0)
            self.publish(row, message_id=identity)
            self.save(state)


class OutboxOfChance(Outbox):
    """The same, with identities drawn by chance and saved before they are used."""

    def identity(self, row):
        return str(uuid.uuid4())


class Linked(Collector):
    """A file for each state, and a symbolic link to the newest; older ones are removed."""

    link = DIRECTORY + "current"

    def load(self, default):
        return json.loads(pathlib.Path(self.link).read_text()) if os.path.exists(self.link) else default

    def save(self, state):
        path = f"{DIRECTORY}state-{len(state)}"
        pathlib.Path(path).write_text(json.dumps(state))
        pathlib.Path(self.link + ".new").unlink(missing_ok=True)
        os.symlink(path, self.link + ".new")
        os.replace(self.link + ".new", self.link)
        for other in set(pathlib.Path(DIRECTORY).glob("state-*")) - {pathlib.Path(path)}:
            other.unlink()
