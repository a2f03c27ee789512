"""The tokenizer of the text models: byte-level BPE learnt on the drawn texts, one for all three.

Numbers are not cut into digits, as the language model's are: a summary must not say the same three
tokens twice, and a date and its neighbour would share theirs.
"""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END, MASK = "<pad>", "<s>", "</s>", "<mask>"
SPECIAL = (PAD, START, END, MASK)


def learn_text_tokenizer(
    texts: Iterable[str], vocabulary: int, longest: int
) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocabulary` entries that puts <s> before a text and </s> behind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = [(mark, SPECIAL.index(mark)) for mark in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} $B {END}", special_tokens=marks
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        cls_token=START,
        eos_token=END,
        sep_token=END,
        mask_token=MASK,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )
