# make demo   the node on a recording of the project's own; BAG=path COLOR=topic DEPTH=topic SCALE=n for one of yours;
#             RATE=0 DECIMATION=n: its target_rate (by default the recording's) and decimation; CPU=avx2 or avx_vnni: as on a CPU that has no more
# make test   lint, types and the whole test suite, CPU=avx2: as on a CPU that has no more; make test-slow: what takes minutes
# make soak   the node at work for MINUTES=30, with a verdict on rate, memory, file descriptors and threads
# make rates  does the node keep the rate of several cameras, on this computer? CPU=avx2: with OpenVINO and Numba kept to that
# make venv   what both need, in .venv; done anew only when the requirements change
# make clean  remove what building and testing left behind; .venv stays

.DEFAULT_GOAL := venv
.PHONY: demo test test-slow soak rates lint venv clean

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTHON3 ?= python3

# A sourced ROS 2 brings rclpy, OpenCV and a NumPy that its binaries were built for: they are used as they are, and
# nothing may hide them. Elsewhere these come from PyPI too; all that does is in the versions that were tested.
ROS := $(or $(ROS_DISTRO),$(if $(AMENT_PREFIX_PATH),ros))
ifdef ROS
    VENV_OPTIONS := --system-site-packages
    CONSTRAINTS := $(VENV)/constraints.txt
    REQUIREMENTS := requirements.txt
else
    CONSTRAINTS := constraints.txt
    REQUIREMENTS := requirements.txt requirements-ros.txt
endif

# One stamp for each kind of environment: another kind starts from an empty one.
STAMP := $(VENV)/.installed-$(or $(ROS),pypi)
STALE = $(filter-out $(STAMP),$(wildcard $(VENV)/.installed-*))

# For measurements CPU= goes further: whatever asks the processor what it can do is not told the rest.
ifdef CPU
HIDING := LD_PRELOAD=$(abspath $(VENV)/cap_cpu.so) CAP_CPU=$(CPU) \
    ONEDNN_MAX_CPU_ISA=$(if $(filter avx_vnni,$(CPU)),AVX2_VNNI,AVX2)
demo: $(VENV)/cap_cpu.so
endif

$(VENV)/cap_cpu.so: test/helpers/cap_cpu.c | venv
	$(CC) -O2 -shared -fPIC $< -o $@

demo: venv
	$(HIDING) $(PYTHON) -m dkn_ros.replay.demo $(if $(BAG),--bag '$(BAG)') $(if $(COLOR),--color '$(COLOR)') \
	    $(if $(DEPTH),--depth '$(DEPTH)') $(if $(SCALE),--scale '$(SCALE)') $(if $(RATE),--rate '$(RATE)') \
	    $(if $(DECIMATION),--decimation '$(DECIMATION)')

# One thread a process: several run at once, and the pictures are small.
test: lint
	OMP_NUM_THREADS=1 $(CAPPED) $(PYTHON) -m pytest
	@echo "make test: lint, types and tests passed$(if $(CPU), with the CPU capped to $(CPU))"

# What keeps libraries from instructions that this CPU has and others have not: oneDNN (PyTorch's and OpenVINO's),
# PyTorch's own kernels, Numba. ONNX Runtime has no such switch.
CAPPED = $(if $(CPU),$(if $(CAPPED_TO_$(CPU)),env $(CAPPED_TO_$(CPU)),$(error CPU=$(CPU): there is avx2)))
CAPPED_TO_avx2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=haswell \
    NUMBA_CPU_FEATURES=+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+movbe,+popcnt,+f16c,+sse4.2

test-slow: venv
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow

soak: venv
	$(PYTHON) -m dkn_ros.benchmark.soak --minutes $(or $(MINUTES),30)

# ONNX Runtime would not be kept from anything.
rates: venv
	$(CAPPED) $(PYTHON) -m dkn_ros.replay --benchmark --rates --seconds 8 $(if $(CPU),--engine openvino)

lint: venv
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

venv: $(STAMP)

$(STAMP): requirements.txt requirements-ros.txt constraints.txt setup.py setup.cfg
ifndef ROS
	@$(PYTHON3) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	    { echo "Without a sourced ROS 2, Python 3.10 to 3.13 is needed: make PYTHON3=python3.12" >&2; exit 1; }
endif
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "Python's venv module is missing: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON3) -m venv $(VENV_OPTIONS) $(if $(STALE),--clear) $(VENV)
ifdef ROS
	@# setuptools 80 ended the command that colcon build --symlink-install needs.
	@$(PYTHON) -c 'import cv2, numpy; print(f"numpy=={numpy.__version__}\nsetuptools<80")' > $(CONSTRAINTS) || \
	    { echo "ROS 2 is sourced, but its OpenCV is missing: sudo apt install python3-opencv python3-numpy" >&2; exit 1; }
	@grep -v -E '^(numpy|opencv|setuptools)' constraints.txt >> $(CONSTRAINTS)
endif
	$(PYTHON) -m pip install -c $(CONSTRAINTS) $(addprefix -r ,$(REQUIREMENTS))
	$(PYTHON) -m pip install --no-deps -e .
	@touch $@

clean:
	rm -rf build install log out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
