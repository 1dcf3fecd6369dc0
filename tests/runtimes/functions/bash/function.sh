function handler () {
    echo "$1" 1>&2
    echo "Echoing request: '$1'"
}
