# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""Check the packages of the module

The source distribution has every file of the repository, the wheel made from
it the same files as the one made from the repository, and the module is
activated in an environment that has only the wheel."""
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from environment import ROOT, create
from progress import run

ROOT = Path(ROOT)
# What is of use in the repository only
UNPACKAGED = {'.ci', '.gitignore'}
MODULE = 'trytond/modules/prm/'


def repository_files():
    "Give the files of the repository"
    output = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return sorted(f for f in output.splitlines() if (ROOT / f).exists())


def difference(title, left, right):
    for name in sorted(set(left) - set(right)):
        yield f"{name} is missing in {title}"


def check(folder):
    source = folder / 'source'
    files = repository_files()
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, '-m', 'build', '--outdir']
    # Without option the wheel is made from the source distribution
    run("Build the source distribution and its wheel",
        build + [str(folder / 'dist'), str(source)])
    run("Build the wheel of the repository",
        build + [str(folder / 'tree'), '--wheel', str(source)])
    sdist, = (folder / 'dist').glob('*.tar.gz')
    wheel, = (folder / 'dist').glob('*.whl')
    tree, = (folder / 'tree').glob('*.whl')

    with tarfile.open(sdist) as archive:
        packaged = {n.partition('/')[2] for n in archive.getnames()}
    yield from difference("the source distribution", [
            f for f in files if f.partition('/')[0] not in UNPACKAGED],
        packaged)
    names = zipfile.ZipFile(wheel).namelist()
    tree_names = zipfile.ZipFile(tree).namelist()
    yield from difference(
        "the wheel of the source distribution", tree_names, names)
    yield from difference("the wheel of the repository", names, tree_names)
    data = {'.py', '.xml', '.po', '.svg', '.fodt', '.html', '.rst', '.json'}
    yield from difference("the wheel", [
            MODULE + f for f in files
            if f.partition('/')[0] in {
                'icons', 'locale', 'tests', 'tryton.cfg', 'trytond_prm',
                'view'}
            and (Path(f).suffix in data or f == 'tryton.cfg')],
        names)

    environment = folder / 'venv'
    create(str(environment))
    run("Install the wheel in an empty environment", [
            str(environment / 'bin' / 'python'), '-m', 'pip', 'install',
            '--progress-bar', 'off', '--disable-pip-version-check',
            str(wheel)])
    database = folder / 'database'
    database.mkdir()
    (database / 'test.sqlite').touch()
    (folder / 'password').write_text('a strong test\n')
    (folder / 'trytond.conf').write_text(
        f'[database]\nuri = sqlite://\npath = {database}\n')
    env = {
        k: v for k, v in os.environ.items()
        if not k.startswith(('PYTHON', 'TRYTOND_', 'VIRTUAL_ENV'))}
    env['PATH'] = f'{environment / "bin"}{os.pathsep}{env["PATH"]}'
    env['TRYTONPASSFILE'] = str(folder / 'password')
    run("Activate the module", [
            'trytond-admin', '-c', str(folder / 'trytond.conf'), '-d', 'test',
            '-u', 'prm', '--activate-dependencies', '-l', 'fr',
            '--email', 'admin@example.com'], cwd=folder, env=env)
    state = subprocess.run([
            'python', '-c', 'import sqlite3, sys;'
            'print(*sqlite3.connect(sys.argv[1]).execute('
            '"SELECT state FROM ir_module WHERE name=\'prm\'").fetchone())',
            str(database / 'test.sqlite')],
        env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    if state.strip() != 'activated':
        yield f"the module is {state.strip()} in the empty environment"
    loader = environment / 'bin' / 'trytond-prm-load'
    if not loader.exists() or subprocess.call(
            [str(loader), '--help'], cwd=folder, env=env,
            stdout=subprocess.DEVNULL):
        yield "trytond-prm-load does not start"


def main():
    errors = False
    with tempfile.TemporaryDirectory(prefix='prm-package-') as folder:
        for error in check(Path(folder)):
            errors = True
            print(error, flush=True)
    return errors


if __name__ == '__main__':
    sys.exit(main())
