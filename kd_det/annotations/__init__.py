"""COCO annotation files and image headers."""
