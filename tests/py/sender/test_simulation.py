"""A few thousand refreshes on a simulated clock; ``python -m tests.reliability simulation`` does
a hundred thousand."""

from __future__ import annotations

from reliability.simulation import World, simulate

SEED = 20_240_229


def test_no_lost_answer_costs_a_login_within_the_grace() -> None:
    world = World(3_000, SEED, grace=10.0)
    report = simulate(world)
    print(f"seed {SEED}: {report}")
    assert report.events["answer lost"] > 100
    assert report.events["crash"] > 0
    assert report.sound(world)


def test_without_grace_every_loss_is_told_from_a_revocation_and_no_spent_token_is_sent() -> None:
    world = World(1_000, SEED, grace=0.0)
    report = simulate(world)
    print(f"seed {SEED}: {report}")
    lost = report.events["rotation lost"]
    assert report.logins_lost["lost_rotation"] >= lost - 1 > 0  # the last may not be noticed yet
    assert report.sound(world)
