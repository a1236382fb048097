"""Write the secrets that docker-compose.yaml asks for: `python tools/write_env.py .env`.

Every value is random. A file that is there is never changed: its secrets are those of volumes that are in use.
"""

from __future__ import annotations

import os
import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

#: What needs no form of its own.
PASSWORDS = (
    "POSTGRES_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "REDIS_PASSWORD",
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_AIRFLOW_PASSWORD",
    "MLFLOW_SECRET_KEY",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)


def values() -> dict[str, str]:
    """Return a value for each variable. Letters and digits only, so that they fit into a URL and into JSON."""
    return {
        # 64 characters: what tokens signed with SHA-512 ask of their key.
        **{name: secrets.token_hex(32) for name in PASSWORDS},
        "S3_ACCESS_KEY": secrets.token_hex(10),
        "AIRFLOW_FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def write(file: Path) -> bool:
    """Write the file, for its owner's eyes only; return whether it was not there yet."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in values().items())
    return True


if __name__ == "__main__":
    target = Path(sys.argv[1])
    print(f"{target} is new: random secrets" if write(target) else f"{target} is there, and stays as it is")
