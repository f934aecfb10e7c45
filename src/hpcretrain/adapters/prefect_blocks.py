"""The types of blocks that say what a home works with, for people to see and for flows of their own to load."""

from __future__ import annotations

from prefect.blocks.core import Block


class HpcretrainPolicy(Block):
    """The policy that a home decides by: the file in the home, and the digest of what it holds."""

    _block_type_name = "hpcretrain policy"

    path: str
    sha256: str


class HpcretrainCluster(Block):
    """The profile of the cluster that a home trains on, and the digest of what it held at set-up."""

    _block_type_name = "hpcretrain cluster profile"

    path: str
    sha256: str


class HpcretrainStore(Block):
    """Where a home keeps what it knows: its ledger, its MLflow store and its models."""

    _block_type_name = "hpcretrain store"

    home: str
    ledger: str
    mlflow: str
    models: str


BLOCKS: dict[str, type[HpcretrainPolicy] | type[HpcretrainCluster] | type[HpcretrainStore]] = {
    "policy": HpcretrainPolicy,
    "cluster": HpcretrainCluster,
    "store": HpcretrainStore,
}
