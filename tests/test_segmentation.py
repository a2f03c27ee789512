"""Segment Anything: ours and published ones against transformers, prompts, masked autoencoder."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomalyst.errors import AnomalystError
from anomalyst.segmentation.grabcut import GrabCut
from anomalyst.segmentation.loading import load_segmenter
from anomalyst.segmentation.mask_decoder import MaskDecoder
from anomalyst.segmentation.network import SegmentConfig
from anomalyst.segmentation.prompt_encoder import NOTHING, PromptEncoder, PromptTokens
from anomalyst.segmentation.prompts import Prompt
from anomalyst.segmentation.published import PublishedSegmenter
from anomalyst.training.tasks.mae import MaeRecipe, MaskedAutoencoder, masked_error, normed_patches
from anomalyst.training.tasks.segment import dice, focal, overlap

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def sam_config(cls, vision, **sizes):
    from transformers import SamMaskDecoderConfig, SamPromptEncoderConfig

    prompt = SamPromptEncoderConfig(hidden_size=32, image_size=128, patch_size=16)
    decoder = SamMaskDecoderConfig(hidden_size=32, mlp_dim=24, num_attention_heads=4,
                                   iou_head_hidden_dim=32)  # fmt: skip
    decoder_values = decoder.to_dict() | sizes
    return cls(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict(),
               mask_decoder_config=decoder_values)  # fmt: skip


def tiny(kind):
    """A model of one of the families with random weights."""
    import transformers as hub

    torch.manual_seed(0)
    small = {"hidden_size": 16, "output_channels": 32, "num_hidden_layers": 2, "num_pos_feats": 16,
             "num_attention_heads": 2, "image_size": 128, "patch_size": 16, "window_size": 2,
             "global_attn_indexes": [1], "mlp_dim": 16}  # fmt: skip
    if kind == "sam":
        return hub.SamModel(sam_config(hub.SamConfig, hub.SamVisionConfig(**small)))
    if kind == "sam_hq":
        vision = hub.SamHQVisionConfig(**small)
        return hub.SamHQModel(sam_config(hub.SamHQConfig, vision, vit_dim=16))
    backbone = hub.Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, image_size=[128, 128],
        blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3], window_positional_embedding_background_size=[2, 2],
    )  # fmt: skip
    vision = hub.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]], fpn_hidden_size=32,
    )  # fmt: skip
    prompt = hub.Sam2PromptEncoderConfig(hidden_size=32, image_size=128, patch_size=16)
    decoder = hub.Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=24, num_attention_heads=4,
                                        iou_head_hidden_dim=32)  # fmt: skip
    return hub.Sam2Model(hub.Sam2Config(vision_config=vision, prompt_encoder_config=prompt,
                                        mask_decoder_config=decoder))  # fmt: skip


OURS_TO_THEIRS = (
    ("layers.{}.among", "transformer.layers.{}.self_attn"),
    ("layers.{}.to_picture", "transformer.layers.{}.cross_attn_token_to_image"),
    ("layers.{}.to_tokens", "transformer.layers.{}.cross_attn_image_to_token"),
)


def their_name(name):
    """What transformers calls a tensor of our decoder."""
    for one in range(2):
        for ours, theirs in OURS_TO_THEIRS:
            name = name.replace(ours.format(one), theirs.format(one))
        name = name.replace(f"layers.{one}.alone.0", f"transformer.layers.{one}.mlp.lin1")
        name = name.replace(f"layers.{one}.alone.2", f"transformer.layers.{one}.mlp.lin2")
        for norm in range(4):
            theirs = f"transformer.layers.{one}.layer_norm{norm + 1}"
            name = name.replace(f"layers.{one}.norms.{norm}", theirs)
    for part in ("query", "key", "value", "out"):
        name = name.replace(f".{part}.", f".{part[0] if part != 'out' else part}_proj.")
    if name.startswith("last."):
        name = "transformer.final_attn_token_to_image." + name.removeprefix("last.")
    name = name.replace("last_norm", "transformer.layer_norm_final_attn")
    name = name.replace("twice", "upscale_conv1").replace("four_times", "upscale_conv2")
    name = "upscale_layer_norm." + name[5:] if name.startswith("norm.") else name
    name = name.replace("quality", "iou_prediction_head")
    name = name.replace("weights.", "output_hypernetworks_mlps.")
    if "mlps" in name or "iou_pred" in name:
        for ours, theirs in ((".0.", ".proj_in."), (".2.", ".layers.0."), (".4.", ".proj_out.")):
            head, _, tail = name.rpartition(ours)
            name = head + theirs + tail if head and tail in ("weight", "bias") else name
    return name


@pytest.mark.parametrize("with_mask", [False, True])
def test_prompt_encoder_and_mask_decoder_are_those_of_the_paper(with_mask):
    model = tiny("sam").eval()
    theirs = model.state_dict()
    prompts, decoder = PromptEncoder(32), MaskDecoder(32, heads=4, hidden=24)
    decoder.load_state_dict(
        {name: theirs["mask_decoder." + their_name(name)] for name in decoder.state_dict()}
    )
    own = prompts.state_dict()
    own["positions.frequencies"] = theirs["shared_image_embedding.positional_embedding"]
    points = [theirs[f"prompt_encoder.point_embed.{i}.weight"] for i in range(4)]
    own["kinds.weight"] = torch.cat(points)
    own["nothing.weight"] = theirs["prompt_encoder.not_a_point_embed.weight"]
    own["no_mask.weight"] = theirs["prompt_encoder.no_mask_embed.weight"]
    named = ("conv1", "layer_norm1", "", "conv2", "layer_norm2", "", "conv3")
    for index, name in enumerate(named):
        for what in ("weight", "bias") if name else ():
            own[f"mask.{index}.{what}"] = theirs[f"prompt_encoder.mask_embed.{name}.{what}"]
    prompts.load_state_dict(own)

    embedding = torch.randn(1, 32, 8, 8)
    clicks = torch.tensor([[20.0, 30.0], [90.0, 100.0]])
    mask = torch.randn(1, 1, 32, 32) if with_mask else None
    with torch.inference_mode():
        wanted = [
            model(image_embeddings=embedding, input_points=clicks[None, None], input_masks=mask,
                  input_labels=torch.tensor([[[1, 0]]]), multimask_output=several)
            for several in (False, True)
        ]  # fmt: skip
        placed = torch.cat([(clicks + 0.5) / 128, torch.zeros(1, 2)])[None]
        asked = PromptTokens(placed, torch.tensor([[1, 0, NOTHING]]), mask)
        tokens, field = prompts(asked, (8, 8))
        masks, quality = decoder(embedding, prompts.positions.grid(8, 8), tokens, field)
    torch.testing.assert_close(masks[:, :1], wanted[0].pred_masks[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(masks[:, 1:], wanted[1].pred_masks[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(quality[:, 1:], wanted[1].iou_scores[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["sam", "sam_hq", "sam2"])
def test_a_published_folder_answers_as_transformers_does(kind, tmp_path):
    model = tiny(kind).eval()
    model.save_pretrained(tmp_path)
    segmenter = load_segmenter(f"sam:{tmp_path}")
    assert isinstance(segmenter, PublishedSegmenter)
    square = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    look = segmenter.look(square)
    mean, std = segmenter.mean, segmenter.std
    pixels = (torch.from_numpy(square).permute(2, 0, 1)[None] / 255 - mean) / std
    box = Prompt(points_xy=((40.5, 50.5),), positive=(True,), box_xyxy=(10, 20, 90, 100))
    for prompt, several in (
        (Prompt(points_xy=((40.5, 50.5),), positive=(True,)), True),
        (box, False),
    ):
        found = look.segment(prompt)
        inputs = {"input_points": torch.tensor([[[[40.0, 50.0]]]]),
                  "input_labels": torch.tensor([[[1]]])}  # fmt: skip
        if prompt.box_xyxy:
            inputs["input_boxes"] = torch.tensor([[[9.5, 19.5, 89.5, 99.5]]])
        with torch.inference_mode():
            wanted = model(pixel_values=pixels, **inputs, multimask_output=several)
        best = int(wanted.iou_scores[0, 0].argmax())
        assert len(found) == (3 if several else 1)
        gap = np.abs(found[0].logits - wanted.pred_masks[0, 0, best].numpy()).max()
        assert gap <= 1e-5
    mask = np.zeros((128, 128), bool)
    mask[30:60, 30:60] = True
    assert len(look.segment(Prompt(mask=mask))) == 1
    with pytest.raises(AnomalystError, match="understand no words"):
        look.segment(Prompt(text="scratch"))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(AnomalystError, match="no SAM model can be read"):
        load_segmenter(f"sam:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(AnomalystError, match="'bert' model; one of these"):
        load_segmenter(f"sam:{tmp_path}")
    with pytest.raises(AnomalystError, match="no segmenter 'magic'"):
        load_segmenter("magic")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (Prompt(points_xy=((91, 5),), positive=(True,)), "outside the picture, which is 90 x 60"),
        (Prompt(box_xyxy=(10, 10, 10, 20)), "holds no pixel"),
        (Prompt(box_xyxy=(95, 10, 99, 20)), "holds no pixel"),
        (Prompt(points_xy=((5, 5), (5, 5.5)), positive=(True, False)), "on the thing and beside"),
        (Prompt(mask=np.zeros((60, 60), bool)), "60 x 60 pixels, the picture 90 x 60"),
        (Prompt(), "nothing was asked"),
        (Prompt(points_xy=((5, 5),)), "1 points and 0 labels"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_refused(prompt, said):
    with pytest.raises(AnomalystError, match=said):
        GrabCut().look(PICTURE).segment(prompt)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(-50, 200), st.floats(-50, 200), st.floats(1, 200), st.floats(1, 200))
def test_a_box_is_cut_to_the_picture_or_refused(x, y, wide, high):
    try:
        x0, y0, x1, y1 = Prompt(box_xyxy=(x, y, x + wide, y + high)).checked((60, 90)).box_xyxy
    except AnomalystError:
        assert x + wide <= 0 or y + high <= 0 or x >= 90 or y >= 60
    else:
        assert 0 <= x0 < x1 <= 90 and 0 <= y0 < y1 <= 60


@pytest.fixture(scope="module")
def disc():
    """A bright disc on dark noise, and its mask."""
    rows, columns = np.mgrid[:200, :300]
    mask = (rows - 90) ** 2 + (columns - 180) ** 2 < 40**2
    noise = np.random.default_rng(0).normal(0, 6, (200, 300, 3))
    picture = np.where(mask[..., None], (200, 180, 90), (60, 70, 80)) + noise
    return picture.clip(0, 255).astype(np.uint8), mask


def iou(said, wanted):
    return (said & wanted).sum() / (said | wanted).sum()


@pytest.mark.parametrize("name", ["grabcut", "default"])
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points_xy=((180, 90),), positive=(True,)),
        Prompt(box_xyxy=(138, 48, 222, 132)),
        Prompt(box_xyxy=(130, 45, 230, 140), points_xy=((175, 85),), positive=(True,)),
    ],
)
def test_a_click_or_a_box_gives_the_crisp_edge(name, prompt, disc):
    picture, mask = disc
    look = load_segmenter(name).look(picture)
    best = look.segment(prompt)[0]
    assert iou(best.whole(), mask) > 0.9
    close = load_segmenter(name).look(picture, (120, 30, 240, 150)).segment(prompt)[0]
    assert iou(close.whole(), mask) > 0.93
    assert close.packed().size_hw == (200, 300)


def test_focal_and_dice_are_those_of_their_papers():
    logits, wanted = torch.randn(2, 3, 5, 7), (torch.rand(2, 3, 5, 7) > 0.5).float()
    said = logits.sigmoid()
    right = torch.where(wanted > 0, said, 1 - said)
    by_hand = (-((1 - right) ** 2) * right.log()).mean((2, 3))
    torch.testing.assert_close(focal(logits, wanted), by_hand)
    both = (said * wanted).sum((2, 3))
    by_hand = 1 - (2 * both + 1) / (said.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    torch.testing.assert_close(dice(logits, wanted), by_hand)
    empty = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert overlap(empty, empty).item() == 1.0


def test_the_masked_autoencoder_sees_a_quarter_and_is_judged_by_the_rest():
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    torch.manual_seed(0)
    network = MaskedAutoencoder(MaeRecipe(model=SegmentConfig(image="vit")))
    seen = []
    network.encoder.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    pixels = torch.rand(2, 3, 96, 96)
    order = torch.rand(2, 36).argsort(1)
    with torch.no_grad():
        drawn = network(pixels, order, 9)
        other = pixels.clone()  # what is hidden is changed: nothing drawn may change
        for row, hidden in enumerate(order[:, 9:]):
            for patch in hidden.tolist():
                y, x = 16 * (patch // 6), 16 * (patch % 6)
                other[row, :, y : y + 16, x : x + 16] = torch.rand(3, 16, 16)
        again = network(other, order, 9)
    assert seen[0].shape[1] == 9
    torch.testing.assert_close(drawn, again)
    config = ViTMAEConfig(image_size=96, norm_pix_loss=True, num_hidden_layers=1, hidden_size=32,
                          num_attention_heads=2, intermediate_size=32, decoder_hidden_size=32,
                          decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
                          decoder_intermediate_size=32)  # fmt: skip
    theirs = ViTMAEForPreTraining(config).eval()
    noise = torch.rand(2, 36)
    with torch.no_grad():
        found = theirs(pixels, noise=noise)
    # Theirs lists a patch's values by pixel, ours by channel.
    by_channel = found.logits.unflatten(2, (256, 3)).transpose(2, 3).flatten(2)
    ours = masked_error(by_channel, normed_patches(pixels), noise.argsort(1)[:, 9:])
    torch.testing.assert_close(ours, found.loss, atol=1e-5, rtol=1e-5)
