"""Networks of a method that share layers."""

import pytest

from kd_cls.distilled import ADAPTER
from kd_core.methods import CTKD, DML
from kd_core.teacher import FrozenTeacher

from .toy_methods import losses, plain


def test_a_peer_that_shares_a_layer_with_the_student_is_refused():
    student, peer = plain(), plain()
    peer.network.stage2 = student.network.stage2
    method = DML({"peer 1": peer}, adapter=ADAPTER)
    with pytest.raises(ValueError, match="'network.stage2' of peer 1 is 'network.stage2' of"):
        method.attach(student)


def test_two_peers_that_are_one_are_refused():
    peer = plain()
    method = DML({"peer 1": peer, "peer 2": peer}, adapter=ADAPTER)
    with pytest.raises(ValueError, match="'the whole model' of peer 2 is .* of peer 1"):
        method.attach(plain())


def test_an_expert_that_is_the_scratch_teacher_is_refused():
    scratch = plain()
    method = CTKD(scratch, FrozenTeacher(scratch), adapter=ADAPTER)
    with pytest.raises(ValueError, match="expert teacher is .* of the scratch teacher"):
        method.attach(plain())


def test_networks_of_their_own_are_fine():
    model = DML({"peer 1": plain(), "peer 2": plain()}, adapter=ADAPTER).attach(plain())
    assert "loss_peers" in losses(model)
