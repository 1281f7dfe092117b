"""An interpreter in which no OpenMMLab package can be imported: its sitecustomize.py."""

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mmengine", "mmcv", "mmdet"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""
