"""The embedded tokenizer: byte-level BPE, so that no text is unknown, learnt on our dialogues."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from anomalyst.vlm.dialogue import EMBEDDED_TEMPLATE, IMAGE_TOKEN
from anomalyst.vlm.facts import MOST_NAMED

PAD, END = "<|pad|>", "<|end|>"
SPECIAL = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>", IMAGE_TOKEN)
# Named in answers, so they are words, not marks that decoding leaves out.
WORDS = ("<product>", "<told>", *(f"<region {i + 1}>" for i in range(MOST_NAMED)))


def learn_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `vocabulary` entries with our marks and chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(WORDS),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(list(WORDS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = EMBEDDED_TEMPLATE
    return fast
