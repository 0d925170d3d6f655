"""A client that speaks the wire format of DocArray 0.21."""

from pathlib import Path

import grpc
from jina.proto.jina_pb2 import DataRequestProto

from demo.flow import running_flow
from tests.integration.conftest import TINY


def field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message that holds up to 127 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def test_it_is_told_what_is_wrong_and_the_flow_still_ends(tmp_path: Path) -> None:
    """Its request, in which a document begins with its id, is a clear error, and no reason to wait for ever."""
    head = DataRequestProto()
    head.header.exec_endpoint = "/encode"
    data = {one.name: one.number for one in DataRequestProto.DESCRIPTOR.fields}["data"]
    document = field(1, b"5b0c11e8a1d94d7e8f0a1b2c3d4e5f60") + field(8, b"hello")
    old = head.SerializeToString() + field(data, field(1, field(1, document)))
    with running_flow(tmp_path, free_ports=True, environment=TINY) as flow:
        with grpc.insecure_channel(f"127.0.0.1:{flow.ports[0]}") as channel:
            call = channel.unary_unary("/jina.JinaSingleDataRequestRPC/process_single_data")
            try:
                call(old, timeout=10)
            except grpc.RpcError as error:
                told = error.details()
        assert "a client with DocArray below 0.30 speaks another wire format" in told
        assert flow.stop() == 0
