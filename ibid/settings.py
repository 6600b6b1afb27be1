"""Settings: values read from the environment, and nothing else."""

from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

BUNDLED_EMBEDDER = "all-MiniLM-L6-v2"


class Settings(BaseSettings):
    """One field per setting; the variable is the field's name in capitals after `IBID_`."""

    model_config = SettingsConfigDict(env_prefix="IBID_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path("./data"), description="where standalone mode keeps everything")
    host: str = "127.0.0.1"
    port: int = 8000
    admin_key: SecretStr | None = Field(None, description="used instead of a generated admin key")
    allowed_hosts: str = Field("", description="further values of the Host header, comma-separated")
    cors_origins: str = Field("", description="origins that may call the API from a browser, comma-separated")
    log_level: str = "INFO"

    database_url: str = Field("", description="empty: SQLite in the data directory")
    broker_url: str = Field("", description="empty: a directory in the data directory")
    qdrant_url: str = Field("", description="empty: Qdrant Edge in the data directory")
    qdrant_api_key: SecretStr | None = None
    qdrant_timeout: float = Field(10.0, description="seconds one call to a Qdrant server may take")
    blobs_url: str = Field("", description="empty: a directory in the data directory; or s3://bucket/prefix")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr | None = None

    embedder: str = Field(BUNDLED_EMBEDDER, description="a sentence-transformers name or folder")
    embed_threads: int = Field(0, description="threads of one encoder; 0: as many as there are cores")
    chat_model: str = "extractive"

    max_upload_bytes: int = 100 * 1024 * 1024
    max_question_chars: int = 4_000
    worker_processes: int = Field(1, description="jobs are worked on by this many processes of a worker")
    batch_documents: int = Field(16, description="at most so many documents are claimed at once")
    lease_seconds: float = 20.0
    sweep_seconds: float = 5.0
    parse_seconds: float = Field(120.0, description="wall time one document may take to parse")
    parse_memory_bytes: int = Field(2 * 1024**3, description="address space one parse may take")
    max_attempts: int = Field(3, description="attempts that count against a document before it fails")
    answer_unwatched_seconds: float = 60.0
    version_retention_days: float = Field(30.0, description="superseded versions keep their points so long")
    generation_retention_hours: float = Field(
        24.0, description="a replaced generation can be rolled back to so long"
    )
    sample: bool = Field(default=True, description="create the sample collection on the first start")

    @cached_property
    def standalone(self) -> bool:
        """Whether the vector store lives in the API process, and so the worker is its child."""
        return not self.qdrant_url

    @cached_property
    def sql_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'ibid.db'}"

    @cached_property
    def key_file(self) -> Path:
        """The 0600 file by which commands on this machine reach a running server."""
        return self.data_dir / "cli-key"
