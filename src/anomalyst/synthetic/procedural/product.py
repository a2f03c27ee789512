"""What a made product is: a layout of parts on a body on a background, and how it may vary."""

from dataclasses import dataclass, field

from anomalyst.synthetic.procedural.material import Material
from anomalyst.synthetic.procedural.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of the layout, in body units: the body fills [-1, 1], x right, y down."""

    name: str  # a noun: "screw", "pin", "chocolate chip"
    shape: Shape
    material: Material
    centre_xy: tuple[float, float] = (0.0, 0.0)
    half_size: float = 0.2  # the shape's unit, in body units
    angle: float = 0.0  # radians
    bevel: float = 0.0  # rounded edge: brightness change at the rim, 0 flat .. 0.5 strong
    shadow: float = 0.0  # darkness of the cast shadow, 0..0.6
    gloss: float = 0.0  # strength of a highlight that moves between instances
    slack: float = 0.0  # normal shift between instances, in body units
    turn_slack: float = 0.0  # normal rotation between instances, radians
    text: str = ""  # printed characters instead of the shape
    inside: bool = True  # clipped to the body


Layout = list[tuple[int, Part]]  # (stable key, part): the key seeds the part's own randomness


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Parts thrown anew on each instance: chips in a biscuit, seeds, grains, flakes."""

    part: Part
    count: tuple[int, int]  # least and most


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How much the product moves between pictures."""

    turn_deg: float = 0.0  # uniform in +-; 180 = any way round
    shift: float = 0.0  # share of the picture
    zoom: float = 0.0  # relative

    @property
    def fixed(self) -> bool:
        """Whether the product lies nearly the same in every picture."""
        return self.turn_deg <= 10 and self.shift <= 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How the picture is taken; each figure is the most that one picture gets."""

    gradient: float = 0.1  # brightness change across the picture
    exposure: float = 0.05  # brightness change between pictures
    tint: float = 0.02  # colour change between pictures (batch, white balance)
    noise: float = 0.01  # sensor noise, standard deviation
    defocus_px: float = 0.0  # blur sigma at 160 px
    vignette: float = 0.0
    jpeg_quality: int = 0  # 0: none
    grey: bool = False
    binary: bool = False  # thresholded, as from a line-scan of bare boards
    dust: float = 0.0  # specks below tolerance, per picture
    shade: float = 0.0  # slow brightness change over the picture, standard deviation
    bend: float = 0.0  # slow bending of the product, standard deviation as a share of the side


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductSpec:
    """One product: everything that its instances share."""

    family: str  # "textile", "printed board", "biscuit", ...
    noun: str  # "woven cloth", "circuit board"
    background: Material
    body: Shape | None = None  # None: the surface fills the picture
    body_material: Material | None = None
    body_half: float = 0.36  # body unit, as a share of the picture side
    body_aspect: float = 1.0  # y scale of the body and of its layout
    body_bevel: float = 0.0
    body_shadow: float = 0.0
    body_gloss: float = 0.0
    wobble: float = 0.0  # change of the outline between instances, body units
    parts: tuple[Part, ...] = ()
    scatters: tuple[Scatter, ...] = ()
    pose: Pose = field(default_factory=Pose)
    camera: Camera = field(default_factory=Camera)
