"""Engines that deal a model out, by themselves: losses and weights of one process, also resumed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines import EngineSetup, open_engine
from anomalyst.training.recipe import EngineConfig, Recipe
from anomalyst.training.task import Share
from anomalyst.training.tasks.language import answer_loss
from anomalyst.training.tasks.language_chain import model_chain
from anomalyst.vlm.huggingface import AnomalystConfig, AnomalystModel
from anomalyst.vlm.huggingface.layer_patches import blocks_of
from spreading import finish, start

PARTS = 4  # micro-batches of a step
TEXT = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip


class Task(nn.Module):
    """A small language model as a module whose forward is its loss."""

    def __init__(self, blocks: dict[str, Any]):
        super().__init__()
        torch.manual_seed(0)
        text = LlamaConfig(**TEXT)
        config = AnomalystConfig(
            text_config=text, blocks=blocks, image_token_id=39, embedding_width=8, patch_width=8
        )
        self.module = AnomalystModel(config)
        # What words alone never reach would have no gradient in any engine.
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad = name.startswith("language_model")

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return answer_loss(self.module, batch), {}


def batches_of(step: int, share: Share) -> list[dict[str, Tensor]]:
    """Texts of other lengths in each step and part; the first half of each is not asked."""
    made = []
    for part in share.parts:
        rng = torch.Generator().manual_seed(100 * step + part)
        ids = torch.randint(2, 39, (2, 9 + (step + part) % 4), generator=rng)
        labels = ids.masked_fill(torch.arange(ids.shape[1]) < 5, -100)
        made.append({"input_ids": ids, "labels": labels})
    return made


def run(context: RankContext, config: EngineConfig, blocks: dict[str, Any], steps: range,
        folder: Path) -> None:  # fmt: skip
    """Steps from where `folder` left off; writes losses, weights and the optimizer there."""
    engine = open_engine(config, context)
    copies = config.copies(engine.world)
    count = PARTS // copies
    share = Share(engine.rank * count if copies > 1 else 0, count, PARTS)
    task = Task(blocks)
    if steps.start:
        task.load_state_dict(torch.load(folder / "weights.pt"), strict=False)
    model = task.module
    parts = {f"language_model.{k}": v for k, v in blocks_of(model.language_model).items()}
    recipe = Recipe(engine=config, learning_rate=0.01, warmup_steps=0, ema_decay=0)
    engine.prepare(task, EngineSetup(
        recipe=recipe, share=share, precision="float32", blocks=parts, leaves_out=False,
        chain=model_chain(model, parts),
    ))  # fmt: skip
    if steps.start:
        engine.load(folder / f"optimizer-{steps.start}")
    losses = []
    for step in steps:
        batches = batches_of(step, share)
        if engine.own_order:
            found = [loss for loss, _ in engine.all_passes(batches)]
        else:
            found = []
            for batch in batches:
                last = batch is batches[-1]
                loss, _ = engine.forward(batch, last=last)
                engine.backward(loss, last=last)
                found.append(loss.detach())
        loss = float(engine.reduce(torch.stack(found).mean()))
        losses.append((loss, engine.step(0.01).gradient_norm))
    engine.save(folder / f"optimizer-{steps.stop}")
    whole = engine.whole(engine.state())
    if context.rank == 0:
        torch.save(whole, folder / "weights.pt")
        (folder / f"losses-{steps.start}.json").write_text(json.dumps(losses))
    engine.close()


def outcome(config: EngineConfig, world: int, blocks: dict[str, Any], folder: Path, *,
            resumed: bool = False) -> SimpleNamespace:  # fmt: skip
    """Four steps, in one go or as two runs of two."""
    spans = [range(2), range(2, 4)] if resumed else [range(4)]
    rows: list[tuple[float, float]] = []
    for span in spans:
        assert finish(start(world, run, config, blocks, span, folder), 120) == [0] * world
        rows += json.loads((folder / f"losses-{span.start}.json").read_text())
    return SimpleNamespace(rows=torch.tensor(rows), weights=torch.load(folder / "weights.pt"))


@pytest.mark.parametrize(
    ("name", "world", "more", "blocks"),
    [
        ("tensor", 2, {}, {}),
        ("pipeline", 2, {"order": "gpipe"}, {}),
        ("pipeline", 2, {"order": "1f1b"}, {}),
        ("pipeline", 2, {"order": "interleaved"}, {}),
        ("tensor_pipeline", 4, {}, {}),
        ("expert", 2, {}, {"experts": 4, "experts_per_token": 2}),
        ("sequence", 2, {}, {}),
        ("sequence", 2, {}, {"window": 4}),
    ],
)
def test_losses_gradients_and_weights_are_those_of_one_process(name, world, more, blocks, tmp_path):
    (tmp_path / "alone").mkdir()
    alone = outcome(EngineConfig(), 1, blocks, tmp_path / "alone")
    for resumed in (False, True):
        folder = tmp_path / str(resumed)
        folder.mkdir()
        config = EngineConfig(name=name, **more)
        dealt = outcome(config, world, blocks, folder, resumed=resumed)
        torch.testing.assert_close(dealt.rows, alone.rows, atol=1e-5, rtol=1e-5)
        assert dealt.weights.keys() == alone.weights.keys()
        for key, value in alone.weights.items():
            torch.testing.assert_close(dealt.weights[key], value, atol=2e-4, rtol=1e-3, msg=key)
