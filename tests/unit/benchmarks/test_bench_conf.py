"""The configurations that the benchmarks write are ones that the gateway takes."""

from pathlib import Path

import pytest

from benchmarks.conf import Spec, write_gateway, write_nginx
from pixiu_py.cli import main


@pytest.mark.parametrize("spec", [Spec(8000), Spec(8000, kind="http"), Spec(8000, endpoints=20, routes=20)], ids=str)
def test_gateway_takes_the_configuration(spec: Spec, tmp_path: Path) -> None:
    path = write_gateway(spec, 8888, tmp_path)
    assert main(["gateway", "validate", "-c", str(path)]) == 0


def test_nginx_gets_every_endpoint_and_route(tmp_path: Path) -> None:
    text = write_nginx(Spec(8000, endpoints=3, routes=4), 8888, tmp_path).read_text()
    assert text.count(" server 127.0.0.") == 3
    assert text.count("location /") == 4
