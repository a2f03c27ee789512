"""A trained network with its classes: pictures -> probabilities.

model/config.json            network, classes, inputs
      model.safetensors      float32, by the names of `SupervisedNetwork`
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole
from anomalyst.io.pictures import open_picture
from anomalyst.training.networks.built import build_network, parameters_of
from anomalyst.training.networks.inputs import Inputs
from anomalyst.training.networks.network import SupervisedNetwork, laid, lay_weights
from anomalyst.training.networks.shape import NetworkShape, Picture

BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What config.json tells."""

    classes: tuple[str, ...]
    shape: NetworkShape
    inputs: Inputs
    parameters: int  # trained
    teacher: str = ""  # the run it learnt from
    distil: str = ""


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network in use."""

    network: SupervisedNetwork
    card: Card

    @classmethod
    def load(cls, run: Path) -> "Classifier":
        """Of a run's folder, or its model/; on the CPU, ready to answer.

        Raises AnomalystError for a folder without a supervised network, or a broken one.
        """
        folder = model_folder(run)
        card = read_card(folder)
        with torch.device("meta"):
            network = _network(card)
        try:
            tensors = load_file(folder / "model.safetensors")
            network.load_state_dict(tensors, assign=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise AnomalystError(
                f"{folder / 'model.safetensors'}: does not hold the network of config.json "
                f"({str(error).splitlines()[0]}); train it again."
            ) from error
        lay_weights(network)
        return cls(network.eval(), card)

    def save(self, folder: Path) -> Path:
        """Write the folder whole or not at all."""
        with folder_written_whole(folder) as part:
            state = {n: v.detach().contiguous() for n, v in self.network.state_dict().items()}
            save_file(state, part / "model.safetensors", {"format": "pt"})
            told = json.dumps(asdict(self.card), indent=2)
            (part / "config.json").write_text(told + "\n", encoding="utf-8")
        return folder

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.card.classes

    @property
    def size(self) -> int:
        """Side of the pictures in px."""
        return self.card.inputs.size

    @torch.inference_mode()
    def probabilities(
        self, pictures: Tensor | Sequence[Path | np.ndarray], *, batch: int = BATCH
    ) -> Tensor:
        """(N, K) in [0, 1], rows summing to 1.

        `pictures`: uint8 (N, C, S, S) of the card's size and mode, or files, or uint8 RGB arrays
        (H, W, 3) of any size. Raises PictureError for a file that cannot be read.
        """
        if not isinstance(pictures, Tensor):
            pictures = torch.stack([self._read(one) for one in pictures])
        device = next(self.network.parameters()).device
        read = (self.card.inputs.normalised(part.to(device)) for part in pictures.split(batch))
        found = [self.network(laid(one, self.network)).softmax(1).cpu() for one in read]
        return torch.cat(found)

    def _read(self, picture: Path | np.ndarray) -> Tensor:
        opened = open_picture(Path(picture)) if isinstance(picture, str | Path) else picture
        return self.card.inputs.read(opened)


def model_folder(run: Path) -> Path:
    """Where a run keeps its network."""
    run = Path(run)
    found = run if (run / "config.json").is_file() else run / "model"
    if not (found / "config.json").is_file():
        raise AnomalystError(
            f"{run}: holds no model/config.json; the folder of a run of recipes/supervised is "
            "needed, with its first checkpoint written."
        )
    return found


def read_card(run: Path) -> Card:
    """What a run's network is, without its weights; raises as `Classifier.load`."""
    path = model_folder(run) / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{path}: cannot be read ({error}); train it again.") from error
    if not isinstance(values, Mapping) or "classes" not in values:
        raise AnomalystError(f"{path}: is not of a supervised network; give a run of that kind.")
    return from_mapping(Card, values, where=str(path))


def card_of(
    network: SupervisedNetwork, classes: Sequence[str], inputs: Inputs, **told: Any
) -> Card:
    """The card of a network that is being trained."""
    return Card(classes=tuple(classes), shape=network.shape, inputs=inputs,
                parameters=parameters_of(network), **told)  # fmt: skip


def _network(card: Card) -> SupervisedNetwork:
    sees = card.inputs
    picture = Picture(classes=len(card.classes), size=sees.size, channels=sees.channels)
    return build_network(card.shape, picture)
