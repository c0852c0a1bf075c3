"""Lists the packages of the distribution; everything else stands in pyproject.toml."""

from setuptools import find_namespace_packages, setup

FOLDERS = {
    "thinksafe": "thinksafe", "thinksafe_components": "components", "thinksafe_configs": "configs",
    "thinksafe_pipelines": "pipelines",
}

packages: list[str] = []
for name, folder in FOLDERS.items():
    # folders without Python files are packages, too: setuptools wants data to belong to one
    packages += [name, *(f"{name}.{found}" for found in find_namespace_packages(folder, exclude=["*__pycache__*"]))]

setup(packages=packages)
