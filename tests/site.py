"""A real web site on loopback: pages at paths, each with its status, headers and body, or a way of misbehaving."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.listening import Handler, listening


@dataclass
class Page:
    """What is at a path. `write` sends the body piece by piece; without it, `body` is sent whole with its length."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    write: Callable[[Callable[[bytes], object]], object] | None = None


@dataclass
class Site:
    """`asked` are the paths that were asked for, with their headers."""

    port: int = 0
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@contextmanager
def serving_pages() -> Iterator[Site]:
    """The site, for the length of the block."""
    site = Site()

    class Asked(Handler):
        def reply(self) -> None:
            site.asked.append((self.path, self.named()))
            page = site.pages.get(self.path, Page(status=404))
            self.send_response(page.status)
            if page.write is None:
                self.send_header("Content-Length", str(len(page.body)))
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if page.write is None:
                    self.wfile.write(page.body)
                else:
                    page.write(self.wfile.write)
            except ConnectionError:
                self.close_connection = True

    with listening(Asked) as site.port:
        yield site
