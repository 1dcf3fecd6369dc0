#!/bin/sh
# The agent of the grid that HTCGRID_URL names; arguments are those of `htcgrid agent`. With the one argument `healthy`:
# whether the agent that runs here is.
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
exec htcgrid agent "$@"
