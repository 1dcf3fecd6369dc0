"""Messages to AWS: tasks of Step Functions, queues, topics and event buses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004

from htcgrid_core.adapters.aws.clients import Clients
from htcgrid_core.adapters.aws.errors import THROTTLED, code_of
from htcgrid_core.domain.destination import Destination
from htcgrid_core.domain.session_event import SOURCE, cause_text
from htcgrid_core.ports.messenger import Answer, Heard

# All three say that nobody waits for this task: it has ended, by whomever, or there never was one.
_TOKEN_ERRORS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_KMS_FOR_NOW = frozenset({"KmsThrottlingException"})
_EVENTS_FAILURES_FOR_NOW = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})


class AwsMessenger:
    """See ``ports.messenger.Messenger``; of destinations, those with ARNs."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

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

    def send(self, destination: Destination, event: dict[str, Any], now: float) -> Answer:
        """SendMessage, Publish or PutEvents, in the region that the ARN names."""
        body = json.dumps(event, separators=(",", ":"))
        client = self._clients.of(destination.kind, destination.region)
        match destination.kind:
            case "sqs":
                return _answered(lambda: _send_to_queue(client, destination.target, event["id"], body))
            case "sns":
                return _answered(lambda: _publish(client, destination.target, event, body))
            case _:
                return _put_event(client, destination.target, event, body)


def _without(token: str, answer: Answer) -> Answer:
    """An answer that may be shown: some of AWS's messages quote what they were given."""
    return replace(answer, detail=answer.detail.replace(token, "(the task token)"))


def _send_to_queue(client: Any, arn: str, event_id: str, body: str) -> None:
    _, _, _, _, account, name = arn.split(":", 5)
    url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
    fifo = {"MessageGroupId": "htcgrid", "MessageDeduplicationId": event_id} if name.endswith(".fifo") else {}
    client.send_message(QueueUrl=url, MessageBody=body, **fifo)


def _publish(client: Any, arn: str, event: dict[str, Any], body: str) -> None:
    fifo = {"MessageGroupId": "htcgrid", "MessageDeduplicationId": event["id"]} if arn.endswith(".fifo") else {}
    attributes = {"type": {"DataType": "String", "StringValue": event["type"]}}
    client.publish(TopicArn=arn, Message=body, MessageAttributes=attributes, **fifo)


def _put_event(client: Any, arn: str, event: dict[str, Any], body: str) -> Answer:
    entry = {"EventBusName": arn, "Source": SOURCE, "DetailType": detail_type(event), "Detail": body}
    answers: list[Any] = []
    answer = _answered(lambda: answers.append(client.put_events(Entries=[entry])))
    if answer.heard is Heard.YES and answers[0].get("FailedEntryCount"):
        (failed,) = answers[0]["Entries"]
        code = str(failed.get("ErrorCode"))
        heard = Heard.LATER if code in _EVENTS_FAILURES_FOR_NOW else Heard.NEVER
        return Answer(heard, f"{code}: {failed.get('ErrorMessage', '')}")
    return answer


def detail_type(event: dict[str, Any]) -> str:
    """What rules of EventBridge go by: HTCGrid Session Completed, Failed or Cancelled."""
    return f"HTCGrid Session {event['data']['state'].title()}"


def _answered(call: Callable[[], object]) -> Answer:
    """Make a call; what AWS's refusal means."""
    try:
        call()
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
    return Answer(Heard.YES)


_MAY_BE_MENDED = frozenset(  # a permission is given, credentials are renewed: by the operator, or by whoever tries next
    {
        "AccessDenied", "AccessDeniedException", "AuthorizationError", "ExpiredToken", "ExpiredTokenException",
        "InvalidClientTokenId", "InvalidSignatureException", "KMS.AccessDeniedException", "KmsAccessDenied",
        "NotAuthorized", "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip
