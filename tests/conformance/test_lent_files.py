"""What the machine lends: installed packages and time zones, which programs read and nobody writes."""

import importlib.metadata
import importlib.resources
import json
import os
import pkgutil
import sys
import zoneinfo
from datetime import datetime
from pathlib import Path

import pytest
from pyfakefs import helpers

import collector_testkit as kit


@pytest.fixture(params=["who runs the tests", "somebody else"], autouse=True)
def user(request, monkeypatch):
    """The user of the next lifetime: packages and zones mostly belong to another, root."""

    def begin():
        if request.param == "somebody else":
            monkeypatch.setattr(helpers, "USER_ID", 12345)
            monkeypatch.setattr(helpers, "GROUP_ID", 12345)

    begin()
    return begin


def seen(see):
    """What `see` gives in a lifetime."""
    return json.loads(kit.CollectorLab().run(lambda: print(json.dumps(see()))).output)


def read_zone():
    zoneinfo.ZoneInfo.clear_cache()
    return str(datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Warsaw")).utcoffset())


def read_versions():
    return [importlib.metadata.version(name) for name in ("requests", "pytest", "pyfakefs")]


def read_resource():
    return len(importlib.resources.files("certifi").joinpath("cacert.pem").read_bytes())


def read_package_data():
    return len(pkgutil.get_data("certifi", "cacert.pem") or b"")


def read_certificates():
    import ssl

    return ssl.create_default_context().verify_mode.name


def import_late():
    sys.modules.pop("xml.dom.minidom", None)
    return importlib.import_module("xml.dom.minidom").parseString("<a/>").documentElement.tagName


@pytest.mark.parametrize(
    "read", [read_zone, read_versions, read_resource, read_package_data, read_certificates, import_late],
    ids=lambda read: read.__name__,
)  # fmt: skip
def test_what_the_machine_lends_is_there(read):
    """Time zones, versions and data of installed packages, and modules not imported yet, are there in a lifetime."""
    assert seen(read) == read()


def test_what_the_machine_lends_is_no_part_of_the_world():
    """Reading what the machine lends is no effect, and nothing of it is written down as state."""
    lab = kit.CollectorLab()
    assert lab.run(lambda: (read_zone(), read_versions(), read_resource())).effects == ()


def write_package():
    with open(importlib.resources.files("certifi").joinpath("more.pem"), "w"):
        """It is not to be made."""


def test_what_the_machine_lends_cannot_be_written_by_everybody(monkeypatch):
    """A user who may not write where packages are installed may not in a lifetime."""
    monkeypatch.setattr(helpers, "USER_ID", 54321)  # to whom nothing belongs
    monkeypatch.setattr(helpers, "GROUP_ID", 54321)
    error = kit.CollectorLab().run(write_package, fails=True).error
    assert error is not None
    assert error.startswith("PermissionError")


def test_a_closed_directory_is_no_obstacle_to_the_next_lifetime(user):
    """What a program has put into a directory, before it took away its own permission to, is there the next time."""
    lab, spool = kit.CollectorLab(), "/var/lib/collector/spool"
    lab.run(lambda: (os.mkdir(spool), Path(spool + "/1").write_text("row")))
    user()
    lab.run(lambda: os.chmod(spool, 0o555))
    user()
    assert lab.run(lambda: print(os.listdir(spool))).output == "['1']\n"
