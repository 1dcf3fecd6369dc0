"""What AWS would have decided: made up from the name, in AWS's own forms where policies depend on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.infra.standin.values import UNKNOWN, each_block

Values = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where something is."""

    account: str
    region: str

    def arn(self, service: str, rest: str) -> str:
        """An ARN in this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


def _key(text: str, length: int = 17) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _numbered(prefix: str, service: str = "ec2", kind: str = "") -> Callable[[Values, Place, str], Values]:
    """Of a resource whose id AWS makes up: ``vpc-0123…``."""

    def forms(_: Values, place: Place, seed: str) -> Values:
        number = f"{prefix}-{_key(seed)}"
        return {"id": number, "arn": place.arn(service, f"{kind or prefix}/{number}")}

    return forms


def _named(service: str, rest: str, attribute: str = "name") -> Callable[[Values, Place, str], Values]:
    """Of a resource whose id is its name, which ends its ARN."""

    def forms(value: Values, place: Place, _: str) -> Values:
        return {"id": value[attribute], "arn": place.arn(service, rest + value[attribute])}

    return forms


def _iam(kind: str) -> Callable[[Values, Place, str], Values]:
    def forms(value: Values, place: Place, seed: str) -> Values:
        path = value.get("path") if isinstance(value.get("path"), str) else "/"
        arn = f"arn:aws:iam::{place.account}:{kind}{path}{value['name']}"
        return {"arn": arn, "id": arn if kind == "policy" else value["name"], "unique_id": "AROA" + _key(seed).upper()}

    return forms


def _queue(value: Values, place: Place, _: str) -> Values:
    url = f"https://sqs.{place.region}.amazonaws.com/{place.account}/{value['name']}"
    return {"arn": place.arn("sqs", value["name"]), "id": url, "url": url}


def _bucket(value: Values, place: Place, _: str) -> Values:
    return {
        "arn": f"arn:aws:s3:::{value['bucket']}",
        "id": value["bucket"],
        "bucket_domain_name": f"{value['bucket']}.s3.amazonaws.com",
    }


def _kms(_: Values, place: Place, seed: str) -> Values:
    digits = _key(seed, 32)
    number = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return {"arn": place.arn("kms", f"key/{number}"), "key_id": number, "id": number}


def _repository(value: Values, place: Place, _: str) -> Values:
    url = f"{place.account}.dkr.ecr.{place.region}.amazonaws.com/{value['name']}"
    return {"arn": place.arn("ecr", f"repository/{value['name']}"), "id": value["name"], "repository_url": url}


def _cluster(value: Values, place: Place, seed: str) -> Values:
    number = _key(seed, 32).upper()
    return {
        "arn": place.arn("eks", f"cluster/{value['name']}"),
        "id": value["name"],
        "endpoint": f"https://{number}.gr7.{place.region}.eks.amazonaws.com",
        "identity": [{"oidc": [{"issuer": f"https://oidc.eks.{place.region}.amazonaws.com/id/{number}"}]}],
        "certificate_authority": [{"data": "Y2VydGlmaWNhdGU="}],
    }


def _association(value: Values, place: Place, seed: str) -> Values:
    number = f"a-{_key(seed)}"
    return {
        "association_id": number,
        "id": number,
        "association_arn": place.arn("eks", f"podidentityassociation/{value['cluster_name']}/{number}"),
    }


def _function(value: Values, place: Place, _: str) -> Values:
    arn = place.arn("lambda", f"function:{value['function_name']}")
    path = f"2015-03-31/functions/{arn}/invocations"
    invoke = f"arn:aws:apigateway:{place.region}:lambda:path/{path}"
    return {"arn": arn, "id": value["function_name"], "invoke_arn": invoke, "qualified_arn": f"{arn}:1", "version": "1"}


def _api(_: Values, place: Place, seed: str) -> Values:
    number = _key(seed, 10)
    return {
        "id": number,
        "arn": f"arn:aws:apigateway:{place.region}::/apis/{number}",
        "api_endpoint": f"https://{number}.execute-api.{place.region}.amazonaws.com",
        "execution_arn": place.arn("execute-api", number),
    }


def _schedule(value: Values, place: Place, _: str) -> Values:
    group = value["group_name"] if isinstance(value.get("group_name"), str) else "default"
    return {
        "arn": place.arn("scheduler", f"schedule/{group}/{value['name']}"),
        "group_name": group,
        "id": f"{group}/{value['name']}",
    }


FORMS: dict[str, Callable[[Values, Place, str], Values]] = {
    "aws_apigatewayv2_api": _api,
    "aws_cloudwatch_event_bus": _named("events", "event-bus/"),
    "aws_cloudwatch_event_rule": _named("events", "rule/"),
    "aws_cloudwatch_dashboard": _named("cloudwatch", "dashboard/", "dashboard_name"),
    "aws_cloudwatch_log_group": _named("logs", "log-group:"),
    "aws_codebuild_project": _named("codebuild", "project/"),
    "aws_codepipeline": _named("codepipeline", ""),
    "aws_cloudwatch_metric_alarm": _named("cloudwatch", "alarm:", "alarm_name"),
    "aws_dynamodb_table": _named("dynamodb", "table/"),
    "aws_ecr_repository": _repository,
    "aws_eks_cluster": _cluster,
    "aws_eks_pod_identity_association": _association,
    "aws_eip": _numbered("eipalloc"),
    "aws_flow_log": _numbered("fl", kind="vpc-flow-log"),
    "aws_iam_policy": _iam("policy"),
    "aws_iam_role": _iam("role"),
    "aws_internet_gateway": _numbered("igw", kind="internet-gateway"),
    "aws_kms_key": _kms,
    "aws_lambda_function": _function,
    "aws_nat_gateway": _numbered("nat", kind="natgateway"),
    "aws_network_acl": _numbered("acl", kind="network-acl"),
    "aws_prometheus_workspace": _numbered("ws", "aps", "workspace"),
    "aws_route_table": _numbered("rtb", kind="route-table"),
    "aws_s3_bucket": _bucket,
    "aws_scheduler_schedule": _schedule,
    "aws_security_group": _numbered("sg", kind="security-group"),
    "aws_sfn_state_machine": _named("states", "stateMachine:"),
    "aws_sns_topic": _named("sns", ""),
    "aws_sqs_queue": _queue,
    "aws_ssm_parameter": lambda value, place, _: {
        "id": value["name"],
        "arn": place.arn("ssm", "parameter/" + value["name"].lstrip("/")),
        "value": "",  # of one that is write-only
    },
    "aws_subnet": _numbered("subnet"),
    "aws_vpc": _numbered("vpc"),
    "aws_vpc_endpoint": _numbered("vpce", kind="vpc-endpoint"),
}


def complete(type_name: str, schema: dict[str, Any], planned: Values, place: Place) -> Values:
    """The planned value without anything unknown."""
    if planned.get("region") is UNKNOWN:
        planned["region"] = place.region
    for name in ("name", "bucket", "function_name"):
        if planned.get(name) is UNKNOWN:
            prefix = planned.get(f"{name}_prefix")
            planned[name] = f"{prefix if isinstance(prefix, str) else 'made-up-'}{_key(repr(sorted(planned)))}"
    own = [(name, value) for name, value in planned.items() if isinstance(value, str | int | bool)]
    seed = f"{type_name}{sorted(own)}{planned.get('tags')}"
    known = FORMS.get(type_name, _anything(type_name))(planned, place, seed)
    for name, value in known.items():
        if name in planned and (planned[name] is UNKNOWN):
            planned[name] = value
    return _filled(schema, planned, seed)


def _anything(type_name: str) -> Callable[[Values, Place, str], Values]:
    service = type_name.split("_")[1]
    return _numbered(type_name.removeprefix("aws_").replace("_", "-"), service)


def _filled(schema: dict[str, Any], value: Values, seed: str) -> Values:
    for name, attribute in schema["attributes"].items():
        value[name] = _known(value.get(name), attribute["type"], seed + name)
    for nested, inside in each_block(schema, value):
        _filled(nested, inside, seed)
    for name, nested_schema in schema["blocks"].items():
        if value.get(name) is UNKNOWN:
            value[name] = None if nested_schema["nesting"] == "single" else []
    return value


def _known(value: Any, kind: Any, seed: str) -> Any:
    if isinstance(value, dict):
        return {name: _known(each, _inside(kind, name), seed + name) for name, each in value.items()}
    if isinstance(value, list):
        return [_known(each, _inside(kind, None), f"{seed}{number}") for number, each in enumerate(value)]
    if value is not UNKNOWN:
        return value
    if isinstance(kind, list):
        return (
            {name: _known(UNKNOWN, each, seed + name) for name, each in kind[1].items()}
            if kind[0] == "object"
            else ({} if kind[0] == "map" else [])
        )
    return {"bool": False, "number": 1}.get(kind, _key(seed))


def _inside(kind: Any, name: str | None) -> Any:
    if not isinstance(kind, list):
        return "string"
    return kind[1].get(name, "string") if kind[0] == "object" else kind[1]
