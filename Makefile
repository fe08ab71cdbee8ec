# Every target sets up what it needs. PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV := .venv/bin

.PHONY: setup demo test lint benchmarks clean

setup: .venv/.ready

# torchaudio and torchvision must match torch, or ComfyUI does not start
.venv/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "Python 3.10 or newer is needed; choose one with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(VENV)/pip install --quiet torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
	$(VENV)/python comfyui_runtime.py requirements > .venv/comfyui-requirements.txt
	$(VENV)/pip install --quiet -r .venv/comfyui-requirements.txt -r requirements-dev.txt
	touch $@

# make demo REFERENCE=my.jpg PROMPT="a dotted blue heart on beige fabric"
demo: setup
	$(VENV)/python iqa.py demo --prompt "$(PROMPT)" --reference "$(REFERENCE)"

test: setup
	$(VENV)/python -m pytest tests

lint: setup
	$(VENV)/ruff check .

benchmarks: setup
	$(VENV)/python -m benchmarks.attention
	$(VENV)/python -m benchmarks.scoring
	$(VENV)/python -m benchmarks.training

clean:
	rm -rf .venv .runtime .pytest_cache .ruff_cache
