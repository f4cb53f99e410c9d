"""A plan asks for the memory and the disk that it still needs, of what there is."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from segpipe.config import Settings
from segpipe.errors import BudgetExceeded
from segpipe.stages import pricing
from segpipe.stages.memory import FreeMemory, HeldMemory, free_memory, held_memory
from segpipe.stages.planning import plan_slide
from segpipe.stages.pricing import check_budget, default_workers, held_of_needed
from segpipe.stores.layout import Layout
from segpipe.stores.ledger import Ledger

MIB = 2**20
V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
V2 = "memory.max", "memory.current", "inactive_file"
UNLIMITED_V1 = str(2**63 - 4096)


@pytest.fixture
def plan(tiny, tmp_path):
    return plan_slide(tiny, Settings(workers=2), tmp_path / "out")


def at_once(plan, n):
    settings = plan.settings.model_copy(update={"slides_at_once": n})
    return plan.model_copy(update={"settings": settings})


def group(folder, names, limit, used=10 * MIB, cached=4 * MIB):
    """Write the files of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    limit_name, used_name, cached_name = names
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cached_name} {cached}\n")
    return folder / limit_name


def system(root, lines):
    """Write which groups this process is in; return where they are mounted."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    return root / "sys/fs/cgroup"


def test_the_least_limit_of_groups_around_a_process_counts(tmp_path):
    mount = system(tmp_path, "0::/slurm/job_7/step_0\n")
    group(mount / "slurm/job_7/step_0", V2, "max")
    job = group(mount / "slurm/job_7", V2, 30 * MIB)
    group(mount / "slurm", V2, 60 * MIB)
    assert free_memory(tmp_path) == FreeMemory(n_bytes=24 * MIB, limit=job)


def test_version_1_of_control_groups_is_read_too(tmp_path):
    mount = system(tmp_path, "4:cpu,memory:/docker/ab\n0::/\n") / "memory"
    group(mount, V1, UNLIMITED_V1)
    assert free_memory(tmp_path).limit is None
    container = group(mount / "docker/ab", V1, 20 * MIB)
    assert free_memory(tmp_path) == FreeMemory(n_bytes=14 * MIB, limit=container)


def test_in_a_container_its_group_is_the_one_that_is_mounted(tmp_path):
    """The path is the host's, where no such folder is to be seen."""
    mount = system(tmp_path, "4:memory:/docker/ab\n") / "memory"
    limit = group(mount, V1, 8 * MIB)
    assert free_memory(tmp_path) == FreeMemory(n_bytes=2 * MIB, limit=limit)


def test_a_group_that_is_over_its_limit_has_nothing_free(tmp_path):
    mount = system(tmp_path, "0::/\n")
    group(mount, V2, 8 * MIB, used=20 * MIB)
    assert free_memory(tmp_path).n_bytes == 0


@pytest.mark.parametrize("lines", ["", "0::/gone\n", "3:cpu:/\n", "0::/../host\n"])
def test_without_a_limit_the_machine_counts(tmp_path, lines):
    system(tmp_path, lines)
    assert free_memory(tmp_path).limit is None
    assert free_memory(tmp_path).n_bytes > 0


def test_what_children_hold_is_seen():
    hold = f"held = bytearray({64 * MIB}); print('up', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold], **pipes) as child:
        child.stdout.readline()
        held = held_memory()
        child.communicate(b"\n")
    assert held.own_bytes > 10 * MIB
    assert held.children_bytes[0] > 64 * MIB
    assert list(held.children_bytes) == sorted(held.children_bytes, reverse=True)


def test_nothing_counts_beyond_what_is_needed():
    held = HeldMemory(own_bytes=900, children_bytes=(80, 30, 20))
    assert held_of_needed(held, 100, 50, n_workers=2) == 100 + 50 + 30
    assert held_of_needed(held, 1000, 50, n_workers=4) == 900 + 50 + 30 + 20


def test_workers_that_are_up_are_not_asked_for_again(plan, monkeypatch):
    worker, driver = plan.price.worker_bytes, plan.price.driver_bytes
    group_limit = Path("/sys/fs/cgroup/memory.max")
    free = FreeMemory(n_bytes=worker, limit=group_limit)
    monkeypatch.setattr(pricing, "free_memory", lambda: free)
    up = HeldMemory(own_bytes=driver, children_bytes=(worker, 0))
    monkeypatch.setattr(pricing, "held_memory", lambda: up)
    check_budget(plan)
    down = HeldMemory(own_bytes=driver, children_bytes=())
    monkeypatch.setattr(pricing, "held_memory", lambda: down)
    with pytest.raises(BudgetExceeded, match=r"under the limit in .*memory\.max"):
        check_budget(plan)


def disk_with(monkeypatch, free):
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr(pricing.shutil, "disk_usage", lambda _folder: usage)


def written(plan, slide_id, n_bytes):
    """Leave files of a slide, half of them in its store, half beside its receipts."""
    layout = Layout(plan.out)
    for folder in (layout.store(slide_id) / "maps", layout.scratch(slide_id)):
        folder.mkdir(parents=True)
        with (folder / "chunk").open("wb") as file:
            file.truncate(n_bytes // 2)


def test_a_slide_goes_on_where_only_its_rest_fits(plan, monkeypatch):
    needed = plan.price.disk_bytes
    disk_with(monkeypatch, needed // 2)
    with pytest.raises(BudgetExceeded, match=r"Slide tiny needs up to .* free\. Free"):
        check_budget(plan)
    written(plan, "another", needed)  # finished: not of what is under way
    with pytest.raises(BudgetExceeded):
        check_budget(plan)
    written(plan, "tiny", needed // 2 + 2)
    check_budget(plan)


def test_more_than_it_needs_is_no_room_for_others(plan, monkeypatch):
    needed = plan.price.disk_bytes
    written(plan, "tiny", 5 * needed)
    disk_with(monkeypatch, needed - 1)
    with pytest.raises(BudgetExceeded, match=r"are written\."):
        check_budget(at_once(plan, 2))
    disk_with(monkeypatch, needed)
    check_budget(at_once(plan, 2))


def test_slides_at_once_need_room_together_less_what_they_have(plan, monkeypatch):
    needed = plan.price.disk_bytes
    disk_with(monkeypatch, 2 * needed)
    check_budget(at_once(plan, 2))
    with pytest.raises(BudgetExceeded, match=r"each of 3 at once.*--slides-at-once"):
        check_budget(at_once(plan, 3))
    written(plan, "other", needed)
    with Ledger(Layout(plan.out), "other").held():
        check_budget(at_once(plan, 3))
    with pytest.raises(BudgetExceeded):
        check_budget(at_once(plan, 3))


def test_where_affinity_is_unknown_all_cores_are_counted(monkeypatch):
    monkeypatch.delattr(pricing.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(pricing.os, "cpu_count", lambda: 6)
    assert default_workers() == 6
    monkeypatch.setattr(pricing.os, "cpu_count", lambda: None)
    assert default_workers() == 1
