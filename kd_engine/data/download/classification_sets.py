"""Sources of the public classification datasets."""

from __future__ import annotations

from kd_engine.data.download.detection_sets import Part
from kd_engine.data.download.http import Source

_TORONTO = "https://www.cs.toronto.edu/~kriz"
_SVHN = "http://ufldl.stanford.edu/housenumbers"
_ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_ZALANDO_CODE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
_CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"


def _fashion(name: str, md5: str) -> Source:
    return Source((f"{_ZALANDO}/{name}", f"{_ZALANDO_CODE}/{name}"), md5=md5)


CLASSIFICATION_SETS: dict[str, tuple[Part, ...]] = {
    "cifar10": (
        Part(
            "cifar-10-batches-bin",
            (
                Source(
                    (f"{_TORONTO}/cifar-10-binary.tar.gz",), md5="c32a1d4ab5d03f1284b67883e8d87530"
                ),
            ),
            "cifar-10-batches-bin",
        ),
    ),
    "cifar100": (
        Part(
            "cifar-100-binary",
            (
                Source(
                    (f"{_TORONTO}/cifar-100-binary.tar.gz",), md5="03b5dce01913d631647c71ecec9e9cb8"
                ),
            ),
            "cifar-100-binary",
        ),
    ),
    "svhn": (
        Part(
            "svhn",
            (
                Source((f"{_SVHN}/train_32x32.mat",), md5="e26dedcc434d2e4c54c9b2d4a06d8373"),
                Source((f"{_SVHN}/test_32x32.mat",), md5="eb5a983be6a315427106f1b164d9cef3"),
            ),
            "",
        ),
    ),
    "tiny-imagenet": (
        Part(
            "tiny-imagenet-200",
            (
                Source(
                    ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                    md5="90528d7ca1a48142e341f4ef8d21d0de",
                ),
            ),
            "tiny-imagenet-200",
        ),
    ),
    "fashion-mnist": (
        Part(
            "fashion_mnist",
            (
                _fashion("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                _fashion("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
                _fashion("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
                _fashion("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
            ),
            "",
        ),
    ),
    "caltech101": (
        Part(
            "101_ObjectCategories",
            (Source((_CALTECH,), md5="3138e1922a9193bfa496528edbbc45d0"),),
            "101_ObjectCategories",
            nested=("caltech-101/101_ObjectCategories.tar.gz",),
        ),
    ),
}
