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

"""What the documentation of ROS 2's message_filters promises of the three names we use, for machines without it."""


class SimpleFilter:
    """Passes on what it is given."""

    def __init__(self):
        self._listeners = []

    def registerCallback(self, callback, *arguments):
        self._listeners.append((callback, arguments))
        return len(self._listeners) - 1

    def signalMessage(self, *message):
        for callback, arguments in self._listeners:
            callback(*message, *arguments)


class ApproximateTimeSynchronizer(SimpleFilter):
    """Passes on sets of messages, one of each filter in `fs`, whose header.stamp lie less than `slop` seconds apart.

    Of each filter the `queue_size` newest messages by their stamps wait for partners.
    """

    def __init__(self, fs, queue_size, slop, allow_headerless=False):
        super().__init__()
        self._queue_size, self._slop_ns = queue_size, slop * 1e9
        self._waiting = [{}, {}]
        for index, source in enumerate(fs):
            source.registerCallback(self._add, index)

    def _add(self, message, index):
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if stamp < 0:
            raise ValueError("Seconds value must not be negative")  # as rclpy.time.Time has it
        mine, others = self._waiting[index], self._waiting[1 - index]
        mine[stamp] = message
        while len(mine) > self._queue_size:
            del mine[min(mine)]
        near = [other for other in others if abs(other - stamp) < self._slop_ns]
        if stamp in mine and near:
            other = others.pop(min(near, key=lambda other: abs(other - stamp)))
            del mine[stamp]
            self.signalMessage(*((message, other) if index == 0 else (other, message)))
