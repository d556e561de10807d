"""`python -m collector_testkit`: the command line."""

import sys

from collector_testkit.cli import main

sys.exit(main())
