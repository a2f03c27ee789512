"""`AnomalystRewardModel`: how much people like an answer, as one number."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from anomalyst.vlm.huggingface.configuration import AnomalystConfig
from anomalyst.vlm.huggingface.modeling import SHOWN, AnomalystModel


class AnomalystRewardModel(PreTrainedModel):
    """A smaller model of the same kind, read at the last token of prompt and answer.

    After Ouyang et al. 2022, section 3.5. `mean` and `spread` bring the scores of held-out answers
    to mean 0 and spread 1, so that a weight means the same for every reward model.
    """

    config_class = AnomalystConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    mean: Tensor
    spread: Tensor

    def __init__(self, config: AnomalystConfig):
        super().__init__(config)
        self.model = AnomalystModel(config)
        self.score = nn.Linear(config.text_config.hidden_size, 1, bias=False)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.post_init()

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {f"model.{k}": f"model.{v}" for k, v in self.model._tied_weights_keys.items()}

    def _init_weights(self, module: nn.Module) -> None:
        """Every part starts as its own constructor leaves it."""

    @classmethod
    def of(cls, actor: AnomalystModel, layers: int) -> "AnomalystRewardModel":
        """The first `layers` blocks of an actor, what shows it the picture, and a fresh score.

        Raises ValueError unless 1 <= layers < the actor's.
        """
        most = int(actor.config.text_config.num_hidden_layers)
        if not 1 <= layers < most:
            raise ValueError(
                f"layers is {layers}; the reward model is smaller than its actor of {most}, so 1 "
                f"to {most - 1} are needed"
            )
        config = copy.deepcopy(actor.config)
        config.text_config.num_hidden_layers = layers
        made = cls(config)
        wanted = made.model.state_dict().keys()
        made.model.load_state_dict({k: v for k, v in actor.state_dict().items() if k in wanted})
        nn.init.normal_(made.score.weight, std=config.text_config.hidden_size**-0.5)
        return made

    def forward(self, ids: Tensor, attended: Tensor, **shown: Tensor) -> Tensor:
        """Scores (B,), as they are learnt: ids (B, T), attended (B, T) bool, and what is shown."""
        places = (attended.long().cumsum(1) - 1).clamp(min=0)
        read: Any = self.model.language_model.get_decoder()
        states = read(
            inputs_embeds=self.model.embedded(ids, **{name: shown[name] for name in SHOWN}),
            attention_mask=attended.long(),
            position_ids=places,
            use_cache=False,
        ).last_hidden_state  # (B, T, E)
        last = attended.long().cumsum(1).argmax(1)
        return self.score(states[torch.arange(len(ids), device=ids.device), last])[:, 0].float()

    def normalised(self, ids: Tensor, attended: Tensor, **shown: Tensor) -> Tensor:
        """Scores (B,) in the spread of held-out answers."""
        return (self(ids, attended, **shown) - self.mean) / self.spread
