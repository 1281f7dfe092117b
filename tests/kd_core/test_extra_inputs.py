import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.losses import CRDLoss, DKDLoss, FGDLoss, SoftTargetLoss, VIDLoss
from kd_core.teacher import named_arguments

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS, IDS = torch.tensor([1, 0, 4, 4]), torch.tensor([7, 2, 0, 5])


class Net(nn.Module):
    """A classifier that is called with images alone."""

    def __init__(self, width):
        super().__init__()
        self.stage = nn.Conv2d(3, width, 3)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(width, 5)

    def forward(self, images):
        return self.head(self.pool(self.stage(images)))


class Labeled(Net):
    """A classifier whose forward takes labels and ids, and returns losses in training."""

    def forward(self, images, labels=None, *, ids=None):
        logits = super().forward(images)
        if labels is None:
            return logits
        return {"loss_cls": nn.functional.cross_entropy(logits, labels)}


class Seen(nn.Module):
    """Keeps what it is given besides the layers."""

    requires = ("labels", "ids")

    def forward(self, student, teacher, labels, ids):
        self.labels, self.ids = labels, ids
        return student.mean()


def attach(student, loss, layers="head", example=True, teacher=None):
    term = Term(loss, layers)
    distiller = Distiller(teacher or type(student)(8), {"term": term})
    return distiller.attach(student, example=(IMAGES,) if example else None)


class TestNeeds:
    @pytest.mark.parametrize(
        "args, kwargs",
        [((IMAGES, LABELS), {"ids": IDS}), ((), {"images": IMAGES, "labels": LABELS, "ids": IDS})],
    )
    def test_are_found_in_the_forwards_arguments_by_name(self, args, kwargs):
        student = attach(Labeled(4), Seen())
        student(*args, **kwargs)
        seen = student.distiller.terms["term"].loss
        assert torch.equal(seen.labels, LABELS) and torch.equal(seen.ids, IDS)

    def test_are_given_to_losses_where_the_forward_does_not_take_them(self):
        student = attach(Net(4), Seen())
        student(IMAGES)
        student.distiller.losses(labels=LABELS, ids=IDS)
        seen = student.distiller.terms["term"].loss
        assert torch.equal(seen.labels, LABELS) and torch.equal(seen.ids, IDS)

    def test_what_losses_is_given_counts_before_the_forwards(self):
        student = attach(Labeled(4), Seen())
        student(IMAGES, ids=IDS)  # without labels it returns logits
        student.distiller.losses(labels=LABELS, ids=IDS + 1)
        assert torch.equal(student.distiller.terms["term"].loss.ids, IDS + 1)

    def test_reach_the_loss_at_every_level(self):
        student = attach(Net(4), DKDLoss(), ["head", "head"])
        student(IMAGES)
        twice = student.distiller.losses(labels=LABELS)["loss_term"].item()
        assert twice == pytest.approx(2 * self.by_hand(student), rel=1e-5)

    @staticmethod
    def by_hand(student):
        logits = student.head(student.pool(student.stage(IMAGES)))
        return DKDLoss()(logits, student.distiller.teacher.model(IMAGES), LABELS).item()

    def test_that_are_missing_are_named(self):
        student = attach(Labeled(4), Seen())
        student(IMAGES)
        with pytest.raises(
            ValueError, match=r"needs \['labels', 'ids'\].*\['image_size', 'images'\]"
        ):
            student.distiller.losses()
        with pytest.raises(
            ValueError, match=r"needs \['ids'\].*\['image_size', 'images', 'labels'\].*\(ids=ids\)"
        ):
            student(IMAGES, LABELS)

    def test_are_not_asked_of_a_term_that_is_off(self):
        student = Net(4)
        terms = {"on": Term(SoftTargetLoss(), "head"), "off": Term(Seen(), "head", weight=0.0)}
        Distiller(Net(8), terms).attach(student)
        student(IMAGES)
        assert list(student.distiller.losses()) == ["loss_on"]


def test_arguments_that_have_no_name_are_left_out():
    class Any(nn.Module):
        def forward(self, images, *rest, scale=1, **options):
            return images

    named = named_arguments(Any(), (1, 2, 3), {"scale": 4, "labels": 5})
    assert named == {"images": 1, "scale": 4, "labels": 5}


LEARNING = [(VIDLoss, {}, "stage"), (CRDLoss, {"samples": 8, "negatives": 4, "dim": 3}, "pool")]


