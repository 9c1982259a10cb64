"""Lists a server's gRPC services by reflection and emits an event with what it learned there.

Input: {"target", "api_key", "event"}. Output: {"services", "methods", "accepted"}.
"""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main() -> None:
    wanted = json.load(sys.stdin)
    key = wanted["api_key"]
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(wanted["target"]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("tripline.events.v1.EventService")
        method = service.methods_by_name["EmitEvent"]
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)
        emit = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        request = json_format.ParseDict({"event": wanted["event"]}, request_class())
        response = emit(request, metadata=metadata, timeout=30)
    accepted = json_format.MessageToDict(response, preserving_proto_field_name=True)["accepted"]
    methods = sorted(method.name for method in service.methods)
    json.dump({"services": services, "methods": methods, "accepted": accepted}, sys.stdout)


main()
