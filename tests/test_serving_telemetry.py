"""What is told of a running server: a board for its figures, traces of its work."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from anomalyst.errors import AnomalystError
from anomalyst.server.metrics import Metrics
from anomalyst.server.storage.tables import now
from anomalyst.server.telemetry import Traced, Untraced, tracing

BOARD = Path(__file__).parents[1] / "deploy" / "grafana" / "anomalyst.json"


def test_the_board_asks_for_figures_that_there_are():
    board, metrics = json.loads(BOARD.read_text()), Metrics()
    metrics.inspections.labels("bolt", "normal", "api").inc()
    metrics.requests.labels("GET", "/x", "200").inc()
    metrics.drift.labels("bolt").set(1)
    there = set(re.findall(r"^(anomalyst_\w+)", metrics.text().decode(), re.MULTILINE))
    wanted = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    wanted += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    asked = {name for expression in wanted for name in re.findall(r"anomalyst_\w+", expression)}
    assert len(asked) >= 12 and asked <= there, asked - there
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})


def test_without_an_address_nothing_is_traced_and_nothing_imported():
    assert isinstance(tracing(None), Untraced)
    code = (
        "import sys; from anomalyst.server.telemetry import tracing; t = tracing(None)\n"
        "with t.request('GET', '/', {}): t.context()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AnomalystError, match="--otlp localhost: the address of a collector"):
        tracing("localhost")


def test_an_inspection_belongs_to_the_request_that_asked_for_it():
    pytest.importorskip("opentelemetry.sdk", reason="pip install 'anomalyst[telemetry]'")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    traced = Traced(kept)
    begun = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    since = now() - timedelta(seconds=2)
    with traced.request("POST", "/api/v1/inspections", {"traceparent": begun}) as about:
        within = traced.context()
        about |= {"name": "POST /inspections", "http.response.status_code": 201}
    traced.ended("inspection", since, within, product="bolt", verdict="normal", question=None)
    traced.close()
    asked, inspected = kept.get_finished_spans()
    assert asked.name == "POST /inspections" and asked.attributes["url.path"].endswith("tions")
    assert f"{asked.context.trace_id:032x}" == begun.split("-")[1]
    assert inspected.parent.span_id == asked.context.span_id
    assert inspected.attributes == {"anomalyst.product": "bolt", "anomalyst.verdict": "normal"}
    assert 2e9 <= inspected.end_time - inspected.start_time < 60e9
