#!/bin/sh
# Builds the agent's image and pushes it, unless its tag is there: a tag of the repository never changes, and a pipeline may
# be run again. Prints its digest: image.sh REPOSITORY TAG, at the root of the sources.
set -eu
repository=$1 image=$1:$2

digest() {
    docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}'
}

aws ecr get-login-password | docker login --username AWS --password-stdin "${repository%%/*}" >&2
digest && exit

# Docker's own builder keeps no attestations. A context has what a builder needs of the environment, such as GitLab's TLS.
docker context inspect htcgrid > /dev/null 2>&1 || docker context create htcgrid >&2
docker buildx inspect htcgrid > /dev/null 2>&1 || docker buildx create --name htcgrid --driver docker-container htcgrid >&2
docker buildx build --builder htcgrid -f agent/Dockerfile --provenance=true --sbom=true --tag "$image" --push . >&2
digest
