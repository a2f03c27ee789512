"""The folder of a Hugging Face model: found or fetched, and checked before it is read."""

import json
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache

from anomalyst.backbones.huggingface_families import FAMILIES, WANTED_FILES, Family, Triple
from anomalyst.errors import AnomalystError


def folder_of(source: str, local_files_only: bool) -> Path:
    """Where the model lies on this machine, after a download if that is needed and allowed."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise AnomalystError(
            f"hf:{source}: is a file; a folder with config.json and *.safetensors is needed."
        )
    cached, reason = None, "the network was not asked"
    # The hub's client raises three families of exceptions (its own, httpx's, ValueError for a name
    # it dislikes), and which ones changes with its version: any of them means "not to be had".
    try:
        config = try_to_load_from_cache(source, "config.json")
        cached = Path(config).parent if isinstance(config, str) else None
        if cached and not _absent_weights(cached):
            return cached
        if not local_files_only:
            return Path(snapshot_download(source, allow_patterns=WANTED_FILES))
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0].rstrip('.: ')}"
    if cached:
        return cached
    raise AnomalystError(
        f"hf:{source}: is neither a folder nor in the local cache of Hugging Face models, and was "
        f"not downloaded ({reason}). Give the folder of a saved model, or run "
        f"`hf download {source}` where there is a network."
    )


def family_of(source: str, folder: Path) -> Family:
    """What its config.json says it is; AnomalystError for none of ours."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = settings["model_type"]
    except FileNotFoundError:
        raise AnomalystError(
            f"hf:{source}: {folder} has no config.json; the folder of a saved model is needed."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnomalystError(
            f"hf:{source}: its config.json names no model_type ({error}); save the model again."
        ) from error
    if kind not in FAMILIES:
        raise AnomalystError(
            f"hf:{source}: is a {kind!r} model; one of these is needed: {', '.join(FAMILIES)}."
        )
    return FAMILIES[kind]


def _absent_weights(folder: Path) -> list[str]:
    """Names of the weight files a load would look for in vain."""
    if (folder / "model.safetensors").is_file():
        return []
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        shards = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return ["model.safetensors"]
    return [name for name in shards if not (folder / name).is_file()]


def refuse_absent_weights(source: str, folder: Path) -> None:
    """AnomalystError if a weight file is missing, or there are pickles only."""
    absent = _absent_weights(folder)
    if not absent:
        return
    pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth")]
    if pickles and absent == ["model.safetensors"]:
        raise AnomalystError(
            f"hf:{source}: has its weights only as pickle ({', '.join(pickles)}), which can run "
            "any code; save them as safetensors with save_pretrained and use that folder."
        )
    raise AnomalystError(
        f"hf:{source}: {', '.join(absent)} is missing in {folder}; copy or download it again."
    )


def normalisation_of(folder: Path) -> tuple[Triple, Triple] | None:
    """Mean and std of the model's own preprocessing, or None if it came without."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings.get("do_normalize", True) is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if settings.get("image_mean") is None or settings.get("image_std") is None:
            return None
        mean, std = (tuple(map(float, settings[key])) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AnomalystError(f"{path}: is not readable as JSON settings ({error}).") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise AnomalystError(
            f"{path}: image_mean is {list(mean)} and image_std {list(std)}; three numbers each "
            "are needed, and no std of 0."
        )
    return mean, std
