import torch

from benchmarks.measure import interleave, peak_bytes, ratios, spread


def test_peak_is_that_of_the_tensors_alive_together():
    def action():
        first = torch.zeros(1000, 1000)  # 4 MB
        del first
        torch.zeros(2000, 1000) + torch.zeros(2000, 1000)  # three of 8 MB

    assert peak_bytes(action, torch.device("cpu")) == 24_000_000


def test_interleave_runs_all_of_them_in_changing_order():
    seen = []
    actions = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    times = interleave(actions, 6, torch.device("cpu"))
    orders = {tuple(seen[start : start + 3]) for start in range(0, 18, 3)}
    assert len(seen) == 18 and len(orders) == 6
    assert all(len(times[name][clock]) == 6 for name in "abc" for clock in ("wall", "cpu"))


def test_many_actions_run_in_changing_order_too():
    seen = []
    names = "abcdefghijkl"
    actions = {name: (lambda name=name: seen.append(name)) for name in names}
    interleave(actions, 3, torch.device("cpu"))
    orders = ["".join(seen[start : start + 12]) for start in (0, 12, 24)]
    assert len(set(orders)) == 3 and all(sorted(order) == list(names) for order in orders)


def test_ratios_are_those_of_each_round():
    assert ratios([3.0, 8.0], [1.0, 2.0], [1.0, 2.0]) == [1.5, 2.0]


def test_spread():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == dict(median=3.0, q1=2.0, q3=4.0, min=1.0, max=5.0)
    assert spread([2.0]) == dict(median=2.0, q1=2.0, q3=2.0, min=2.0, max=2.0)
