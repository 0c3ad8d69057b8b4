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

"""The errors a user can cause. Each carries one clear line: what is wrong, where, and what to do."""


class DknError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(DknError):
    """An option, or a combination of options, that makes no sense."""


class CheckpointError(DknError):
    """A model file that is missing, damaged, or belongs to another network."""


class DataError(DknError):
    """A data set, recording or picture that is missing, damaged or laid out differently."""


class ImageError(DknError):
    """An image whose description does not match its contents, or whose format is not supported."""
