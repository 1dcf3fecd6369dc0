"""A grid on AWS behind ``htcgrid serve``: answers from DynamoDB and S3, for each tenant its own."""

from __future__ import annotations

from pathlib import Path

from tests.aws.grids import CloudUnderTest
from tests.rest import NDJSON, Rest
from tests.served import key, serving

DOUBLE = "tests.e2e.handlers.double"


def test_a_grid_on_aws_is_served(aws_cloud: CloudUnderTest, tmp_path: Path) -> None:
    aws_cloud.start_agent()
    keys = [key("acme", "read submit code", "acme"), key("other", "read submit code", "other")]
    with serving(aws_cloud.url, tmp_path / "keys.json", keys=keys, environ=aws_cloud.environment) as server:
        acme, other = (Rest(server.url, one.secret) for one in keys)
        opened = acme.post("/v1/sessions", {"function": DOUBLE}, headers={"Idempotency-Key": "a book"})
        assert opened.status == 201, opened.body
        path = f"/v1/sessions/{opened.json['id']}"
        for part in range(3):
            body = b"".join(b"%d\n" % (100 * part + number) for number in range(100))
            assert acme.put(f"{path}/parts/{part}", body, media=NDJSON).json["events"] == 100
        assert acme.post(f"{path}/seal", {"parts": 3, "wait": 20}).status in (200, 202)
        assert acme.ended(opened.json["id"])["completed"] == 300
        results = [line["result"] for line in acme.get(f"{path}/results").lines]
        assert results == [2 * number for number in range(300)]
        assert [line["result"] for line in acme.get(f"{path}/results", start=250, limit=2).lines] == [500, 502]
        assert acme.get("/v1/load/default").json["agents"] == 1
        assert [one["id"] for one in acme.get("/v1/sessions").json["sessions"]] == [opened.json["id"]]
        # Others' are missing, and their ids are in no cursor.
        assert other.get(path).status == 404
        assert other.get("/v1/sessions").json == {"sessions": [], "next_cursor": None}
        ended = other.get("/v1/ended", after=0)
        assert (ended.json["sessions"], opened.json["id"].encode() in ended.body) == ([], False)
        assert other.get("/v1/ended", cursor=ended.json["next_cursor"]).status == 200
        mine = acme.get("/v1/ended", after=0).json
        assert [one["id"] for one in mine["sessions"]] == [opened.json["id"]]
