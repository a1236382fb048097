#!/usr/bin/env bash
# Installs the real services that the tests start: Ceph's S3 gateway, a Docker engine, PostgreSQL, Redis, and Chromium.
# For root on Debian. Does nothing when all of them are there, and elsewhere only says what is skipped.
set -euo pipefail

# LightGBM's wheel links to the system's OpenMP. docker-compose checks docker-compose.yaml, mmdebstrap makes
# the root file system of an image where none can be pulled.
packages=(
    ceph-mgr ceph-mon ceph-osd radosgw
    docker-compose docker.io mmdebstrap
    postgresql redis-server
    chromium
    libgomp1
)

missing=()
for package in "${packages[@]}"; do
    if [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "not root on Debian: tests that need one of these are skipped: ${missing[*]}" >&2
    exit 0
fi

# The tests start each service themselves, in folders of their own: none of Debian's is to start here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# PostgreSQL's package would otherwise make a cluster that nobody uses.
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/mlops-tests.conf
apt-get install -qq -y --no-install-recommends "${missing[@]}"
