"""Hosts license-manager-backend 3.0.12 without its identity provider and its migrations.

Replaced here, so that nobody is blamed for it: armasec's token check (every caller is cluster-a; it wants an
OIDC provider over https) and the Alembic migrations (tables are created from the package's own models). The
routes, the booking statement and the database sessions are the package's, untouched.
"""

import asyncio
import os
import sys

import uvicorn

os.environ |= {"ARMASEC_DOMAIN": "identity.invalid", "ARMASEC_AUDIENCE": "https://identity.invalid"}
from lm_backend import database, security


def cluster_a(*_scopes, **_mode):  # noqa: ANN002, ANN003, ANN201, D103 - the shape of what it replaces
    return lambda: security.IdentityPayload(sub="harness", client_id="cluster-a", permissions=[], exp=2**32)


security.lockdown_with_identity = database.lockdown_with_identity = cluster_a
from lm_backend.api.models.crud_base import CrudBase
from lm_backend.main import app  # noqa: F401 - uvicorn's workers ask for host:app


async def create_tables() -> None:
    """Make every table of the package's models."""
    async with database.engine_factory.get_engine().begin() as connection:
        await connection.run_sync(CrudBase.metadata.create_all)
    await database.engine_factory.cleanup()


if __name__ == "__main__":
    asyncio.run(create_tables())
    uvicorn.run("host:app", host="127.0.0.1", port=int(sys.argv[1]), workers=2, log_level="warning")
