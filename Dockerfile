# The node on ROS 2 Jazzy. Untested: no machine of ours could build it yet.
#   docker build -t dkn_ros . && docker run --rm --net=host --ipc=host dkn_ros ros2 launch dkn_ros upsample.launch.py camera:=xtion
FROM ros:jazzy-perception
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip python3-opencv && rm -rf /var/lib/apt/lists/*
WORKDIR /ws
COPY . src/dkn_ros
RUN pip install --break-system-packages -r src/dkn_ros/requirements.txt \
    && . /opt/ros/jazzy/setup.sh && colcon build --packages-select dkn_ros
RUN echo '. /ws/install/setup.bash' >> /etc/bash.bashrc
ENTRYPOINT ["/bin/bash", "-ic", "exec \"$@\"", "--"]
CMD ["ros2", "launch", "dkn_ros", "upsample.launch.py"]
