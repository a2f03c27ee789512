"""Versions of the language model: which one answers, what its gate found, and the way back."""

from typing import Any

from fastapi import APIRouter

from anomalyst.server.api.access import Admin, Serving
from anomalyst.server.api.problems import problems
from anomalyst.server.language.versions import go_back, models_of

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
def list_models(service: Serving) -> dict[str, Any]:
    """The live version, the one before, and all that are kept, with what the gate found."""
    return models_of(service.config)


@router.post("/back", responses=problems(409))
def back_to_the_model_before(
    service: Serving, who: Admin, seen: str | None = None
) -> dict[str, Any]:
    """From the next question on the model before answers; once more, and the newer one does.

    `seen`: the version that is taken to be live; 409 if it no longer is.
    """
    go_back(service.config.home, who.name, seen=seen)
    return models_of(service.config)
