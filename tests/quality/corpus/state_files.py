"""State-file bugs: a state that a kill tears, loses or splits, or that never reaches the disk."""

import copy
import json
import os
import tempfile

from .base import replace_json
from .case import A, B, C, Case
from .correct import NewestAndTies, SeenIds


class TakesStateAway(SeenIds):
    """Bug 2: takes the state file away at the start and puts it back on a clean stop, so a kill loses it."""

    def run_collection(self):
        super().run_collection()
        super().save_state(self.state)

    def load_state(self):
        self.state = super().load_state()
        if os.path.exists(self.state_path):
            os.remove(self.state_path)
        return self.state

    def save_state(self, state):
        self.state = state


class WritesInPlace(SeenIds):
    """Bug 17: writes over the state file in place, so a kill inside the write leaves one no run can load."""

    def save_state(self, state):
        os.makedirs(self.STATE_DIR, exist_ok=True)
        with open(self.state_path, "w", encoding="utf-8") as file:
            json.dump(state, file)


class TakesTornStateForNone(WritesInPlace):
    """Bug 17: takes a torn state file for a first run, so everything saved before is published again."""

    def load_state(self):
        try:
            return super().load_state()
        except ValueError:
            return self.make_default_state()


class RemovesThenRenames(SeenIds):
    """Bug 19: removes the old state file before renaming the new one, so a kill between leaves none."""

    def save_state(self, state):
        fresh_path = self.state_path + ".new"
        replace_json(fresh_path, state)
        if os.path.exists(self.state_path):
            os.remove(self.state_path)
        os.rename(fresh_path, self.state_path)


class SavesTwoFiles(NewestAndTies):
    """Bug 22: saves ties and newest time in two files, so a kill between leaves a pair that never was."""

    def get_part_path(self, part):
        """Return the path of the file that holds one part of the state."""
        return os.path.join(self.STATE_DIR, f"{part}.json")

    def load_state(self):
        state = self.make_default_state()
        for part in state:
            if os.path.exists(self.get_part_path(part)):
                with open(self.get_part_path(part), encoding="utf-8") as file:
                    state[part] = json.load(file)
        return state

    def save_state(self, state):
        for part in ("ties", "newest"):
            replace_json(self.get_part_path(part), state[part])


class SavesChangesOnly(SeenIds):
    """Skips a save if the state equals the one saved last, of which it keeps a copy."""

    saved = None

    def save_state(self, state):
        if state != self.saved:
            super().save_state(state)
            self.saved = self.keep(state)

    def keep(self, state):
        """Return what later states are compared with."""
        return copy.deepcopy(state)


class ComparesStateWithItself(SavesChangesOnly):
    """Bug 37: keeps the state itself, not a copy, so later changes look saved and never reach the disk."""

    def keep(self, state):
        return state


class UpdatesExistingFileOnly(SeenIds):
    """Bug 40: saves only over an existing state file, so none is ever written: every run is a first run."""

    def save_state(self, state):
        if os.path.exists(self.state_path):
            super().save_state(state)


class LeavesTemporaryFiles(SeenIds):
    """Bug outside the list: gives each save a temporary file of its own, and none removes a killed one's."""

    def save_state(self, state):
        os.makedirs(self.STATE_DIR, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self.STATE_DIR)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(temporary, self.state_path)


CASES = (
    Case(
        number=2,
        name="state-taken-away-at-start",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=TakesStateAway,
        twin=SeenIds,
        ticks=[[A], [A, B]],
        kills_min=1,
    ),
    Case(
        number=17,
        name="torn-state-fails-to-load",
        law="state-loadable",
        guarantee="at-least-once",
        buggy=WritesInPlace,
        twin=SeenIds,
        ticks=[[A, B]],
        kills_min=1,
    ),
    Case(
        number=17,
        name="torn-state-taken-for-none",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=TakesTornStateForNone,
        twin=SeenIds,
        ticks=[[A, B]],
        kills_min=1,
    ),
    Case(
        number=19,
        name="removed-before-rename",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=RemovesThenRenames,
        twin=SeenIds,
        ticks=[[A, B]],
        kills_min=1,
    ),
    Case(
        number=22,
        name="state-in-two-files",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=SavesTwoFiles,
        twin=NewestAndTies,
        ticks=[[A, B]],
        kills_min=1,
    ),
    Case(
        number=37,
        name="state-compared-with-itself",
        law="idle-silence",
        guarantee="at-least-once",
        buggy=ComparesStateWithItself,
        twin=SavesChangesOnly,
        ticks=[[A, B]],
        kills_min=0,
    ),
    Case(
        number=40,
        name="first-state-never-written",
        law="no-duplicates",
        guarantee="at-least-once",
        buggy=UpdatesExistingFileOnly,
        twin=SeenIds,
        ticks=[[A], [A, B], [A, B, C]],
        kills_min=0,
    ),
    Case(
        number=0,
        name="temporary-files-left",
        law="no-leftovers",
        guarantee="at-least-once",
        buggy=LeavesTemporaryFiles,
        twin=SeenIds,
        ticks=[[A, B]],
        kills_min=2,
    ),
)
