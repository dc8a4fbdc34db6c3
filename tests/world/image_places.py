"""A registry and a web server with images, as a function from requests to answers.

``PLACES`` has what lies where; the registry hands out manifests for a token that it sends one for.
"""

from collections.abc import Mapping
from typing import Final

from contracts.image_source import DISK, MANIFEST, hashed

KIND: Final = "application/vnd.oci.image.manifest.v1+json"
TOKEN: Final = "a-token"
Answer = tuple[int, Mapping[str, str], bytes]


def answer(host: str, path: str, headers: Mapping[str, str], *, realm: str) -> Answer:
    """Return what the two places say; ``realm`` is where the registry sends for tokens."""
    if path.startswith("/token"):
        asked = "service=registry" in path and "scope=repository" in path
        return (200, {}, f'{{"token": "{TOKEN}"}}'.encode()) if asked else (400, {}, b"")
    if path.startswith("/v2/"):
        return _manifest(path, headers, realm)
    files = {"/disk.qcow2": DISK, "/page.qcow2": b"<html>"}
    if path in files:
        return 200, {"content-type": "application/octet-stream"}, files[path]
    if path == "/moved.qcow2":
        return 302, {"location": "http://169.254.169.254/latest/meta-data/"}, b""
    return 404, {}, b"nothing here"


def _manifest(path: str, headers: Mapping[str, str], realm: str) -> Answer:
    if headers.get("authorization") != f"Bearer {TOKEN}":
        said = f'Bearer realm="{realm}",service="registry",scope="repository:cuda/base:pull"'
        return 401, {"www-authenticate": said}, b"{}"
    known = {f"/v2/cuda/base/manifests/sha256:{hashed(each)}" for each in (MANIFEST, b"other")}
    if path not in known:
        return 404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'
    return 200, {"content-type": f"{KIND}; charset=utf-8"}, MANIFEST
