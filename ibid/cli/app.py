"""The commands and their options; what they do is in the modules beside this one, loaded when it is called for."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Ibid answers questions from your documents, with citations a reader can check.",
)
db = typer.Typer(no_args_is_help=True, help="The database's tables.")
encoder = typer.Typer(no_args_is_help=True, help="The models that make vectors of texts.")
keys = typer.Typer(no_args_is_help=True, help="API keys: who may ask what.")
evaluation = typer.Typer(no_args_is_help=True, help="Measure on questions whose answers are known.")
models = typer.Typer(no_args_is_help=True, help="The foundation models that answer.")
app.add_typer(models, name="models")
app.add_typer(evaluation, name="eval")
app.add_typer(db, name="db")
app.add_typer(encoder, name="encoder")
app.add_typer(keys, name="keys")

Asked = Annotated[
    str | None, typer.Option("--collection", "-c", help="Name or id; may be left out if there is one.")
]
Document = Annotated[str, typer.Argument(help="A document's id, external id or name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own object.")]


def _act(target: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the action takes and gives
    """Call `module:function`; a client need not load what the server is made of."""
    return resolve_name(f"ibid.cli.{target}")(*arguments, **options)


@app.command()
def serve() -> None:
    """Run the server: the API, the page, and in standalone mode its worker."""
    _act("serving:serve")


@app.command()
def worker() -> None:
    """Run a worker for a distributed installation."""
    _act("serving:run_worker")


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders with all they hold.", exists=True)],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Name or id.")] = "default",
    unpack: Annotated[
        bool, typer.Option("--unpack", help="Make documents of the files in archives (zip, tar, tar.gz …).")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until every document has ended.")] = True,
) -> None:
    """Upload files and watch them being read; creates the collection if there is none.

    Exits with 1 if anything was refused, failed or was cancelled. What was read only in part is a warning.
    """
    raise typer.Exit(_act("documents:ingest", paths, collection, unpack=unpack, wait=wait))


@app.command()
def add(
    addresses: Annotated[list[str], typer.Argument(help="Addresses of documents: https://…")],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Name or id.")] = "default",
    wait: Annotated[bool, typer.Option(help="Wait until every document has ended.")] = True,
) -> None:
    """Have the server fetch documents by their addresses, where IBID_URL_INGESTION allows it."""
    raise typer.Exit(_act("documents:add", addresses, collection, wait=wait))


@app.command()
def versions(document: Document, collection: Asked = None, as_json: AsJson = False) -> None:
    """List the versions of a document, newest first."""
    _act("versions:listing", document, collection, as_json=as_json)


@app.command()
def diff(
    document: Document,
    number: Annotated[int | None, typer.Argument(min=1, help="The version. Unset: the newest.")] = None,
    against: Annotated[
        int | None, typer.Argument(min=1, help="The version to compare it with. Unset: the one before.")
    ] = None,
    collection: Asked = None,
    as_json: AsJson = False,
) -> None:
    """Show what a version of a document has that another has not, and the other way round."""
    _act("versions:diff", document, collection, number, against, as_json=as_json)


@app.command()
def restore(
    document: Document,
    number: Annotated[int, typer.Argument(min=1, help="The version whose content is wanted.")],
    collection: Asked = None,
    wait: Annotated[bool, typer.Option(help="Wait until readers have it.")] = True,
) -> None:
    """Make the content of an older version the newest again, as a version of its own."""
    raise typer.Exit(_act("versions:restore", document, collection, number, wait=wait))


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="The folder.", exists=True, file_okay=False)],
    collection: Annotated[str, typer.Option("--collection", "-c", help="Name or id.")] = "default",
    prefix: Annotated[str, typer.Option(help="Put before the path of each file in its external id.")] = "",
    max_delete: Annotated[
        str | None,
        typer.Option(
            help="Stop if more would be deleted: a number or 5%. Unset: 20%, or 10 if that is more."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until every document has ended.")] = True,
) -> None:
    """Make a collection mirror a folder: upload what is new or changed, delete what this command made and is gone.

    Exits as `ibid ingest` does.
    """
    done = _act(
        "syncing:sync", folder, collection, prefix=prefix, most=max_delete, dry_run=dry_run, wait=wait
    )
    raise typer.Exit(done)


@app.command()
def ask(question: str, collection: Asked = None, as_json: AsJson = False) -> None:
    """Ask a question; the answer's sentences point at the words that support them."""
    raise typer.Exit(_act("questions:ask", question, collection, as_json=as_json))


