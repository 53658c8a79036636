"""Measurements that never change training."""
