"""Train a model, distilled or plain: python tools/train.py CONFIG."""
from mmengine.runner import Runner
import sys, importlib
from mmengine.config import Config, DictAction
import argparse
p=argparse.ArgumentParser(); p.add_argument('config'); p.add_argument('--work-dir'); p.add_argument("--cfg-options",nargs="+",action=DictAction)
a=p.parse_args()
import kd_det, torch; torch.set_flush_denormal(True)
cfg=Config.fromfile(a.config)
if a.cfg_options: cfg.merge_from_dict(a.cfg_options)
cfg.work_dir=a.work_dir
Runner.from_cfg(cfg).train()
