# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The command line that loads a folder into a database."
import argparse
import datetime as dt
import logging
import os
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

import trytond.config as config

LANGUAGES = ['en', 'fr']
# What the load locks anyway, which would make it start again
LOCKED = [
    'account_configuration', 'account_journal_period', 'ir_sequence_strict',
    'prm_configuration']


def get_parser():
    parser = argparse.ArgumentParser(
        prog='trytond-prm-load',
        description="Load a folder of spreadsheets into a database.")
    parser.add_argument(
        'folder', metavar='FOLDER', type=Path,
        help="the folder of the CSV files")
    parser.add_argument(
        '-c', '--config', dest='configfile', metavar='FILE', nargs='+',
        default=[os.environ.get('TRYTOND_CONFIG')],
        help="the configuration files of trytond")
    parser.add_argument(
        '-d', '--database', metavar='DATABASE', required=True,
        help="the name of the database, created if it does not exist")
    parser.add_argument(
        '-n', '--dry-run', action='store_true',
        help="do everything but keep nothing")
    parser.add_argument(
        '--company', metavar='NAME',
        help="the company that receives the folder, or the name of the one "
        "that is created in an empty database (default: the one of the "
        "folder)")
    parser.add_argument(
        '--bank', metavar='CODE',
        help="the code of the account of the payments (default: 5121)")
    parser.add_argument(
        '--language', choices=LANGUAGES, default=default_language(),
        help="the language of the messages and of the users that are "
        "created (default: the one of the environment)")
    parser.add_argument(
        '--password', metavar='PASSWORD', default=default_password(),
        help="the password of the users that are created in an empty "
        "database (default: the content of the file TRYTONPASSFILE of the "
        "environment, else a random one which is printed)")
    parser.add_argument(
        '-q', '--quiet', action='store_true',
        help="show no progress")
    parser.add_argument(
        '-v', '--verbose', action='count', default=0,
        help="log what trytond does")
    return parser


def default_language():
    for name in ['LC_ALL', 'LC_MESSAGES', 'LANG']:
        if value := os.environ.get(name):
            language = value[:2].lower()
            return language if language in LANGUAGES else LANGUAGES[0]
    return LANGUAGES[0]


def default_password():
    if path := os.environ.get('TRYTONPASSFILE'):
        return Path(path).read_text().strip()


def main(args=None):
    parser = get_parser()
    options = parser.parse_args(args)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    config.update_etc(options.configfile)
    logging.basicConfig(
        level=[logging.ERROR, logging.INFO, logging.DEBUG][
            min(options.verbose, 2)],
        format='%(asctime)s %(levelname)s %(name)s %(message)s')
    # The backend is chosen by the configuration
    from trytond.exceptions import UserError

    from .exceptions import LoadError
    from .message import text
    try:
        return Command(options).run()
    except LoadError as error:
        message = text(error.message, options.language, **error.values)
    except UserError as error:
        message = error.message
    print(message, file=sys.stderr)
    return 1


class Command:

    def __init__(self, options):
        self.options = options
        self.language = options.language

    def run(self):
        from .check import check
        from .database import Database
        from .folder import Folder
        options = self.options
        folder = Folder(options.folder).read()
        database = Database(options.database)
        if not database.initialized:
            today = dt.date.today()
            folder.check_keys()
            folder.check_references({})
            check(folder, today)
            if folder.bad:
                return self.report(folder)
        drop = None
        if not database.exists:
            database.create()
            if options.dry_run:
                drop = database
        elif not database.initialized and options.dry_run:
            database = drop = Database(
                f'{options.database}_{secrets.token_hex(4)}')
            database.create()
        try:
            self.password = options.password or secrets.token_urlsafe(9)
            if missing := database.missing_modules():
                with modules_progress(disable=options.quiet):
                    database.activate(
                        missing, LANGUAGES, self.language, self.password)
            return self.load(database)
        finally:
            if drop:
                drop.drop()

    def load(self, database):
        from trytond.pool import Pool

        from .database import in_transaction
        Pool(database.name).init()
        return in_transaction(
            database.name, 1, self.write, context={'language': self.language},
            _lock_tables=list(LOCKED))

    def write(self):
        from trytond.transaction import Transaction

        from .database import Setup, rollback
        from .folder import Folder
        from .loader import Loader
        from .steps import STEPS
        options = self.options
        folder = Folder(options.folder).read()
        transaction = Transaction()
        setup = Setup(
            folder, language=self.language, company=options.company,
            bank=options.bank)
        new = not setup.find_company()
        rows = sum(map(len, folder.tables.values()))
        with progress(
                total=rows, unit='row', disable=options.quiet) as bar:
            def advance(step, count):
                bar.set_description(step.table)
                bar.update(count)

            if new:
                bar.set_description('company')
                setup.create_company(self.password)
            with transaction.set_context(
                    company=setup.company.id,
                    companies=[setup.company.id]):
                loader = Loader(folder, setup, STEPS, advance)
                loader.check(new=new)
                if not folder.bad:
                    loader.load()
                if new and not folder.bad:
                    setup.create_employee_users(
                        loader.present_employees, self.password)
        if folder.bad:
            rollback(transaction)
            return self.report(folder)
        self.summary(loader, setup, new)
        if options.dry_run:
            rollback(transaction)
        return 0

    def report(self, folder):
        from .message import format_bad_cell, text
        for bad in folder.bad_cells:
            print(format_bad_cell(bad, self.language), file=sys.stderr)
        print(
            text('msg_load_refused', self.language, count=len(folder.bad)),
            file=sys.stderr)
        return 1

    def summary(self, loader, setup, new):
        from trytond.pool import Pool

        from .message import text
        pool = Pool()
        options = self.options
        if options.dry_run:
            print(text('msg_load_dry_run', self.language))
        counts = {
            pool.get(model).__names__()['model']: count
            for model, count in loader.created.items()}
        if new:
            print(text(
                    'msg_load_company_created', self.language,
                    company=setup.company.rec_name))
        if not counts:
            print(text('msg_load_nothing', self.language))
        width = max(map(len, counts), default=0)
        for name, count in counts.items():
            print(f'{name:<{width}} {count:>7}')
        if new and not options.dry_run:
            print(text(
                    'msg_load_users', self.language,
                    logins=', '.join(
                        ['admin', *(u.login for u in setup.users)]),
                    password=(
                        self.password if not options.password else '…')))


def progress(**kwargs):
    terminal = sys.stderr.isatty()
    return tqdm(
        file=sys.stderr, leave=False, delay=0 if terminal else 2,
        mininterval=0.1 if terminal else 2, **kwargs)


@contextmanager
def modules_progress(**kwargs):
    "Show the modules that are activated"

    class Handler(logging.Handler):
        def emit(self, record):
            message = record.getMessage()
            if message.endswith(' load'):
                bar.set_description(message.split()[0])
                bar.update()

    logger = logging.getLogger('trytond.modules')
    level, propagate = logger.level, logger.propagate
    handler = Handler(logging.INFO)
    verbose = logger.isEnabledFor(logging.INFO)
    with progress(unit='module', **kwargs) as bar:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = verbose
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


if __name__ == '__main__':
    sys.exit(main())
