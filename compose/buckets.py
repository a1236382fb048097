"""Makes the buckets of docker-compose.yaml; safe to repeat. Credentials and endpoint come by botocore's variables."""

from __future__ import annotations

import sys


def make(*names: str) -> None:
    """Make the buckets that are not there yet."""
    import boto3

    client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)


if __name__ == "__main__":
    make(*sys.argv[1:])
