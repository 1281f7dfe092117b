"""Datasets for retrieval: images with a class, an id and a role."""

from kd_retrieval.datasets.base import BOTH, GALLERY, QUERY, Record, RetrievalDataset
from kd_retrieval.datasets.cars import Cars196
from kd_retrieval.datasets.csv_file import CSVFile
from kd_retrieval.datasets.cub import CUB200
from kd_retrieval.datasets.digits import BuiltInDigits
from kd_retrieval.datasets.folder import LabeledFolder
from kd_retrieval.datasets.inshop import InShop
from kd_retrieval.datasets.list_file import Caltech100, Omniglot
from kd_retrieval.datasets.sop import SOP

__all__ = [
    "BOTH",
    "GALLERY",
    "QUERY",
    "SOP",
    "BuiltInDigits",
    "CSVFile",
    "CUB200",
    "Caltech100",
    "Cars196",
    "InShop",
    "LabeledFolder",
    "Omniglot",
    "Record",
    "RetrievalDataset",
]
