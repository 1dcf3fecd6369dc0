"""The calls that the original HTC-Grid makes for each task, replayed in their order, without running anything.

A submitter writes an object for each task, rows in batches of 25 and messages in batches of ten. An agent receives a
message, hides it, claims its row (whose state is in the key of an index), looks whether it was cancelled, says that it
is alive, reads the object, writes another, finishes the row conditionally, and deletes the message. The submitter asks
the index for what is finished, and reads an object for each. The handler costs nothing here.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.aws.bench.cpu import tree_used_s
from tests.aws.emulators import Account

TABLE, BUCKET, QUEUE = "original", "original-payloads", "original"
AGENTS, SLOTS = 2, 4  # processes, and threads of each
POLL_SECONDS = 0.5
ROWS_AT_ONCE, MESSAGES_AT_ONCE = 25, 10
SESSION, INDEX = "session", "by-state"
PENDING, RUNNING, FINISHED = "pending", "running", "finished"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What so many tasks took; the CPU seconds are those of all processes but the emulator."""

    tasks: int
    seconds: float
    cpu_seconds: float
    calls: int


class Caller:
    """One process's clients, and how often they called."""

    def __init__(self, account: Account) -> None:
        self.db, self.sqs, self.s3 = account.dynamodb(), account.sqs(), account.s3()
        self._lock = threading.Lock()
        self.calls = 0
        for client in (self.db, self.sqs, self.s3):
            client.meta.events.register("request-created.*.*", self._count)
        self.queue: str = self.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]

    def _count(self, **_: Any) -> None:
        with self._lock:
            self.calls += 1

    def update(self, task: str, before: str, after: str) -> None:
        """One conditional update of a task's row."""
        self.db.update_item(
            TableName=TABLE,
            Key={"task": {"S": task}},
            UpdateExpression="SET #state = :after, beat = :now",
            ConditionExpression="#state = :before",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":before": {"S": before}, ":after": {"S": after}, ":now": {"N": str(int(time.time()))},
            },
        )  # fmt: skip


def make(account: Account) -> None:
    """Table, bucket and queue."""
    text = [{"AttributeName": name, "AttributeType": "S"} for name in ("task", "session", "state")]
    account.dynamodb().create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text,  # type: ignore[arg-type]  # literals
        KeySchema=[{"AttributeName": "task", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "session", "KeyType": "HASH"},
                    {"AttributeName": "state", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    account.s3().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def submit(caller: Caller, tasks: Sequence[str], payload: bytes) -> None:
    """Objects, rows and messages."""
    with ThreadPoolExecutor(SLOTS) as pool:
        for _ in pool.map(lambda task: caller.s3.put_object(Bucket=BUCKET, Key=f"{task}-in", Body=payload), tasks):
            pass
    for some in _pieces(tasks, ROWS_AT_ONCE):
        caller.db.batch_write_item(
            RequestItems={
                TABLE: [
                    {"PutRequest": {"Item": {
                        "task": {"S": task}, "session": {"S": SESSION}, "state": {"S": PENDING}, "beat": {"N": "0"},
                    }}}
                    for task in some
                ]
            }
        )  # fmt: skip
    for some in _pieces(tasks, MESSAGES_AT_ONCE):
        entries: Any = [{"Id": str(at), "MessageBody": task} for at, task in enumerate(some)]
        caller.sqs.send_message_batch(QueueUrl=caller.queue, Entries=entries)


def collect(caller: Caller, tasks: int) -> None:
    """Ask for what is finished until everything is, then read every result."""
    while len(finished := list(_finished(caller))) < tasks:
        time.sleep(POLL_SECONDS)
    with ThreadPoolExecutor(SLOTS) as pool:
        for _ in pool.map(lambda task: caller.s3.get_object(Bucket=BUCKET, Key=f"{task}-out")["Body"].read(), finished):
            pass


def _finished(caller: Caller) -> Iterator[str]:
    request: Any = {
        "TableName": TABLE,
        "IndexName": INDEX,
        "KeyConditionExpression": "#session = :session AND #state = :finished",
        "ExpressionAttributeNames": {"#session": "session", "#state": "state"},
        "ExpressionAttributeValues": {":session": {"S": SESSION}, ":finished": {"S": FINISHED}},
    }
    while True:
        answer = caller.db.query(**request)
        yield from (item["task"]["S"] for item in answer["Items"])
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _agent(account: Account, over: Any, calls: Any) -> None:
    """One process of the original's agents."""
    caller = Caller(account)

    def slot() -> None:
        while not over.is_set():
            for message in caller.sqs.receive_message(QueueUrl=caller.queue, WaitTimeSeconds=1).get("Messages", ()):
                _one_task(caller, message["Body"], message["ReceiptHandle"])

    threads = [threading.Thread(target=slot) for _ in range(SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with calls.get_lock():
        calls.value += caller.calls


def _one_task(caller: Caller, task: str, receipt: str) -> None:
    queue = caller.queue
    caller.sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=3600)
    caller.update(task, PENDING, RUNNING)
    caller.db.get_item(TableName=TABLE, Key={"task": {"S": task}}, ConsistentRead=True)
    caller.update(task, RUNNING, RUNNING)
    payload = caller.s3.get_object(Bucket=BUCKET, Key=f"{task}-in")["Body"].read()
    caller.s3.put_object(Bucket=BUCKET, Key=f"{task}-out", Body=payload)
    caller.update(task, RUNNING, FINISHED)
    caller.sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)


def replay(account: Account, tasks: int, payload: bytes) -> Replayed:
    """So many tasks, from the first call to the last result; agents run before and after."""
    make(account)
    caller = Caller(account)
    context = multiprocessing.get_context("spawn")
    over, calls = context.Event(), context.Value("i", 0)
    agents = [context.Process(target=_agent, args=(account, over, calls)) for _ in range(AGENTS)]
    for agent in agents:
        agent.start()
    _until_ready(caller)
    names = [f"task-{number:06d}" for number in range(tasks)]
    made, cpu, started = caller.calls, tree_used_s(), time.monotonic()
    submit(caller, names, payload)
    collect(caller, tasks)
    seconds, cpu_seconds, made = time.monotonic() - started, tree_used_s() - cpu, caller.calls - made
    over.set()
    for agent in agents:
        agent.join()
    return Replayed(tasks, seconds, cpu_seconds, made + calls.value)


def _until_ready(caller: Caller) -> None:
    """One task through everything: the agents are there and have their clients."""
    submit(caller, ["warm-up"], b"{}")
    collect(caller, 1)
    caller.db.delete_item(TableName=TABLE, Key={"task": {"S": "warm-up"}})


def _pieces(tasks: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(tasks), size):
        yield tasks[at : at + size]
