"""``python -m reference_server``: one server, one process, one address.

The first line on standard output is JSON: ``url``, ``pid``, and ``api_token``
when the first one was made just now. SIGTERM and SIGINT drain. What prevents the
start is one line on standard error, with an exit code: 2 a wrong option, 3 the
address, 4 the database, 5 a key or token file.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from reference_server import clock, composition, entropy
from reference_server.entropy import secret
from reference_server.errors import EXIT_ADDRESS, EXIT_KEYS, EXIT_STORE, StartError
from reference_server.http import test_clock
from reference_server.http.app import LicensingApp
from reference_server.keys import KeyFileError, KeyRing, load_or_make
from reference_server.service import Service, digest_of
from reference_server.store.adapter import Store
from reference_server.store.rows import Rows

POSTGRESQL: Final = ("postgresql://", "postgres://")
_DRAIN_SECONDS: Final = 10
_BACKLOG: Final = 1024


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_server",
        description="A licensing server that keeps every promise, and can break each of them by name.",
        epilog="Exit codes: 2 a wrong option, 3 the address, 4 the database, 5 a key or token file.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (this machine only by default)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--db", type=sqlite_path, required=True, help="path of an SQLite file, or postgresql://user@host/database"
    )
    parser.add_argument("--keys", type=Path, help="file of the signing key, made if missing; beside the SQLite file")
    parser.add_argument("--token-file", type=Path, help="file of an API token's secret, made if missing, and let in")
    parser.add_argument("--lease", default="60", help="seconds for which a seat is held without a heartbeat")
    parser.add_argument("--token-lifetime", default="300", help="seconds for which an access token is good")
    parser.add_argument(
        "--test-clock", action="store_true", help="let whoever has an API token set the clock wrong; loopback only"
    )
    parser.add_argument("--defect", default="", help="name of a bug to switch on")
    return parser


class Server(uvicorn.Server):
    """Uvicorn, which says where it listens once it does, and ends with 0 when it was asked to."""

    app: LicensingApp
    url: str

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print the first line."""
        await super().startup(sockets)
        if self.started:
            # What start-up made stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            print(json.dumps({"url": self.url, "pid": os.getpid(), **self.app.state.secrets}), flush=True)  # noqa: T201

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain at the first signal, stop at the second; then end as asked, not by the signal."""

        def ask(signum: int, frame: FrameType | None) -> None:
            self.handle_exit(signum, frame)

        before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def sqlite_path(db: str) -> str:
    """The path in ``sqlite:///PATH``, the form that SQLAlchemy has made usual; anything else as it is."""
    return db.removeprefix("sqlite:///")


def store_of(db: str) -> Store:
    """The store that ``--db`` names. Raises StartError."""
    scheme, separator, _ = db.partition("://")
    if db.startswith(POSTGRESQL):
        from reference_server.store.postgresql import PostgresqlStore

        return PostgresqlStore(db.replace("postgres://", "postgresql://", 1))
    if separator or db in {"", ":memory:"}:
        message = f"--db {scheme + separator or db!r} is no database that can be used: give a path or postgresql://..."
        raise StartError(message)
    from reference_server.store.sqlite import SqliteStore

    return SqliteStore(Path(db))


def key_file(given: Path | None, db: str) -> Path:
    """Where the signing key is. Raises StartError."""
    if given is not None:
        return given
    if db.startswith(POSTGRESQL):
        raise StartError("with PostgreSQL the signing key needs a place: give --keys FILE")
    return Path(f"{db}.key.pem")


def token_in(path: Path) -> str:
    """The API token's secret in a file that only its owner may read; made if missing. Raises StartError."""
    shortest, longest = 32, 200
    try:
        if not path.exists():
            made = secret(entropy.real, "lat")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(made + "\n")
                file.flush()
                os.fsync(file.fileno())
            return made
        found = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: the token file can't be used ({error}): give --token-file a file of yours"
        raise StartError(message, EXIT_KEYS) from error
    if not (shortest <= len(found) <= longest and found.isprintable() and " " not in found):
        message = f"{path}: this is no API token (one line of {shortest} to {longest} characters): remove the file"
        raise StartError(message, EXIT_KEYS)
    return found


def application(options: argparse.Namespace) -> LicensingApp:
    """The server that the options describe. Raises StartError."""
    terms = composition.terms_of(options.lease, options.token_lifetime)
    store = store_of(options.db)
    if not options.db.startswith(POSTGRESQL) and not Path(options.db).absolute().parent.is_dir():
        message = f"the database {options.db} can't be made: its folder does not exist; make it first"
        raise StartError(message, EXIT_STORE)
    try:
        pem = load_or_make(key_file(options.keys, options.db), entropy.real)
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from error
    token = None if options.token_file is None else token_in(options.token_file)
    now = clock.SetClock(clock.real) if options.test_clock else clock.real
    parts = composition.parts_of(clock=now, entropy=entropy.real, keys=pem, store=store, terms=terms)
    kid = KeyRing.from_pem(pem).kid

    async def prepare(service: Service) -> None:
        await _same_key(service, kid)
        if token is not None:
            await _let_in(service, token, options.token_file)

    more = test_clock.routes(now) if isinstance(now, clock.SetClock) else ()
    return composition.build(composition.planted(parts, options.defect), token=token, prepare=prepare, more=more)


async def _same_key(service: Service, kid: str) -> None:
    """With another signing key every licence key would be void: say so instead. Raises StartError."""
    store = service.store
    known = await store.read(lambda connection: store.statements.setting(connection, "kid"))
    if known is None:
        await store.commit(store.statements.write, Rows(settings=[("kid", kid)]))
    elif known != kid:
        message = f"this database belongs to the signing key {known}, and --keys is {kid}: give the file it began with"
        raise StartError(message, EXIT_KEYS)


async def _let_in(service: Service, token: str, path: Path) -> None:
    digest = digest_of(token)
    if digest in service.book.by_digest:
        return
    if any(each.digest == digest for each in service.book.api_tokens.values()):
        message = f"{path}: this API token was revoked: remove the file, and a new one is made"
        raise StartError(message, EXIT_KEYS)
    await composition.register(service, f"file {path.name}"[:200], token)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises StartError."""
    last = 65_535
    if not 0 <= port <= last:
        message = f"--port {port} is none: give one from 0 to {last}"
        raise StartError(message)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        way = "stop what listens there, or use --port 0" if port else "check --host"
        message = f"can't listen on {host} port {port} ({error.strerror or error}): {way}"
        raise StartError(message, EXIT_ADDRESS) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """How the socket is reached over HTTP."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal. Raises StartError."""
    with listening(options.host, options.port) as listener:
        if options.test_clock and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
            message = f"--test-clock is for this machine only, and {options.host} is not: leave one of the two out"
            raise StartError(message)
        app = application(options)
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            lifespan="on",
            loop="auto",
            http="auto",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = Server(config)
        server.app, server.url = app, url_of(listener)
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that start-up failed
            raise app.failure or StartError("the server did not start", 1) from None


def main(given: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    options = arguments().parse_args(given)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Uvicorn logs a traceback for what is told in one line here.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    try:
        serve(options)
    except StartError as error:
        print(f"reference_server: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
