"""`ibid eval`: evaluation is started by name, as the doors are, and is installed by an extra."""

from pathlib import Path
from pkgutil import resolve_name

from ibid.errors import Unavailable


class EvaluationMissing(Unavailable):
    """What evaluation needs is not installed."""

    code = "evaluation_missing"
    retryable = False


def retrieval(
    asked: Path,
    way: str,
    against: str | None,
    *,
    folder: Path | None,
    report: Path | None,
    as_json: Path | None,
) -> None:
    """Evaluate what searches find."""
    try:
        evaluate = resolve_name("evals.command:retrieval")
    except ModuleNotFoundError as error:
        raise EvaluationMissing(
            f'Evaluation needs {error.name}, which is not installed. Install it with: pip install "ibid[eval]"'
        ) from error
    evaluate(asked, way, against, folder=folder, report=report, as_json=as_json)
