"""Questions as they may be asked: cleaned, and refused when they are empty or too long."""

from ibid.errors import Invalid

CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | {ord(kept): kept for kept in "\n\t"}


class QuestionEmpty(Invalid):
    """There is nothing to search for."""

    code = "question_empty"


class QuestionTooLong(Invalid):
    """The question is longer than the setting allows."""

    code = "question_too_long"


def cleaned(text: str, longest: int) -> str:
    """The question without lone surrogates, control characters and outer white space; at most `longest` code points."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    question = whole.translate(CONTROL).strip()
    if not question:
        raise QuestionEmpty("The question is empty. Write what you want to know.", param="question")
    if len(question) > longest:
        raise QuestionTooLong(
            f"The question has {len(question):,} characters; at most {longest:,} are allowed. Shorten it.",
            param="question",
        )
    return question
