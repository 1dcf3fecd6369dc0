"""A stand-in for Terraform's AWS provider: its schema, and nothing of AWS behind it.

It is started once for all tests, and Terraform reattaches to it in each command: as a plugin it would be started four
times in each. It checks what a schema can check, plans what AWS would decide as unknown, and on apply makes it up in
the form that AWS gives it. ``$HTCGRID_STANDIN_SCHEMA`` names the schema, as ``tests.infra.standin.extract`` reads it.
It runs in ``.venv-infra``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tf.gen import grpc_stdio_pb2_grpc, tfplugin_pb2, tfplugin_pb2_grpc

from tests.infra.standin import data_sources, values
from tests.infra.standin.inventing import Place, complete

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
WRITE_ONLY = b"\x58\x01"  # field 11 of an attribute, which the generated code is too old to know
ACCOUNT = "123456789012"
REGION = "us-east-1"


def block_of(schema: dict[str, Any]) -> Any:
    """A block of the schema as the protocol has it."""
    block = tfplugin_pb2.Schema.Block()
    for name, each in schema["attributes"].items():
        attribute = block.attributes.add(
            name=name,
            type=json.dumps(each["type"]).encode(),
            required=each["required"],
            optional=each["optional"],
            computed=each["computed"],
        )
        if name.endswith("_wo"):
            attribute.MergeFromString(WRITE_ONLY)
    for name, each in schema["blocks"].items():
        block.block_types.add(
            type_name=name,
            block=block_of(each["block"]),
            nesting=NESTING[each["nesting"]],
            min_items=each["min"],
            max_items=each["max"],
        )
    return block


def _description(schema: dict[str, Any]) -> Any:
    """All types, as Terraform asks for them first in each command."""
    answer = tfplugin_pb2.GetProviderSchema.Response()
    answer.server_capabilities.get_provider_schema_optional = True
    answer.provider.block.CopyFrom(block_of(schema["provider"]))
    for name, each in schema["resources"].items():
        answer.resource_schemas[name].block.CopyFrom(block_of(each))
    for name, each in schema["data_sources"].items():
        answer.data_source_schemas[name].block.CopyFrom(block_of(each))
    return answer


class Provider(tfplugin_pb2_grpc.ProviderServicer):
    """What Terraform asks a provider."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._described = _description(schema)
        self._region = REGION
        self._tags: dict[str, str] = {}

    def GetMetadata(self, request: Any, context: Any) -> Any:
        """Terraform takes the schema instead."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return self._described

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        config = values.decode(request.config)
        self._region, self._tags = config.get("region") or REGION, {}
        for block in config.get("default_tags") or ():
            self._tags = block.get("tags") or {}
        return tfplugin_pb2.ConfigureProvider.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.StopProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        answer = tfplugin_pb2.ValidateResourceConfig.Response()
        for text in values.faults(self._schema["resources"][request.type_name], values.decode(request.config)):
            answer.diagnostics.add(severity=1, summary=f"{request.type_name}: {text}")
        return answer

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        answer = tfplugin_pb2.ValidateDataResourceConfig.Response()
        for text in values.faults(self._schema["data_sources"][request.type_name], values.decode(request.config)):
            answer.diagnostics.add(severity=1, summary=f"{request.type_name}: {text}")
        return answer

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        state = values.encode(json.loads(request.raw_state.json))
        return tfplugin_pb2.UpgradeResourceState.Response(upgraded_state=state)

    def ReadResource(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        proposed = values.decode(request.proposed_new_state)
        if proposed is not None:
            schema = self._schema["resources"][request.type_name]
            proposed = values.plan(schema, proposed)
            if "tags_all" in schema["attributes"] and not values.has_unknown(proposed.get("tags")):
                proposed["tags_all"] = {**self._tags, **(proposed.get("tags") or {})}
        return tfplugin_pb2.PlanResourceChange.Response(planned_state=values.encode(proposed), legacy_type_system=True)

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        planned = values.decode(request.planned_state)
        if planned is not None:
            schema = self._schema["resources"][request.type_name]
            place = Place(ACCOUNT, planned.get("region") if isinstance(planned.get("region"), str) else self._region)
            planned = complete(request.type_name, schema, planned, place)
        return tfplugin_pb2.ApplyResourceChange.Response(new_state=values.encode(planned), legacy_type_system=True)

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        config = values.decode(request.config)
        place = Place(ACCOUNT, config.get("region") or self._region)
        try:
            state = data_sources.read(request.type_name, config, place)
        except NotImplementedError as error:
            answer = tfplugin_pb2.ReadDataSource.Response()
            answer.diagnostics.add(severity=1, summary=str(error))
            return answer
        return tfplugin_pb2.ReadDataSource.Response(state=values.encode(state))

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return tfplugin_pb2.GetFunctions.Response()


class Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):
    """Nothing is said."""

    def StreamStdio(self, request: Any, context: Any) -> Any:
        return iter(())


def main() -> None:
    """Serve until nobody holds the other end of stdin any more; the first line says how Terraform reaches this."""
    with open(os.environ["HTCGRID_STANDIN_SCHEMA"]) as file:
        schema = json.load(file)
    limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(8), options=limits)
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(Provider(schema), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/plugin"
        server.add_insecure_port(f"unix://{path}")
        server.start()
        reached = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True}
        told = {"hashicorp/aws": {**reached, "Addr": {"Network": "unix", "String": path}}}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.stop(grace=0.5).wait()


if __name__ == "__main__":
    main()
