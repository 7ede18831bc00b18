# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Check the style, the documentation, the packages and the tests"
import os
import shutil
import subprocess
import sys
import time

from screenshot import chromium

from environment import ROOT, apt

SCRIPTS = os.path.join(ROOT, 'scripts')
PYTHON = sys.executable
CHECKS = {
    "Lint": [PYTHON, '-m', 'ruff', 'check', '.'],
    "Import order": [PYTHON, '-m', 'isort', '--check', '--diff', '.'],
    "Documentation": [
        PYTHON, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html',
        'doc', os.path.join('.cache', 'doc')],
    "Packages": [PYTHON, os.path.join(SCRIPTS, 'check_package.py')],
    "Tests": [PYTHON, os.path.join(SCRIPTS, 'run_tests.py')],
    }


def main():
    os.chdir(ROOT)
    if not chromium():
        apt('chromium', 'fonts-dejavu-core')
    shutil.rmtree(os.path.join('.cache', 'doc'), ignore_errors=True)
    failed = []
    times = {}
    for name, command in CHECKS.items():
        print(f"== {name}", flush=True)
        start = time.monotonic()
        if subprocess.call(command):
            failed.append(name)
        times[name] = time.monotonic() - start
        if name != "Tests":
            state = "failed" if name in failed else "passed"
            print(f"{name}: {state} in {times[name]:.0f}s", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", flush=True)
    return bool(failed)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