@app.command()
def search(
    query: str,
    collection: Asked = None,
    limit: Annotated[int, typer.Option(min=1, max=50)] = 10,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="KEY=VALUE of the metadata; several must all hold.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find passages."""
    _act("questions:search", query, collection, limit=limit, wanted=filters or [], as_json=as_json)


@app.command()
def jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state: failed, stalled …")] = None,
    collection: Asked = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    retry: Annotated[
        str | None,
        typer.Option(help="Try this failed or cancelled job again, or one that left pictures unread."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try all failed jobs again.")] = False,
    cancel: Annotated[str | None, typer.Option(help="Cancel this job.")] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, or retry or cancel them."""
    if retry_failed:
        _act("documents:retry_failed", collection)
    elif job := retry or cancel:
        _act("documents:act_on_job", "retry" if retry else "cancel", job, as_json=as_json)
    else:
        _act("documents:jobs", state=state, collection=collection, limit=limit, as_json=as_json)


@app.command()
def verify(
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Default: every collection.")
    ] = None,
    repair: Annotated[bool, typer.Option(help="Mend what is found.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare SQL and the vector store in both directions; without a collection, look for everything left over too."""
    raise typer.Exit(_act("documents:verify", collection, repair=repair, as_json=as_json))


@app.command()
def doctor() -> None:
    """Say what is configured, what is reachable, which models load, and what to do about each problem."""
    raise typer.Exit(_act("doctor:examine"))


@app.command()
def fit(
    collection: Annotated[str, typer.Argument(help="Name or id.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            help="JSON Lines: query, document_id, and page or sentence. Unset: made of the collection's text.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to what was before the last.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit the weights of a collection's search to questions, and print what that found.

    They count if they are better than the preset's by more than chance, on questions that they were not chosen on.
    """
    if rollback and questions is not None:
        raise typer.BadParameter("a rollback takes no questions", param_hint="--rollback")
    if rollback:
        _act("fitting:roll_back", collection, as_json=as_json)
    else:
        raise typer.Exit(_act("fitting:fit", collection, questions, as_json=as_json))


@evaluation.command("retrieval")
def eval_retrieval(
    asked: Annotated[
        Path,
        typer.Option(
            "--set", help="A folder of questions with their documents.", exists=True, file_okay=False
        ),
    ],
    config: Annotated[
        str,
        typer.Option(
            help="How to search: fused, dense, sparse or a preset, with knobs as in fused,nearby_weight=0."
        ),
    ] = "fused",
    against: Annotated[str | None, typer.Option(help="Compare it with this one.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where vectors are kept for the next time. Unset: the data directory.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page here.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Ask a set's questions of its documents, in a knowledge base made for that, and measure what is found."""
    _act("evaluating:retrieval", asked, config, against, folder=folder, report=report, as_json=as_json)


@models.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the models."""
    _act("models:listing", as_json=as_json)


@models.command("add")
def models_add(
    name: Annotated[str, typer.Argument(help="What it is called here.")],
    provider: Annotated[
        str, typer.Option(help="openai (and whatever speaks its API), anthropic, google or local.")
    ],
    model: Annotated[str, typer.Option(help="What its provider calls it.")],
    base_url: Annotated[str | None, typer.Option(help="Unset: the provider's own address.")] = None,
    key: Annotated[str | None, typer.Option(help="The name of one of IBID_PROVIDER_KEYS.")] = None,
    can: Annotated[
        list[str] | None,
        typer.Option(help="json_schema, tools, images, reasoning; several times for several."),
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="US dollars for a million tokens read and written: 0.15/0.60.")
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Ask it at once; else only by its name.")
    ] = False,
) -> None:
    """Add a model, or replace the one of this name, from the next question on."""
    entry = {"provider": provider, "model": model, "base_url": base_url, "key": key, "capabilities": can}
    _act("models:put", name, entry, price=price, approve=approve)


@models.command("approve")
def models_approve(name: str) -> None:
    """Let a model answer, in the order of the route or of prices."""
    _act("models:switch", name, "approved")


@models.command("disable")
def models_disable(name: str) -> None:
    """Ask a model no more, from the next question on."""
    _act("models:switch", name, "disabled")


@models.command("remove")
def models_remove(name: str) -> None:
    """Take a model out of the catalogue; answers that it wrote keep its name."""
    _act("models:remove", name)


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's tables to this version; SQLite is copied first."""
    _act("local:upgrade")


@encoder.command("prepare")
def encoder_prepare(
    name: Annotated[str | None, typer.Argument(help="Unset: what IBID_EMBEDDER names.")] = None,
) -> None:
    """Load an encoder once, so that whatever it needs is made or fetched before a server needs it.

    The 8-bit form of a model, NAME@int8, is made in the data directory, or in IBID_ENCODER_DIR, and compared with
    the model.
    """
    _act("local:prepare_encoder", name)


@keys.command("create")
def keys_create(
    name: str,
    role: Annotated[str, typer.Option(help="reader, editor or admin")] = "reader",
    collection: Annotated[list[str] | None, typer.Option("--collection", "-c", help="Default: all.")] = None,
    expires_in_days: Annotated[float | None, typer.Option()] = None,
    may_act_for: Annotated[
        bool, typer.Option(help="May pass on end users in Ibid-User and Ibid-Groups.")
    ] = False,
) -> None:
    """Make a key; its text is shown once."""
    _act("local:create_key", name, role, collection, expires_in_days, may_act_for=may_act_for)


@keys.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """List keys."""
    _act("local:list_keys", as_json=as_json)


@keys.command("revoke")
def keys_revoke(key_id: str) -> None:
    """Revoke a key; it opens nothing from the next request on."""
    _act("local:revoke_key", key_id)
