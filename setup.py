"""Packages of the wheel: all of pyproject.toml, and configs/ and weights/, which travel inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["maskstream", "maskstream.*"]), "maskstream.configs", "maskstream.weights"],
    package_dir={"maskstream.configs": "configs", "maskstream.weights": "weights"},
)
