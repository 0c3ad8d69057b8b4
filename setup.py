# Copyright 2026 dkn_ros maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Build description for colcon (ament_python) and pip alike. What ROS 2 reads of it is in package.xml."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "dkn_ros"
SHARE = f"share/{NAME}"


def files(*patterns: str) -> list[str]:
    return sorted(str(path) for pattern in patterns for path in Path().glob(pattern))


setup(
    name=NAME,
    version="0.1.0",
    description="Guided depth upsampling with deformable kernel networks, as a library and as a ROS 2 node",
    maintainer="dkn_ros maintainers",
    maintainer_email="maintainers@users.noreply.github.com",
    license="Apache-2.0",
    packages=find_packages(include=["dkn", "dkn.*", "dkn_ros", "dkn_ros.*"]),
    package_data={"dkn_ros.replay": ["*.html"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/launch", files("launch/*.launch.py")),
        (f"{SHARE}/config", files("config/*")),
        (f"{SHARE}/models", files("models/*.safetensors", "models/*.md")),
    ],
    python_requires=">=3.10",
    install_requires=[
        "h5py>=3.6",
        "jinja2>=3.0",
        "numpy>=1.21",
        "pyyaml>=5.4",
        "rosbags>=0.11.9",
        "safetensors>=0.4",
        "torch>=2.1",
        "tqdm>=4.57",
    ],
    # Any build of OpenCV will do, and a sourced ROS 2 brings its own, linked into its cv_bridge. A second one from pip
    # would hide that, and may pull in a NumPy that cv_bridge was not built for.
    extras_require={
        "opencv": ["opencv-contrib-python-headless>=4.5", "rosbags-image>=0.10"],
        "fast": ["numba>=0.59", "onnx>=1.14", "onnxruntime>=1.16", "openvino>=2024.4"],
        "train": ["lightning-fabric>=2.2", "pillow>=9.1", "tensorboard>=2.14"],
    },
    entry_points={
        "console_scripts": [
            "upsample = dkn_ros.__main__:run",
            "replay = dkn_ros.replay:main",
            "dkn-replay = dkn_ros.replay:main",
            "frames_to_bag = dkn_ros.bags.from_folder:main",
            "dkn-bag = dkn_ros.bags.from_folder:main",
            "dkn = dkn.__main__:main",
        ],
    },
)
