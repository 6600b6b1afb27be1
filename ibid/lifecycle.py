"""The life of a job: which state may follow which. Whatever changes a job's state does it with what is here."""

from dataclasses import dataclass
from typing import Any, Final

from ibid.db.tables import Job
from ibid.errors import Conflict
from ibid.types import TERMINAL, JobState


class IllegalTransition(Conflict):
    """A job was to be put into a state that cannot follow its present one."""

    code = "illegal_transition"


@dataclass(frozen=True, slots=True)
class Transition:
    """`after` may follow `before`; `name` is what is done, `when` says in which case."""

    before: JobState
    after: JobState
    name: str
    when: str


TRANSITIONS: Final = (
    Transition(
        JobState.QUEUED, JobState.RUNNING, "claim", "a worker has room, and it is its collection's turn"
    ),
    Transition(
        JobState.QUEUED, JobState.CANCELLED, "cancel", "somebody cancels it, or its document is deleted"
    ),
    Transition(JobState.RUNNING, JobState.SUCCEEDED, "finish", "all is stored, and what was counted agrees"),
    Transition(
        JobState.RUNNING,
        JobState.PARTIALLY_SUCCEEDED,
        "finish",
        "readers have what could be read, and the receipt or the job lists what is missing",
    ),
    Transition(
        JobState.RUNNING,
        JobState.FAILED,
        "fail",
        "the document is at fault, or its last attempt failed: it is on the list of dead letters",
    ),
    Transition(
        JobState.RUNNING, JobState.CANCELLED, "cancel", "somebody cancelled it, or its document was deleted"
    ),
    Transition(
        JobState.RUNNING,
        JobState.QUEUED,
        "put back",
        "the attempt failed, its worker was lost or told to stop, or something that Ibid needs is away",
    ),
    Transition(JobState.FAILED, JobState.QUEUED, "retry", "somebody asks for it, or uploads the bytes again"),
    Transition(
        JobState.CANCELLED, JobState.QUEUED, "retry", "somebody asks for it, or uploads the bytes again"
    ),
    Transition(
        JobState.SUCCEEDED, JobState.QUEUED, "renew", "the document's access list has to reach the vectors"
    ),
    Transition(
        JobState.PARTIALLY_SUCCEEDED,
        JobState.QUEUED,
        "renew",
        "the document's access list has to reach the vectors, or somebody asks for its pictures to be read",
    ),
)
_LEGAL: Final = frozenset((transition.before, transition.after) for transition in TRANSITIONS)


def move(job: Job, after: JobState) -> None:
    """Put a job into the state; raises `IllegalTransition`."""
    job.state = moved(JobState(job.state), after)["state"]
    job.revision += 1


def moved(before: JobState, after: JobState) -> dict[str, Any]:
    """The columns that an UPDATE sets for jobs in `before`, whose state must be in its condition."""
    if (before, after) not in _LEGAL:
        raise IllegalTransition(f"A job that is {before} cannot become {after}.")
    return {"state": after, "revision": Job.revision + 1}


def diagram() -> str:
    """The transitions as a Mermaid state diagram, for the operators' page."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.QUEUED}: enqueue"]
    lines += [f"    {step.before} --> {step.after}: {step.name}" for step in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in JobState if state in TERMINAL]
    return "\n".join(lines)
