"""Lensing pictures: bending beside references, classes that differ by substructure only, sets."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.integrate import quad

from anomalyst.datasets.builders.lensing import LensingSet, plan_lensing, write_lensing
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.delong import area
from anomalyst.synthetic.lensing import deflection
from anomalyst.synthetic.lensing.cosmology import Plane
from anomalyst.synthetic.lensing.detecting import change
from anomalyst.synthetic.lensing.picture import (
    bending,
    draw_picture,
    electrons,
    sersic,
    sky_grid,
)
from anomalyst.synthetic.lensing.scene import (
    KINDS,
    Halo,
    LensingConfig,
    Scene,
    draw_scene,
    power_law,
)

X = np.array([0.03, 0.4, -1.1, 0.9, 0.007])
Y = np.array([-0.02, 0.7, 0.3, -1.6, 1.2])
RS, AT_RS, TRUNCATION = 0.3, 0.05, 3.0  # NFW: scale radius, deflection there
UNIT = AT_RS * RS / (1 - np.log(2))  # its 4 kappa_s r_s^2


def ours() -> dict[str, np.ndarray]:
    """What the references below give, by our functions."""
    concentration = 10.0
    held = np.log1p(concentration) - concentration / (1 + concentration)
    nfw = deflection.nfw(
        X, Y, einstein_area=UNIT * held, scale_radius=RS, concentration=concentration
    )
    whole = UNIT * deflection.whole_mass(TRUNCATION)
    return {
        "SIE": np.array(deflection.isothermal(X, Y, einstein_radius=1.2, axis_ratio=0.7)),
        "NFW": np.array(nfw),
        "TNFW": np.array(
            deflection.truncated_nfw(
                X, Y, einstein_area=whole, scale_radius=RS, truncation=TRUNCATION
            )
        ),
    }


# Of lenstronomy 1.14.2: SIE theta_E 1.2, q 0.7; NFW and TNFW Rs 0.3, alpha_Rs 0.05, r_trunc 0.9.
LENSTRONOMY = {
    "SIE": [
        [0.8945186751719613, 0.5091786482211669, -1.0685732165708306, 0.5028734340962377]
        + [0.0058565374825411964],
        [-0.7582866744925995, 1.1222550759010417, 0.3729913433052898, -1.1258298612234525]
        + [1.2590634017717335],
    ],
    "NFW": [
        [0.019034388048262955, 0.023232493804197306, -0.041271545736327186]
        + [0.017640938348385045, 0.0002455785323313635],
        [-0.012689592032175304, 0.040656864157345284, 0.011255876109907414]
        + [-0.031361668174906744, 0.04209917697109088],
    ],
    "TNFW": [
        [0.018360219166858028, 0.016078745033207196, -0.0252183426898466]
        + [0.008848072298277866, 0.00014707466047775495],
        [-0.012240146111238685, 0.02813780380811259, 0.006877729824503618]
        + [-0.015729906308049543, 0.025212798939043705],
    ],
}


@pytest.mark.parametrize("name", LENSTRONOMY)
def test_bending_is_lenstronomys(name):
    assert ours()[name] == pytest.approx(np.array(LENSTRONOMY[name]), rel=1e-4, abs=1e-6)


def test_bending_is_that_of_lenstronomy_where_it_is_installed():
    profiles = pytest.importorskip("lenstronomy.LensModel.Profiles.sie")
    tnfw = pytest.importorskip("lenstronomy.LensModel.Profiles.tnfw")
    ellipticity = (1 - 0.7) / (1 + 0.7)
    theirs = profiles.SIE().derivatives(X, Y, 1.2, ellipticity, 0.0)
    assert ours()["SIE"] == pytest.approx(np.array(theirs), abs=1e-4)
    theirs = tnfw.TNFW().derivatives(X, Y, Rs=RS, alpha_Rs=AT_RS, r_trunc=RS * TRUNCATION)
    assert ours()["TNFW"] == pytest.approx(np.array(theirs), abs=1e-4)


def test_isothermal_mass_is_kormanns():
    """Half the divergence of the deflection is the convergence; a sphere bends by its radius."""
    step, x, y = 1e-4, np.array([0.5, -0.8, 0.1]), np.array([0.3, 0.2, -1.3])

    def bent(dx: float, dy: float) -> np.ndarray:
        return np.array(deflection.isothermal(x + dx, y + dy, einstein_radius=1.1, axis_ratio=0.6))

    across, down = bent(step, 0) - bent(-step, 0), bent(0, step) - bent(0, -step)
    convergence = (across[0] + down[1]) / (4 * step)
    assert convergence == pytest.approx(1.1 / (2 * np.sqrt(0.6 * x**2 + y**2 / 0.6)), rel=1e-5)
    assert across[1] == pytest.approx(down[0], abs=1e-9)  # no curl: it comes from a potential
    round_ = np.hypot(*deflection.isothermal(x, y, einstein_radius=1.1, axis_ratio=1.0))
    assert round_ == pytest.approx(1.1)
    nearly = np.hypot(*deflection.isothermal(x, y, einstein_radius=1.1, axis_ratio=0.9999))
    assert nearly == pytest.approx(round_, rel=1e-3)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
def test_mass_of_a_truncated_halo_is_its_density_integrated(ratio):
    """Cylinder of radius R: a sphere's share 1 - sqrt(1 - (R/r)^2) of every shell outside R."""

    def shell(r: float) -> float:
        density = 1 / (r * (1 + r) ** 2) * TRUNCATION**2 / (TRUNCATION**2 + r**2)
        inside = 1.0 if r <= ratio else 1 - np.sqrt(1 - (ratio / r) ** 2)
        return density * r**2 * inside

    parts = [quad(shell, 0, ratio), quad(shell, ratio, 50, limit=200), quad(shell, 50, np.inf)]
    mass = sum(part[0] for part in parts)
    assert deflection.truncated_enclosed(np.array(ratio), TRUNCATION) == pytest.approx(
        mass, rel=1e-6
    )


