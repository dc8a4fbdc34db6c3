"""An ``ImageSource`` over HTTP: manifests of OCI registries, and files of web servers.

A name is resolved once; every address it has must be allowed, and the first is dialled as it
stands, so that a second answer of the resolver changes nothing. TLS is still checked against the
name. Nobody is followed elsewhere.

Source: OCI Distribution Specification 1.1, "Pulling manifests"; Docker Registry "Token
Authentication". Read 2026-11-28.
"""

import asyncio
import hashlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import urlencode

import httpx

from gpucloud_adapters.image_places import NoPlace, Origin, Places
from gpucloud_core.catalog.ports import (
    Content,
    ImageNotThere,
    ImagePlaceRefused,
    ImageTooLarge,
    ImageUnreachable,
    Progress,
)
from gpucloud_core.catalog.references import FileReference, OciReference

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

MANIFEST_MAX: Final = 4 << 20
"""Source: OCI Distribution Specification 1.1, "Pushing Manifests": registries take 4 MiB."""
FILE_MAX: Final = 256 << 30
_TOKEN_MAX: Final = 64 << 10
_TELL_SECONDS: Final = 2.0
_CHUNK: Final = 1 << 20
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_QCOW2: Final = b"QFI\xfb"
_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_REFUSED: Final = "{} is none of the places that images are read from."


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return every address of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class HttpImageSource:
    """Reads images from declared places.

    Args:
        places: what was declared.
        transport, resolver: for tests; by default HTTP and the system's resolver.
    """

    def __init__(
        self,
        places: Places,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._places, self._resolve = places, resolver
        # The environment's proxies would dial another address than the one that was checked.
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT, transport=transport, follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def manifest(self, reference: OciReference) -> Content:
        origin = self._places.registry(reference.registry)
        if origin is None:
            raise ImagePlaceRefused(_REFUSED.format(reference.registry))
        path = f"/v2/{reference.repository}/manifests/sha256:{reference.sha256}"
        headers = {"Accept": _MANIFESTS}
        async with self._asked(origin, path, headers) as answer:
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status_code != httpx.codes.UNAUTHORIZED or not challenge:
                return await _manifest(origin, answer)
        headers["Authorization"] = f"Bearer {await self._token(origin, challenge)}"
        async with self._asked(origin, path, headers) as answer:
            return await _manifest(origin, answer)

    async def file(self, reference: FileReference, progress: Progress) -> Content:
        origin = self._declared(reference.url)
        path = reference.url.partition("://")[2].partition("/")[2]
        async with self._asked(origin, f"/{path}", {}) as answer:
            _check(origin, answer)
            total = _length(answer)
            if total is not None and total > FILE_MAX:
                raise ImageTooLarge
            return await _hashed(answer, total, progress)

    async def _token(self, registry: Origin, challenge: str) -> str:
        """Return the token that a registry asks for, from where it says; that is declared too."""
        scheme, _, rest = challenge.partition(" ")
        said = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in said:
            raise ImageNotThere(f"{registry.netloc} hands it out to nobody it does not know.")
        origin = self._declared(said["realm"])
        path = said["realm"].partition("://")[2].partition("/")[2]
        asked = {name: said[name] for name in ("service", "scope") if name in said}
        async with self._asked(origin, f"/{path}?{urlencode(asked)}", {}) as answer:
            _check(origin, answer)
            body = await _body(origin, answer, _TOKEN_MAX)
        try:
            content = httpx.Response(200, content=body).json()
            return str(content.get("token") or content["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise ImageNotThere(f"{origin.netloc} gave no token.") from None

    def _declared(self, url: str) -> Origin:
        try:
            origin = Origin.of(url)
        except NoPlace:
            raise ImagePlaceRefused(_REFUSED.format("It")) from None
        if origin not in self._places.origins:
            raise ImagePlaceRefused(_REFUSED.format(origin.netloc))
        return origin

    async def _address(self, origin: Origin) -> str:
        """Return the address to dial; every address of the name has to be allowed."""
        try:
            texts = await self._resolve(origin.host, origin.port)
        except OSError as error:
            raise ImageUnreachable(f"{origin.netloc} did not answer.") from error
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in texts]
        if not found:
            raise ImageUnreachable(f"{origin.netloc} did not answer.")
        if not all(map(self._places.allows, found)):
            raise ImagePlaceRefused(_REFUSED.format(origin.netloc))
        return f"[{found[0]}]" if found[0].version == 6 else str(found[0])  # noqa: PLR2004  IPv6

    @asynccontextmanager
    async def _asked(
        self, origin: Origin, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        address = await self._address(origin)
        request = self._client.build_request(
            "GET",
            f"{origin.scheme}://{address}:{origin.port}{path}",
            headers={"Host": origin.netloc, "Accept-Encoding": "identity", **headers},
            extensions={"sni_hostname": origin.host},
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise ImageUnreachable(f"{origin.netloc} did not answer.") from error
        try:
            yield answer
        except httpx.HTTPError as error:
            raise ImageUnreachable(f"{origin.netloc} broke off.") from error
        finally:
            await answer.aclose()


def _check(origin: Origin, answer: httpx.Response) -> None:
    status = answer.status_code
    if status == httpx.codes.OK:
        return
    if httpx.codes.is_server_error(status) or status == httpx.codes.TOO_MANY_REQUESTS:
        raise ImageUnreachable(f"{origin.netloc} has no time: it answers {status}.")
    if httpx.codes.is_redirect(status):
        raise ImageNotThere(f"{origin.netloc} sends us elsewhere; name the image where it lies.")
    if status == httpx.codes.NOT_FOUND:
        raise ImageNotThere(f"{origin.netloc} does not have it.")
    raise ImageNotThere(f"{origin.netloc} does not hand it out: it answers {status}.")


def _length(answer: httpx.Response) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


async def _body(origin: Origin, answer: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > most:
            raise ImageTooLarge(f"{origin.netloc} sends more than {most >> 10:,} KiB.")
    return bytes(body)


async def _manifest(origin: Origin, answer: httpx.Response) -> Content:
    _check(origin, answer)
    body = await _body(origin, answer, MANIFEST_MAX)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    return Content(hashlib.sha256(body).hexdigest(), len(body), kind)


async def _hashed(answer: httpx.Response, total: int | None, progress: Progress) -> Content:
    clock = asyncio.get_running_loop().time
    digest, read, head, told = hashlib.sha256(), 0, b"", clock()
    async for part in answer.aiter_raw(_CHUNK):
        head = head or part[: len(_QCOW2)]
        read += len(part)
        if read > FILE_MAX:
            raise ImageTooLarge
        await asyncio.to_thread(digest.update, part)
        if clock() - told >= _TELL_SECONDS:
            told = clock()
            await progress(read, total)
    return Content(digest.hexdigest(), read, "qcow2" if head == _QCOW2 else "")
