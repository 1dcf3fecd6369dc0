"""Base images by their digests: ``make pin-images`` asks their registry and writes agent/base-images.txt anew.

``--check`` changes nothing, and fails if an image has no digest there, or its tag has another one by now.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "agent" / "base-images.txt"
REGISTRY = "https://registry-1.docker.io"
SECONDS = 30
# Of all machines for which there is one: an index, or a list, of manifests.
KINDS = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def digest_of(image: str, registry: str = REGISTRY) -> str:
    """What a tag names now.

    Args:
        image: ``NAME:TAG``, of the library of official images.

    Raises:
        OSError: the registry did not say.
    """
    name, _, tag = image.partition(":")
    url = f"{registry}/v2/library/{name}/manifests/{tag}"
    found = _head(url, {})
    if isinstance(found, urllib.error.HTTPError):
        challenge = dict(_CHALLENGE.findall(found.headers.get("WWW-Authenticate", "")))
        if found.code != 401 or "realm" not in challenge:
            raise found
        found = _head(url, {"Authorization": f"Bearer {_token(challenge)}"})
        if isinstance(found, urllib.error.HTTPError):
            raise found
    if not _DIGEST.fullmatch(found):
        raise OSError(f"{url} has no digest, but {found!r}")
    return found


def _head(url: str, headers: dict[str, str]) -> str | urllib.error.HTTPError:
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": KINDS, **headers})  # noqa: S310 - a constant
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return str(answer.headers.get("Docker-Content-Digest", ""))
    except urllib.error.HTTPError as error:
        return error


def _token(challenge: dict[str, str]) -> str:
    """What anybody gets who asks to read a public image."""
    query = urllib.parse.urlencode([(name, challenge[name]) for name in ("service", "scope") if name in challenge])
    with urllib.request.urlopen(f"{challenge['realm']}?{query}", timeout=SECONDS) as answer:  # noqa: S310
        return str(json.load(answer)["token"])


def main(arguments: list[str] | None = None, file: Path = FILE, registry: str = REGISTRY) -> int:
    """From the command line; 1 if ``--check`` found an image that is not pinned, or a registry was out of reach."""
    parser = argparse.ArgumentParser(prog="python -m tools.pin_images", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args(arguments).check
    wrong, lines = [], []
    for line in file.read_text().split():
        image, _, pinned = line.partition("@")
        try:
            now = digest_of(image, registry)
        except OSError as error:
            wrong.append(f"{image}: its registry did not say what it is now: {error}")
            now = pinned
        if check and not pinned:
            wrong.append(f"{image} has no digest: make pin-images")
        elif check and now != pinned:
            wrong.append(f"{image} is {now} by now: make pin-images, and build anew")
        lines.append(f"{image}@{now}" if now else image)
    if not check:
        file.write_text("\n".join(lines) + "\n")
    sys.stderr.writelines(f"{one}\n" for one in wrong)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
