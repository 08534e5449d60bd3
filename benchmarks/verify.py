"""What checking a token costs beside the signature alone: ``python benchmarks/verify.py``.

One token of about 500 bytes, verified by the reference server's verifier with
every check on, against the bare Ed25519 verify of ``cryptography`` over the same
bytes. Both run in turn, round after round, so that what else the machine does
meets both; medians of rounds.
"""

from __future__ import annotations

import statistics
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any, Final

import jwt

from reference_server.keys import KeyRing, Verifier, make_pem

ROUNDS: Final = 30
REPEATS: Final = 100
BAR: Final = 1.7
"""The most that a verification may take, as a multiple of the raw verify."""


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()  # noqa: TID251 - a benchmark reads the clock
    for _ in range(REPEATS):
        call()
    return (time.perf_counter() - start) / REPEATS  # noqa: TID251


def measure() -> list[dict[str, Any]]:
    """The row ``verify/ed25519`` and, beside it, bare PyJWT; ``value`` and ``baseline`` in microseconds."""
    ring = KeyRing.from_pem(make_pem(lambda n: bytes(range(n))))
    issued = 1_800_000_000
    token = ring.mint(
        {
            "iss": "https://licensing.example",
            "aud": "licensed-product",
            "sub": "lic_0123456789abcdefghijkl",
            "jti": "0123456789abcdefghijkl",
            "iat": issued,
            "nbf": issued,
            "exp": issued + 300,
            "features": ["export", "single-sign-on", "audit"],
            "plan": "standard",
        }
    )
    verifier = Verifier(ring, issuer="https://licensing.example", audience="licensed-product", lifetime=300)
    public = ring.public(ring.kid)
    assert public is not None
    signed, _, signature = token.rpartition(".")
    raw, message = urlsafe_b64decode(signature + "=="), signed.encode()
    unchecked: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    calls: dict[str, Callable[[], Any]] = {
        "raw": lambda: public.verify(raw, message),
        "strict": lambda: verifier.verify(token, issued + 1.5),
        "pyjwt": lambda: jwt.decode(
            token,
            public,
            algorithms=["EdDSA"],
            issuer="https://licensing.example",
            audience="licensed-product",
            options=unchecked,
        ),
    }
    rounds = [{name: _seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    baseline = statistics.median(each["raw"] for each in rounds)
    return [
        {
            "name": name,
            "value": round(statistics.median(each[of] for each in rounds) * 1e6, 1),
            "unit": "us",
            "baseline": round(baseline * 1e6, 1),
            # Of each round, so that a round in which the machine was busy counts as one round.
            "ratio": round(statistics.median(each[of] / each["raw"] for each in rounds), 3),
        }
        for name, of in (("verify/ed25519", "strict"), ("verify/pyjwt-alone", "pyjwt"))
    ]


if __name__ == "__main__":
    for row in measure():
        print(f"{row['name']:24}{row['value']:10} {row['unit']}  raw {row['baseline']}  x{row['ratio']}")
    print(f"bar for verify/ed25519: x{BAR}")
