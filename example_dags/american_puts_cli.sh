#!/usr/bin/env bash
# Table 1 of Longstaff and Schwartz (2001) through the command line alone.
#
#   ./american_puts_cli.sh [DIR]        # the grid is $HTCGRID_URL, else local://
#
# Leaves events.jsonl, results.jsonl and american_puts.png in DIR. Exits 1 if the table is not the published one.
# PATHS, BATCH and SEED may be set in the environment.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-.}
export HTCGRID_URL=${HTCGRID_URL:-local://}
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$out"

python -m longstaff_schwartz_cli events \
    --paths "${PATHS:-100000}" --batch "${BATCH:-25000}" --seed "${SEED:-2001}" > "$out/events.jsonl"

session=$(htcgrid submit longstaff_schwartz.price --events "$out/events.jsonl" --json |
    python -c 'import json, sys; print(json.load(sys.stdin)["session"])')

htcgrid watch "$session"
htcgrid results "$session" --output "$out/results.jsonl"
python -m longstaff_schwartz_cli report "$out/results.jsonl" "$out/events.jsonl" --out "$out"
