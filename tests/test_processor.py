"""What the processor does well, and that a verdict does not depend on it."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from anomalyst.errors import AnomalystError
from anomalyst.hardware import processor as module
from anomalyst.hardware.processor import precision_of, processor, usable_cores
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector

AVX2 = "processor : 0\nmodel name : An old one\nflags : fpu sse4_2 avx2 fma\n"


def as_if(monkeypatch, tmp_path, text: str) -> module.Processor:
    """The processor that a /proc/cpuinfo tells of."""
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    return processor.__wrapped__()


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, tmp_path):
    old = as_if(monkeypatch, tmp_path, AVX2)
    assert (old.name, old.vectors, old.bfloat16, old.int8) == ("An old one", "AVX2", False, False)
    assert old.precision == "float32"


@pytest.mark.parametrize(
    ("flags", "precision"),
    # AVX512 alone only imitates bfloat16, slower than float32.
    [("avx2 avx512bw avx512vl avx512dq", "float32"), ("avx2 avx512bw avx512_bf16", "bfloat16")],
)
def test_bfloat16_needs_its_own_instructions(monkeypatch, tmp_path, flags, precision):
    found = as_if(monkeypatch, tmp_path, f"model name : x\nflags : {flags}\n")
    assert found.vectors == "AVX512" and found.precision == precision


@pytest.mark.skipif(module.platform.machine() != "x86_64", reason="about x86 processors")
def test_a_processor_without_avx2_is_refused_in_a_sentence(monkeypatch, tmp_path):
    with pytest.raises(AnomalystError, match="An older one.*has no AVX2"):
        as_if(monkeypatch, tmp_path, "model name : An older one\nflags : sse2 avx\n")


def test_an_unknown_precision_names_the_nearest():
    with pytest.raises(AnomalystError, match=r"'flaot32': is none of .* nearest is 'float32'"):
        precision_of("flaot32")
    assert precision_of("float32") == torch.float32


def test_a_cgroup_quota_limits_the_cores(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert module._cgroup_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert module._cgroup_quota(tmp_path) is None
    assert 1 <= usable_cores() <= (module.os.cpu_count() or 1)


@pytest.fixture(scope="module")
def both(cookie):
    """Cookies inspected in float32 and in bfloat16 beside one good picture."""
    if not processor().bfloat16:
        pytest.skip("this processor has no bfloat16; imitated, it takes minutes")
    good = sorted((cookie / "train" / "good").iterdir())[:1]
    parts = sorted((cookie / "test").glob("*/*.jpg"))[::3]
    found = {}
    for precision in ("float32", "bfloat16"):
        inspector = Inspector.load(config=InspectorConfig(precision=precision))
        product = inspector.teach("cookie", good)
        found[precision] = [inspector.inspect(p, product) for p in parts]
    return found["float32"], found["bfloat16"]


def test_score_map_and_verdict_do_not_depend_on_the_precision(both):
    plain, low = both
    scores = np.array([[a.score, b.score] for a, b in zip(plain, low, strict=True)])
    assert spearmanr(*scores.T).statistic > 0.99  # 0.999 on all sets: anomalyst bench ways
    assert np.abs(scores[:, 0] - scores[:, 1]).max() < 0.15  # 0.11 here, of 3 log(distance) most
    assert [a.verdict for a in plain] == [b.verdict for b in low]


def test_weights_are_the_same_in_either_precision():
    names = {Inspector.load(config=InspectorConfig(precision=p)).fingerprint
             for p in ("float32", "bfloat16")}  # fmt: skip
    assert len(names) == 1


def test_a_gpu_that_is_not_there_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.device_of("auto") == module.device_of("cpu") == torch.device("cpu")
    with pytest.raises(AnomalystError, match="--device cuda: torch sees no GPU"):
        module.device_of("cuda")
    with pytest.raises(AnomalystError, match=r"'cdua': .* nearest is 'cuda'"):
        module.device_of("cdua")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_verdict_of_the_processor(cookie):
    good = sorted((cookie / "train" / "good").iterdir())[:1]
    parts = sorted((cookie / "test").glob("*/*.jpg"))[::6]
    found = []
    for device in ("cpu", "cuda"):
        inspector = Inspector.load(config=InspectorConfig(precision="float32", device=device))
        product = inspector.teach("cookie", good)
        found.append([inspector.inspect(p, product) for p in parts])
    for here, there in zip(*found, strict=True):
        assert there.score == pytest.approx(here.score, abs=1e-2)
        assert there.verdict == here.verdict


def test_threads_reach_torch_and_too_many_are_refused():
    asked = (
        "from anomalyst.hardware.processor import limit_threads; limit_threads(1); "
        "import torch, cv2; print(torch.get_num_threads(), cv2.getNumThreads())"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["1", "1"]
    with pytest.raises(AnomalystError, match=r"--threads 999: this process may use \d+"):
        module.limit_threads(999)
