"""What the pages begin with, and what they do not say where it cannot be done."""

from dataclasses import dataclass
from datetime import UTC, datetime

from anomalyst.report.shift.facts import Seen
from anomalyst.server.config import ServingConfig
from anomalyst.server.records.shift_bench import write_rows
from anomalyst.server.storage.store import Store
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.charts import calibration_chart
from anomalyst.server.ui.context import Bench


@dataclass
class Taught:
    """What the choice of a product asks of the service: a real record, and names."""

    store: Store
    names: list[str]

    def product_names(self) -> list[str]:
        return self.names


def test_a_page_begins_with_the_product_whose_part_came_last(tmp_path):
    store = Store.open(ServingConfig(home=tmp_path))
    bench = Bench(Taught(store, ["bolt", "cap", "disc"]), None, None, None)
    assert bench.usual_product() == "bolt"  # nothing came yet: the first by its name
    for hour, product in enumerate(("disc", "cap")):
        at = datetime(2026, 11, 27, hour, tzinfo=UTC)
        write_rows(store, [Seen(at=at, product=product, verdict="normal")], [])
    assert bench.usual_product() == "cap"
    assert bench.product_choice().value == "cap" and bench.product_choice("disc").value == "disc"
    bench.service.names.remove("cap")  # deleted; its record stays
    assert bench.usual_product() == "bolt"
    bench.service.names.clear()
    assert bench.usual_product() is None
    store.engine.dispose()


def test_only_where_one_can_ask_it_says_what_to_ask():
    assert "an-hint" in pieces.dialogue(None, None)
    assert "an-hint" not in pieces.dialogue(None, None, touched=False)


def test_the_last_number_of_an_axis_ends_inside_the_chart():
    drawn = calibration_chart([-3.0, -2.0, -1.5], None)
    assert "x='640' y='210' text-anchor='end'" in drawn
