"""The file of ImageNet's MobileNetV2: what docs/results.md was measured with, else torchvision's.

`kdkit fetch mobilenet-v2` gets torchvision's. The other was rebuilt from weights of 8 bits.
"""

import os

mobilenet_v2 = "{{$KD_DATA:data}}/weights/mobilenet_v2_imagenet_qat_fp16.safetensors"
if not os.path.exists(mobilenet_v2):
    mobilenet_v2 = "{{$KD_DATA:data}}/weights/mobilenet_v2_imagenet.safetensors"
