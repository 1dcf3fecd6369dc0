"""Messages to AWS: tasks of Step Functions, queues, topics and event buses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import THROTTLED, code_of
from htcgrid_core.adapters.aws.sqs.batches import BATCH
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.session_event import SOURCE, cause_text
from htcgrid_core.ports.messenger import Answer, Heard

# All three say that nobody waits for this task: it has ended, by whomever, or there never was one.
_TOKEN_ERRORS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_KMS_FOR_NOW = frozenset({"KmsThrottlingException"})
_EVENTS_FAILURES_FOR_NOW = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
REQUEST_BYTES = 200_000  # of events together: some endpoints still take 256 KiB at most


class AwsMessenger:
    """See ``ports.messenger.Messenger``; of destinations, those with ARNs."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._queue_urls: dict[str, str] = {}  # by ARN

    def beat(self, token: str) -> Answer:
        """SendTaskHeartbeat."""
        return _without(token, _answered(lambda: self._clients.stepfunctions.send_task_heartbeat(taskToken=token)))

    def end_task(self, token: str, data: dict[str, Any]) -> Answer:
        """SendTaskSuccess, or SendTaskFailure."""
        client = self._clients.stepfunctions
        if not data["error"]:
            answer = _answered(lambda: client.send_task_success(taskToken=token, output=json.dumps(data)))
        else:
            error, cause = data["error"], cause_text(data)
            answer = _answered(lambda: client.send_task_failure(taskToken=token, error=error, cause=cause))
        return _without(token, answer)

    def send(self, destination: Destination, events: Sequence[dict[str, Any]], now: float) -> list[Answer]:
        """SendMessageBatch, PublishBatch or PutEvents, in the region that the ARN names; ten events a request."""
        client = self._clients.of(destination.kind, destination.region)
        bodies = [json.dumps(event, separators=(",", ":")) for event in events]
        answers: list[Answer] = []
        for piece in _requests(bodies):
            some, texts = [events[at] for at in piece], [bodies[at] for at in piece]
            match destination.kind:
                case "sqs":
                    answers += self._send_to_queue(client, destination.target, some, texts)
                case "sns":
                    answers += _publish(client, destination.target, some, texts)
                case _:
                    answers += _put_events(client, destination.target, some, texts)
        return answers

    def _send_to_queue(
        self, client: Any, arn: str, events: Sequence[dict[str, Any]], bodies: Sequence[str]
    ) -> list[Answer]:
        _, _, _, _, account, name = arn.split(":", 5)
        if arn not in self._queue_urls:
            known = _answered(lambda: client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account))
            if not isinstance(known, dict):
                return [known] * len(events)
            self._queue_urls[arn] = known["QueueUrl"]
        entries = [
            {"Id": str(at), "MessageBody": body, **_fifo(name, event)}
            for at, (event, body) in enumerate(zip(events, bodies, strict=True))
        ]
        url = self._queue_urls[arn]
        return _of_batch(len(events), _answered(lambda: client.send_message_batch(QueueUrl=url, Entries=entries)))


def _requests(bodies: Sequence[str]) -> Iterator[range]:
    """Which events go together: up to ten, and no more bytes than the smallest of the services' limits."""
    begin = size = 0
    for at, body in enumerate(bodies):
        if at - begin == BATCH or (at > begin and size + len(body) > REQUEST_BYTES):
            yield range(begin, at)
            begin, size = at, 0
        size += len(body)  # ASCII
    yield range(begin, len(bodies))


def _fifo(name: str, event: dict[str, Any]) -> dict[str, str]:
    is_fifo = name.endswith(".fifo")
    return {"MessageGroupId": "htcgrid", "MessageDeduplicationId": event["id"]} if is_fifo else {}


def _publish(client: Any, arn: str, events: Sequence[dict[str, Any]], bodies: Sequence[str]) -> list[Answer]:
    entries = [
        {
            "Id": str(at),
            "Message": body,
            "MessageAttributes": {"type": {"DataType": "String", "StringValue": event["type"]}},
            **_fifo(arn, event),
        }
        for at, (event, body) in enumerate(zip(events, bodies, strict=True))
    ]
    said = _answered(lambda: client.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries))
    return _of_batch(len(events), said)


def _of_batch(count: int, said: Answer | dict[str, Any]) -> list[Answer]:
    """What became of each entry of a batch of SQS or SNS."""
    if isinstance(said, Answer):
        return [said] * count
    failed = {int(entry["Id"]): entry for entry in said.get("Failed", ())}
    return [_of_entry(failed[at]) if at in failed else Answer(Heard.YES) for at in range(count)]


def _of_entry(failed: dict[str, Any]) -> Answer:
    code = str(failed.get("Code"))
    is_final = failed.get("SenderFault") and code not in THROTTLED and code not in _MAY_BE_MENDED
    return Answer(Heard.NEVER if is_final else Heard.LATER, f"{code}: {failed.get('Message', '')}"[:500])


def _put_events(client: Any, arn: str, events: Sequence[dict[str, Any]], bodies: Sequence[str]) -> list[Answer]:
    entries = [
        {"EventBusName": arn, "Source": SOURCE, "DetailType": detail_type(event), "Detail": body}
        for event, body in zip(events, bodies, strict=True)
    ]
    said = _answered(lambda: client.put_events(Entries=entries))
    if isinstance(said, Answer):
        return [said] * len(events)
    return [_of_event(entry) for entry in said["Entries"]]


def _of_event(entry: dict[str, Any]) -> Answer:
    code = entry.get("ErrorCode")
    if not code:
        return Answer(Heard.YES)
    heard = Heard.LATER if code in _EVENTS_FAILURES_FOR_NOW else Heard.NEVER
    return Answer(heard, f"{code}: {entry.get('ErrorMessage', '')}")


def _without(token: str, said: Answer | dict[str, Any]) -> Answer:
    """An answer that may be shown: some of AWS's messages quote what they were given."""
    answer = said if isinstance(said, Answer) else Answer(Heard.YES)
    return replace(answer, detail=answer.detail.replace(token, "(the task token)"))


def detail_type(event: dict[str, Any]) -> str:
    """What rules of EventBridge go by: HTCGrid Session Completed, Failed, Cancelled or Progress."""
    return f"HTCGrid Session {event['type'].rpartition('.')[2].title()}"


def _answered(call: Callable[[], dict[str, Any]]) -> Answer | dict[str, Any]:
    """Make a call: what it returns, or what AWS's refusal means."""
    try:
        return call()
    except ClientError as error:
        code = code_of(error)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"{code}: {' '.join(str(error.response.get('Error', {}).get('Message', '')).split())[:500]}"
        if code in _TOKEN_ERRORS:
            return Answer(Heard.NEVER, code)
        if code in THROTTLED or code in _KMS_FOR_NOW or status >= 500 or code in _MAY_BE_MENDED:
            return Answer(Heard.LATER, said)
        return Answer(Heard.NEVER, said)
    except (HTTPClientError, ConnectionError) as error:
        return Answer(Heard.LATER, f"{type(error).__name__}: AWS did not answer")
    except BotoCoreError as error:  # no credentials, say: whoever comes by next may have some
        return Answer(Heard.LATER, f"{type(error).__name__}: {error}"[:500])


_MAY_BE_MENDED = frozenset(  # a permission is given, credentials are renewed: by the operator, or by whoever tries next
    {
        "AccessDenied", "AccessDeniedException", "AuthorizationError", "ExpiredToken", "ExpiredTokenException",
        "InvalidClientTokenId", "InvalidSignatureException", "KMS.AccessDeniedException", "KmsAccessDenied",
        "NotAuthorized", "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip
