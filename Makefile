# Every target sets up what it needs. PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
VENV := .venv/bin

.PHONY: setup demo test lint pictures evaluate benchmarks clean

setup: .venv/.ready

# torchaudio and torchvision must match torch, or ComfyUI does not start.
# The link lets editors and type checkers find the pack under the name by which tests import it.
.venv/.ready: requirements.txt requirements-dev.txt install.py
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "Python 3.10 or newer is needed; choose one with: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Set-up 1 of 4: PyTorch into .venv (a download of up to 3 GB, once)"
	@$(PYTHON) -m venv .venv
	@$(VENV)/pip install --quiet torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
	@echo "Set-up 2 of 4: ComfyUI and its packages"
	@$(VENV)/python comfyui_runtime.py requirements > .venv/comfyui-requirements.txt
	@$(VENV)/pip install --quiet -r .venv/comfyui-requirements.txt
	@echo "Set-up 3 of 4: pyiqa and what else the pack needs"
	@$(VENV)/python install.py
	@echo "Set-up 4 of 4: tools and tests"
	@$(VENV)/pip install --quiet -r requirements-dev.txt
	@ln -sfn "$(CURDIR)" "$$($(VENV)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/iqa_adapter"
	@touch $@

# make demo REFERENCE=my.jpg PROMPT="a dotted blue heart on beige fabric"
demo: setup
	$(VENV)/python iqa.py demo --prompt "$(PROMPT)" --reference "$(REFERENCE)"

# Two processes of one thread each: the nets are small, and most of the time goes to servers and front ends
test: lint
	OMP_NUM_THREADS=1 $(VENV)/python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(VENV)/ruff check .
	$(VENV)/mypy

# Of README.md and docs/, into docs/images/; those of the help pages are made by iqa.py docs --nodes
pictures: setup
	$(VENV)/python iqa.py docs

# The embedded models, in half an hour on two cores; goes on where it was, and ends with the path of the report
evaluate: setup
	$(VENV)/python iqa.py evaluate evaluation/plans/quickstart.yaml --publish readme

benchmarks: setup
	$(VENV)/python -m benchmarks.startup
	$(VENV)/python -m benchmarks.attention
	$(VENV)/python -m benchmarks.scoring
	$(VENV)/python -m benchmarks.training

clean:
	rm -rf .venv .runtime .pytest_cache .ruff_cache .mypy_cache
