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

"""The node: pairs of colour and depth messages in, upsampled depth out.

A frame's path: `Input` → `_receive` (message → array view) → synchroniser → mailbox of one → worker thread →
`_process` (`dkn.Upsampler`) → `Outputs` (array → reused message, publishers). The executor never waits for the network.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from dkn import DknError, ImageError, Upsampler
from dkn.depth.units import to_metres
from dkn_ros import messages
from dkn_ros.fast_dds import transport_advice
from dkn_ros.messages.calibration import info_problem, registration_problem
from dkn_ros.messages.camera_info import is_rectified
from dkn_ros.messages.limits import short
from dkn_ros.parameters import Options, declare, unknown
from dkn_ros.pipeline import diagnostics
from dkn_ros.pipeline.diagnostics import ERROR, OK, WARN, Health, Snapshot
from dkn_ros.pipeline.inputs import RECENT, Input
from dkn_ros.pipeline.lasting import THROTTLE, Lasting
from dkn_ros.pipeline.logs import follow_library
from dkn_ros.pipeline.outputs import Depth, Outputs, create_publisher
from dkn_ros.pipeline.point_cloud import Colored
from dkn_ros.pipeline.progress import QUIET, Counts, Progress
from dkn_ros.pipeline.symptoms import displacement_problem, loss_problem, range_problem, transport_loss
from dkn_ros.pipeline.sync import Pair, PairSynchronizer
from dkn_ros.pipeline.sync_message_filters import MessageFiltersSynchronizer
from dkn_ros.pipeline.topics import camera_info_topic
from dkn_ros.pipeline.worker import Worker
from dkn_ros.registration.registrar import Registrar, View
from dkn_ros.registration.transforms import TransformListener, parse_transform
from dkn_ros.upsampling import STARTUP_SCALE, Upsampling

NAME = "upsample"
LISTENER_PERIOD = 0.1  # seconds between looks for listeners and publishers
EVENTS = ("bad_color", "bad_depth", "failed")  # reasons to drop a message or pair that are somebody's fault
MOMENT = 0.2  # seconds without output that say nothing
PATIENCE = 10.0  # seconds after which it is worth a word that the camera is faster than the model
DISPLACED = 10.0  # seconds that colour stands beside depth: no camera turns for so long without a rest
LATE = 0.5  # seconds after its camera_info at which an image has not come


@dataclass(frozen=True)
class Frame:
    """One image that arrived: its header, and how to get at its pixels."""

    header: Any
    encoding: str
    arrived_s: float
    pixels: Callable[[], np.ndarray]


class UpsampleNode(Node):
    """The ROS 2 node. Topics and parameters: see the README.

    Raises:
        ConfigError: a parameter that makes no sense.
        CheckpointError: the model is missing or damaged.
    """

    def __init__(self, **node_options: Any):
        super().__init__(NAME, **node_options)
        with contextlib.ExitStack() as resources:  # which a construction that fails has to end
            resources.callback(logging.getLogger("dkn").removeHandler, follow_library(self.get_logger()))
            self.options = declare(self)
            self._upsampling = Upsampling(self.options, self._make_upsampler, self.get_logger().info)
            resources.callback(self._upsampling.close)
            self._health = Health()
            self._enabled = True
            self._active_since: float | None = None
            self._layouts: dict[str, tuple[Any, ...]] = {}
            self._infos: dict[str, Any] = {"color": None, "depth": None}
            self._rectified: dict[str, bool] = {}
            self._lasting = Lasting(self._log)
            self._progress = Progress()
            self._previous = self._health.snapshot()
            self._previous_received: dict[str, int] = {}

            self._diagnostics_publisher = create_publisher(self, DiagnosticArray, "/diagnostics", 10)
            self.create_service(SetBool, "~/enable", self._on_enable)
            self.add_on_set_parameters_callback(self._on_parameters)

            self._synchronizer = self._make_synchronizer(self.options)
            self._inputs = self._make_inputs(self.options)
            self._outputs = Outputs(
                self, "depth_upsampled", self._follow_listeners, self._on_worker_error, self.options.pointcloud
            )
            resources.callback(self._outputs.close)
            self._transforms = TransformListener(self)
            device = str(self._upsampling.upsampler.device)
            self._registrar = Registrar(self._transforms.lookup, partial(self._log, OK), device)
            self._worker: Worker[Pair[Frame, Frame]] = Worker(self._process, self._on_worker_error, "upsampling")
            resources.callback(self._worker.close)
            # Housekeeping goes on when simulated time stands still.
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._wait_timer = self.create_timer(self.options.max_wait, self._poll, clock=steady)
            self._wait_timer.cancel()
            self._listener_timer = self.create_timer(LISTENER_PERIOD, self._follow_listeners, clock=steady)
            self.create_timer(self.options.diagnostics_period, self._publish_diagnostics, clock=steady)
            mode, upsampler = self.options.mode, self._upsampling.upsampler
            by = "" if upsampler.model_name == Path(mode).stem else f" by {upsampler.model_name}"
            self.get_logger().info(
                f"{mode}{by}, engine {upsampler.engine_name}; "
                f"colour {self._inputs['color'].topic}, depth {self._inputs['depth'].topic} "
                f"→ {self._outputs.topic}"
            )
            for sentence in unknown(self):
                self.get_logger().warning(sentence)
            self._resources = resources.pop_all()

    def close(self) -> None:
        """End the threads. Call before the node is destroyed."""
        self._resources.close()

    # ------------------------------------------------------------------------------------------- construction

    def _make_upsampler(self, model: str, p: Options) -> Upsampler:
        upsampler = Upsampler(model, scale=p.scale or None, align_color=False, compile_first=False, **p.of_upsampler())
        # A model that cannot be used is refused here and now, not when the first frame comes.
        upsampler.load(p.scale or STARTUP_SCALE)
        return upsampler

    def _make_synchronizer(self, p: Options) -> Any:
        if p.synchronizer == "message_filters":
            return MessageFiltersSynchronizer(_nanoseconds(p.slop), p.queue_size)
        return PairSynchronizer(_nanoseconds(p.slop), p.queue_size, _nanoseconds(p.max_wait))

    def _make_inputs(self, p: Options) -> dict[str, Input]:
        def make(topic: str, message_type: type, callback: Callable[[Any], None]) -> Input:
            reliability = "auto" if message_type is CameraInfo else p.reliability  # that is for images to lose
            return Input(self, topic, message_type, callback, reliability)

        def make_image(stream: str, transport: str) -> Input:
            # image_transport's convention: <base topic>/<transport>, also after the base topic has been remapped.
            topic, callback = self.resolve_topic_name(f"{stream}/image_raw"), partial(self._receive, stream)
            if transport == "raw":
                return make(topic, Image, callback)
            return make(f"{topic}/{transport}", CompressedImage, callback)

        def make_info(stream: str, image_topic: str) -> Input:
            topic = camera_info_topic(self, f"{stream}/camera_info", image_topic)
            self._rectified[stream] = is_rectified(image_topic)
            return make(topic, CameraInfo, partial(self._receive_info, stream))

        inputs = {}
        for stream, transport in (("color", p.color_transport), ("depth", p.depth_transport)):
            inputs[stream] = make_image(stream, transport)
            inputs[f"{stream}_info"] = make_info(stream, inputs[stream].topic.removesuffix(f"/{transport}"))
        return inputs

    # ------------------------------------------------------------------------------- on the executor: messages

    def _receive(self, stream: str, message: Any) -> None:
        now = time.monotonic()
        try:
            frame = self._frame(stream, message, now)
        except ImageError as error:
            self._refuse(stream, error)
            return
        add = self._synchronizer.add_color if stream == "color" else self._synchronizer.add_depth
        self._hand_over(add(messages.stamp_ns(message), frame, _nanoseconds(now)))

    def _frame(self, stream: str, message: Any, now: float) -> Frame:
        """A message as a frame. Raw ones are checked and viewed here, so that a bad one never takes a good
        partner with it; compressed ones are decoded on the worker thread."""
        header, limit = message.header, self.options.max_pixels
        if header.stamp.sec < 0:
            raise ImageError(f"its stamp, {header.stamp.sec} s, lies before the beginning of time")
        if isinstance(message, CompressedImage):
            decode = messages.color_from_compressed if stream == "color" else messages.depth_from_compressed
            self._note_layout(stream, header.frame_id)  # whether the format is true is not known yet
            return Frame(header, message.format.partition(";")[0].strip(), now, partial(decode, message, limit))
        view = messages.color_from_image if stream == "color" else messages.depth_from_image
        pixels = view(message, limit)
        self._note_layout(stream, message.encoding, f"{message.width}x{message.height}", header.frame_id)
        return Frame(header, message.encoding, now, lambda: pixels)

    def _note_layout(self, stream: str, *layout: Any) -> None:
        """Start pairing anew when a stream becomes another one."""
        before = self._layouts.get(stream)
        if before != layout:
            self._layouts[stream] = layout
            if before is not None:
                info = self._infos[stream]
                if before[-1] != layout[-1] and info is not None and info.header.frame_id == before[-1]:
                    self._infos[stream] = None  # it was another camera's, and this one may have none
                self._synchronizer.reset(f"{stream}_changed")
                text = f"{stream} changed from {_quoted(before)} to {_quoted(layout)}"
                self.get_logger().info(text, throttle_duration_sec=THROTTLE)

    def _receive_info(self, stream: str, info: Any) -> None:
        self._infos[stream] = info

    def _poll(self) -> None:
        self._hand_over(self._synchronizer.poll(time.monotonic_ns()))

    def _hand_over(self, pairs: list[Pair[Frame, Frame]]) -> None:
        for pair in pairs:
            if self._worker.mailbox.put(pair) is not None:
                self._health.drop("superseded")
        waiting = self._synchronizer.deadline_ns() is not None
        if waiting and self._wait_timer.is_canceled():
            self._wait_timer.reset()
        elif not waiting:
            self._wait_timer.cancel()

    # ---------------------------------------------------------------------------------- on the worker thread

    def _process(self, pair: Pair[Frame, Frame]) -> None:
        started_s, p = time.monotonic(), self.options
        color = self._decoded("color", pair.color)
        depth = self._decoded("depth", pair.depth)
        if color is None or depth is None:
            return
        metres = to_metres(depth, p.depth_unit)
        registered = self._registered(pair, color, metres)
        self._note_contents(pair, color, metres, registered is not None)
        metres = metres if registered is None else registered
        stamp = pair.depth.header.stamp
        result = self._upsampling(color, metres, stamp.sec + 1e-9 * stamp.nanosec)
        nothing = loss_problem(self._inputs["depth"].topic, depth, registered, result, p.min_confidence)
        self._note_frame("nothing", nothing, after_s=QUIET)
        encoding = pair.depth.encoding if p.output_encoding == "auto" else p.output_encoding
        if encoding not in messages.DEPTH_ENCODINGS:  # a plain compressed PNG or TIFF names none
            encoding = "32FC1" if depth.dtype.kind == "f" else "16UC1"
        frame_id = pair.color.header.frame_id
        info = self._infos["color"]
        displacement, rectified = self._upsampling.displacement, self._rectified["color"]
        self._note_frame("displacement", displacement_problem(*displacement), after_s=DISPLACED)
        colored = Colored(
            result,
            self._upsampling.color,
            displacement,
            info,
            rectified,
            p.points_decimation,
            p.points_voxel_size,
            frame_id,
            stamp,
        )
        confidence = self._upsampling.confidence(result, metres) if self._outputs.wants_confidence else None
        self._outputs.publish(Depth(result, encoding, frame_id, stamp), info, colored, confidence)
        now = self.get_clock().now()
        running = now.nanoseconds > 0  # simulated time stands at zero until somebody publishes /clock
        from_stamp = (now - Time.from_msg(stamp, now.clock_type)).nanoseconds / 1e6 if running else None
        self._upsampling.took(time.monotonic() - started_s, color, metres)
        arrived = max(pair.color.arrived_s, pair.depth.arrived_s)
        self._health.publish(from_stamp, 1e3 * (time.monotonic() - arrived))

    def _decoded(self, stream: str, frame: Frame) -> np.ndarray | None:
        try:
            return frame.pixels()
        except ImageError as error:
            self._refuse(stream, error)
            return None

    def _registered(self, pair: Pair[Frame, Frame], color: np.ndarray, metres: np.ndarray) -> np.ndarray | None:
        """Depth registered to colour by ourselves, or None where it is taken as it is."""
        p = self.options
        color_view, depth_view = (
            View(frame.header.frame_id, self._infos[stream], pixels.shape[1], pixels.shape[0], self._rectified[stream])
            for stream, frame, pixels in (("color", pair.color, color), ("depth", pair.depth, metres))
        )
        given = parse_transform(p.depth_to_color) if p.depth_to_color else None
        return self._registrar(metres, color_view, depth_view, p.registration, given)

    def _note_contents(
        self, pair: Pair[Frame, Frame], color: np.ndarray, metres: np.ndarray, registered_here: bool
    ) -> None:
        """Whether depth is registered and in range, and camera_info of use."""
        p, infos = self.options, dict(self._infos)
        frames = pair.color.header.frame_id, pair.depth.header.frame_id
        color_size, depth_size = (color.shape[1], color.shape[0]), (metres.shape[1], metres.shape[0])
        unregistered = None
        if not registered_here:
            unregistered = registration_problem(*frames, infos["color"], infos["depth"], color_size, depth_size)
            if unregistered:
                lacking = self._transforms.problem or self._registrar.reason or "set registration to internal"
                unregistered += f"; or let the node register it: {lacking}"
        self._note_frame("registration", unregistered)
        useless = infos["color"] and info_problem(infos["color"], color_size)
        topic = self._inputs["color_info"].topic
        self._note_frame("camera_info", useless and f"camera_info on {topic} is of no use: {useless}")
        self._note_frame("range", range_problem(metres, pair.depth.encoding, p.min_depth, p.max_depth))

    def _note_frame(self, key: str, sentence: str | None, after_s: float = 0.0) -> None:
        """Whether something is wrong with the frame at work. That does not outlive the frames."""
        self._lasting.note(key, sentence, time.monotonic(), after_s=after_s, hold_s=QUIET)

    def _refuse(self, stream: str, error: ImageError) -> None:
        """Count a message that cannot be used, and say why. On either thread."""
        self._health.drop(f"bad_{stream}")
        self._note_event(f"bad_{stream}", f"bad {stream} message: {error}")

    def _on_worker_error(self, error: BaseException) -> None:
        known = isinstance(error, DknError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        if not isinstance(error, Exception):
            text = f"the thread died of {text} and was started anew"
        self._health.drop("failed")
        self._note_event("failed", f"frame dropped, upsampling failed: {text}")

    def _note_event(self, key: str, sentence: str) -> None:
        """Something went wrong with one message or pair."""
        now_s, hold_s = time.monotonic(), max(THROTTLE, self.options.diagnostics_period)
        self._lasting.note(key, sentence, now_s, level=self._event_level(now_s), hold_s=hold_s)

    def _event_level(self, now_s: float) -> int:
        """What goes wrong now and then is a warning; an error where nothing goes well."""
        return WARN if now_s - self._health.published_s < max(self.options.diagnostics_period, MOMENT) else ERROR

    def _log(self, level: int, line: str) -> None:
        # A line each, since rclpy keeps a level with the line that logs.
        if level == ERROR:
            self.get_logger().error(line)
        elif level == WARN:
            self.get_logger().warning(line)
        else:
            self.get_logger().info(line)

    # ------------------------------------------------------------------------- on the executor: housekeeping

    def _follow_listeners(self) -> None:
        """Subscriptions exist only while somebody listens to the result, and the node is enabled."""
        wanted = self._enabled and self._outputs.heard
        if wanted and self._active_since is None:
            self._active_since = time.monotonic()
        elif not wanted and self._active_since is not None:
            self._active_since = None
            self._layouts.clear()
            self._infos = dict.fromkeys(self._infos)  # another camera may come, without a camera_info
            self._progress.clear()
            self._lasting.forget(kept="mode")  # which is no fault of a stream
            self._synchronizer.reset("idle")
            if self._worker.mailbox.clear() is not None:
                self._health.drop("idle")
        for source in self._inputs.values():
            source.update(wanted)
        self._transforms.update(wanted and self._needs_transforms)
        # Only while it is active need it look again, for publishers that change their reliability.
        if not wanted and self._outputs.reports_listeners:
            self._listener_timer.cancel()
        elif self._listener_timer.is_canceled():
            self._listener_timer.reset()

    @property
    def _needs_transforms(self) -> bool:
        frames = {layout[-1] for layout in self._layouts.values()}
        return len(frames) > 1 and self.options.registration != "off" and not self.options.depth_to_color

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._follow_listeners()
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed = self.options.changed(parameters)
            self._upsampling.apply(changed, retry=any(parameter.name == "mode" for parameter in parameters))
        except DknError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._synchronizer.slop_ns = _nanoseconds(changed.slop)
        self.options = changed
        self._progress.clear()  # what was seen with other values says nothing of these
        return SetParametersResult(successful=True)

    # ------------------------------------------------------------------------------------------- diagnostics

    def _publish_diagnostics(self) -> None:
        self._follow_listeners()  # should an event ever be lost, it is a matter of a second
        now, before = self._health.snapshot(), self._previous
        received = {name: source.received for name, source in self._inputs.items()}
        seconds = max(now.time_s - before.time_s, 1e-3)
        rates = {name: (count - self._previous_received.get(name, 0)) / seconds for name, count in received.items()}
        statistics = self._synchronizer.statistics
        problems = self._problems(now)
        self._previous, self._previous_received = now, received

        pairing = {
            f"dropped {stream} {reason}": count
            for stream, reasons in statistics.dropped.items()
            for reason, count in sorted(reasons.items())
        }
        values: dict[str, object] = {
            **self._upsampling.values(),
            "state": "active" if self._active_since is not None else "idle" if self._enabled else "disabled",
            "color rate [Hz]": rates["color"],
            "depth rate [Hz]": rates["depth"],
            "output rate [Hz]": (now.published - before.published) / seconds,
            "received color": received["color"],
            "received depth": received["depth"],
            "published": now.published,
            **{f"latency from stamp {name} [ms]": value for name, value in now.from_stamp_ms.items()},
            **{f"latency from arrival {name} [ms]": value for name, value in now.from_arrival_ms.items()},
            "matched": statistics.matched,
            "late": statistics.late,
            **pairing,
            **{f"dropped {reason}": count for reason, count in sorted(now.dropped.items())},
            "dropped compressedDepth superseded": self._outputs.superseded,
            **self._points_values(),
            "worker restarts": self._worker.restarts,
            **{f"resets {reason}": count for reason, count in sorted(statistics.resets.items())},
            "stamp difference last [ms]": statistics.last_difference_ns / 1e6,
            "stamp difference mean [ms]": statistics.mean_difference_ns / 1e6,
            "stamp difference max [ms]": statistics.max_difference_ns / 1e6,
            **{f"lost on the transport {name}": source.lost for name, source in self._inputs.items()},
        }
        name = f"{self.get_fully_qualified_name()}: depth upsampling"
        status = diagnostics.status(name, self._hardware_id(), problems, values)
        self._diagnostics_publisher.publish(diagnostics.array(self.get_clock().now().to_msg(), status))

    def _points_values(self) -> dict[str, object]:
        points = self._outputs.points
        return {"points superseded": points.superseded, "points [ms]": points.cost_ms} if points else {}

    def _hardware_id(self) -> str:
        info = self._infos["color"]
        return info.header.frame_id if info is not None else ""

    def _problems(self, now: Snapshot) -> list[tuple[int, str]]:
        """What is wrong at this moment, as (level, sentence)."""
        note = partial(self._lasting.note, now_s=now.time_s)
        note("mode", failure := self._upsampling.failure or None, level=ERROR)
        if self._active_since is None:
            rest = OK, "idle: nobody listens" if self._enabled else "disabled by ~/enable"
            return [rest, (ERROR, failure)] if failure else [rest]
        active_s = now.time_s - self._active_since
        for name, source in self._inputs.items():
            note(f"{name} QoS", source.incompatible, level=ERROR if name in self._infos else WARN)
            missing = not source.incompatible and min(active_s, now.time_s - source.received_s) > QUIET
            if name in self._infos:
                note(f"{name} absent", source.absence() if missing else None)
                note(f"{name} loss", self._loss(name, now.time_s))
        without = self._infos["color"] is None and now.published and active_s > QUIET
        topic = self._inputs["color_info"].topic
        note("info", f"nothing received on {topic}: output without camera_info" if without else None)
        self._note_progress(now)
        for event in EVENTS:
            self._lasting.grade(event, self._event_level(now.time_s), now.time_s)
        points = self._outputs.points
        note("points", points.problem or None if points and points.heard else None)
        note("engine", self._upsampling.upsampler.engine_failure or None)
        note("model", self._upsampling.unusable or None)
        note("rate", self._upsampling.problem)
        return self._lasting.problems(now.time_s)

    def _loss(self, name: str, now_s: float) -> str | None:
        sent = self._inputs[f"{name}_info"].stamps(now_s - RECENT + LATE, now_s - LATE)
        share = transport_loss(sent, self._inputs[name].stamps())
        if share is None:
            return None
        lost = f"{100 * share:.0f} % of the images on {self._inputs[name].topic} are lost on the transport"
        return f"{lost}: {transport_advice()}"

    def _note_progress(self, now: Snapshot) -> None:
        """Whether what comes in is paired, and what is paired goes out."""
        statistics = self._synchronizer.statistics
        dropped = {stream: Counter(reasons) for stream, reasons in statistics.dropped.items()}
        sources = {stream: self._inputs[stream] for stream in self._infos}
        received = {stream: source.received for stream, source in sources.items()}
        self._progress.add(Counts(now, received, statistics.matched, dropped))
        found = self._progress.problems(
            {stream: source.topic for stream, source in sources.items()},
            {stream: source.stamps(self._progress.since_s) for stream, source in sources.items()},
            self._synchronizer.slop_ns,
        )
        for problem in found:
            if problem.key == "busy" and self._upsampling.is_busy:
                continue
            self._lasting.note(problem.key, problem.sentence, now.time_s, after_s=problem.after_s)
        behind = (rates := self._progress.rates_hz) and self._upsampling.behind(*rates)
        self._lasting.note("behind", behind, now.time_s, level=OK, after_s=PATIENCE)


def _quoted(layout: tuple[Any, ...]) -> str:
    return f"({', '.join(short(value) for value in layout)})"


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
