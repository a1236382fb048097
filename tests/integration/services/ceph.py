"""A real S3 endpoint on loopback: a Ceph RADOS gateway from Debian's packages, over an object store in memory."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.daemons import daemon
from services.needs import needs

from local_processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONF = """\
[global]
fsid = {fsid}
mon_host = {mon}
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
public_addr = 127.0.0.1
keyring = {folder}/keyring
auth_allow_insecure_global_id_reclaim = false
run_dir = {folder}
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
log_file = {folder}/$name.log
crash_dir = {folder}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_pg_warn_min_per_osd = 0
mon_data_avail_crit = 1
mon_data_avail_warn = 1
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_tick_interval = 1
log_to_stderr = false
err_to_stderr = true
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 6442450944
osd_class_dir = /usr/lib/x86_64-linux-gnu/rados-classes
ms_bind_ipv4 = true
ms_bind_ipv6 = false
mon_data = {folder}/mon
osd_data = {folder}/osd
rgw_data = {folder}/rgw
[client.rgw.a]
rgw_frontends = {frontend}
rgw_dns_name = 127.0.0.1
rgw_relaxed_region_enforcement = true
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
"""
_KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
}


@dataclass(frozen=True)
class S3User:
    """What a client needs to sign its requests."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Ceph:
    """A running gateway, and the user who owns the buckets that tests make.

    :param secure: its other address, of https, by a certificate that only `authority`, a PEM file, vouches for.
    """

    endpoint: str
    secure: str
    user: S3User
    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "certificate.pem"

    def client(self, user: S3User | None = None, endpoint: str | None = None) -> Any:
        """Return a plain boto3 client."""
        import boto3

        user = user or self.user
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=user.access_key,
            aws_secret_access_key=user.secret_key,
            region_name="us-east-1",
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which botocore's own chain finds this endpoint and its owner, and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": self.user.access_key,
            "AWS_SECRET_ACCESS_KEY": self.user.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def bucket(self, *, versioned: bool = False) -> str:
        """Make an empty bucket and return its name."""
        name, client = f"tests-{uuid.uuid4().hex[:12]}", self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        client.close()
        return name

    def add_user(self, name: str) -> S3User:
        """Make a user who may do nothing with others' buckets."""
        user = S3User(secrets.token_hex(10), secrets.token_hex(20))
        self._admin(
            "user",
            "create",
            f"--uid={name}",
            f"--display-name={name}",
            f"--access-key={user.access_key}",
            f"--secret-key={user.secret_key}",
        )
        return user

    def _admin(self, *arguments: str) -> None:
        _run(self.folder, "radosgw-admin", *arguments)


@contextmanager
def ceph() -> Iterator[Ceph]:
    """Run a gateway of its own, on free ports, until the block ends.

    :raises RuntimeError: it does not start; holds the end of the log of what failed.
    """
    needs("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", root=True)
    # Ceph's sockets have paths of at most 107 characters: pytest's folders may be too deep.
    folder = Path(tempfile.mkdtemp(prefix="mlops-ceph-"))
    try:
        with ExitStack() as running:
            yield _start(folder, running)
    finally:
        shutil.rmtree(folder)


def _start(folder: Path, running: ExitStack) -> Ceph:
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    first, second, port, secure = free_ports(4)
    # A monitor on v1 alone fails with "wrong fsid".
    mon, fsid = f"[v2:127.0.0.1:{first},v1:127.0.0.1:{second}]", str(uuid.uuid4())
    frontend = f"beast endpoint=127.0.0.1:{port} tcp_nodelay=1 ssl_endpoint=127.0.0.1:{secure}"
    frontend += f" ssl_certificate={folder}/certificate.pem ssl_private_key={folder}/key.pem"
    conf = _CONF.format(fsid=fsid, mon=mon, folder=folder, frontend=frontend)
    (folder / "ceph.conf").write_text(conf, encoding="utf-8")
    _make_certificate(folder)
    keys = _make_keyring(folder)
    _run(folder, "monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", mon, f"{folder}/monmap")
    _run(folder, "ceph-mon", "-i", "a", "--mkfs", "--monmap", f"{folder}/monmap", "--keyring", f"{folder}/keyring")

    def start(program: str, *arguments: str, ready: Any) -> None:
        log = folder / f"{program}.out"
        running.enter_context(daemon([program, *arguments, "-f"], log, ready, env=_environment(folder)))

    start("ceph-mon", "-i", "a", ready=lambda: _listens(first))
    osd = str(uuid.uuid4())
    _run(folder, "ceph", "osd", "new", osd, "0", "-i", "-", stdin=json.dumps({"cephx_secret": keys["osd.0"]}))
    _run(folder, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    start("ceph-osd", "-i", "0", ready=lambda: True)
    start("radosgw", "-n", "client.rgw.a", ready=lambda: _listens(port))
    addresses = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure}"
    owner = Ceph(*addresses, S3User("", ""), folder).add_user("mlops")
    return Ceph(*addresses, owner, folder)


def _make_certificate(folder: Path) -> None:
    """Write a certificate of the loopback address that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _make_keyring(folder: Path) -> dict[str, str]:
    made = {name: _run(folder, "ceph-authtool", "--gen-print-key").strip() for name in _KEYS}
    lines = []
    for name, capabilities in _KEYS.items():
        lines += [f"[{name}]", f"key = {made[name]}"]
        lines += [f'caps {service} = "{allowed}"' for service, allowed in capabilities.items()]
    (folder / "keyring").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def _run(folder: Path, *command: str, stdin: str = "") -> str:
    done = subprocess.run(command, env=_environment(folder), input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CEPH_CONF": str(folder / "ceph.conf")}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
