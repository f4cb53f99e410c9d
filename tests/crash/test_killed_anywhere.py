"""Whatever process is killed, at whatever moment: later runs make the same bytes."""

import pytest
from disturbing import campaigns


def pytest_generate_tests(metafunc):
    if "moments" in metafunc.fixturenames:
        option = metafunc.config.option
        drawn = campaigns(option.moments, option.seed)
        names = [f"{moments[0].target}{at}" for at, moments in enumerate(drawn)]
        metafunc.parametrize("moments", drawn, ids=names)


@pytest.mark.timeout(3600)
def test_nothing_is_lost(moments, laboratory, trials):
    tried = laboratory.carry_out(moments)
    trials.extend(tried)
    assert len(tried) == len(moments)
    assert [trial for trial in tried if not trial.survived] == []
