#!/usr/bin/env bash
# moto 5.2.5, Step Functions: once a task that waits for its token was told success and its execution has SUCCEEDED,
# SendTaskFailure with the same token is accepted without a word, while SendTaskSuccess and SendTaskHeartbeat with it are
# refused as InvalidToken. AWS refuses all three. So a test on moto cannot see that a worker reports two different
# outcomes. (The server must also be told its own port in MOTO_PORT, else its task states call port 5000.)
#
# Seen with Python 3.11, boto3 1.44.8:
#   success again           InvalidToken
#   failure after success   accepted
#   heartbeat               InvalidToken
#   the execution           SUCCEEDED, before and after
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet 'moto[server,sqs,stepfunctions]==5.2.5' boto3==1.44.8 botocore==1.44.8
cat > "$folder/script.py" <<'PYTHON'
import json
import os
import socket
import time
import urllib.request

with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    port = found.getsockname()[1]
os.environ.update(
    MOTO_PORT=str(port), AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION="eu-west-1"
)
import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

url = f"http://127.0.0.1:{port}"
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
interpreted = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/config", data=interpreted, method="POST"))
sqs = boto3.client("sqs", endpoint_url=url)
states = boto3.client("stepfunctions", endpoint_url=url)
queue = sqs.create_queue(QueueName="work")["QueueUrl"]
wait = {
    "Type": "Task",
    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
    "TimeoutSeconds": 60,
    "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
    "End": True,
}
machine = states.create_state_machine(
    name="waits",
    definition=json.dumps({"StartAt": "Wait", "States": {"Wait": wait}}),
    roleArn="arn:aws:iam::123456789012:role/states",
)["stateMachineArn"]
execution = states.start_execution(stateMachineArn=machine)["executionArn"]


def until(look):
    for _ in range(300):
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError


def status():
    return states.describe_execution(executionArn=execution)["status"]


def said(call, **arguments):
    try:
        call(taskToken=token, **arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "accepted"


message = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))[0]
token = json.loads(message["Body"])["token"]
states.send_task_success(taskToken=token, output="{}")
until(lambda: status() == "SUCCEEDED")
seen = {
    "success again": said(states.send_task_success, output="{}"),
    "failure after success": said(states.send_task_failure, error="Late", cause="a second outcome"),
    "heartbeat": said(states.send_task_heartbeat),
    "the execution": status(),
}
server.stop()
print(json.dumps(seen, indent=1))
assert seen == {
    "success again": "InvalidToken",
    "failure after success": "accepted",
    "heartbeat": "InvalidToken",
    "the execution": "SUCCEEDED",
}
PYTHON
"$folder/venv/bin/python" "$folder/script.py"
