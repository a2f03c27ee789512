"""The engines by name; free of torch, so that the command line knows them at once."""

from typing import Literal

EngineName = Literal[
    "single",
    "ddp",
    "fsdp",
    "deepspeed",
    "horovod",
    "tensor",
    "pipeline",
    "tensor_pipeline",
    "expert",
    "sequence",
]
# Of the model there is one copy: all processes see all samples.
ONE_COPY = ("tensor", "pipeline", "tensor_pipeline", "sequence")
MODEL_PARALLEL = (*ONE_COPY, "expert")
