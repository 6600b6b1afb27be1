"""All tables. Relations are by id; queries are named functions beside the rules they serve."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ibid.types import ReadBy

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse moments without a zone: they would mean something else on every machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give every moment its zone, whatever a server calls it: HTTP's dates take `UTC` and no other of its names."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base with stable constraint names, so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Utc,
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        bytes: LargeBinary,
    }


Id = String(64)


class Collection(Base):
    """A set of documents that is searched together."""

    __tablename__ = "collections"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    restricted: Mapped[bool] = mapped_column(default=False)
    active_generation_id: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    __table_args__ = (
        Index(
            "uq_collections_live_name",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )


class CollectionGrant(Base):
    """A principal (`user:…`, `group:…`, `key:…`) that may see a restricted collection."""

    __tablename__ = "collection_grants"
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True
    )
    principal: Mapped[str] = mapped_column(String(256), primary_key=True)


class Generation(Base):
    """One build of a collection's index. `state`: building, active, standby (kept for rollback), dropped."""

    __tablename__ = "generations"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    state: Mapped[str] = mapped_column(String(16))
    embedder: Mapped[str] = mapped_column(Text)
    embedder_fingerprint: Mapped[str] = mapped_column(String(64))
    dimensions: Mapped[int]
    chunker: Mapped[dict[str, Any]]
    sparse: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]


class Document(Base):
    """A document: an identity in its collection whose versions come and go. `parent_id` is the document it is inside.

    `batch_id` is the job that unpacked the archive in which it came last; null if it came otherwise.
    """

    __tablename__ = "documents"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    identity: Mapped[str] = mapped_column(String(1024))
    name: Mapped[str] = mapped_column(String(512))
    external_id: Mapped[str | None] = mapped_column(String(512))
    parent_id: Mapped[str | None] = mapped_column(Id, index=True)
    batch_id: Mapped[str | None] = mapped_column(Id, index=True)
    meta: Mapped[dict[str, Any]]
    restricted: Mapped[bool] = mapped_column(default=False)
    current_version_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    __table_args__ = (
        Index(
            "uq_documents_live_identity",
            "collection_id",
            "identity",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )


class KeptOut(Base):
    """What was deleted by itself out of the files inside a document: it is not taken from there again.

    `mark` is the hash of the place of `document_id`, or of its bytes, in `root_id`, the outermost document. The rows
    go with that one, which holds those bytes as long as it lives. No foreign key: it would lock it out of turn.
    """

    __tablename__ = "kept_out"
    root_id: Mapped[str] = mapped_column(Id, primary_key=True)
    mark: Mapped[str] = mapped_column(String(64), primary_key=True)
    document_id: Mapped[str] = mapped_column(Id, primary_key=True, index=True)


class DocumentGrant(Base):
    """A principal that may see a restricted document."""

    __tablename__ = "document_grants"
    document_id: Mapped[str] = mapped_column(
        Id, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True
    )
    principal: Mapped[str] = mapped_column(String(256), primary_key=True)


class Blob(Base):
    """Stored bytes. `key` is unique to this row, so that removing a dead blob never removes a newer one's bytes."""

    __tablename__ = "blobs"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(128))
    dead: Mapped[bool] = mapped_column(default=False)
    touched_at: Mapped[datetime]


class Parse(Base):
    """The parse stage's output under the hash of its input and configuration."""

    __tablename__ = "parses"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    layout: Mapped[bytes]
    seconds: Mapped[float] = mapped_column(Float)
    created_at: Mapped[datetime]


