"""Caltech-101 for retrieval and a pretrained pair: EfficientNet-Lite2, frozen, teaches Lite0.

`kdkit fetch efficientnet-lite` gets the weights.
"""

_base_ = "caltech100.py"

# Embeddings of 128 numbers from Lite0, whose first two stages are frozen. The teacher's are its
# 1,280 pooled features: nothing of it is trained.
model, teacher = (
    dict(
        trunk=dict(
            _delete_=True,
            type="kd_retrieval.TimmTrunk",
            name=name,
            checkpoint="{{$KD_DATA:data}}/weights/" + name + "_imagenet_fp16.safetensors",
        ),
        data_preprocessor=dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3),
    )
    for name in ("tf_efficientnet_lite0", "tf_efficientnet_lite2")
)
model["training"] = dict(
    frozen=("trunk.conv_stem", "trunk.bn1", "trunk.blocks.0", "trunk.blocks.1")
)
trained = dict(teacher=dict(config="kdkit::retrieval/teacher+caltech100_lite"))

layers = dict(low="trunk.blocks.2", mid=["trunk.blocks.3", "trunk.blocks.4"], high="trunk.blocks.6")
tuned = dict(_delete_=True)  # no weight was chosen for this pair
