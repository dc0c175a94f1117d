"""For how long a connection is believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from envoy.config.core.v3 import protocol_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from hauberk.api.mesh_config import MeshConfig
from hauberk.mesh.settings import MeshSettings
from hauberk.translate.connection import common_http_options
from hauberk.translate.http import inbound_http
from hauberk.translate.limits import Limits, build_limits


def limits(life: timedelta) -> Limits:
    return build_limits(MeshConfig(), MeshSettings(certificate_life=life))


@pytest.mark.parametrize(("life", "age"), [(timedelta(days=1), timedelta(minutes=10)), (timedelta(minutes=2), timedelta(minutes=2))])
def test_a_connection_takes_requests_for_minutes_and_never_for_longer_than_a_certificate_lives(life: timedelta, age: timedelta) -> None:
    served = hcm_pb2.HttpConnectionManager.FromString(inbound_http("x", "x", limits(life), mutual=True).typed_config.value)
    assert served.common_http_protocol_options.max_connection_duration.ToTimedelta() == age


def test_the_caller_replaces_a_connection_before_the_called_one_ends_it() -> None:
    options = common_http_options(max_age=timedelta(minutes=10))
    # A quarter of it is added at random at the most: a field that the installed descriptors do not know.
    assert options.max_connection_duration.ToTimedelta() * 1.25 == timedelta(minutes=10)
    assert (
        options.SerializeToString()
        != protocol_pb2.HttpProtocolOptions(max_connection_duration=options.max_connection_duration).SerializeToString()
    )
