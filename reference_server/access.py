"""Access tokens: what a licence's token says of it."""

from __future__ import annotations

from typing import Any, Final

from reference_server.entropy import Entropy
from reference_server.rules.states import LicenceState, Terms

ISSUER: Final = "licensing-harness-reference"
AUDIENCE: Final = "licensing-harness-clients"


def claims_for(licence: LicenceState, now: int, terms: Terms, entropy: Entropy) -> dict[str, Any]:
    """The claims of a new token, with times in whole seconds. It does not outlive the licence's term."""
    iat = now // 1000
    exp = iat + terms.token_lifetime
    if licence.expires_at is not None:
        exp = max(iat + 1, min(exp, licence.expires_at // 1000))
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": licence.id,
        "jti": entropy(16).hex(),
        "iat": iat,
        "nbf": iat,
        "exp": exp,
        "plan": licence.plan,
        "features": list(licence.features),
    }