@pytest.mark.parametrize("make, options, layer", LEARNING)
class TestLossesThatLearn:
    def test_are_prepared_trained_and_saved_beside_the_student(self, make, options, layer):
        student = Labeled(4)
        plain = list(student.state_dict())
        attach(student, make(**options), layer)
        own = {
            key: value.clone()
            for key, value in student.named_parameters()
            if key.startswith("distiller.criteria.term.")
        }
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        sum(student(IMAGES, LABELS, ids=IDS).values()).backward()
        optimizer.step()
        after = dict(student.named_parameters())
        assert own and all(not torch.equal(after[key], value) for key, value in own.items())
        saved = [key for key in student.state_dict() if not key.startswith("distiller.")]
        assert saved == plain
        assert list(student.distiller.detach().state_dict()) == plain

    def test_go_on_from_a_checkpoint(self, make, options, layer):
        first, second = Labeled(4), Labeled(4)
        for student in (first, second):
            attach(student, make(**options), layer)
        first(IMAGES, LABELS, ids=IDS)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for key, value in second.distiller.criteria.state_dict().items():
            assert torch.equal(value, first.distiller.criteria.state_dict()[key])

    def test_remember_nothing_of_the_dry_run(self, make, options, layer):
        prepared = make(**options)
        student = attach(Labeled(4), prepared, layer)
        for name, value in student.distiller.criteria["term"].named_buffers():
            unused = {"labels": torch.full((8,), -1), "log_z": torch.full((2,), torch.nan)}
            if name in unused:
                torch.testing.assert_close(value, unused[name], equal_nan=True)
        assert student.distiller.criteria["term"] is prepared

    def test_leave_the_random_numbers_as_they_were(self, make, options, layer):
        student, loss = Labeled(4), make(**options)
        distiller = Distiller(Labeled(8), {"term": Term(loss, layer)})
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        distiller.attach(student, example=(IMAGES,))
        assert torch.equal(torch.rand(3), expected)

    def test_ask_for_an_example(self, make, options, layer):
        student = attach(Labeled(4), make(**options), layer, example=False)
        with pytest.raises(ValueError, match=r"attach an example, or call prepare\(\)"):
            student(IMAGES, LABELS, ids=IDS)

    def test_what_it_refuses_in_the_dry_run_is_told_with_the_term(self, make, options, layer):
        with pytest.raises(ValueError, match=r"term 'term' does not fit: (?s:.*)student layer"):
            attach(Labeled(4), make(**options), {VIDLoss: "pool", CRDLoss: ["pool", "head"]}[make])


class TestBoxes:
    """A loss that needs boxes and the images' size."""

    def attach(self, **options):
        student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3, 2, 1)) for width in (4, 6))
        distiller = Distiller(teacher, {"fgd": Term(FGDLoss(), "0")}, **options)
        return distiller.attach(student, example=(IMAGES,))

    def test_are_given_to_losses_and_the_size_is_that_of_the_images(self):
        student, boxes = self.attach(), [torch.tensor([[0.0, 0.0, 4.0, 6.0]])] * 4
        assert student.distiller.shape_table.rows[0].connector == "1x1"
        student(IMAGES)
        value = student.distiller.losses(boxes=boxes)["loss_fgd"]
        connected = student.distiller.connectors["fgd"]["0"](student[0](IMAGES))
        loss = student.distiller.terms["fgd"].loss
        teacher = student.distiller.teacher.model(IMAGES)
        expected = loss(connected, teacher, boxes=boxes, image_size=(8, 8))
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        other = loss(connected, teacher, boxes=boxes, image_size=(16, 16))
        assert other.item() != pytest.approx(expected.item(), rel=1e-3)

    def test_or_made_of_the_forwards_arguments(self):
        def made(named):
            return {"boxes": [torch.tensor([[0.0, 0.0, 4.0, 4.0]])] * len(named["input"])}

        student = self.attach(extra_inputs=made)
        student(IMAGES)
        found = student.distiller.losses()["loss_fgd"].item()
        student(IMAGES)
        given = student.distiller.losses(boxes=[torch.zeros(0, 4)] * 4)["loss_fgd"].item()
        assert given != pytest.approx(found, rel=1e-4)  # what is given takes precedence

    def test_that_are_missing_are_named(self):
        student = self.attach()
        student(IMAGES)
        with pytest.raises(ValueError, match=r"'fgd' needs \['boxes'\] besides the layers"):
            student.distiller.losses()


class Criterion(Net):
    """A classifier that makes its labels itself and gives them to a loss of its own."""

    def __init__(self, width):
        super().__init__(width)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images):
        logits = super().forward(images)
        return {"loss_cls": self.loss(logits, LABELS)} if self.training else logits


def test_an_input_comes_from_what_a_layer_is_called_with():
    term = Term(DKDLoss(), "head", inputs=dict(labels="loss.input[1]"))
    student, teacher = Criterion(4), Criterion(8)
    Distiller(teacher, {"term": term}).attach(student, example=(IMAGES,))
    value = student.train()(IMAGES)["loss_term"]
    logits = [Net.forward(one, IMAGES) for one in (student, teacher)]
    torch.testing.assert_close(value, DKDLoss()(*logits, LABELS))


def test_the_first_of_several_layers_that_ran_gives_the_input():
    paths = ["idle.input[1]", "loss.input[1]"]
    term = Term(DKDLoss(), "head", inputs=dict(labels=paths))
    student, teacher = Criterion(4), Criterion(8)
    student.idle = nn.CrossEntropyLoss()  # such as a loss of boxes, in a batch without any
    Distiller(teacher, {"term": term}).attach(student, example=(IMAGES,))
    logits = [Net.forward(one, IMAGES) for one in (student, teacher)]
    expected = DKDLoss()(*logits, LABELS)
    torch.testing.assert_close(student.train()(IMAGES)["loss_term"], expected)
    term.inputs["labels"].pop()
    with pytest.raises(ValueError, match="layer 'idle.input' .* did not run"):
        student(IMAGES)


def test_an_input_that_the_loss_does_not_take_is_refused():
    with pytest.raises(
        ValueError, match=r"inputs must be some of \['labels'\], which DKDLoss takes"
    ):
        Term(DKDLoss(), "head", inputs=dict(label="loss.input[1]"))
