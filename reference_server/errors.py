"""What can go wrong, by who can mend it: the caller, the store's keeper, or the one who starts the server.

::

    Exception
    ├── Refused             the rules say no; ``code`` is stable and public
    │   ├── Missing         there is no such thing                 404
    │   ├── Forbidden       the licence's state does not allow it  403
    │   ├── Conflict        it collides with what is already there 409
    │   └── NotAuthorised   no valid API token                     401
    ├── Unavailable         the server can't decide this now       503
    │   └── StoreError      the store did not commit or read
    └── StartError          the server can't start; ``exit_code`` says whose turn it is
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_USAGE: Final = 2
EXIT_ADDRESS: Final = 3
EXIT_STORE: Final = 4
EXIT_KEYS: Final = 5


class Refused(Exception):
    """The rules refuse a command; ``code`` says why, in a word that stays."""

    status: ClassVar[int] = 400

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Missing(Refused):
    """There is no such thing."""

    status = 404


class Forbidden(Refused):
    """The state of the licence does not allow it."""

    status = 403


class Conflict(Refused):
    """It collides with what is already there."""

    status = 409


class NotAuthorised(Refused):
    """No valid API token came with the request."""

    status = 401


class Unavailable(Exception):
    """The server can't decide this now; whether a change took effect is unknown to the caller."""

    code: ClassVar[str] = "unavailable"


class StoreError(Unavailable):
    """The store did not commit, or could not be read."""

    code = "store-unavailable"


class Overloaded(Unavailable):
    """Too many commands are waiting for the writer."""

    code = "overloaded"


class Draining(Unavailable):
    """The server is stopping and takes no more commands."""

    code = "draining"


class StartError(Exception):
    """The server can't start. The text is one line and names the way out."""

    def __init__(self, text: str, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(text)
        self.exit_code = exit_code