class AttachmentRow(Base):
    """A file that a parse found inside the document: its bytes, or the sentence why it becomes no document."""

    __tablename__ = "attachments"
    parse_key: Mapped[str] = mapped_column(
        String(64), ForeignKey("parses.key", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(String(128))
    blob_id: Mapped[str | None] = mapped_column(Id, ForeignKey("blobs.id"), index=True)
    refusal: Mapped[str | None] = mapped_column(Text)


class Version(Base):
    """One content of a document. Live for readers from `live_from` until `live_to`; both null before it is ready."""

    __tablename__ = "versions"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    document_id: Mapped[str] = mapped_column(Id, ForeignKey("documents.id", ondelete="CASCADE"))
    number: Mapped[int]
    blob_id: Mapped[str] = mapped_column(Id, ForeignKey("blobs.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    filename: Mapped[str] = mapped_column(String(512))
    media_type: Mapped[str] = mapped_column(String(128))
    size: Mapped[int] = mapped_column(BigInteger)
    read_by: Mapped[str] = mapped_column(String(16), default=ReadBy.TEXT)
    parse_key: Mapped[str | None] = mapped_column(String(64), ForeignKey("parses.key"), index=True)
    job_id: Mapped[str] = mapped_column(Id)
    receipt: Mapped[dict[str, Any]]
    live_from: Mapped[datetime | None]
    live_to: Mapped[datetime | None]
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("document_id", "number"),)


class RecognisedRow(Base):
    """What was recognised on a page of a version that is being read by OCR; gone once its text is kept.

    `parse_key` is the key that the text will have: pages of another recogniser do not go with it.
    """

    __tablename__ = "recognised_pages"
    version_id: Mapped[str] = mapped_column(
        Id, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True
    )
    page: Mapped[int] = mapped_column(primary_key=True)
    parse_key: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    seconds: Mapped[float] = mapped_column(Float)


class GenerationLanguage(Base):
    """A language (ISO 639-1) of chunks that a generation holds, or held: questions are stemmed in each of them."""

    __tablename__ = "generation_languages"
    generation_id: Mapped[str] = mapped_column(
        Id, ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    language: Mapped[str] = mapped_column(String(8), primary_key=True)


class Indexing(Base):
    """That a version is wholly stored in a generation: `chunks` is how many points the store counts.

    `made` is how many the chunker gave, and `embedded` how many of these had no vector from before.
    """

    __tablename__ = "indexings"
    generation_id: Mapped[str] = mapped_column(
        Id, ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    version_id: Mapped[str] = mapped_column(
        Id, ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    made: Mapped[int]
    embedded: Mapped[int]
    chunks: Mapped[int]
    created_at: Mapped[datetime]


class ChunkRow(Base):
    """A chunk of a version in a generation: `text` is the canonical text's slice [start, end_)."""

    __tablename__ = "chunks"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    generation_id: Mapped[str] = mapped_column(Id, ForeignKey("generations.id", ondelete="CASCADE"))
    version_id: Mapped[str] = mapped_column(Id, ForeignKey("versions.id", ondelete="CASCADE"), index=True)
    ordinal: Mapped[int]
    start: Mapped[int] = mapped_column("start_char")
    end: Mapped[int] = mapped_column("end_char")
    page: Mapped[int | None]
    heading: Mapped[list[str]]
    tokens: Mapped[int]
    language: Mapped[str | None] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    embedding_key: Mapped[str] = mapped_column(String(64), index=True)
    __table_args__ = (
        UniqueConstraint("generation_id", "version_id", "ordinal"),
        Index("ix_chunks_pages", "generation_id", "id"),  # `verify` reads them in the order of points
    )


class Embedding(Base):
    """A dense vector under the hash of the encoder's fingerprint and the exact text given to it; float32 bytes."""

    __tablename__ = "embeddings"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    vector: Mapped[bytes]


class Job(Base):
    """A unit of work. `attempt` fences late writers; `failures` are the attempts that count against it."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(24))
    stage: Mapped[str] = mapped_column(String(16), default="")
    collection_id: Mapped[str] = mapped_column(Id, index=True)
    document_id: Mapped[str | None] = mapped_column(Id, index=True)
    version_id: Mapped[str | None] = mapped_column(Id)
    generation_id: Mapped[str | None] = mapped_column(Id)
    progress_done: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    progress_unit: Mapped[str] = mapped_column(String(16), default="")
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    alone: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str] = mapped_column(String(128), default="")
    lease_until: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    not_before: Mapped[datetime]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    retryable: Mapped[bool] = mapped_column(default=False)
    request_id: Mapped[str | None] = mapped_column(String(64))
    statistics: Mapped[dict[str, Any]]
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_jobs_queue", "state", "not_before"),
        Index("ix_jobs_ended", "collection_id", "finished_at"),
    )


class Arrival(Base):
    """What a job is to bring in: the archive in `blob_id`, or what is at `url`; both null once it is let go of.

    It goes on as whoever sent it, and `taken` says how many entries of the archive are done with. One that is
    `restricted` brings an access list, and only its sender sees its job.
    """

    __tablename__ = "arrivals"
    job_id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(Id, index=True)
    key_id: Mapped[str] = mapped_column(Id)
    actor: Mapped[str] = mapped_column(String(512))
    role: Mapped[str] = mapped_column(String(16))
    principals: Mapped[list[str] | None]
    collections: Mapped[list[str] | None]
    name: Mapped[str] = mapped_column(String(255))
    blob_id: Mapped[str | None] = mapped_column(Id, ForeignKey("blobs.id"), index=True)
    url: Mapped[str | None] = mapped_column(Text)
    external_id: Mapped[str | None] = mapped_column(String(512))
    meta: Mapped[dict[str, Any] | None]
    restricted: Mapped[bool]
    grants: Mapped[list[str] | None]
    taken: Mapped[int]


class Erasure(Base):
    """What a deletion is about to forget of a document, and has: notes of its job, which end as its certificate.

    `traces` are ids by which its rows, bytes and points are found again once the rows that named them are gone.
    """

    __tablename__ = "erasures"
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(Id, primary_key=True)
    traces: Mapped[dict[str, Any]]
    removed: Mapped[dict[str, Any]]
    kept: Mapped[dict[str, Any]]
    done: Mapped[bool] = mapped_column(default=False)


class Lease(Base):
    """A named right that one process holds at a time, such as sweeping."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(128))
    until: Mapped[datetime]


class Reindex(Base):
    """A change of a collection's generation: building, switched, rolled_back, failed or cancelled."""

    __tablename__ = "reindexes"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    from_generation_id: Mapped[str] = mapped_column(Id)
    to_generation_id: Mapped[str] = mapped_column(Id)
    job_id: Mapped[str] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    switched_at: Mapped[datetime | None]
    rolled_back_at: Mapped[datetime | None]


class Fit(Base):
    """Weights of a search's legs, fitted on a generation: fitting, adopted, not_adopted, rolled_back, failed, cancelled.

    `questions` are those that somebody gave, only as long as the job needs them. What is kept, weights and `report`, is
    numbers.
    """

    __tablename__ = "fits"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    generation_id: Mapped[str] = mapped_column(
        Id, ForeignKey("generations.id", ondelete="CASCADE"), index=True
    )
    job_id: Mapped[str] = mapped_column(Id, index=True)
    state: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(16))
    questions: Mapped[list[Any] | None]
    dense_weight: Mapped[float | None] = mapped_column(Float)
    nearby_weight: Mapped[float | None] = mapped_column(Float)
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    rolled_back_at: Mapped[datetime | None]


class Answer(Base):
    """A question and what became of it. Text lives in its sentences; quotes are sliced when read."""

    __tablename__ = "answers"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[str] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    key_id: Mapped[str] = mapped_column(Id, index=True)
    actor: Mapped[str] = mapped_column(String(256), default="")
    question: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    generation_id: Mapped[str | None] = mapped_column(Id)
    model: Mapped[str] = mapped_column(String(128))
    prompt_version: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    route: Mapped[list[Any]] = mapped_column(default=list)
    usage: Mapped[dict[str, Any]]
    timings: Mapped[dict[str, Any]]
    grounding: Mapped[dict[str, Any]]
    stop_requested: Mapped[bool] = mapped_column(default=False)
    lease_until: Mapped[datetime | None]
    watched_at: Mapped[datetime]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class AnswerSentence(Base):
    """A sentence of an answer; withdrawn (text emptied) once a document is deleted that it cites or has words of."""

    __tablename__ = "answer_sentences"
    answer_id: Mapped[str] = mapped_column(Id, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    support: Mapped[str] = mapped_column(String(24))
    citations: Mapped[list[Any]]
    withdrawn: Mapped[bool] = mapped_column(default=False)


class AnswerCitation(Base):
    """The span an answer cites; no quote, that is sliced from the canonical text when read. Empty once withdrawn."""

    __tablename__ = "answer_citations"
    answer_id: Mapped[str] = mapped_column(Id, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[str] = mapped_column(Id, index=True)
    version_id: Mapped[str] = mapped_column(Id)
    start: Mapped[int] = mapped_column("start_char")
    end: Mapped[int] = mapped_column("end_char")
    page: Mapped[int | None]
    boxes: Mapped[list[Any]]
    verified: Mapped[bool]


class AnswerSource(Base):
    """A document of which a passage was shown to the model: words of it may be in sentences that do not cite it."""

    __tablename__ = "answer_sources"
    answer_id: Mapped[str] = mapped_column(Id, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(Id, primary_key=True, index=True)


class AnswerNearest(Base):
    """A nearest passage of a refusal, as a chunk's span."""

    __tablename__ = "answer_nearest"
    answer_id: Mapped[str] = mapped_column(Id, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    chunk_id: Mapped[str] = mapped_column(String(36))
    document_id: Mapped[str] = mapped_column(Id, index=True)
    version_id: Mapped[str] = mapped_column(Id)
    start: Mapped[int] = mapped_column("start_char")
    end: Mapped[int] = mapped_column("end_char")
    page: Mapped[int | None]
    heading: Mapped[list[str]]
    score: Mapped[float]
    dense: Mapped[float | None]
    sparse: Mapped[float | None]


class AnswerEvent(Base):
    """An event of an answer. `data` refers to rows (a sentence's ordinal, a citation's number) and holds no text."""

    __tablename__ = "answer_events"
    answer_id: Mapped[str] = mapped_column(Id, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]


class ModelRow(Base):
    """A foundation model of the catalogue. Prices are US dollars for a million tokens; null is not known."""

    __tablename__ = "models"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    provider: Mapped[str] = mapped_column(String(32))
    model: Mapped[str] = mapped_column(String(256))
    base_url: Mapped[str | None] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(String(64))
    capabilities: Mapped[list[str]]
    context_tokens: Mapped[int]
    output_tokens: Mapped[int]
    input_price: Mapped[float | None] = mapped_column(Float)
    cached_price: Mapped[float | None] = mapped_column(Float)
    output_price: Mapped[float | None] = mapped_column(Float)
    effort: Mapped[str | None] = mapped_column(String(16))
    region: Mapped[str] = mapped_column(String(64), default="")
    licence: Mapped[str] = mapped_column(String(128), default="")
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Route(Base):
    """In which order models are tried, and under which conditions; the newest is in force."""

    __tablename__ = "routes"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    steps: Mapped[list[Any]]
    created_at: Mapped[datetime]


class Budget(Base):
    """What a key, or a collection, may spend on models in a sliding window."""

    __tablename__ = "budgets"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    key_id: Mapped[str | None] = mapped_column(Id, ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    collection_id: Mapped[str | None] = mapped_column(
        Id, ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    seconds: Mapped[int]
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    usd: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime]


class Spending(Base):
    """A call of a model: what it may take until it has ended, and then what it took."""

    __tablename__ = "spendings"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    answer_id: Mapped[str] = mapped_column(Id)
    key_id: Mapped[str] = mapped_column(Id)
    collection_id: Mapped[str] = mapped_column(Id)
    model: Mapped[str] = mapped_column(String(128))
    tokens: Mapped[int]
    usd: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(index=True)
    __table_args__ = (
        Index("ix_spendings_key_id_at", "key_id", "at"),
        Index("ix_spendings_collection_id_at", "collection_id", "at"),
    )


class ApiKey(Base):
    """A key; only the SHA-256 of its secret is kept. `collections` null is every collection."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    secret_hash: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    collections: Mapped[list[str] | None]
    may_act_for: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class WebToken(Base):
    """A one-time link's token or a browser session, by the SHA-256 of its secret; `kind` is link or session."""

    __tablename__ = "web_tokens"
    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Audit(Base):
    """Who did what to what, and how it ended."""

    __tablename__ = "audit"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime]
    key_id: Mapped[str] = mapped_column(Id, index=True)
    actor: Mapped[str] = mapped_column(String(256))
    action: Mapped[str] = mapped_column(String(64))
    resource: Mapped[str] = mapped_column(String(256), index=True)
    request_id: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]]


class Webhook(Base):
    """An endpoint that is told of events; null `collections` and `events` are all. The secret signs, so it is kept."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(String(128))
    collections: Mapped[list[str] | None]
    events: Mapped[list[str] | None]
    created_at: Mapped[datetime]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(16))


class Delivery(Base):
    """An event for one endpoint: pending (sent at `next_at`), delivered or failed. Ids and states, no document's text.

    No foreign key: the end of a job does not fail because an endpoint was deleted beside it.
    """

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Id, index=True)
    type: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_deliveries_queue", "state", "next_at"),)


class SavedReply(Base):
    """The reply to a POST with an `Idempotency-Key`; `body` is null while the first request is under way.

    Status 410 with an empty body stands for a reply that was withdrawn with the document it told of.
    """

    __tablename__ = "saved_replies"
    key_id: Mapped[str] = mapped_column(Id, primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None]
    lease_until: Mapped[datetime]
    created_at: Mapped[datetime]


class SavedReplyName(Base):
    """An id of a document or an upload that a saved reply names, by which the reply is found when that is deleted."""

    __tablename__ = "saved_reply_names"
    key_id: Mapped[str] = mapped_column(Id, primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    named: Mapped[str] = mapped_column(Id, primary_key=True, index=True)
    __table_args__ = (
        ForeignKeyConstraint(
            ["key_id", "idempotency_key"],
            ["saved_replies.key_id", "saved_replies.idempotency_key"],
            ondelete="CASCADE",
        ),
    )


class PartialUpload(Base):
    """An upload that comes in parts. `outcome` says what it became, or with `unpack` which job has it.

    It is null while bytes are missing. `document_id` is the document that it became.
    """

    __tablename__ = "partial_uploads"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    key_id: Mapped[str] = mapped_column(Id)
    actor: Mapped[str] = mapped_column(String(512))
    collection_id: Mapped[str] = mapped_column(Id)
    filename: Mapped[str] = mapped_column(String(255))
    length: Mapped[int] = mapped_column(BigInteger)
    offset: Mapped[int] = mapped_column(BigInteger)
    external_id: Mapped[str | None] = mapped_column(String(512))
    meta: Mapped[dict[str, Any] | None]
    grants: Mapped[list[str] | None]
    unpack: Mapped[bool] = mapped_column(default=False, server_default=false())
    outcome: Mapped[dict[str, Any] | None]
    document_id: Mapped[str | None] = mapped_column(Id, index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class UploadPart(Base):
    """Bytes of an upload from `start` on. Only `counted` ones belong to it; others were left by a crash."""

    __tablename__ = "upload_parts"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    upload_id: Mapped[str] = mapped_column(Id, ForeignKey("partial_uploads.id"), index=True)
    start: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(160))
    counted: Mapped[bool]
