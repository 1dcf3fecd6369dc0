#!/usr/bin/env bash
# Litestar 2.25.0: a pydantic model with extra="forbid" is enforced, and documented as if it were not: the OpenAPI
# schema lacks the "additionalProperties": false that pydantic's own schema has. A body that is valid by the document
# is refused with 400, which contract tests report as the server's fault and generated clients cannot foresee.
#
# Seen with Python 3.11, pydantic 2.14.0:
#   Item.model_json_schema()   {"additionalProperties": false, ...}
#   Litestar's document        the same properties, no additionalProperties
#   {"number": 1, "more": 2}   400, "Extra inputs are not permitted"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet litestar==2.25.0 pydantic==2.14.0
cat > "$folder/script.py" <<'PYTHON'
import json

from litestar import Litestar, post
from litestar.testing import TestClient
from pydantic import BaseModel, ConfigDict


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


@post("/items")
async def items(data: Item) -> Item:
    return data


app = Litestar([items])
documented = app.openapi_schema.to_schema()["components"]["schemas"]["Item"]
own = Item.model_json_schema()
with TestClient(app) as client:
    answer = client.post("/items", json={"number": 1, "more": 2})
print("pydantic", json.dumps(own))
print("Litestar", json.dumps(documented))
print(answer.status_code, answer.text)
assert own["additionalProperties"] is False
assert "additionalProperties" not in documented
assert answer.status_code == 400
assert "Extra inputs are not permitted" in answer.text
PYTHON
"$folder/venv/bin/python" "$folder/script.py"
