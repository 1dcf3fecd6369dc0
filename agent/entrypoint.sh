#!/bin/sh
# The agent of the grid that HTCGRID_URL names; arguments are those of `htcgrid agent`. With the one argument `healthy`:
# whether the agent that runs here is. With `serve` as the first: a server of its REST API, with those of `htcgrid serve`.
set -eu

if [ "${1:-}" = healthy ]; then
    exec python -c '
import os, sys, urllib.error, urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:%s/healthz" % os.environ["HTCGRID_HEALTH_PORT"], timeout=5)
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode())
except OSError as error:
    sys.exit(str(error))
'
fi

case "${HTCGRID_URL:-}" in
    aws://*) ;;
    *)
        echo "HTCGRID_URL must name the grid, as in aws://NAME?region=eu-west-1" >&2
        exit 2
        ;;
esac
if [ "${1:-}" = serve ]; then
    shift
    exec htcgrid serve "$@"
fi
exec htcgrid agent "$@"
