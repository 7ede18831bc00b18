# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Load the story in a database, print its review and serve it"
import argparse
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse, uses_netloc

from environment import ROOT
from progress import run
from run_tests import cache_key
from web import CLIENT, client, configure, port_is_free, trytond

ROOT = Path(ROOT)
STORY = ROOT / 'demo'
DATABASE = 'prm'
LOGIN = 'admin'
PASSWORD = 'half-year'

LOGGING = """\
[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys =

[logger_root]
level = WARNING
handlers = console

[handler_console]
class = StreamHandler
args = ()
"""

# To keep the slashes of an URI without host
uses_netloc.append('postgresql')


def key(uri, story):
    "The digest of what the loaded database depends on"
    digest = hashlib.sha256(f'{cache_key()} {uri}'.encode())
    for path in sorted(story.glob('*.csv')):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def loader():
    return Path(sys.executable).with_name('trytond-prm-load')


def load(config, name, story, update=False):
    env = {**os.environ, 'PYTHONWARNINGS': 'ignore'}
    if update:
        run("Update the database", trytond('admin') + [
                '-c', str(config), '-d', name, '-u', 'prm',
                '--activate-dependencies'], env=env)
    print(f"Load {story.name}/", flush=True)
    with tempfile.NamedTemporaryFile('w') as password:
        password.write(PASSWORD)
        password.flush()
        subprocess.run(
            [str(loader()), '-c', str(config), '-d', name, str(story)],
            check=True, env=env | {'TRYTONPASSFILE': password.name})


def load_new(config, name, story):
    "Load an SQLite database which takes its place once it is complete"
    data = config.parent
    with tempfile.TemporaryDirectory(dir=data) as new:
        new = Path(new)
        configure(new / 'trytond.conf', 'sqlite://', new)
        (new / f'{name}.sqlite').touch()
        load(new / 'trytond.conf', name, story)
        # Write the log into the file which is moved alone
        connection = sqlite3.connect(new / f'{name}.sqlite')
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        connection.close()
        for suffix in ['', '-wal', '-shm']:
            (data / f'{name}.sqlite{suffix}').unlink(missing_ok=True)
        os.replace(new / f'{name}.sqlite', data / f'{name}.sqlite')


def postgresql_exists(uri, name):
    "Create the database when it is missing and say if it was there"
    import psycopg
    from psycopg.sql import SQL, Identifier

    def connect(name):
        return psycopg.connect(
            urlparse(uri)._replace(path=f'/{name}').geturl(),
            autocommit=True)

    try:
        with connect(name) as connection:
            return bool(connection.execute(
                    "SELECT to_regclass('ir_configuration')").fetchone()[0])
    except psycopg.OperationalError as error:
        # The errors of a connection have no code
        if f'"{name}" does not exist' not in str(error):
            sys.exit(f"No connection to the database: {error}")
    try:
        with connect('postgres') as connection:
            connection.execute(SQL(
                    "CREATE DATABASE {} TEMPLATE template0 ENCODING 'unicode'"
                    ).format(Identifier(name)))
    except psycopg.Error as error:
        sys.exit(f"The database {name} can not be created: {error}")
    return False


def prepare(data, story, uri='sqlite://', port=None):
    "Make the database up to date with the module and the story"
    data.mkdir(parents=True, exist_ok=True)
    config = data / 'trytond.conf'
    state_file = data / 'state.json'
    parsed = urlparse(uri)
    name = unquote(parsed.path.strip('/')) or DATABASE
    embedded = parsed.scheme == 'sqlite'
    if embedded:
        name = DATABASE
        exists = (data / f'{name}.sqlite').exists()
    else:
        exists = postgresql_exists(uri, name)
        uri = parsed._replace(path='/').geturl()
    # The server finds its web client there
    configure(config, uri, data, port, port and CLIENT)
    state = key(uri + name, story)
    try:
        if exists and json.loads(state_file.read_text())['key'] == state:
            return config, name
    except (OSError, ValueError, KeyError):
        pass
    state_file.unlink(missing_ok=True)
    if embedded and exists:
        try:
            load(config, name, story, True)
        except subprocess.CalledProcessError:
            print("Keep the old database aside and make a new one")
            os.replace(data / f'{name}.sqlite', data / f'{name}-old.sqlite')
            exists = False
    elif exists:
        load(config, name, story, True)
    if not exists:
        make = load_new if embedded else load
        make(config, name, story)
    state_file.write_text(json.dumps({'key': state}))
    return config, name


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', default='',
        help="folder of the spreadsheets to load, or without any of them "
        "the folder of the database")
    parser.add_argument('--uri', default='',
        help="database server, by default SQLite in the folder")
    parser.add_argument('--port', type=int, default=8000)
    parser.add_argument('--serve', default='yes',
        help="\"no\" to stop after the tables")
    options = parser.parse_args()
    for name in [n for n in os.environ if n.startswith('TRYTOND_')]:
        del os.environ[name]
    serve = options.serve.lower() not in {'no', 'n', '0', 'false', ''}
    data, story = ROOT / '.demo', STORY
    if options.data:
        folder = Path(options.data).expanduser().resolve()
        if any(folder.glob('*.csv')) and folder != STORY:
            story = folder
            # A database of its own for each folder
            digest = hashlib.sha256(str(folder).encode()).hexdigest()
            data /= f'{folder.name}-{digest[:8]}'
        elif folder != STORY:
            data = folder
    if serve and not port_is_free(options.port):
        sys.exit(f"The port {options.port} is in use, "
            "choose another one with PORT=")
    config, name = prepare(
        data, story, options.uri or 'sqlite://', options.port)
    if serve:
        client()
    # The review of the story, or else the last one
    period = ['--start', '2008-01-01', '--end', '2008-06-30']
    subprocess.run([
            sys.executable, str(ROOT / 'scripts' / 'review.py'),
            '-c', str(config), '-d', name,
            *(period if story == STORY else [])],
        check=True, env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    if not serve:
        return
    print(f"""
    Open http://localhost:{options.port}/#{name}
    Login:    {LOGIN}
    Password: {PASSWORD}

    Stop with Ctrl-C.
""", flush=True)
    logging = data / 'logging.conf'
    logging.write_text(LOGGING)
    command = trytond() + [
        '-c', str(config), '-d', name, '--logconf', str(logging)]
    # Take the place of this process so that nothing is left after Ctrl-C
    os.execv(command[0], command)


if __name__ == '__main__':
    for sig in [signal.SIGINT, signal.SIGTERM]:
        signal.signal(sig, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted")
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
