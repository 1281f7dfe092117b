"""Trial of every family of mmdet: each is distilled as the student of itself."""
