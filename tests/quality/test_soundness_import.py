"""Soundness, imports: what a program's module makes of the world when it is imported is refused, and nothing else is.

In life each process imports the program anew, at its own time and on the disk that the one before left.
"""

import re
import sys

import pytest

import collector_testkit as kit

from .programs import ROWS, URL, refusal, scenario

SAME = "what the program makes when it is imported is not the same at each start"
WORKS = "the program works on the world when it is imported"
PROGRAM = """
from __future__ import annotations
import json, os, requests
STATE = "/var/lib/collector/state.json"
{before}

def send(body):
    raise RuntimeError("no broker")

def main({arguments}):
    done = json.load(open(STATE)) if os.path.exists(STATE) else []
    for row in requests.get("https://feed.example/items.json", timeout=30).json():
        if row["id"] not in done:
            send(json.dumps(row))
            done.append(row["id"])
            with open(STATE + ".tmp", "w") as file:
                json.dump(done, file)
            os.replace(STATE + ".tmp", STATE)
    {uses}

{after}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a module; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return f"{tmp_path}/{name}.py"

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def program(write):
    """A function that writes a collector, with something `before` its functions; `main` mentions it in `uses`."""

    def program(before, uses="", arguments="", after=""):
        text = PROGRAM.format(before=before, uses=uses, arguments=arguments, after=after)
        return write("imported_program", text)

    return program


def checked(**options):
    return kit.check(
        scenario("imported_program:main", broker=kit.Broker(call="imported_program:send"), **options)
    )


def refused(**options):
    broker = kit.Broker(call="imported_program:send")
    return refusal("imported_program:main", "not-measured", broker=broker, **options)


LOADED = "frozenset(json.load(open(STATE))) if os.path.exists(STATE) else frozenset()"
MAKES = {
    "the disk": (f"DATA = {LOADED}", "DATA"),
    "a mutable of the disk": ("DATA = json.load(open(STATE)) if os.path.exists(STATE) else []", "DATA"),
    "the disk, in a block": ("try:\n    DATA = open(STATE).read()\nexcept OSError:\n    DATA = ''", "DATA"),
    "whether a file is there": ("DATA = os.path.exists(STATE)", "DATA"),
    "the clock": ("import datetime\nDATA = datetime.datetime.now()", "DATA"),
    "the monotonic clock": ("import time\nDATA = time.monotonic()", "DATA"),
    "chance": ("import uuid\nDATA = uuid.uuid4()", "DATA"),
    "text of chance": ("from secrets import token_hex\nDATA = token_hex()", "DATA"),
    "a generator": ("import random\nDATA = random.Random()", "DATA"),
    "a path of the clock": ("import pathlib, time\nDATA = pathlib.Path('/tmp', str(time.time()))", "DATA"),
    "a container": ("import collections, time\nDATA = collections.deque([{'at': (time.time(),)}])", "DATA"),
    "a class": ("import uuid\nclass DATA:\n    RUN = uuid.uuid4().hex", "DATA.RUN"),
    "an object": (
        "class State:\n    def __init__(self):\n        self.seen = os.path.exists(STATE)\nDATA = State()",
        "DATA",
    ),
    "slots": (
        "class State:\n    __slots__ = ('seen',)\nDATA = State()\nDATA.seen = os.path.exists(STATE)",
        "DATA",
    ),
    "a default": ("import time\ndef DATA(now=time.time()):\n    return now", "DATA"),
    "after what fails": ("import uuid\nVERSION = open('/no/file').read()\nDATA = uuid.uuid4().hex", "DATA"),
}


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("what", ["the disk", "the clock", "chance", "a mutable of the disk"])
def test_what_an_import_makes_of_the_world_is_refused(program, what, isolate):
    """The name and its line are told, and the way out, which is not to isolate."""
    before, name = MAKES[what]
    path = program(before, "DATA")
    error = refused(isolate=isolate)
    assert error.happened == SAME
    assert error.value == f"{name} at {path}:{5 + before.splitlines().index(before.splitlines()[-1])}"
    assert "move it into the function" in error.next_step
    assert "isolate" not in error.next_step


@pytest.mark.parametrize("what", MAKES)
def test_each_kind_of_data_counts(program, what):
    """Data is found wherever it is held, also after what cannot be repeated."""
    before, name = MAKES[what]
    real = "open('/no/file').read()"
    path = program(
        before.replace(real, "sys.argv[0]").replace("import uuid\nV", "import uuid, sys\nV"), "DATA"
    )
    if real in before:  # the file was there when the program was imported
        __import__("imported_program")
        with open(path, "w") as file:
            file.write(PROGRAM.format(before=before, uses="DATA", arguments="", after=""))
    error = refused()
    assert error.happened == SAME
    assert error.value.startswith(f"{name} at {path}:")
    assert ";" not in error.value


def test_what_another_module_of_the_program_makes_is_refused(program, write):
    """A module that the program imports is executed anew as well, and before it."""
    path = write("imported_config", "import time\n\n\nSTARTED = time.time()\n")
    program("from imported_config import STARTED as BEGAN", "BEGAN")
    assert refused().value == f"STARTED at {path}:4"


def test_a_program_in_the_test_itself(program):
    """Of a callable the names count that it reaches: here those of another module, through a closure."""
    path = program("import time\nSTARTED = time.time()", "STARTED")
    main = __import__("imported_program").main

    def local():
        main()

    assert refusal(local, "not-measured").value == f"STARTED at {path}:6"


WORKING = {
    "a directory": ("os.makedirs('/srv/data', exist_ok=True)", "mkdir /srv at "),
    "a file": ("with open('/tmp/run', 'w') as file:\n    file.write('x')", "create /tmp/run at "),
    "a request": (f"requests.get({URL!r}).json()", f"request GET {URL} at "),
}


@pytest.mark.parametrize("what", WORKING)
def test_an_import_that_works_on_the_world_is_refused(write, what):
    """A module that writes or fetches when it is imported would do so at each start."""
    before, value = WORKING[what]
    write("imported_program", PROGRAM.format(before="", uses="", arguments="", after=""))
    __import__("imported_program")  # without it: the real world is none to work on
    path = write("imported_program", PROGRAM.format(before=before, uses="", arguments="", after=""))
    error = refused()
    assert error.happened == WORKS
    assert error.value.startswith(value + path)


HARMLESS = {
    "environment": "HOME = os.environ.get('HOME', '/root')\nUSER = os.getenv('USER')",
    "a version": "__version__ = '1.2'\nVERSION = tuple(map(int, __version__.split('.')))",
    "patterns": "import re\nWORD = re.compile(r'\\w+')",
    "its own place": "from pathlib import Path\nBASE = Path(__file__).parent\nLISTED = sorted(BASE.glob('*.no'))",
    "a file beside it": "from pathlib import Path\nTEXT = Path(__file__).read_text()",
    "an enum": "import enum\nclass Colour(enum.Enum):\n    RED = enum.auto()\n    BLUE = 'blue'",
    "tuples": "import collections, typing\nPair = collections.namedtuple('Pair', 'a b')\nPAIR = Pair(1, [2])\n"
    "class Row(typing.NamedTuple):\n    id: int = 0\nROW = Row()",
    "a dataclass": "import dataclasses\n@dataclasses.dataclass(frozen=True, order=True)\nclass Options:\n"
    "    url: str = 'x'\n    rows: list[int] = dataclasses.field(default_factory=list)\nOPTIONS = Options()",
    "logging": "import logging\nlogging.basicConfig(level=logging.INFO)\nLOG = logging.getLogger('x')",
    "a log": "import logging\nlogging.basicConfig(filename=os.devnull)\nlogging.FileHandler('x.log', delay=True)",
    "objects": "import threading\nLOCK = threading.Lock()\nSESSION = requests.Session()\nMARK = object()",
    "a fixed seed": "import random\nRNG = random.Random(7)\nDRAWN = [RNG.random() for _ in range(3)]",
    "a registry": "import codecs\nNAMES = {}\ndef register(name):\n    assert name not in NAMES\n    def put(made):\n"
    "        NAMES[name] = made\n        return made\n    return put\n@register('one')\nclass One: pass",
    "what is on neither disk": "OLD = json.load(open('/etc/no')) if os.path.exists('/etc/no') else {}",
    "what nothing uses": "import time\nSTARTED = time.time()\nNOW = f'{STARTED}'",
    "tests": "import pytest\nfrom hypothesis import given, strategies as st\nst = pytest.importorskip('json')\n"
    "@pytest.fixture\ndef thing(): yield 1\n@pytest.mark.parametrize('x', [1, 2])\ndef test_it(thing, x): pass",
    "hypothesis": "from hypothesis import given, settings, strategies as st\nWORDS = st.text()\n"
    "@settings(max_examples=3)\n@given(WORDS)\ndef test_it(word): pass",
    "an optional import": "try:\n    import no_such_module_at_all as fast\nexcept ImportError:\n    fast = None",
    "the time of a test": "import datetime\nTODAY = datetime.date.today()\ndef test_it():\n    assert TODAY",
    "a recursion": "TREE = []\nTREE.append(TREE)\nclass Node:\n    def __init__(self): self.me = self\nNODE = Node()",
    "a hostile class": "class Bad:\n    @property\n    def __dict__(self): raise RuntimeError\n"
    "    def __getattr__(self, name): raise RuntimeError\nBAD = Bad()",
    "a slow start": "import time\ntime.sleep(0.001)",
    "threads": "import threading\nT = threading.Thread(target=print, daemon=True)\nT.start()\nT.join()",
    "another process": "import subprocess\nOUT = subprocess.run(['true'], capture_output=True).stdout",
    "a cache": "import functools\n@functools.lru_cache\ndef one():\n    return 1\nONE = one()",
    "a scenario": "import collector_testkit as kit\nscenario = kit.Scenario(program='imported_program:main',"
    " feeds=[kit.Feed('https://feed.example/x', ticks=[[{'id': 1}]])])",
    "a guarded script": "if __name__ == '__main__':\n    raise SystemExit(1)",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_module_is_checked(program, what):
    """What is the same at each start, and what no function of the program mentions, is no matter."""
    before = HARMLESS[what]
    names = re.findall(r"^(?:class )?([A-Z]\w*)", before, re.MULTILINE)
    program(before, "" if what in ("what nothing uses", "the time of a test") else ", ".join(names))
    result = checked()
    assert result.verdict == "holds", str(result.problem)


def test_relative_imports_and_a_package(write, tmp_path):
    """A module of a package is executed anew under its own name, with the modules that it imports from there."""
    package = tmp_path / "imported_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .work import main\n")
    (package / "names.py").write_text("PLACES = ('a', 'b')\nfrom . import work\n")
    text = PROGRAM.format(before="from . import names", uses="names.PLACES", arguments="", after="")
    (package / "work.py").write_text(text)
    broker = kit.Broker(call="imported_package.work:send")
    result = kit.check(scenario("imported_package:main", broker=broker))
    assert result.verdict == "holds", str(result.problem)
    for name in [name for name in sys.modules if name.startswith("imported_package")]:
        del sys.modules[name]


def test_a_script_that_checks_itself(program, tmp_path):
    """A module that makes a check at its end makes none when it is executed anew."""
    after = (
        "import collector_testkit as kit\n"
        f"result = kit.check(kit.Scenario(program=main, guarantee='at-least-once', "
        f"feeds=[kit.Feed({URL!r}, ticks=[{list(ROWS)!r}])], broker=kit.Broker(call='imported_program:send')))\n"
    )
    program("", after=after)
    assert __import__("imported_program").result.verdict == "holds"


def test_the_modules_of_this_process_stay(program):
    """What is executed anew is so in another process: this one keeps its modules and what they registered."""
    program("KEPT = []", "KEPT")
    before = __import__("imported_program")
    assert checked().verdict == "holds"
    assert sys.modules["imported_program"] is before
