"""The transition table: complete, obeyed by everything that touches a job, and what the operators' page shows."""

import re
from itertools import product
from pathlib import Path

import pytest

from ibid import lifecycle
from ibid.db.tables import Job
from ibid.lifecycle import TRANSITIONS, IllegalTransition
from ibid.types import TERMINAL, JobState

ROOT = Path(__file__).parents[2]
LEGAL = {(step.before, step.after) for step in TRANSITIONS}
STORED = [state for state in JobState if state is not JobState.STALLED]


def reachable(begin: JobState) -> set[JobState]:
    seen = {begin}
    while more := {after for before, after in LEGAL if before in seen} - seen:
        seen |= more
    return seen


class TestTable:
    def test_every_state_can_be_reached_and_left_for_an_end(self) -> None:
        assert reachable(JobState.QUEUED) == set(STORED)
        for state in STORED:
            assert reachable(state) & TERMINAL

    def test_an_ended_job_can_only_be_queued_again(self) -> None:
        assert {after for before, after in LEGAL if before in TERMINAL} == {JobState.QUEUED}

    def test_stalled_is_shown_and_never_stored(self) -> None:
        assert not any(JobState.STALLED in pair for pair in LEGAL)


class TestMove:
    @pytest.mark.parametrize(("before", "after"), list(product(STORED, JobState)))
    def test_only_as_the_table_says(self, before: JobState, after: JobState) -> None:
        job = Job(state=before, revision=1)
        if (before, after) in LEGAL:
            lifecycle.move(job, after)
            assert (job.state, job.revision) == (after, 2)
        else:
            with pytest.raises(IllegalTransition):
                lifecycle.move(job, after)
            assert (job.state, job.revision) == (before, 1)

    def test_is_the_only_way(self) -> None:
        """Nobody else assigns a job's state, nor sets it in an UPDATE."""
        assigned = re.compile(r"\b(job|row|found)\.state(,[^=\n]*)? = |\"state\": JobState|\(state=JobState")
        for folder in ("api", "ibid", "ingest", "retrieval", "worker"):
            for path in (ROOT / folder).rglob("*.py"):
                if path.name != "lifecycle.py":
                    found = assigned.search(path.read_text())
                    assert found is None, f"{path.relative_to(ROOT)}: {found}"


class TestPage:
    def test_shows_the_table(self) -> None:
        page = (ROOT / "docs/operations.md").read_text()
        assert f"```mermaid\n{lifecycle.diagram()}\n```" in page
        for step in TRANSITIONS:
            assert f"| {step.name} | `{step.before}` | `{step.after}` | {step.when} |" in page
