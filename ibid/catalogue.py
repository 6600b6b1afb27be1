"""The catalogue: the foundation models that may be asked, as entries that change while the service runs.

A key of a provider is named here and kept in the settings alone. The extractive model is always there: it needs no
entry, costs nothing and is the last resort.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.session import insert_missing
from ibid.db.tables import ModelRow
from ibid.errors import Conflict, Invalid, NotFound

Provider = Literal["extractive", "openai", "anthropic", "google", "local"]
Status = Literal["candidate", "approved", "disabled"]
Capability = Literal["json_schema", "tools", "images", "reasoning"]
Effort = Literal["minimal", "low", "medium", "high"]

LAST_RESORT: Final = "extractive"


class ModelUnknown(Invalid):
    """No model of this name is in the catalogue."""

    code = "model_unknown"


class ModelNotFound(NotFound):
    """No model of this name is in the catalogue."""

    code = "model_not_found"


class BadModel(Invalid):
    """What an entry says makes no sense."""

    code = "bad_model"


class ModelBuiltIn(Conflict):
    """The extractive model is part of the service."""

    code = "model_built_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model as the catalogue has it.

    `model` is the provider's own name for it. `key` names one of the settings' provider keys. Prices are US dollars for
    a million tokens, None where they are not known. `context_tokens` is what prompt and answer may have together,
    `output_tokens` what an answer may have.
    """

    name: str
    provider: Provider
    model: str
    base_url: str | None = None
    key: str | None = None
    capabilities: tuple[Capability, ...] = ()
    context_tokens: int = 8_192
    output_tokens: int = 1_024
    input_price: float | None = None
    cached_price: float | None = None
    output_price: float | None = None
    effort: Effort | None = None
    region: str = ""
    licence: str = ""
    status: Status = "candidate"

    @property
    def price(self) -> float:
        """US dollars for a million tokens of which four fifths are read, as in an answer from passages; inf: unknown."""
        if self.input_price is None or self.output_price is None:
            return float("inf")
        return 0.8 * self.input_price + 0.2 * self.output_price

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """US dollars for a call, of whose input some was in the provider's cache; 0 without prices."""
        fresh, output = self.input_price or 0.0, self.output_price or 0.0
        kept = fresh if self.cached_price is None else self.cached_price
        spent = (input_tokens - cached_tokens) * fresh + cached_tokens * kept + output_tokens * output
        return spent / 1_000_000


EXTRACTIVE: Final = Entry(
    name=LAST_RESORT,
    provider="extractive",
    model=LAST_RESORT,
    context_tokens=1_000_000,
    input_price=0.0,
    cached_price=0.0,
    output_price=0.0,
    status="approved",
)
_FIELDS: Final = tuple(field.name for field in fields(Entry))


def entries(session: Session) -> list[Entry]:
    """All models, by name, the last resort at the end."""
    return [*map(_entry, session.scalars(select(ModelRow).order_by(ModelRow.name))), EXTRACTIVE]


def get(session: Session, name: str) -> Entry:
    """The entry; raises `ModelNotFound`."""
    if name == LAST_RESORT:
        return EXTRACTIVE
    row = session.get(ModelRow, name)
    if row is None:
        raise _missing(name)
    return _entry(row)


def known(session: Session, names: Sequence[str], *, param: str) -> None:
    """Raise `ModelUnknown` unless all the names are in the catalogue."""
    there = {*session.scalars(select(ModelRow.name).where(ModelRow.name.in_(names))), LAST_RESORT}
    for name in names:
        if name not in there:
            raise ModelUnknown(
                f"There is no model {name!r}. An administrator can list those there are.", param=param
            )


def put(session: Session, entry: Entry) -> bool:
    """Keep the entry, in place of one of its name; gives whether it is new."""
    if entry.name == LAST_RESORT or entry.provider == "extractive":
        raise ModelBuiltIn("The extractive model is part of Ibid and cannot be changed.")
    _check(entry)
    new = session.get(ModelRow, entry.name) is None
    times = {"created_at": now(), "updated_at": now()}
    insert_missing(session, ModelRow, [_values(entry) | times])
    row = session.get_one(ModelRow, entry.name, with_for_update=True, populate_existing=True)
    for name, value in _values(entry).items():
        setattr(row, name, value)
    row.updated_at = times["updated_at"]
    session.flush()
    return new


def switch(session: Session, name: str, status: Status) -> Entry:
    """Approve, try out or disable a model, from the next question on."""
    if name == LAST_RESORT:
        raise ModelBuiltIn("The extractive model is the last resort and cannot be switched.")
    row = session.get(ModelRow, name, with_for_update=True)
    if row is None:
        raise _missing(name)
    row.status, row.updated_at = status, now()
    session.flush()
    return _entry(row)


def remove(session: Session, name: str) -> None:
    """Forget a model. Answers keep its name."""
    if name == LAST_RESORT:
        raise ModelBuiltIn("The extractive model is part of Ibid and cannot be removed.")
    get(session, name)
    session.execute(sql_delete(ModelRow).where(ModelRow.name == name))


def _missing(name: str) -> ModelNotFound:
    return ModelNotFound(f"There is no model {name!r}. GET /v1/catalogue/models lists those there are.")


def _check(entry: Entry) -> None:
    if entry.effort is not None and "reasoning" not in entry.capabilities:
        raise BadModel("Only a model with the capability `reasoning` has an effort.", param="effort")
    if entry.output_tokens >= entry.context_tokens:
        raise BadModel("The answer alone would fill what the model reads.", param="output_tokens")
    if entry.base_url is not None:
        try:
            split = urlsplit(entry.base_url)
            sound = split.scheme in {"http", "https"} and bool(split.hostname) and split.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise BadModel(f"{entry.base_url!r} is no address of a server.", param="base_url")


def _entry(row: ModelRow) -> Entry:
    values: dict[str, Any] = {name: getattr(row, name) for name in _FIELDS}
    return Entry(**values | {"capabilities": tuple(row.capabilities)})


def _values(entry: Entry) -> dict[str, Any]:
    order = get_args(Capability)
    return asdict(entry) | {"capabilities": sorted(set(entry.capabilities), key=order.index)}
