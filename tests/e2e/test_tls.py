"""A server with a certificate of one's own authority: clients that trust it, those that do not, and files of no use."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from htcgrid_core import AccessDenied, connect, connect_async
from htcgrid_core.cli.main import cli
from htcgrid_core.testing import handlers
from tests.e2e.support import fresh_grid
from tests.served import Server, serving

HANDLER = f"{handlers.__name__}.{handlers.task.__name__}"


def _key(file: Path, password: bytes = b"") -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=hidden)
    )
    return key


@dataclass
class Authority:
    """An authority that nobody knows, and a certificate of it for this machine."""

    folder: Path

    def __post_init__(self) -> None:
        own = _key(self.folder / "authority.key")
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        self.certificate = self._signed(name, own.public_key(), name, own, "authority.pem", ca=True)
        here = _key(self.folder / "server.key")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "grid")])
        self._signed(subject, here.public_key(), name, own, "server.pem", ca=False)

    def _signed(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        file: str,
        *,
        ca: bool,
    ) -> Path:
        now = datetime.datetime.now(datetime.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        where = self.folder / file
        where.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return where


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all of these tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One whose certificate is the authority's."""
    folder = tmp_path_factory.mktemp("tls")
    files = ("--tls-certificate", str(authority.folder / "server.pem"), "--tls-key")
    with (
        fresh_grid(folder / "grid") as url,
        serving(url, folder / "keys.json", *files, str(authority.folder / "server.key")) as running,
    ):
        yield running


def test_who_trusts_the_authority_runs_a_session(
    server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert server.url.startswith("https://127.0.0.1:")
    with connect(server.url, api_token=server.token) as grid:
        assert list(grid.submit(HANDLER, [7]).results()) == [14]

    async def wait() -> list[object]:
        async with connect_async(server.url, api_token=server.token) as grid:
            session = await grid.submit(HANDLER, [8])
            return [result async for result in session.results()]

    assert asyncio.run(wait()) == [16]


def test_who_does_not_is_told_so(server: Server) -> None:
    with pytest.raises(AccessDenied, match=r"does not prove that it is 127\.0\.0\.1.*SSL_CERT_FILE"):
        connect(server.url, api_token=server.token).sessions()

    async def ask() -> None:
        async with connect_async(server.url, api_token=server.token) as grid:
            await grid.sessions()

    with pytest.raises(AccessDenied, match="SSL_CERT_FILE"):
        asyncio.run(ask())


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server: Server, authority: Authority) -> None:
    command = ["curl", "--silent", "--show-error", f"{server.url}/healthz"]
    known = subprocess.run([*command, "--cacert", str(authority.certificate)], capture_output=True, check=False)
    assert known.returncode == 0, known.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 60  # what curl says of such a one


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("server.pem", "authority.key", "authority.key is not the key of"),
        ("server.pem", "hidden.key", "hidden.key holds no key in PEM format, or an encrypted one"),
        ("server.pem", "server.pem", "server.pem holds no key in PEM format"),
        ("server.key", "server.key", "server.key holds no certificate in PEM format"),
        ("empty.pem", "server.key", "empty.pem holds no certificate in PEM format"),
    ],
)
def test_files_of_no_use_are_named(authority: Authority, tmp_path: Path, certificate: str, key: str, says: str) -> None:
    _key(authority.folder / "hidden.key", b"secret")
    (authority.folder / "empty.pem").touch()
    command = ["serve", "--url", f"local://{tmp_path}", "--port", "0", "--key-file", str(tmp_path / "keys.json")]
    files = ["--tls-certificate", str(authority.folder / certificate), "--tls-key", str(authority.folder / key)]
    done = CliRunner().invoke(cli, [*command, *files])
    assert says in done.output
    assert done.exit_code == 2
