#!/usr/bin/env bash
# cloudpickle 3.1.3: a function of a script that was sent by value says that it lies in the file "<dynamic-code>".
# Its traceback has the line's number but neither the file nor the source line; 3.1.2 kept all three.
# So who pins "cloudpickle>=3" loses the lines of user code in remote tracebacks with a patch release.
#
# Seen with Python 3.11:
#   3.1.2  File "SCRIPT", line 6, in simulate, and the source line
#   3.1.3  File "<dynamic-code>", line 6, in simulate, and no source line
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/script.py" <<'PYTHON'
import pickle
import traceback


def simulate(paths):
    return 1 / paths


if __name__ == "__main__":
    import cloudpickle

    received = pickle.loads(cloudpickle.dumps(simulate))
    try:
        received(0)
    except ZeroDivisionError:
        print(traceback.format_exc())
PYTHON
said() {
  "$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet "cloudpickle==$1"
  "$folder/venv/bin/python" "$folder/script.py"
}
before=$(said 3.1.2)
after=$(said 3.1.3)
printf 'cloudpickle 3.1.2\n%s\n\ncloudpickle 3.1.3\n%s\n' "$before" "$after"
grep -q "File \"$folder/script.py\", line 6, in simulate" <<<"$before"
grep -q "return 1 / paths" <<<"$before"
grep -q 'File "<dynamic-code>", line 6, in simulate' <<<"$after"
! grep -q "return 1 / paths" <<<"$after"
