# python tools/test.py configs/retrieval/caltech100/rkd.py --teacher     (nothing of it is trained)
"""The frozen ImageNet MobileNetV2, its 1,280 pooled features as the embedding."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TorchvisionTrunk",
        name="mobilenet_v2",
        checkpoint="{{$KD_DATA:data}}/weights/mobilenet_v2_imagenet_qat_fp16.safetensors",
    ),
)