def test_a_string_bends_as_many_points_in_a_row():
    along = (np.arange(4000) + 0.5) / 4000 * 0.9 - 0.45
    x, y = np.array([0.6, -0.2, 0.05, 2.0]), np.array([0.1, 0.4, -0.3, 1.0])
    rows = [
        deflection.point(x - s * np.cos(0.7), y - s * np.sin(0.7), einstein_area=0.02 / 4000)
        for s in along
    ]
    line = deflection.string(x, y, einstein_area=0.02, length=0.9, angle=0.7)
    assert np.array(line) == pytest.approx(np.sum(rows, axis=0), rel=1e-4)


def test_a_scene_bends_by_the_sum_of_its_parts_wherever_they_are():
    config = LensingConfig(profile="point")
    scene = draw_scene("spherical", (0, 0), config)
    x, y = sky_grid(16, config.field)
    whole = np.array(bending(scene, x, y, config))
    smooth = np.array(bending(replace(scene, haloes=()), x, y, config))  # as light as before
    alone = [
        deflection.point(x - halo.x, y - halo.y, einstein_area=halo.einstein_area)
        for halo in scene.haloes
    ]
    assert whole == pytest.approx(smooth + np.sum(alone, axis=0), abs=1e-5)


def mean_pull(scene: Scene, radius: float, config: LensingConfig, places: int = 20_000) -> float:
    """Outward deflection on a circle about the lens, mean over places."""
    turn = (np.arange(places) + 0.5) / places * 2 * np.pi
    x, y = np.cos(turn), np.sin(turn)
    middle_x, middle_y = scene.smooth.centre_xy
    bent = bending(scene, radius * x + middle_x, radius * y + middle_y, config)
    return float(np.mean(bent[0] * x + bent[1] * y))


def ring_radius(scene: Scene, config: LensingConfig) -> float:
    """Where the mean deflection equals the radius: how large the ring is."""
    radii = scene.smooth.einstein_radius * np.linspace(0.97, 1.03, 7)
    over = [mean_pull(scene, radius, config, 2000) - radius for radius in radii]
    return float(np.interp(0, over[::-1], radii[::-1]))


@pytest.mark.parametrize("profile", ["tnfw", "nfw", "point"])
def test_every_class_pulls_alike_on_its_ring(profile):
    config = LensingConfig(profile=profile, mass_share=(0.06, 0.12))
    pulls = {
        kind: [
            mean_pull(scene, scene.smooth.einstein_radius, config)
            for scene in (draw_scene(kind, (0, number), config) for number in range(30))
        ]
        for kind in KINDS
    }
    # A point mass within 1e-3 of the ring is too sharp for a mean of 20,000 places.
    within = 1e-3 if profile != "point" else 5e-3
    assert pulls["spherical"] == pytest.approx(pulls["none"], rel=within)
    assert pulls["vortex"] == pytest.approx(pulls["none"], rel=within)


