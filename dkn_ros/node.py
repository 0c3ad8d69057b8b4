"""The node: pairs of colour and depth messages in, upsampled depth out.

A frame's way: `Input` → `_receive` (message → array view) → synchroniser → mailbox of one → worker thread →
`_process` (`dkn.Upsampler`) → `Outputs` (array → reused message, publishers). The executor never waits for the network.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from dkn import DknError, ImageError, Upsampler
from dkn.depth import to_metres
from dkn_ros import diagnostics, images
from dkn_ros.calibration import registration_problem
from dkn_ros.diagnostics import Health, Snapshot
from dkn_ros.inputs import Input
from dkn_ros.logs import follow_library
from dkn_ros.outputs import Depth, Outputs
from dkn_ros.parameters import Parameters, declare
from dkn_ros.share import transport_advice
from dkn_ros.sync import Pair, PairSynchronizer
from dkn_ros.sync_message_filters import MessageFiltersSynchronizer
from dkn_ros.worker import Worker

NAME = "upsample"
LISTENER_PERIOD = 0.1  # seconds between looks for listeners and publishers
QUIET = 2.0  # seconds without a message that are worth a warning
LOG_LENGTH = 300  # characters of a log line that quotes what others sent
THROTTLE = 5.0  # seconds between two log lines of the same kind
LOSS = 0.1  # share of images missing that is worth a warning
STARTUP_SCALE = 8  # model of a family that is loaded before the first frame tells the scale

OK, WARN, ERROR = 0, 1, 2


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
        self._log_handler = follow_library(self.get_logger())
        self.parameters = declare(self)
        self._upsampler = self._make_upsampler(self.parameters)
        self._health = Health()
        self._enabled = True
        self._active_since: float | None = None
        self._layouts: dict[str, tuple[Any, ...]] = {}
        self._infos: dict[str, Any] = {"color": None, "depth": None}
        self._registration: str | None = None
        self._transport_warned = False
        self._previous = self._health.snapshot()
        self._previous_received: dict[str, int] = {}
        self._previous_repeats: dict[str, int] = {}

        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.add_on_set_parameters_callback(self._on_parameters)

        self._synchronizer = self._make_synchronizer(self.parameters)
        self._inputs = self._make_inputs(self.parameters)
        self._outputs = Outputs(self, "depth_upsampled", self._follow_listeners, self._on_worker_error)
        self._worker: Worker[Pair[Frame, Frame]] = Worker(self._process, self._on_worker_error, "upsampling")
        # Housekeeping goes on when simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._wait_timer = self.create_timer(self.parameters.max_wait, self._poll, clock=steady)
        self._wait_timer.cancel()
        self._listener_timer = self.create_timer(LISTENER_PERIOD, self._follow_listeners, clock=steady)
        self.create_timer(self.parameters.diagnostics_period, self._publish_diagnostics, clock=steady)
        self.get_logger().info(
            f"{self.parameters.mode}, engine {self._upsampler.engine_name}; "
            f"colour {self._inputs['color'].topic}, depth {self._inputs['depth'].topic} "
            f"→ {self._outputs.topic}"
        )

    def close(self) -> None:
        """End the threads. Call before the node is destroyed."""
        self._worker.close()
        self._outputs.close()
        logging.getLogger("dkn").removeHandler(self._log_handler)

    # ------------------------------------------------------------------------------------------- construction

    def _make_upsampler(self, p: Parameters) -> Upsampler:
        upsampler = Upsampler(
            p.mode,
            scale=p.scale or None,
            device=p.device,
            engine=p.engine,
            precision=p.precision,
            fill_holes=p.fill_holes,
            min_depth=p.min_depth,
            max_depth=p.max_depth,
        )
        # A model that cannot be used is refused here and now, not when the first frame comes.
        upsampler.load(p.scale or STARTUP_SCALE)
        return upsampler

    def _make_synchronizer(self, p: Parameters) -> Any:
        if p.synchronizer == "message_filters":
            return MessageFiltersSynchronizer(_nanoseconds(p.slop), p.queue_size)
        return PairSynchronizer(_nanoseconds(p.slop), p.queue_size, _nanoseconds(p.max_wait))

    def _make_inputs(self, p: Parameters) -> dict[str, Input]:
        def make(topic: str, message_type: type, callback: Callable[[Any], None]) -> Input:
            return Input(self, topic, message_type, callback, p.reliability, self.get_logger().error)

        def make_image(stream: str, transport: str) -> Input:
            # image_transport's convention: <base topic>/<transport>, also after the base topic has been remapped.
            topic, callback = self.resolve_topic_name(f"{stream}/image_raw"), partial(self._receive, stream)
            if transport == "raw":
                return make(topic, Image, callback)
            return make(f"{topic}/{transport}", CompressedImage, callback)

        return {
            "color": make_image("color", p.color_transport),
            "depth": make_image("depth", p.depth_transport),
            "color_info": make("color/camera_info", CameraInfo, partial(self._receive_info, "color")),
            "depth_info": make("depth/camera_info", CameraInfo, partial(self._receive_info, "depth")),
        }

    # ------------------------------------------------------------------------------- on the executor: messages

    def _receive(self, stream: str, message: Any) -> None:
        now = time.monotonic()
        try:
            frame = self._frame(stream, message, now)
        except ImageError as error:
            self._refuse(stream, error)
            return
        add = self._synchronizer.add_color if stream == "color" else self._synchronizer.add_depth
        self._hand_over(add(images.stamp_ns(message), frame, _nanoseconds(now)))

    def _frame(self, stream: str, message: Any, now: float) -> Frame:
        """A message as a frame. Raw ones are checked and viewed here, so that a bad one never takes a good
        partner with it; compressed ones are decoded on the worker thread."""
        header, limit = message.header, self.parameters.max_pixels
        if header.stamp.sec < 0:
            raise ImageError(f"its stamp, {header.stamp.sec} s, lies before the beginning of time")
        if isinstance(message, CompressedImage):
            decode = images.color_from_compressed if stream == "color" else images.depth_from_compressed
            self._note_layout(stream, header.frame_id)  # whether the format is true is not known yet
            return Frame(header, message.format.partition(";")[0].strip(), now, partial(decode, message, limit))
        view = images.color_from_image if stream == "color" else images.depth_from_image
        pixels = view(message, limit)
        self._note_layout(stream, message.encoding, f"{message.width}x{message.height}", header.frame_id)
        return Frame(header, message.encoding, now, lambda: pixels)

    def _note_layout(self, stream: str, *layout: Any) -> None:
        """Start pairing anew when a stream becomes another one."""
        before = self._layouts.get(stream)
        if before != layout:
            self._layouts[stream] = layout
            if before is not None:
                self._synchronizer.reset(f"{stream}_changed")
                text = f"{stream} changed from {before} to {layout}"
                self.get_logger().info(text[:LOG_LENGTH], throttle_duration_sec=THROTTLE)

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
        upsampler, p = self._upsampler, self.parameters
        color = self._decoded("color", pair.color)
        depth = self._decoded("depth", pair.depth)
        if color is None or depth is None:
            return
        result = upsampler(color, to_metres(depth))
        encoding = pair.depth.encoding if p.output_encoding == "auto" else p.output_encoding
        if encoding not in images.DEPTH_ENCODINGS:  # a plain compressed PNG names no encoding
            encoding = "16UC1"
        frame_id, stamp = pair.color.header.frame_id, pair.depth.header.stamp
        info = self._infos["color"]
        self._check_registration(pair, info)
        self._outputs.publish(Depth(result, encoding, frame_id, stamp), info)
        now = self.get_clock().now()
        running = now.nanoseconds > 0  # simulated time stands at zero until somebody publishes /clock
        from_stamp = (now - Time.from_msg(stamp, now.clock_type)).nanoseconds / 1e6 if running else None
        arrived = max(pair.color.arrived_s, pair.depth.arrived_s)
        self._health.publish(from_stamp, 1e3 * (time.monotonic() - arrived))

    def _decoded(self, stream: str, frame: Frame) -> np.ndarray | None:
        try:
            return frame.pixels()
        except ImageError as error:
            self._refuse(stream, error)
            return None

    def _refuse(self, stream: str, error: ImageError) -> None:
        """Count a message that cannot be used, and say why. On either thread."""
        self._health.drop(f"bad_{stream}", f"bad {stream} message: {error}")
        self.get_logger().error(f"{stream} message dropped: {error}", throttle_duration_sec=THROTTLE)

    def _check_registration(self, pair: Pair[Frame, Frame], color_info: Any) -> None:
        frames = pair.color.header.frame_id, pair.depth.header.frame_id
        before, self._registration = self._registration, registration_problem(*frames, color_info, self._infos["depth"])
        if self._registration and self._registration != before:
            self.get_logger().warning(self._registration[:LOG_LENGTH], throttle_duration_sec=THROTTLE)

    def _on_worker_error(self, error: BaseException) -> None:
        known = isinstance(error, DknError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        if not isinstance(error, Exception):
            text = f"the thread died of {text} and was started anew"
        self._health.drop("failed", f"upsampling failed: {text}")
        self.get_logger().error(f"frame dropped, upsampling failed: {text}", throttle_duration_sec=THROTTLE)

    # ------------------------------------------------------------------------- on the executor: housekeeping

    def _follow_listeners(self) -> None:
        """Subscriptions exist only while somebody listens to the result, and the node is enabled."""
        wanted = self._enabled and self._outputs.heard
        if wanted and self._active_since is None:
            self._active_since = time.monotonic()
        elif not wanted and self._active_since is not None:
            self._active_since = None
            self._layouts.clear()
            self._synchronizer.reset("idle")
            if self._worker.mailbox.clear() is not None:
                self._health.drop("idle")
        for source in self._inputs.values():
            source.update(wanted)
        # Only while it is active need it look again, for publishers that change their reliability.
        if not wanted and self._outputs.tells:
            self._listener_timer.cancel()
        elif self._listener_timer.is_canceled():
            self._listener_timer.reset()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._follow_listeners()
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed = self.parameters.changed(parameters)
            if changed.mode != self.parameters.mode:
                self._upsampler = self._make_upsampler(changed)
                self.get_logger().info(f"mode is now {changed.mode}")
        except DknError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._upsampler.fill_holes = changed.fill_holes
        self._upsampler.min_depth, self._upsampler.max_depth = changed.min_depth, changed.max_depth
        self._synchronizer.slop_ns = _nanoseconds(changed.slop)
        self.parameters = changed
        return SetParametersResult(successful=True)

    # ------------------------------------------------------------------------------------------- diagnostics

    def _publish_diagnostics(self) -> None:
        self._follow_listeners()  # should an event ever be lost, it is a matter of a second
        now, before = self._health.snapshot(), self._previous
        received = {name: source.received for name, source in self._inputs.items()}
        seconds = max(now.time_s - before.time_s, 1e-3)
        rates = {name: (count - self._previous_received.get(name, 0)) / seconds for name, count in received.items()}
        statistics = self._synchronizer.statistics
        repeats = {stream: reasons["duplicate"] for stream, reasons in statistics.dropped.items()}
        problems = self._problems(now, rates, repeats)
        self._previous, self._previous_received, self._previous_repeats = now, received, repeats

        pairing = {
            f"dropped {stream} {reason}": count
            for stream, reasons in statistics.dropped.items()
            for reason, count in sorted(reasons.items())
        }
        values: dict[str, object] = {
            "mode": self.parameters.mode,
            "model": self._upsampler.model_name,
            "device": str(self._upsampler.device),
            "engine": self._upsampler.engine_name,
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

    def _hardware_id(self) -> str:
        info = self._infos["color"]
        return info.header.frame_id if info is not None else ""

    def _problems(self, now: Snapshot, rates: dict[str, float], repeats: dict[str, int]) -> list[tuple[int, str]]:
        """What is wrong at this moment, as (level, sentence)."""
        if self._active_since is None:
            return [(OK, "idle: nobody listens" if self._enabled else "disabled by ~/enable")]
        problems: list[tuple[int, str]] = []
        active = now.time_s - self._active_since
        for name in ("color", "depth"):
            source = self._inputs[name]
            if source.incompatible:
                problems.append((ERROR, source.incompatible))
            elif min(active, now.time_s - source.received_s) > QUIET:
                count = source.publishers
                problems.append((WARN, f"nothing received on {source.topic}, which has {count} publisher(s)"))
            elif repeats[name] - self._previous_repeats.get(name, 0) > 1:
                problems.append((WARN, f"stamps on {source.topic} repeat: does its driver fill header.stamp?"))
            elif loss := self._transport_loss(name, rates):
                problems.append((WARN, loss))
        if self._infos["color"] is None and now.published and active > QUIET:
            problems.append(
                (WARN, f"nothing received on {self._inputs['color_info'].topic}: output without camera_info")
            )
        if self._registration:
            problems.append((WARN, self._registration))
        if self._upsampler.engine_failure:
            problems.append((WARN, self._upsampler.engine_failure))
        if now.time_s - now.last_error_s < max(THROTTLE, self.parameters.diagnostics_period):
            problems.append(
                (ERROR if rates["color"] and now.published == self._previous.published else WARN, now.last_error)
            )
        return problems

    def _transport_loss(self, name: str, rates: dict[str, float]) -> str | None:
        """A camera sends one camera_info with each image. The small one always arrives, so that their rates tell
        how many images are lost on the way."""
        sent, arrived = rates[f"{name}_info"], rates[name]
        missing = (sent - arrived) * self.parameters.diagnostics_period
        # One or two may simply have come on the other side of the period's end.
        if missing <= 2 or arrived > (1 - LOSS) * sent:
            return None
        text = (
            f"{100 * (1 - arrived / sent):.0f} % of the images on {self._inputs[name].topic} are lost on the "
            f"transport: {transport_advice()}"
        )
        if not self._transport_warned:
            self._transport_warned = True
            self.get_logger().warning(text)
        return text


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
