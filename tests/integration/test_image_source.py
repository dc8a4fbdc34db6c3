"""Images from a real registry and a real web server, over real sockets on loopback.

Seen to fail when certificates were not checked.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.image_source import DISK, MANIFEST, Told, hashed
from gpucloud_adapters.image_places import Places
from gpucloud_adapters.images.http_source import HttpImageSource
from gpucloud_core.catalog.ports import ImagePlaceRefused, ImageUnreachable
from gpucloud_core.catalog.references import FileReference, OciReference
from world.image_places import answer

LOOPBACK = ["127.0.0.0/8", "::1/128"]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = self.headers["Host"]
        realm = f"http://{host}/token"
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, told, body = answer(host, self.path, headers, realm=realm)
        cut = self.path.endswith("?cut")
        if cut:
            status, told, body = answer(host, self.path.partition("?")[0], headers, realm=realm)
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def own_certificate(folder: Path) -> ssl.SSLContext:
    """Return a server's side with a certificate that nobody else vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "own.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
def port() -> Iterator[int]:
    with served() as port:
        yield port


def source(origin: str, networks: list[str] = LOOPBACK) -> HttpImageSource:
    return HttpImageSource(Places.declared([origin], networks))


class TestOverSockets:
    async def test_reads_a_manifest_for_a_token(self, port: int) -> None:
        found = await source(f"http://localhost:{port}").manifest(
            OciReference(f"localhost:{port}", "cuda/base", hashed(MANIFEST))
        )

        assert found.sha256 == hashed(MANIFEST)

    async def test_reads_a_file_by_its_name(self, port: int) -> None:
        url = f"http://localhost:{port}/disk.qcow2"

        found = await source(f"http://localhost:{port}").file(FileReference(url, ""), Told())

        assert (found.sha256, found.kind) == (hashed(DISK), "qcow2")

    async def test_knows_nothing_of_half_a_file(self, port: int) -> None:
        url = f"http://localhost:{port}/disk.qcow2?cut"

        with pytest.raises(ImageUnreachable):
            await source(f"http://localhost:{port}").file(FileReference(url, ""), Told())

    async def test_knocks_at_no_door_of_ours(self, port: int) -> None:
        url = f"http://localhost:{port}/disk.qcow2"

        with pytest.raises(ImagePlaceRefused):
            await source(f"http://localhost:{port}", []).file(FileReference(url, ""), Told())

    async def test_believes_no_certificate_that_nobody_vouches_for(self, tmp_path: Path) -> None:
        with served(own_certificate(tmp_path)) as port:
            url = f"https://localhost:{port}/disk.qcow2"

            with pytest.raises(ImageUnreachable):
                await source(f"https://localhost:{port}").file(FileReference(url, ""), Told())
