#!/bin/sh
# Lets an alias lead to an earlier version again: rollback.sh NAME VERSION. Sessions that run keep theirs, and what is
# submitted from now on under NAME:ALIAS runs VERSION. HTCGRID_URL, HTCGRID_API_TOKEN and ALIAS as for release.sh.
set -eu
name=$1 version=$2 alias=${ALIAS:-live}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$(dirname "$0")/alias.sh"
move_alias "$name" "$alias" "$version"
echo "$alias is $(alias_version "$name" "$alias")"