def test_rings_are_too_much_alike_to_tell_the_class():
    config = LensingConfig(mass_share=(0.06, 0.12), variety=0.2)
    size = {
        kind: [ring_radius(draw_scene(kind, (0, n), config), config) for n in range(60)]
        for kind in KINDS
    }
    for kind in ("spherical", "vortex"):
        found = area([0] * 60 + [1] * 60, size["none"] + size[kind])
        assert abs(found.value - 0.5) < 0.05, (kind, found)
        assert np.mean(size[kind]) == pytest.approx(np.mean(size["none"]), rel=1e-3)


def test_a_source_behind_a_round_lens_is_a_ring_of_the_einstein_radius():
    config = LensingConfig(size_px=256, shear=0.0, axis_ratio=(1.0, 1.0), source_offset=0.0)
    scene = draw_scene("none", (0, 4), config)
    seen = electrons(scene, config)
    x, y = sky_grid(256, config.field)
    radius = np.hypot(x - scene.smooth.centre_xy[0], y - scene.smooth.centre_xy[1])
    brightest = radius[seen > 0.97 * seen.max()]
    assert brightest == pytest.approx(scene.smooth.einstein_radius, abs=0.03)


def test_one_square_arcsecond_weighs_what_astropy_says():
    # c^2 / 4G D_l D_s / D_ls of astropy's FlatLambdaCDM(H0=70, Om0=0.3), z 0.5 and 1.
    assert Plane().solar_masses(1.0) == pytest.approx(3.6093e11, rel=1e-4)


@pytest.mark.parametrize("index", [0.7, 1.0, 4.0])
def test_half_the_light_of_a_source_lies_within_its_half_light_ellipse(index):
    shape = {"radius": 0.3, "index": index, "axis_ratio": 0.6, "angle": 0.5}

    def ring(r: float) -> float:
        """Light of the ellipse as large as a circle of radius r, at the end of its long axis."""
        end = np.array([r / np.sqrt(0.6)])
        return float(sersic(end * np.cos(0.5), end * np.sin(0.5), **shape)[0]) * r

    inner, whole = quad(ring, 0, 0.3)[0], quad(ring, 0, 60, limit=400, points=[0.3, 2])[0]
    assert inner / whole == pytest.approx(0.5, abs=1e-3)


def test_masses_of_subhaloes_follow_their_law():
    masses = power_law(np.random.default_rng(0), 200_000, slope=-1.9, decades=2)
    assert masses.min() >= 1 and masses.max() <= 100
    expected = (10**-0.9 - 100**-0.9) / (1 - 100**-0.9)  # share above a tenth of the range
    assert (masses > 10).mean() == pytest.approx(expected, rel=0.03)
    config = LensingConfig()
    scenes = [draw_scene("spherical", (0, number), config) for number in range(300)]
    assert np.mean([len(scene.haloes) for scene in scenes]) == pytest.approx(25, abs=1)
    for scene in scenes[:20]:
        mass = sum(halo.einstein_area for halo in scene.haloes)
        assert mass == pytest.approx(scene.share * scene.smooth.einstein_radius**2)


def test_classes_differ_by_substructure_alone():
    config = LensingConfig()
    scenes = {kind: draw_scene(kind, (3, 7), config) for kind in KINDS}
    assert scenes["none"].smooth == scenes["spherical"].smooth == scenes["vortex"].smooth
    assert scenes["spherical"].share == scenes["vortex"].share
    assert scenes["none"].share == 0 and not scenes["none"].haloes + scenes["none"].strings
    # A halo of no mass leaves the picture of the class without any.
    smooth = scenes["none"].smooth
    massless = Scene("spherical", smooth, haloes=(Halo(0.3, 0.2, 0.0, 0.1),))
    assert electrons(massless, config) == pytest.approx(electrons(scenes["none"], config))
    assert draw_picture("none", (3, 7), config).truth["changed_sigma"] == 0
    assert draw_picture("vortex", (3, 7), config).truth["changed_sigma"] > 5


def test_variety_narrows_lens_and_source_to_the_middle_of_their_ranges():
    narrow = [draw_scene("none", (0, n), LensingConfig(variety=0.2)).smooth for n in range(60)]
    wide = [draw_scene("none", (0, n), LensingConfig()).smooth for n in range(60)]
    for few, all_ in zip(narrow, wide, strict=True):
        assert few.einstein_radius - 1.15 == pytest.approx(0.2 * (all_.einstein_radius - 1.15))
        assert few.axis_ratio - 0.825 == pytest.approx(0.2 * (all_.axis_ratio - 0.825))
        assert np.hypot(*few.shear) == pytest.approx(0.2 * np.hypot(*all_.shear))
        assert few.angle == all_.angle and few.peak == all_.peak


