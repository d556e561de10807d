"""What the machine lends: installed packages and time zones, which programs read and nobody writes."""

import importlib.metadata
import importlib.resources
import json
import pkgutil
import sys
import zoneinfo
from datetime import datetime

import pytest

import collector_testkit as kit


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
