"""The Hugging Face form: `AutoModelForCausalLM.from_pretrained` finds it once this is imported."""

from transformers import AutoConfig, AutoModelForCausalLM, AutoProcessor

from anomalyst.vlm.huggingface.configuration import AnomalystConfig
from anomalyst.vlm.huggingface.modeling import AnomalystModel
from anomalyst.vlm.huggingface.processing import AnomalystProcessor

__all__ = ["AnomalystConfig", "AnomalystModel", "AnomalystProcessor"]

AutoConfig.register(AnomalystConfig.model_type, AnomalystConfig, exist_ok=True)
AutoModelForCausalLM.register(AnomalystConfig, AnomalystModel, exist_ok=True)
AutoProcessor.register(AnomalystConfig, AnomalystProcessor, exist_ok=True)