def test_noise_is_that_of_counted_electrons():
    config = LensingConfig(bits=16, source_radius=(0.1, 0.1))
    drawn = draw_picture("none", (0, 1), config)
    expected = electrons(draw_scene("none", (0, 1), config), config)
    assert drawn.pixels.dtype == np.uint16
    slope, base = np.polyfit(drawn.pixels.ravel().astype(float), expected.ravel(), 1)
    counted = drawn.pixels * slope + base
    empty = expected < 1
    spread = np.sqrt(config.sky + config.read_noise**2)
    assert counted[empty].std() == pytest.approx(spread, rel=0.05)


def test_set_is_the_same_after_an_interruption_and_its_names_tell_no_class(tmp_path):
    wanted, config = LensingSet(count=30, seed=2), LensingConfig(size_px=32)
    assert write_lensing(tmp_path / "whole", wanted, config, workers=1) == 30
    stopped = tmp_path / "stopped"

    def stop_at_ten(seen: list[int] = []) -> None:  # noqa: B006
        seen.append(1)
        if len(seen) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lensing(stopped, wanted, config, workers=1, on_picture=stop_at_ten)
    with (stopped / ".rows.jsonl").open("a") as lines:
        lines.write('{"file": "train/no')  # what a power cut leaves
    assert write_lensing(stopped, wanted, config, workers=1) == 20
    names = [path.relative_to(stopped) for path in sorted(stopped.rglob("*")) if path.is_file()]
    assert not [name for name in names if name.name.startswith(".")]
    for name in names:
        assert (stopped / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    record = [json.loads(line) for line in (stopped / "record.jsonl").read_text().splitlines()]
    assert [Path(one["file"]).name for one in record] == [f"{i:06d}.png" for i in range(30)]
    assert all(Path(one["file"]).parent.name == one["class"] for one in record)
    assert cv2.imread(str(stopped / record[0]["file"]), cv2.IMREAD_UNCHANGED).shape == (32, 32)
    # Classes are dealt evenly and by chance.
    jobs = plan_lensing(LensingSet(count=3000), config)
    for part in ("train", "test"):
        of_part = [KINDS.index(job.kind) for job in jobs if job.category.startswith(part)]
        assert np.ptp(np.bincount(of_part)) <= 1
    order = np.array([KINDS.index(job.kind) for job in jobs])
    assert abs(np.corrcoef(order, np.arange(3000))[0, 1]) < 0.06
    assert abs((order[1:] == order[:-1]).mean() - 1 / 3) < 0.04


def test_what_cannot_be_drawn_is_refused(tmp_path, refused):
    (tmp_path / "mine.txt").write_text("notes")
    assert "holds files already" in refused("data", "lensing", tmp_path, "--count", 15)
    new = tmp_path / "new"
    assert "no profile 'king'" in refused("data", "lensing", new, "--profile", "king")
    assert "at least one picture of each" in refused("data", "lensing", new, "--count", 4)
    assert "--classes is 5" in refused("data", "lensing", new, "--classes", 5)
    assert "fewer show no arc" in refused("data", "lensing", new, "--size", 16)
    assert not new.exists()
    write_lensing(new, LensingSet(count=15), LensingConfig(size_px=32), workers=1)
    said = refused("data", "lensing", new, "--count", 15, "--size", 32, "--seed", 1)
    assert "holds a set made with" in said
    with pytest.raises(AnomalystError, match="behind the lens"):
        Plane(lens_redshift=1.0, source_redshift=0.5)


def test_what_a_smooth_lens_explains_is_no_lasting_change():
    config = LensingConfig(size_px=64)
    scene = draw_scene("vortex", (1, 5), config)
    found = change(scene, config)
    assert 5 < found.lasting < found.whole
    assert draw_picture("vortex", (1, 5), config).truth["changed_sigma"] == pytest.approx(
        found.whole, rel=1e-9
    )
    # Far outside, a mass only pulls and shears; a little of the lens's own is more lens.
    smooth = replace(scene, strings=(), haloes=(Halo(0.0, 40.0, 0.4, 1.0),), inside=0.0)
    point = replace(config, profile="point")
    found = change(smooth, point)
    assert found.whole > 10 and found.lasting < 0.1 * found.whole
    assert change(draw_scene("none", (1, 5), config), config).whole == 0
