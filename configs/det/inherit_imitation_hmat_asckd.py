# kdkit train kdkit::det/inherit_imitation_hmat_asckd+bccd --with-teacher
"""FPN and heads inherited from the teacher, imitation of its neck, HMAT and ASCKD."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    # The laterals of the FPN stay the student's own: they read its backbone.
    inherit=["neck.fpn_convs", "rpn_head", "roi_head"],
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="neck[0:4]",
            normalize="batch",  # the weight does not depend on the teacher's scale
            weight=20.0,
        ),
        # A small share of the gradient: fixed weights took from imitation, in trials on digits.
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
            weight="auto",
            share=0.1,
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss"),
            layers="neck[0:4]",
            weight="auto",
            share=0.1,
        ),
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
