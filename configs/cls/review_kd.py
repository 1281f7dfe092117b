# kdkit train kdkit::cls/review_kd+digits --with-teacher
"""ReviewKD: stages and the pooled feature, fused from deep to shallow, imitate the teacher's."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        review_kd=dict(
            loss=dict(type="kd_core.losses.ReviewKDLoss"),
            layers=[*_base_.stages, _base_.pool],
            weight=1.0,  # the authors': 0.6 to 8, by the pair
            # The authors' first 20 of 240 epochs, as a share of the run.
            schedule=dict(type="kd_core.schedules.LinearWarmup", end=0.083, unit="share"),
        ),
    ),
)
model["terms"]["review_kd"].update(_base_.tuned.get("review_kd", {}))
