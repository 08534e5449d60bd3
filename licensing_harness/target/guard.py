"""The guard before the first request: the harness drives loopback hosts, and others only when told to.

It makes, revokes and breaks licences. A name is judged by what it resolves to,
and the address that was judged is the one that is spoken to.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from licensing_harness.errors import GuardRefused, TargetNotReady, UsageError

Resolve = Callable[[str, int], list[str]]
"""``resolve(host, port)``: the addresses of a name; raises OSError when it has none."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A target's base URL, taken apart and allowed."""

    url: str
    """Without a trailing slash."""
    scheme: str
    host: str
    port: int
    path: str
    address: str
    """The address that was judged: connections go there."""

    @property
    def authority(self) -> str:
        """What a Host header says: the host, and the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def check_target(url: str, *, allow: Iterable[str] = (), resolve: Resolve | None = None) -> Endpoint:
    """The endpoint of a URL that the harness may drive.

    Raises UsageError for a URL that is none, GuardRefused for a host that is
    not loopback and that no glob of ``allow`` matches, and TargetNotReady for
    a name that does not resolve.
    """
    parts = _parts(url)
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    addresses = _addresses(host, port, resolve or _resolve)
    outside = [address for address in addresses if not is_loopback(address)]
    if outside and not _named(host, allow):
        shown = host if host in outside else f"{host} ({', '.join(outside)})"
        message = (
            f"{shown} is not a loopback host, and the harness makes and revokes licences on its target. "
            f"If it is meant for tests: --licensing-allow-host {host}"
        )
        raise GuardRefused(message)
    path = parts.path.rstrip("/")
    bare = Endpoint(url="", scheme=parts.scheme, host=host, port=port, path=path, address=addresses[0])
    return Endpoint(
        url=f"{bare.scheme}://{bare.authority}{path}",
        scheme=bare.scheme,
        host=host,
        port=port,
        path=path,
        address=bare.address,
    )


def allowed_host(host: str, port: int, allow: Iterable[str]) -> bool:
    """Whether the harness may work on this host: a loopback one, or one that it was allowed. Raises TargetNotReady."""
    return _named(host, allow) or all(is_loopback(each) for each in _addresses(host, port, _resolve))


def _named(host: str, allow: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(host, glob.lower()) for glob in allow)


def _addresses(host: str, port: int, resolve: Resolve) -> list[str]:
    try:
        return resolve(host, port)
    except OSError as error:
        message = f"{host} can't be resolved ({error.strerror or error}): check the target's URL"
        raise TargetNotReady(message) from error


def is_loopback(address: str) -> bool:
    """Whether an IP address stays on this machine: 127.0.0.0/8, ::1, or the former written in IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def masked_url(url: str) -> str:
    """The URL without user, password, query and fragment, for messages."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return shown.partition("?")[0].partition("#")[0]


def _parts(url: str) -> SplitResult:
    shown = masked_url(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        message = f"target {shown!r} is no URL: {error}. Write http://HOST:PORT"
        raise UsageError(message) from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        message = f"target {shown!r} is no URL to drive: write http://HOST:PORT, https://HOST or asgi:module:factory"
        raise UsageError(message)
    if parts.username is not None or parts.password is not None:
        message = (
            f"target {shown!r}: a user or password does not belong into the URL, where it ends up in reports. "
            "Set LICENSING_SECRET_<NAME> and let the adapter ask for target.secret(name)"
        )
        raise UsageError(message)
    if parts.query or parts.fragment:
        message = f"target {shown!r}: a base URL has no query and no fragment; let the adapter add them"
        raise UsageError(message)
    return parts


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # IPv4 first: a name such as localhost has both, and most local servers bind only this one.
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return [str(each[4][0]) for each in found]
