"""An optimizer's state on disk, by parameter name: torch.distributed.checkpoint, any process count.

Its index is a pickle, so go on only with runs whose folder you trust.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save


def save_optimizer(
    folder: Path,
    held: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    spread: bool,
) -> None:
    """Write the state of every parameter; in all processes where `spread`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in held.items()}
    tensors = {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }
    with _quiet():
        save(tensors, storage_writer=FileSystemWriter(folder), no_dist=not spread)


def load_optimizer(
    folder: Path,
    held: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    *,
    spread: bool,
) -> None:
    """Fill the state of every parameter that is held here; the folder may know more."""
    reader = FileSystemReader(folder)
    tensors: dict[str, Tensor] = {}
    for key, kept in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(kept, TensorStorageMetadata)
        parameter = held.get(key.rpartition("/")[0])
        if parameter is None:
            continue
        if kept.size == parameter.shape:
            tensors[key] = torch.zeros_like(parameter)  # spread as the parameter is
        else:
            tensors[key] = torch.zeros(kept.size, dtype=kept.properties.dtype)
    with _quiet():
        load(tensors, storage_reader=reader, no_dist=not spread)
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        optimizer.state[held[name]][what] = value.detach()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remark that one process saves alone, which is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
