"""Commands about the database, the encoders and the keys."""

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from ibid.cli.client import connect, json_of, pages, print_json
from ibid.db import schema
from ibid.db.session import Database
from ibid.embedding.registry import load_embedder
from ibid.settings import Settings

out = Console(highlight=False, soft_wrap=True)


def upgrade() -> None:
    """Bring the tables of the configured database to this version."""
    db = Database(Settings().sql_url)
    before = schema.current(db)
    copy = schema.upgrade_with_copy(db) if db.sqlite else None
    schema.upgrade(db)
    after = schema.current(db)
    out.print(
        f"The schema was at {before or 'nothing'} and is at {after}."
        + (f" Copied to {copy}." if copy else "")
    )
    db.dispose()


def prepare_encoder(name: str | None) -> None:
    """Load the encoder, and with it make or fetch what it needs."""
    settings = Settings()
    made = load_embedder(name or settings.embedder, settings)
    out.print(
        f"{made.name} is ready: {made.dimensions} dimensions, reads {made.max_tokens} tokens. "
        f"Its fingerprint is {made.fingerprint[:12]}."
    )


def create_key(
    name: str, role: str, collections: list[str] | None, expires_in_days: float | None, *, may_act_for: bool
) -> None:
    """Make a key and print its text, this once."""
    expires = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days is not None else None
    body = {
        "name": name,
        "role": role,
        "collections": collections or None,
        "may_act_for": may_act_for,
        "expires_at": expires.isoformat() if expires else None,
    }
    with connect() as client:
        made = json_of(client.post("/v1/api-keys", json=body))
    out.print(f"{made['id']}  {made['role']}\n[bold]{made['key']}[/]\nIt is shown this once.")


def list_keys(*, as_json: bool) -> None:
    """Print all keys, never their text."""
    with connect() as client:
        found = list(pages(client, "/v1/api-keys"))
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "role", "collections", "expires", "revoked")
    for key in found:
        collections = "all" if key["collections"] is None else ", ".join(key["collections"])
        table.add_row(
            key["id"], key["name"], key["role"], collections, key["expires_at"] or "", key["revoked_at"] or ""
        )
    out.print(table)


def revoke_key(key_id: str) -> None:
    """Revoke a key."""
    with connect() as client:
        json_of(client.delete(f"/v1/api-keys/{key_id}"))
    out.print(f"{key_id} is revoked.")
