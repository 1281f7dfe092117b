import pytest
from mmengine.config import Config

from kd_engine.config.parts import check_parts, require_training

SGD = {"type": "SGD", "lr": 0.1}


def check(**parts):
    check_parts(Config({"default_scope": "mmengine", **parts}))


class TestRequireTraining:
    def test_what_is_lacking_is_named(self):
        given = {"model": {"type": "X"}, "train_dataloader": {"dataset": {}}, "train_cfg": None}
        with pytest.raises(ValueError, match="it lacks train_cfg, optim_wrapper. Add them"):
            require_training(given)

    def test_a_student_that_is_no_model(self):
        given = dict.fromkeys(("train_dataloader", "train_cfg", "optim_wrapper"), {"a": 1})
        with pytest.raises(ValueError, match="student must be a model config"):
            require_training({"model": {"student": "resnet"}, **given})
        require_training({"model": {"student": {"type": "X"}}, **given})


class TestCheckParts:
    def test_settings_that_pass_through_several_classes(self):
        """MultiStepLR, AmpOptimWrapper hand what they do not know to the class above them."""
        check(
            param_scheduler=[
                {"type": "MultiStepLR", "milestones": [1], "by_epoch": True, "begin": 0},
                {"type": "LinearLR", "start_factor": 0.1, "convert_to_iter_based": True},
            ],
            optim_wrapper={
                "type": "AmpOptimWrapper", "optimizer": SGD, "loss_scale": 1.0,
                "clip_grad": {"max_norm": 1}, "paramwise_cfg": {}, "constructor": "X",
            },
        )  # fmt: skip

    def test_what_a_checkpoint_hook_hands_on(self):
        check(default_hooks={"checkpoint": {"type": "CheckpointHook", "save_optimizer": False}})

    def test_a_hook_that_takes_anything_is_left_alone(self):
        check(custom_hooks=[{"type": "EMAHook", "momentum": 0.1, "update_buffers": True}])

    @pytest.mark.parametrize("by_epoch", [True, False])
    def test_a_loop_without_a_type(self, by_epoch):
        name = "max_epochs" if by_epoch else "max_iters"
        check(train_cfg={"by_epoch": by_epoch, name: 3})
        other = "max_iters" if by_epoch else "max_epochs"
        with pytest.raises(ValueError, match=f"train_cfg: .* has no setting '{other}'"):
            check(train_cfg={"by_epoch": by_epoch, other: 3})

    def test_inside_a_wrapper_of_datasets(self):
        inner = {"type": "mmengine.dataset.BaseDataset", "ann_fiel": "x"}
        dataset = {"type": "RepeatDataset", "times": 2, "dataset": inner}
        with pytest.raises(ValueError, match=r"dataset\.dataset: BaseDataset.*ann_fiel"):
            check(train_dataloader={"dataset": dataset})
        several = {
            "type": "ConcatDataset",
            "datasets": [{"type": "mmengine.dataset.BaseDataset"}, inner],
        }
        with pytest.raises(ValueError, match=r"dataset\.datasets\.1: BaseDataset.*'ann_fiel'"):
            check(val_dataloader={"dataset": several})

    @pytest.mark.parametrize("evaluator", [[{"type": "x"}], {"type": "x"}])
    def test_evaluators(self, evaluator):
        check(val_evaluator=None)
        with pytest.raises(ValueError, match="val_evaluator.*type 'x' is not known as a metric"):
            check(val_evaluator=evaluator)

    @pytest.mark.parametrize("size", [0, -1, 2.5, "4", None])
    def test_a_batch_size_that_is_none(self, size):
        with pytest.raises(ValueError, match="test_dataloader.batch_size must be a whole number"):
            check(test_dataloader={"batch_size": size})
