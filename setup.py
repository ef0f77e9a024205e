"""Finds the packages; everything else is in setup.cfg.

The folders experiments and export are installed inside lth_tf, so that a project with
folders of these names keeps its own.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "lth_tf": "lth_tf",
    "lth_tf.experiments": "experiments",
    "lth_tf.export": "export",
}

setup(
    package_dir=FOLDERS,
    packages=[
        name
        for package, folder in FOLDERS.items()
        for name in (package, *(f"{package}.{inside}" for inside in find_packages(folder)))
    ],
)
