"""Losses of distillation; see each file for its formula and paper."""

from kd_core.losses.asckd import ASCKDLoss
from kd_core.losses.attention_transfer import AttentionTransferLoss
from kd_core.losses.box_response import BoxResponseLoss
from kd_core.losses.centerness_response import CenternessResponseLoss
from kd_core.losses.channel_attention import ChannelAttentionLoss
from kd_core.losses.channel_distillation import ChannelDistillationLoss
from kd_core.losses.channel_relation import ChannelRelationLoss
from kd_core.losses.channel_wise import ChannelWiseLoss
from kd_core.losses.class_response import ClassResponseLoss
from kd_core.losses.correlation_congruence import CorrelationCongruenceLoss
from kd_core.losses.crd import CRDLoss
from kd_core.losses.dark_rank import DarkRankLoss
from kd_core.losses.dist import DISTLoss
from kd_core.losses.distribution_response import DistributionResponseLoss
from kd_core.losses.dkd import DKDLoss
from kd_core.losses.embedding_cosine import EmbeddingCosineLoss
from kd_core.losses.fbkd import FBKDLoss
from kd_core.losses.feature_imitation import FeatureImitationLoss
from kd_core.losses.fgd import FGDLoss
from kd_core.losses.flow_of_solution_procedure import FlowOfSolutionProcedureLoss
from kd_core.losses.hmat import HMATLoss
from kd_core.losses.localization_region import LocalizationRegionLoss
from kd_core.losses.mgd import MGDLoss
from kd_core.losses.ofd import OFDLoss
from kd_core.losses.pearson_feature import PearsonFeatureLoss
from kd_core.losses.position_attention import PositionAttentionLoss
from kd_core.losses.probabilistic_transfer import ProbabilisticTransferLoss
from kd_core.losses.query_response import QueryResponseLoss
from kd_core.losses.region_box import RegionBoxLoss
from kd_core.losses.relational_angle import RelationalAngleLoss
from kd_core.losses.relational_distance import RelationalDistanceLoss
from kd_core.losses.relaxed_contrastive import RelaxedContrastiveLoss
from kd_core.losses.review_kd import ReviewKDLoss
from kd_core.losses.selective_target import SelectiveTargetLoss
from kd_core.losses.similarity_preserving import SimilarityPreservingLoss
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.losses.srrl import SRRLLoss
from kd_core.losses.vid import VIDLoss

__all__ = [
    "ASCKDLoss",
    "AttentionTransferLoss",
    "BoxResponseLoss",
    "CRDLoss",
    "CenternessResponseLoss",
    "ChannelAttentionLoss",
    "ChannelDistillationLoss",
    "ChannelRelationLoss",
    "ChannelWiseLoss",
    "ClassResponseLoss",
    "CorrelationCongruenceLoss",
    "DISTLoss",
    "DKDLoss",
    "DarkRankLoss",
    "DistributionResponseLoss",
    "EmbeddingCosineLoss",
    "FBKDLoss",
    "FGDLoss",
    "FeatureImitationLoss",
    "FlowOfSolutionProcedureLoss",
    "HMATLoss",
    "LocalizationRegionLoss",
    "MGDLoss",
    "OFDLoss",
    "PearsonFeatureLoss",
    "PositionAttentionLoss",
    "ProbabilisticTransferLoss",
    "QueryResponseLoss",
    "RegionBoxLoss",
    "RelationalAngleLoss",
    "RelationalDistanceLoss",
    "RelaxedContrastiveLoss",
    "ReviewKDLoss",
    "SRRLLoss",
    "SelectiveTargetLoss",
    "SimilarityPreservingLoss",
    "SoftTargetLoss",
    "VIDLoss",
]
