# For release.sh and rollback.sh: what an alias leads to, by the grid's REST API. The token stands in a file, and so in
# no list of processes.
umask 077
printf 'Authorization: Bearer %s\n' "$HTCGRID_API_TOKEN" > "$work/key"

ask() {
    curl --silent --show-error --fail-with-body --retry 3 --max-time 60 --header "@$work/key" "$@"
}

alias_version() { # NAME ALIAS
    ask "$HTCGRID_URL/v1/functions/$1/aliases" | python3 -c '
import json, sys
found = {each["name"]: each["version"] for each in json.load(sys.stdin)["aliases"]}
print("version {}".format(found[sys.argv[1]]) if sys.argv[1] in found else "not there yet")' "$2"
}

move_alias() { # NAME ALIAS VERSION
    ask --request PUT --header 'Content-Type: application/json' --data "{\"version\": $3}" \
        "$HTCGRID_URL/v1/functions/$1/aliases/$2" > "$work/answer" || { cat "$work/answer" >&2; return 1; }
}
