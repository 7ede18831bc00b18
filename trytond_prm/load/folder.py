# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Reading of a folder of spreadsheets; no database is needed."
import csv
import re
from collections import namedtuple
from io import StringIO
from pathlib import Path

from .column import CellError, Reference
from .format import TABLES

__all__ = ['BadCell', 'Folder', 'Row']

BadCell = namedtuple('BadCell', 'file line column message values')
_newline = re.compile(r'\r\n|\r|\n')


class Row:
    """A row of a table

    The value of a wrong or empty cell is None; valid tells them apart.
    """
    __slots__ = ('table', 'line', 'lines', 'values', 'wrong')

    def __init__(self, table, line):
        self.table = table
        self.line = line
        self.lines = {}
        self.values = dict.fromkeys(table.columns)
        self.wrong = set()

    def __getitem__(self, column):
        return self.values[column]

    def __repr__(self):
        return '%s:%s' % (self.table.file, self.line)

    def valid(self, *columns):
        "Tell if none of the columns, by default of all, is wrong"
        return not (self.wrong.intersection(columns) if columns
            else self.wrong)

    def content(self, *columns):
        return tuple(self.values[c] for c in columns or self.values)


class Folder:
    "The rows and the bad cells of a folder of CSV files"

    def __init__(self, path):
        self.path = Path(path)
        self.tables = {name: [] for name in TABLES}
        self.bad = {}

    def __getitem__(self, name):
        return self.tables[name]

    @property
    def bad_cells(self):
        "The bad cells by file and line"
        order = {
            (t.file, c): i for t in TABLES.values()
            for i, c in enumerate(t.columns)}
        return sorted(
            self.bad.values(),
            key=lambda b: (b.file, b.line, order.get((b.file, b.column), -1)))

    def error(self, row, column, message, /, **values):
        "Note a bad cell, the first error of a cell is kept"
        self._bad(
            row.table.file, row.lines.get(column, row.line), column, message,
            **values)
        row.wrong.add(column)

    def refuse(self, row, column, text):
        "Note a row that the models refuse, with their text"
        line = row.lines.get(column, row.line)
        self.bad.setdefault(
            (row.table.file, line, column),
            BadCell(row.table.file, line, column, text, None))
        row.wrong.add(column)

    def _bad(self, file, line, column, message, /, **values):
        self.bad.setdefault(
            (file, line, column), BadCell(file, line, column, message, values))

    def read(self):
        "Read the files of the folder"
        found = False
        for path in sorted(self.path.iterdir()):
            if path.suffix.lower() != '.csv' or not path.is_file():
                continue
            found = True
            table = TABLES.get(path.stem)
            if not table or path.name != table.file:
                self._bad(
                    path.name, 1, '', 'msg_load_unknown_file',
                    files=', '.join(t.file for t in TABLES.values()))
                continue
            self._read_file(path, table)
        if not found:
            self._bad(self.path.name, 1, '', 'msg_load_empty')
        return self

    def _read_file(self, path, table):
        data = path.read_bytes()
        try:
            text = data.decode('utf-8-sig')
        except UnicodeDecodeError as error:
            line = len(_newline.findall(
                    data[:error.start].decode('utf-8', 'replace'))) + 1
            self._bad(table.file, line, '', 'msg_load_encoding')
            return
        reader = csv.reader(StringIO(text, newline=''), strict=True)
        header = None
        line = 1
        try:
            for cells in reader:
                if any(c.strip() for c in cells):
                    if header is None:
                        header = [c.strip() for c in cells]
                        if not self._check_header(table, header, line):
                            return
                    else:
                        self.tables[table.name].append(
                            self._read_row(table, header, cells, line))
                line = reader.line_num + 1
        except csv.Error as error:
            self._bad(
                table.file, line, '', 'msg_load_csv', error=str(error))
            return
        if header is None:
            self._check_header(table, [], 1)

    def _check_header(self, table, header, line):
        known = True
        for i, name in enumerate(header):
            if name not in table.columns:
                self._bad(
                    table.file, line, name, 'msg_load_unknown_column',
                    columns=', '.join(table.columns))
            elif name in header[:i]:
                self._bad(
                    table.file, line, name, 'msg_load_duplicate_column')
                known = False
        for name in table.columns:
            if name not in header:
                self._bad(
                    table.file, line, name, 'msg_load_missing_column')
                known = False
        return known

    def _read_row(self, table, header, cells, line):
        row = Row(table, line)
        for name, text in zip(header, cells):
            column = table.columns.get(name)
            blank = len(text) - len(text.lstrip())
            cell_line = line + len(_newline.findall(text[:blank]))
            line += len(_newline.findall(text))
            if not column:
                continue
            row.lines[name] = cell_line
            try:
                row.values[name] = column.parse(
                    _newline.sub('\n', text.strip()))
            except CellError as error:
                self.error(row, name, error.message, **error.values)
        for name in header[len(cells):]:
            if name in table.columns:
                self.error(row, name, 'msg_load_missing_cell')
        for i in range(len(header), len(cells)):
            if cells[i].strip():
                self.error(row, str(i + 1), 'msg_load_extra_cell')
        return row

    def keys(self, name):
        "The rows of a table by the value of its key"
        key = TABLES[name].key
        return {r[key]: r for r in reversed(self[name]) if r[key]}

    def check_references(self, known):
        """Check the keys that rows use

        known has for each table the keys that the database already has.
        """
        keys = {
            n: self.keys(n).keys() | known.get(n, set())
            for n, t in TABLES.items() if t.key}
        for name, table in TABLES.items():
            for column in table.columns.values():
                if not isinstance(column, Reference):
                    continue
                targets = set().union(*(keys[t] for t in column.tables))
                for row in self[name]:
                    value = row[column.name]
                    if value and value not in targets:
                        self.error(
                            row, column.name, 'msg_load_unknown',
                            value=value, table=', '.join(column.tables))

    def check_keys(self):
        "Check that keys are used once"
        for name, table in TABLES.items():
            if not table.key:
                continue
            seen = {}
            for row in self[name]:
                value = row[table.key]
                if value is None:
                    continue
                if value in seen:
                    self.error(
                        row, table.key, 'msg_load_duplicate',
                        value=value, line=seen[value].lines[table.key])
                else:
                    seen[value] = row
