# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
PYTHON = python3
PORT = 8000
DATA =
URI =
SERVE = yes
TESTS =
ARGS =

RUN = $(PYTHON) scripts/environment.py

.PHONY: demo test clean

demo:
	@$(RUN) demo scripts/demo.py --port "$(PORT)" --data "$(DATA)" \
		--uri "$(URI)" --serve "$(SERVE)"

test:
	@$(RUN) test,dev scripts/run_tests.py $(ARGS) $(TESTS)

clean:
	rm -rf .cache .demo .venv build dist *.egg-info doc/_build
