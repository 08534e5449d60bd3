"""How a simulated target comes to life: its processes, what its first start left behind, its key.

Starting a server for the first time is slow (it makes its tables), so it is
done once: every story begins with a copy of the disk after the first start-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from licensing_harness.entropy import draws, stream
from licensing_harness.target import signing
from licensing_harness.worlds.asgi import Lane, Server
from licensing_harness.worlds.factory import SimulatedTarget
from licensing_harness.worlds.loop import NodeLoop, Timeline
from licensing_harness.worlds.machines import Machine, machines, names
from licensing_harness.worlds.network import Network, SimHttp, url_of
from licensing_harness.worlds.simulated_clock import EPOCH
from licensing_harness.worlds.story import Sign

__all__ = ["EPOCH", "Template", "key_pem", "signer", "start", "template"]

_PORT = 40_000


@dataclass(frozen=True, slots=True)
class Template:
    """What the first start-up of a target left behind."""

    image: bytes
    secrets: Mapping[str, str]


def start(
    network: Network,
    target: SimulatedTarget,
    machine: Machine,
    keys: bytes,
    *,
    seed: str,
    run: Callable[..., bool] | None = None,
) -> Server:
    """One process of the target on this machine, started; ``run`` lets time pass.

    Raises TargetNotReady, HarnessError or UsageError.
    """
    nodes = tuple(network.servers)
    alone = len(nodes) == 1
    chance = stream(seed, "entropy", *(() if alone else (machine.name,)), machine.disk.epoch)
    node = NodeLoop(machine.clock.timeline, "target" if alone else machine.name)
    lane = Lane(machine.name, node, draws(seed, machine.name), _PORT + nodes.index(machine.name), serves=True)
    offered = {
        "node": machine.name,
        "peers": {name: url_of(name) for name in nodes if name != machine.name},
        "http": SimHttp(network, lane, f"{seed}/{machine.disk.epoch}"),
    }
    try:
        with node.running():
            app = target.build(machine.clock.read, chance.randbytes, keys, machine.disk.mount(), offered)
        server = Server(node, app)
        server.start(run)
    except BaseException:
        node.kill()
        raise
    return server


_templates: dict[tuple[SimulatedTarget, int], Template] = {}


def template(target: SimulatedTarget, seed: int, keys: bytes) -> Template:
    """The first node's database after its first start-up, alone, and its secrets; made once a process."""
    known = _templates.get((target, seed))
    if known is None:
        timeline = Timeline()
        nodes = names(target.nodes)
        machine = machines(nodes, timeline, f"{seed}/template", None)[nodes[0]]
        try:
            network = Network(timeline, timeout=1.0, nodes=nodes)
            server = start(network, target, machine, keys, seed=f"{seed}/template")
            secrets = getattr(getattr(server.app, "state", None), "secrets", None) or {}
            server.stop()
            known = Template(machine.disk.image(), {str(name): str(value) for name, value in dict(secrets).items()})
        finally:
            machine.disk.close()
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
