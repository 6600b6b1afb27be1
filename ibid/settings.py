"""Settings: values read from the environment, and nothing else."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

BUNDLED_EMBEDDER = "all-MiniLM-L6-v2"
"""The model whose weights come as a package."""
DEFAULT_EMBEDDER = f"{BUNDLED_EMBEDDER}@int8"


class ProviderKey(BaseModel):
    """A key of a provider at an address of one's own: it is sent to addresses that begin so, and nowhere else."""

    key: SecretStr
    base_url: str


class Settings(BaseSettings):
    """One field per setting; the variable is the field's name in capitals after `IBID_`."""

    model_config = SettingsConfigDict(env_prefix="IBID_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path("./data"), description="where standalone mode keeps everything")
    host: str = Field("127.0.0.1", description="the address the server listens on")
    port: int = Field(8000, ge=1, le=65535, description="the port the server listens on")
    admin_key: SecretStr | None = Field(
        None, description="the first administrator's key, 16 characters or more; unset: generated"
    )
    allowed_hosts: str = Field("", description="further values of the Host header, comma-separated")
    cors_origins: str = Field("", description="origins whose pages may call the API, comma-separated")
    log_level: str = Field("INFO", description="the least severe messages that are logged")
    log_format: Literal["text", "json"] = Field(
        "text", description="`text` for people, or `json`: an object a line"
    )
    metrics_token: SecretStr | None = Field(
        None, description="what Prometheus sends as its Bearer token; unset: an admin's key"
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="where a worker of its own shows its measurements; 0: nowhere"
    )

    database_url: str = Field(
        "", description="`postgresql+psycopg://user:password@host/name`; unset: SQLite in the data directory"
    )
    broker_url: str = Field(
        "", description="`amqp://…` or `redis://…`; unset: a folder of the data directory"
    )
    qdrant_url: str = Field("", description="a Qdrant server; unset: Qdrant Edge in the data directory")
    qdrant_api_key: SecretStr | None = Field(None, description="the Qdrant server's key")
    qdrant_timeout: float = Field(
        10.0, gt=0, le=60, description="seconds one call to a Qdrant server may take, 60 at most"
    )
    qdrant_preset: Literal["small", "large"] = Field(
        "small",
        description="new generations on a Qdrant server: `small`, or `large` with 8-bit vectors in memory and the "
        "originals on disk",
    )
    qdrant_sparse_on_disk: bool = Field(
        default=False, description="whether a Qdrant server reads the word index of new generations from disk"
    )
    qdrant_shards: int = Field(
        0,
        ge=0,
        le=10_000,
        description="shards of a new generation on a Qdrant cluster; 0: as many as the cluster chooses",
    )
    qdrant_replicas: int = Field(
        1,
        ge=1,
        le=100,
        description="copies of each shard of a new generation; a write waits for a majority of them",
    )
    blobs_url: str = Field("", description="`s3://bucket/prefix`; unset: a folder of the data directory")
    s3_endpoint: str = Field(
        "", description="the address of an S3-compatible server; unset: the vendor's own"
    )
    s3_region: str = Field("us-east-1", description="the region of the S3 bucket")
    s3_access_key_id: str = Field("", description="the S3 access key")
    s3_secret_access_key: SecretStr | None = Field(None, description="the secret of the S3 access key")

    embedder: str = Field(
        DEFAULT_EMBEDDER,
        description="a sentence-transformers name or folder, for new collections; with `@int8` its 8-bit form",
    )
    encoder_dir: str = Field(
        "", description="where 8-bit encoders are kept once made; unset: a folder of the data directory"
    )
    embed_threads: int = Field(
        0, ge=0, description="threads of one encoder; 0: the cores, shared among the processes of a worker"
    )
    question_threads: int = Field(
        1,
        gt=0,
        description="threads for a question; more are worth it for larger encoders than the bundled one",
    )
    reranker: str = Field(
        "",
        description="for the preset `thorough`: a cross-encoder, by folder or hub name, or `words`; empty: none",
    )
    provider_keys: dict[str, SecretStr | ProviderKey] = Field(
        {},
        description='keys of model providers as JSON, by the names that the catalogue uses: `{"openai": "sk-…"}`; '
        'for another address than the provider\'s own `{"mine": {"key": "…", "base_url": "https://…"}}`',
    )
    model_seconds: float = Field(
        30.0, gt=0, description="a model that is silent for so long has failed, and the next one is asked"
    )
    model_pause_seconds: float = Field(
        30.0, gt=0, description="a model that failed three times in a row is left alone for so long"
    )

    max_upload_bytes: int = Field(100 * 1024 * 1024, gt=0, description="the largest file that is accepted")
    max_resumable_bytes: int = Field(
        1024**3, gt=0, description="the largest file that is accepted in parts (`/v1/uploads`)"
    )
    max_unpacked_bytes: int = Field(2 * 1024**3, gt=0, description="what an archive may hold, unpacked")
    max_archive_files: int = Field(10_000, gt=0, description="how many entries an archive may have")
    upload_expiry_hours: float = Field(
        24.0, gt=0, description="an upload in parts is given up when nothing came for so long"
    )
    max_question_chars: int = Field(4_000, gt=0, description="the longest question or query that is accepted")
    worker_processes: int = Field(1, ge=1, description="processes of one worker")
    worker_memory_bytes: int = Field(
        4 * 1024**3,
        gt=0,
        description="a worker process that grew to so much memory is replaced after its batch",
    )
    stop_seconds: float = Field(
        8.0,
        ge=0,
        description="what a worker that is told to stop has in hand goes back to the queue after so long",
    )
    max_queued: int = Field(
        100_000,
        ge=1,
        description="uploads to a collection where so many jobs wait are refused for a while (429)",
    )
    batch_documents: int = Field(
        16, ge=1, description="documents of one batch, at most; a process has two of them in hand"
    )
    lease_seconds: float = Field(
        20.0, gt=0, description="a worker that gave no sign of life for so long has lost its jobs"
    )
    sweep_seconds: float = Field(5.0, gt=0, description="how often lost and waiting jobs are looked for")
    parse_seconds: float = Field(120.0, gt=0, description="wall time one document may take to parse")
    parse_memory_bytes: int = Field(2 * 1024**3, gt=0, description="memory one document may take to parse")
    pdf_layout: Literal["fast", "hi_res"] = Field(
        "fast", description="how PDFs are read: `fast`, or `hi_res` by a layout model (the extra `hi-res`)"
    )
    ocr_page_seconds: float = Field(
        60.0, gt=0, description="wall time one page may take to be recognised, many times that of its text"
    )
    ocr_pages: int = Field(
        1_000, ge=0, description="pages of one document that are recognised at most; 0: no OCR"
    )
    require_sandbox: bool = Field(
        default=False, description="whether nothing is parsed where parsers cannot be kept off the network"
    )
    max_attempts: int = Field(3, ge=1, description="attempts that count against a document before it fails")
    answer_unwatched_seconds: float = Field(
        60.0, gt=0, description="an answer that nobody watches is stopped after so long"
    )
    version_retention_days: float = Field(
        30.0, ge=0, description="a superseded version keeps its vectors so long"
    )
    generation_retention_hours: float = Field(
        24.0, ge=0, description="a reindex can be rolled back for so long"
    )
    compact_after_points: int = Field(
        20_000,
        ge=0,
        description="an embedded generation is rewritten after so many new or removed points; 0: never",
    )
    webhook_allow_private: bool = Field(
        default=False, description="whether webhooks may go to this machine and private networks"
    )
    url_ingestion: bool = Field(
        default=False, description="whether documents are fetched from addresses that editors give"
    )
    url_allow_private: bool = Field(
        default=False, description="whether documents are fetched from this machine and private networks"
    )
    url_seconds: float = Field(60.0, gt=0, description="what fetching a document may take in all")
    sample: bool = Field(default=True, description="whether a first start makes the sample collection")

    @property
    def standalone(self) -> bool:
        """Whether the vector store lives in the API process, and so the worker is its child."""
        return not self.qdrant_url

    @property
    def sql_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'ibid.db'}"

    @property
    def encoder_folder(self) -> Path:
        """Where 8-bit forms of encoders are kept."""
        return Path(self.encoder_dir) if self.encoder_dir else self.data_dir / "encoders"

    @property
    def key_file(self) -> Path:
        """The 0600 file by which commands on this machine reach a running server."""
        return self.data_dir / "cli-key"
