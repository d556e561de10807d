"""What every test may use: pytest's own `pytester`, which runs pytest in a directory of its own."""

import os

pytest_plugins = ["pytester"]

# On a machine for continuous integration pytest prints more, and tests read what it prints.
for _name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(_name, None)
