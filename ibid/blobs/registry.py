"""Which class keeps the blobs of a given address."""

from collections.abc import Callable
from pkgutil import resolve_name

from ibid.blobs.directory import DirectoryBlobStore
from ibid.blobs.port import BlobStore, BlobsUnavailable
from ibid.errors import Invalid
from ibid.settings import Settings

# By the scheme of `blobs_url`.
BLOB_STORES = {
    "s3": "ibid.blobs.obstore:ObjectBlobStore",
}


def open_blobs(settings: Settings) -> BlobStore:
    """The store that `blobs_url` names, files in the data directory if it is empty. Raises `Invalid` otherwise."""
    if not settings.blobs_url:
        return DirectoryBlobStore(settings.data_dir / "blobs")
    scheme = settings.blobs_url.partition("://")[0]
    if scheme not in BLOB_STORES:
        raise Invalid(
            f"Nothing here can keep blobs at {settings.blobs_url!r}. "
            f"Use one of {', '.join(f'{name}://' for name in BLOB_STORES)}, or leave it empty for the data directory."
        )
    try:
        opener: Callable[[Settings], BlobStore] = resolve_name(f"{BLOB_STORES[scheme]}.from_settings")
    except ModuleNotFoundError as error:
        raise BlobsUnavailable(
            f"Blobs at {scheme}:// need the package {error.name}. Install it and start again."
        ) from error
    return opener(settings)
