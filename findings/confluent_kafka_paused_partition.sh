#!/usr/bin/env bash
# confluent-kafka 2.16.1 (librdkafka's own mock cluster as the broker): a partition that was paused stays paused when it is
# unassigned and assigned anew, with incremental_unassign and incremental_assign as with unassign and assign, though the
# new assignment names an offset to begin at. Nothing is delivered and nothing is said until resume is called. The Java
# consumer forgets that a partition was paused when it is no longer assigned. Whoever pauses for back-pressure and lets
# another consumer have the partition has to resume it before he takes it again.
#
# Seen with Python 3.11, five records in the partition, each time from the beginning:
#   assigned                           5
#   paused, unassigned, assigned       0
#   then resumed                       5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet confluent-kafka==2.16.1
cat > "$folder/script.py" <<'PYTHON'
import json
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

RECORDS = 5
producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
brokers = ",".join(f"{each.host}:{each.port}" for each in producer.list_topics(timeout=20).brokers.values())
for number in range(RECORDS):
    producer.produce("prices", value=str(number), partition=0)
assert producer.flush(20) == 0


def partition():
    return TopicPartition("prices", 0, OFFSET_BEGINNING)


def delivered(consumer, seconds):
    found, until = 0, time.monotonic() + seconds
    while found < RECORDS and time.monotonic() < until:
        message = consumer.poll(0.2)
        found += message is not None and message.error() is None
    return found


seen = {}
for how in ("incremental", "whole"):
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": how, "enable.auto.commit": False})
    assign = consumer.incremental_assign if how == "incremental" else consumer.assign
    assign([partition()])
    first = delivered(consumer, 30)
    consumer.pause([partition()])
    consumer.incremental_unassign([partition()]) if how == "incremental" else consumer.unassign()
    assign([partition()])
    again = delivered(consumer, 5)
    consumer.resume([partition()])
    seen[how] = {
        "assigned": first, "paused, unassigned, assigned": again, "then resumed": delivered(consumer, 30)
    }
    consumer.close()
print(json.dumps(seen, indent=1))
assert all(list(each.values()) == [RECORDS, 0, RECORDS] for each in seen.values())
PYTHON
"$folder/venv/bin/python" "$folder/script.py"
