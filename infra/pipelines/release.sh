#!/bin/sh
# Deploys a function as a version of its own, runs a smoke session on it, and only then moves the alias that submitters
# name: release.sh NAME FOLDER HANDLER, where FOLDER.smoke.jsonl has events and FOLDER.expected.jsonl their results.
#
# HTCGRID_URL is a server of the grid, HTCGRID_API_TOKEN its key with the scopes code and submit. POOL, ALIAS and
# SMOKE_SECONDS may be set. Exit code 1: the smoke session did not complete, or not as expected; the alias stays.
set -eu
name=$1 folder=${2%/} handler=$3 alias=${ALIAS:-live}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$(dirname "$0")/alias.sh"

version=$(htcgrid functions deploy "$name" "$folder" --handler "$handler")
echo "deployed $version; $alias is $(alias_version "$name" "$alias")"

session=$(htcgrid submit "$version" --events "$folder.smoke.jsonl" --pool "${POOL:-default}" \
    --name "smoke of $version" --timeout "${SMOKE_SECONDS:-300}" --max-attempts 1 --wait) || {
    htcgrid tasks "$session" --state FAILED >&2
    exit 1
}
htcgrid results "$session" --output "$work/results.jsonl"
diff "$folder.expected.jsonl" "$work/results.jsonl" >&2 || { echo "$version does not give what is expected" >&2; exit 1; }

move_alias "$name" "$alias" "${version##*:}"
echo "$alias is $(alias_version "$name" "$alias")"
