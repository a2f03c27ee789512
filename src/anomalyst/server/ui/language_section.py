"""The language model on the page Training: which version answers, its gate, and the way back."""

from typing import Any

import gradio as gr

from anomalyst.server.language.proposal import Proposal, gate_table
from anomalyst.server.language.versions import go_back, last_gate, models_of
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, inform, shows_errors
from anomalyst.server.ui.wording import t


class LanguageSection:
    """The live version, the last gate, what was kept aside; one click leads back."""

    def __init__(self, bench: Bench):
        self.bench = bench
        gr.Markdown(t("language.title"))
        self.shown = gr.HTML(elem_id="language-models")
        self.seen = gr.State(None)  # the version that is live as the page shows it
        self.back = gr.Button(t("language.back"), size="sm", elem_id="language-back")
        shown = [self.shown, self.back, self.seen]
        gr.on(None, self.again, None, shown, show_progress="hidden")
        back = self.back.click(self.go_back, [self.seen], shown)
        back.failure(self.again, None, shown)  # another one went back or live meanwhile

    @shows_errors
    def again(self) -> list[Any]:
        models = models_of(self.bench.service.config)
        button = gr.Button(interactive=models["before"] is not None)
        return [described(models), button, models["live"]]

    @shows_errors
    def go_back(self, seen: str | None, request: gr.Request) -> list[Any]:
        who = self.bench.who(request, "admin")
        live = go_back(self.bench.service.config.home, who.name, seen=seen)
        inform(t("language.live", version=live.live))
        return self.again()


def described(models: dict[str, Any]) -> str:
    """The versions as HTML."""
    versions = models["versions"]
    last = last_gate(one["gate"] for one in versions)
    found = Proposal.from_dict(last) if last else None
    return pieces.render(
        "language.html.j2",
        models=models,
        live=versions[0],
        last=last,
        note=found.note if found else "",
        table=gate_table(found) if found else [],
        aside=[one for one in versions if one["gate"] and not one["gate"]["passes"]],
    )
