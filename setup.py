"""Lists the packages of the distribution; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

MAPPED = {"thinksafe_components": "components", "thinksafe_configs": "configs", "thinksafe_pipelines": "pipelines"}

packages = find_packages(include=["thinksafe", "thinksafe.*"])
for name, folder in MAPPED.items():
    packages += [name, *(f"{name}.{found}" for found in find_packages(folder))]

setup(packages=packages)
