"""Collectors with a planted bug, each beside a correct twin, and the table of what must be found.

The collectors know nothing of the kit: they are plain classes over `requests` and a state file. The table
(`CASES`) says which law each bug breaks, under which guarantee, with which source.
"""

from . import cursors, memories, pages, publishing, state_files
from .case import Case

CASES: tuple[Case, ...] = (
    *cursors.CASES,
    *memories.CASES,
    *pages.CASES,
    *publishing.CASES,
    *state_files.CASES,
)

__all__ = ["CASES", "Case"]
