"""Where the network runs: a GPU must be there, and which one it is changes nothing."""

import json

import pytest
import torch

from segpipe.config import Settings
from segpipe.errors import SettingsError
from segpipe.stages.devices import device_of, kind_of, resolve_device
from segpipe.stages.grounds import model_digest
from segpipe.stages.keys import ingredients, result_key, stage_keys
from segpipe.stages.measuring import _metadata
from segpipe.stages.planning import plan_slide

N_GPUS = 2


@pytest.fixture
def gpus(monkeypatch):
    """A machine that says it has GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: N_GPUS)


@pytest.mark.usefixtures("gpus")
def test_a_gpu_by_its_number_is_taken_if_it_is_there():
    assert resolve_device("auto") == "cuda"
    for asked in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert resolve_device(asked) == asked
    with pytest.raises(SettingsError, match=r"cuda:2 was asked .* the last is cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("gpus")
def test_a_gpu_elsewhere_is_not_counted_here():
    settings = Settings(device="cuda:7", scheduler="tcp://127.0.0.1:8786")
    assert device_of(settings) == "cuda:7"


@pytest.mark.usefixtures("gpus")
def test_which_gpu_it_is_enters_no_key_and_no_table(tiny, tmp_path):
    first, second = (
        plan_slide(tiny, Settings(device=device, workers=1), tmp_path)
        for device in ("cuda:0", "cuda:1")
    )
    assert (first.device, second.device) == ("cuda:0", "cuda:1")
    assert stage_keys(first) == stage_keys(second)
    assert result_key(first) == result_key(second)
    assert first.grounds == second.grounds
    assert ingredients(first)["predict"]["device"] == '"cuda"'
    assert _metadata(first) == _metadata(second)
    assert json.loads(_metadata(first)["settings"])["device"] == "cuda"


@pytest.mark.usefixtures("gpus")
def test_a_gpu_and_the_cpu_stay_apart(tiny, tmp_path):
    cpu, gpu = (
        plan_slide(tiny, Settings(device=device, workers=1), tmp_path)
        for device in ("cpu", "cuda:1")
    )
    assert cpu.result_key != gpu.result_key
    digests = {model_digest(cpu.network, 0.25, each) for each in ("cpu", "cuda")}
    assert len(digests) == 2
    assert kind_of("cuda:1") == kind_of("cuda") == "cuda"
