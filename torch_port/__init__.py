"""Deformable ConvNets in PyTorch: operators (ops), layers, networks (models) and training.

Each subpackage is imported by its own name; importing this one loads nothing.
"""
