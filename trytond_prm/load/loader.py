# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The writing of a folder through the models, all or nothing."
import datetime as dt
from collections import Counter, defaultdict

from trytond import backend
from trytond.exceptions import UserError, UserWarning
from trytond.pool import Pool
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, inactive_records

from ..tools import savepoint
from .check import check
from .column import Reference

__all__ = ['Loader', 'Step']


class Loader:
    """Write the rows of a folder that the database does not have

    The bad cells are noted on the folder.
    """

    def __init__(self, folder, setup, steps, progress=None, today=None):
        self.folder = folder
        self.setup = setup
        self.progress = progress or (lambda step, count: None)
        self.today = today or dt.date.today()
        self.steps = [step(self) for step in steps]
        self.records = defaultdict(dict)
        self.rejected = set()
        self.created = Counter()

    @property
    def company(self):
        return self.setup.company

    @property
    def present_employees(self):
        return [
            e for e in self.records['employees'].values() if not e.end_date]

    @property
    def last_date(self):
        "The last date of what the folder tells as done"
        columns = {
            'invoices': 'date', 'concessions': 'date',
            'interactions': 'date', 'share_transactions': 'date',
            'milestones': 'date', 'payments': 'paid_date'}
        dates = [self.today.min]
        for table, column in columns.items():
            dates.extend(
                d.date() if isinstance(d, dt.datetime) else d
                for r in self.folder[table] if (d := r[column]))
        return min(max(dates), self.today)

    def check(self, new=False):
        "Note the bad cells that can be known before writing"
        self.folder.check_keys()
        self.folder.check_references(self.known())
        check(self.folder, self.today, whole=new)

    def known(self):
        "The keys that the database has for each table"
        return {
            step.table: set(step.known(values))
            for step in self.steps
            if step.references and (values := self.referenced(step.table))}

    def referenced(self, table):
        "The values that other tables use as key of the table"
        return {
            value for name, rows in self.folder.tables.items()
            for row in rows for column in row.table.columns.values()
            if isinstance(column, Reference) and table in column.tables
            and (value := row[column.name])}

    def load(self):
        "Write what is missing, return whether all could be written"
        for step in self.steps:
            with Transaction().set_context(_skip_warnings=False):
                step.load()
            self.progress(step, step.size)
        self.run_tasks()
        return not self.folder.bad

    def usable(self, row):
        "Tell if all that the row uses is there"
        if not row.valid() or row in self.rejected:
            return False
        for column in row.table.columns.values():
            if isinstance(column, Reference) and row[column.name]:
                if not any(
                        row[column.name] in self.records[t]
                        for t in column.tables):
                    return False
        return True

    def bulk(self, rows, write, column):
        """Write the rows at once

        When the models refuse, find the rows for which they do.
        """
        if not rows:
            return
        try:
            with savepoint():
                write(rows)
        except (UserError, UserWarning) as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                self.bulk(rows[:middle], write, column)
                self.bulk(rows[middle:], write, column)
            else:
                row, = rows
                self.folder.refuse(row, column, error_text(error))
                self.rejected.add(row)

    def run_tasks(self):
        """Run the tasks that the models left for after the transaction

        The reports of past invoices are not stored, they are printed on
        demand.
        """
        pool = Pool()
        Queue = pool.get('ir.queue')
        transaction = Transaction()
        tasks = []
        while transaction.tasks:
            task = Queue(transaction.tasks.pop(0))
            if task.data['method'] != 'print_invoice':
                task.run()
            tasks.append(task)
        Queue.delete(tasks)


def error_text(error):
    "The text of an error of the models"
    return ' '.join(filter(None, [error.message, error.description]))


class Step:
    """The writing of a table

    The rows that the database has are recognised by the columns of the key
    and their other columns compared, without key by all their columns.
    """
    table = None
    model = None
    key = None
    column = None
    compared = None
    references = False

    def __init__(self, loader):
        self.loader = loader

    @property
    def folder(self):
        return self.loader.folder

    @property
    def company(self):
        return self.loader.company

    @property
    def rows(self):
        return self.folder[self.table]

    @property
    def size(self):
        return len(self.rows)

    @property
    def records(self):
        return self.loader.records

    def record(self, table, row, column):
        "The record that the cell of the row refers to"
        if row[column]:
            return self.records[table][row[column]]

    def id(self, table, row, column):
        record = self.record(table, row, column)
        return record.id if record else None

    def known(self, values):
        "The keys of the values that the database has"
        found = self.find(values)
        self.records[self.table].update(found)
        return found.keys()

    def find(self, values):
        "The records of the database by key among the values"
        raise NotImplementedError

    def existing(self, rows):
        """The records of the database for the rows

        It is a list of record and dictionary of values by column.
        """
        raise NotImplementedError

    def write(self, rows):
        "Create the records of the rows and return them"
        raise NotImplementedError

    def load(self):
        rows = [r for r in self.rows if self.loader.usable(r)]
        if not rows:
            return
        if self.key:
            new = self._match_key(rows)
        else:
            new = self._match_content(rows)
        self.loader.bulk(new, self._write, self.column)

    def _write(self, rows):
        records = self.write(rows)
        for row, record in zip(rows, records):
            self.done(row, record)
        self.count(self.model, len(rows))

    def count(self, model, number):
        if number:
            self.loader.created[model] += number

    def done(self, row, record):
        "Note the record of the row"
        if row.table.key:
            self.records[self.table][row[row.table.key]] = record

    def _match_key(self, rows):
        existing = {
            tuple(values[c] for c in self.key): (record, values)
            for record, values in self.existing(rows)}
        new = []
        for row in rows:
            found = existing.get(row.content(*self.key))
            if not found:
                new.append(row)
                continue
            record, values = found
            for column in row.table.columns:
                if (column in values and column not in self.key
                        and not self.same(column, row[column],
                            values[column])):
                    value = values[column]
                    self.folder.error(
                        row, column, 'msg_load_contradiction',
                        value='' if value is None else value)
            self.done(row, record)
        return new

    def same(self, column, value, existing):
        return value == existing

    def _match_content(self, rows):
        existing = defaultdict(list)
        for record, values in self.existing(rows):
            content = tuple(values.get(c) for c in rows[0].values)
            existing[content].append(record)
        new = []
        for row in rows:
            content = tuple(map(self.normal, row.content()))
            if existing[content]:
                self.done(row, existing[content].pop())
            else:
                new.append(row)
        return new

    def normal(self, value):
        return value


def search(Model, name, values, domain=None, order=None):
    """Search the records whose name is one of the values

    The inactive ones too, like the employees who left.
    """
    records = []
    with inactive_records():
        for sub_values in grouped_slice(
                sorted(values), backend.MAX_QUERY_PARAMS):
            records.extend(Model.search(
                    [(name, 'in', list(sub_values)), *(domain or [])],
                    order=order or []))
    return records
