#!/usr/bin/env bash
# BlackSheep 2.6.4: a documented route that returns a plain Response (as one that streams rows must) gets an empty
# "responses" object in the OpenAPI document, which OpenAPI 3.1 does not allow. So one streaming route makes the whole
# document invalid for clients' generators and for test tools that validate first.
#
# Seen with Python 3.11, openapi-spec-validator 0.9.0:
#   the route that returns a model   {"200": {...}}
#   the route that streams           {}
#   the validator                    an error at paths, /rows, get, responses
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet blacksheep==2.6.4 pydantic==2.14.0 openapi-spec-validator==0.9.0
cat > "$folder/script.py" <<'PYTHON'
import asyncio
import json

from blacksheep import Application, Response, StreamedContent, get
from blacksheep.server.openapi.v3 import OpenAPIHandler
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapidocs.v3 import Info
from pydantic import BaseModel


class Row(BaseModel):
    number: int


docs = OpenAPIHandler(info=Info(title="Rows", version="1"))


@docs()
@get("/first")
async def first() -> Row:
    return Row(number=1)


@docs()
@get("/rows")
async def rows() -> Response:
    async def lines():
        yield b'{"number": 1}\n'

    return Response(200, content=StreamedContent(b"application/x-ndjson", lines))


async def document():
    app = Application()
    docs.bind_app(app)
    await app.start()
    return json.loads(docs._json_docs)


made = asyncio.run(document())
answers = {path: made["paths"][path]["get"]["responses"] for path in ("/first", "/rows")}
print(made["openapi"], json.dumps(answers))
faults = {tuple(error.path) for error in OpenAPIV31SpecValidator(made).iter_errors()}
print(faults)
assert answers["/first"] and answers["/rows"] == {}, answers
assert faults == {("paths", "/rows", "get", "responses")}, faults
PYTHON
"$folder/venv/bin/python" "$folder/script.py"
