# make demo   the node on a recording of the project's own; BAG=path COLOR=topic DEPTH=topic SCALE=n for one of yours
# make test   lint, types and the whole test suite; make test-slow: what takes minutes
# make soak   the node at work for MINUTES=30, with a verdict on rate, memory, file descriptors and threads
# make venv   what both need, in .venv; done anew only when the requirements change
# make clean  remove what building and testing left behind; .venv stays

.DEFAULT_GOAL := venv
.PHONY: demo test test-slow soak lint venv clean

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

demo: venv
	$(PYTHON) -m dkn_ros.demo $(if $(BAG),--bag '$(BAG)') $(if $(COLOR),--color '$(COLOR)') \
	    $(if $(DEPTH),--depth '$(DEPTH)') $(if $(SCALE),--scale '$(SCALE)')

# One thread a process: several run at once, and the pictures are small.
test: lint
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest
	@echo "make test: lint, types and tests passed"

test-slow: venv
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m slow

soak: venv
	$(PYTHON) -m dkn_ros.soak --minutes $(or $(MINUTES),30)

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
