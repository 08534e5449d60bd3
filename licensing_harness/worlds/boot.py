"""How a process of a simulated target comes up: its key, its entropy, its database, its start-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from licensing_harness.entropy import stream
from licensing_harness.target import signing
from licensing_harness.worlds.asgi import Server
from licensing_harness.worlds.disk import SimDisk
from licensing_harness.worlds.factory import SimulatedTarget
from licensing_harness.worlds.loop import NodeLoop, Timeline
from licensing_harness.worlds.story import Sign

EPOCH: Final = 1_800_000_000.0
"""Unix time at which every simulated story begins: 15 January 2027, 08:00 UTC."""


@dataclass(frozen=True, slots=True)
class Template:
    """What the first start-up of a target left behind."""

    image: bytes
    secrets: Mapping[str, str]


def start(timeline: Timeline, target: SimulatedTarget, disk: SimDisk, keys: bytes, seed: str) -> Server:
    """One process of the target, started. Raises TargetNotReady, HarnessError or UsageError."""
    chance = stream(seed, "entropy", disk.epoch)
    node = NodeLoop(timeline, "target")
    try:
        with node.running():
            app = target.build(lambda: EPOCH + timeline.now, chance.randbytes, keys, disk.mount())
        server = Server(node, app)
        server.start()
    except BaseException:
        node.kill()
        raise
    return server


_templates: dict[tuple[SimulatedTarget, int], Template] = {}


def template(target: SimulatedTarget, seed: int, keys: bytes) -> Template:
    """The database after the first start-up of this target, and its secrets; made once a process."""
    known = _templates.get((target, seed))
    if known is None:
        disk = SimDisk(f"{seed}/template")
        try:
            server = start(Timeline(), target, disk, keys, f"{seed}/template")
            secrets = getattr(getattr(server.app, "state", None), "secrets", None) or {}
            server.stop()
            known = Template(disk.image(), {str(name): str(value) for name, value in dict(secrets).items()})
        finally:
            disk.close()
        _templates[target, seed] = known
    return known


@lru_cache(maxsize=8)
def key_pem(seed: int) -> bytes:
    """The target's signing key for this run, PEM (PKCS#8)."""
    return _private_key(seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@lru_cache(maxsize=8)
def signer(seed: int) -> Sign:
    """``sign(header, claims)``: a compact JWS (RFC 7515) by the target's own key of this run."""
    return signing.signer(key_pem(seed))


@lru_cache(maxsize=8)
def _private_key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(stream(seed, "signing key").randbytes(32))
