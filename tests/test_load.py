# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import csv
import datetime as dt
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal
from fractions import Fraction
from functools import wraps
from pathlib import Path

from trytond.modules.prm.trytond_prm.load import cli
from trytond.modules.prm.trytond_prm.load.check import check
from trytond.modules.prm.trytond_prm.load.exceptions import LoadError
from trytond.modules.prm.trytond_prm.load.folder import Folder
from trytond.modules.prm.trytond_prm.load.format import TABLES
from trytond.modules.prm.trytond_prm.load.message import format_bad_cell
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    DB_NAME, TestCase, activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction

from .story import Story, cents
from .tools import count_statements

DEMO = Path(__file__).parent.parent / 'demo'
TODAY = dt.date(2026, 1, 1)


def read_table(folder, name):
    with open(folder / f'{name}.csv', encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def write_table(folder, name, rows):
    stream = io.StringIO(newline='')
    writer = csv.DictWriter(
        stream, list(TABLES[name].columns), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    (folder / f'{name}.csv').write_bytes(stream.getvalue().encode('utf-8'))


def with_load(func):
    "Run the test in a transaction that knows the company"
    @with_transaction()
    @wraps(func)
    def wrapper(self, *args, **kwargs):
        pool = Pool()
        Company = pool.get('company.company')
        company, = Company.search([])
        with Transaction().set_context(
                company=company.id, companies=[company.id], language='en'):
            return func(self, *args, **kwargs)
    return wrapper


class ChangesMixin:
    "Change the cells of the folder at path"

    def change(self, table, line, **values):
        "Change cells of a physical line of a table without multi-line cells"
        rows = read_table(self.path, table)
        rows[line - 2].update(values)
        write_table(self.path, table, rows)

    def add(self, table, **values):
        "Add a row to a table and return its physical line"
        rows = read_table(self.path, table)
        row = dict.fromkeys(TABLES[table].columns, '')
        row.update(values)
        rows.append(row)
        write_table(self.path, table, rows)
        return len(rows) + 1


class Changes(ChangesMixin):

    def __init__(self, path):
        self.path = path


class FolderTestCase(ChangesMixin, unittest.TestCase):
    "Test the reading and the checks of a folder"

    def setUp(self):
        super().setUp()
        self.path = Path(tempfile.mkdtemp()) / 'folder'
        self.addCleanup(shutil.rmtree, self.path.parent)
        shutil.copytree(DEMO, self.path)

    def bad_cells(self, known=None, language='en'):
        folder = Folder(self.path).read()
        folder.check_keys()
        folder.check_references(known or {})
        check(folder, TODAY)
        return [format_bad_cell(b, language) for b in folder.bad_cells]

    def line(self, table, **values):
        "The physical line of the first row that has the values"
        for i, row in enumerate(read_table(self.path, table), 2):
            if values.items() <= row.items():
                return i

    def test_demo(self):
        "The folder of the project has no bad cell"
        self.assertEqual(self.bad_cells(), [])

    def test_columns(self):
        "The cells that are wrong by themselves"
        cases = [
            ('parties', 2, 'role', 'friend',
                '"friend" is not one of: customer, partner, associate.'),
            ('parties', 3, 'name', '', 'A value is required.'),
            ('parties', 3, 'lang', 'xx',
                '"xx" is not the code of a language.'),
            ('parties', 4, 'email', 'nobody',
                '"nobody" is not an email address.'),
            ('parties', 5, 'social', 'social.example',
                '"social.example" is not the address of a page '
                '(https://…).'),
            ('invoices', 2, 'date', '2007-02-30',
                '"2007-02-30" is not a date written YYYY-MM-DD.'),
            ('invoices', 3, 'date', '20070201',
                '"20070201" is not a date written YYYY-MM-DD.'),
            ('invoices', 4, 'date', '0207-02-01',
                'The date "0207-02-01" is before 1900-01-01.'),
            ('invoices', 5, 'date', '2026-01-02',
                '2026-01-02 is in the future.'),
            ('invoices', 6, 'amount', '1,5', '"1,5" is not a number.'),
            ('invoices', 7, 'amount', '1.505',
                '"1.505" has more than 2 decimals.'),
            ('invoices', 8, 'amount', '0.00',
                '"0.00" is not greater than zero.'),
            ('invoices', 9, 'amount', '-1.00',
                '"-1.00" is not greater than zero.'),
            ('invoices', 10, 'amount', 'NaN', '"NaN" is not a number.'),
            ('invoices', 11, 'party', 'C99',
                '"C99" is unknown: neither the folder (parties) nor the '
                'database has it.'),
            ('invoices', 12, 'number', 'F0002',
                '"F0002" is already used by line 3.'),
            ('interactions', 2, 'date', '2007-02-01 25:00',
                '"2007-02-01 25:00" is not a date and time written '
                'YYYY-MM-DD HH:MM.'),
            ('interactions', 3, 'date', '2007-02-30 10:00',
                '"2007-02-30 10:00" is not a date and time written '
                'YYYY-MM-DD HH:MM.'),
            ('interactions', 4, 'sentiment', '3',
                '"3" is greater than 2.'),
            ('interactions', 5, 'sentiment', '-3',
                '"-3" is less than -2.'),
            ('interactions', 6, 'sentiment', '0.5',
                '"0.5" is not a whole number.'),
            ('interactions', 7, 'party', '', 'A value is required.'),
            ('interactions', 8, 'date', '2026-01-02 00:00',
                '2026-01-02 is in the future.'),
            ('interactions', 9, 'employee', 'E9',
                '"E9" is unknown: neither the folder (employees) nor the '
                'database has it.'),
            ('concession_reasons', 2, 'separation', 'maybe',
                '"maybe" is not one of: yes, no.'),
            ('actions', 2, 'fills', '7 13',
                '"7 13" is not a list of different months from 1 to 12 '
                'separated by spaces.'),
            ('actions', 4, 'why', '', 'A value is required.'),
            ('actions', 5, 'due_date', '2007-02-28',
                '2007-02-28 is before 2007-03-01 of the column start_date.'),
            ('share_transactions', 2, 'quantity', '2000.5',
                '"2000.5" is not a whole number.'),
            ('share_transactions', 3, 'party_to', '', 'A value is required.'),
            ('share_transactions', 4, 'party_from', 'A1',
                'A share transaction of kind "issue" has no such party.'),
            ('seasonality', 2, '12', '0.11',
                'The shares of the months total 1.01 instead of 1.'),
            ('targets', 2, 'seasonality', 'Winter',
                '"Winter" is unknown: neither the folder (seasonality) nor '
                'the database has it.'),
            ('targets', 3, 'code', 'C01',
                'The scope "company" has no code.'),
            ('employees', 3, 'end_date', '2005-12-31',
                '2005-12-31 is before 2006-01-01 of the column start_date.'),
            ('partners', 2, 'state', 'ended', None),
            ('partners', 3, 'end_date', '2007-01-01',
                'The state "active" has no end.'),
            ('buybacks', 2, 'interest_rate', '5',
                '"5" is greater than 1.'),
            ('buybacks', 2, 'unit_price', '39.96541',
                '"39.96541" has more than 4 decimals.'),
            ('payments', 2, 'buyback', 'R2',
                '"R2" is unknown: neither the folder (buybacks) nor the '
                'database has it.'),
            ]
        expected = set()
        for table, line, column, value, reason in cases:
            self.change(table, line, **{column: value})
            if reason:
                expected.add(f'{table}.csv:{line}: {column}: {reason}')
        expected |= {
            'partners.csv:2: end_date: A value is required.',
            'partners.csv:2: end_reason: A value is required.',
            }

        self.assertEqual(set(self.bad_cells()), expected)

    def test_reference(self):
        "The reference describes every column"
        path = DEMO.parent / 'doc' / 'reference.rst'
        if not path.exists():
            self.skipTest("the documentation is not installed")
        text = path.read_text(encoding='utf-8')
        text = text[text.index('.. _load-format:'):]
        titles = [t.file for t in TABLES.values()]
        sections = re.split(
            r'^(%s)\n\^+$' % '|'.join(map(re.escape, titles)), text,
            flags=re.MULTILINE)[1:]

        self.assertEqual(sections[::2], titles)
        for table, section in zip(TABLES.values(), sections[1::2]):
            with self.subTest(table=table.name):
                described = re.findall(
                    r'^   \* - (?:\*\*)?(.*?)(?:\*\*)?$', section,
                    flags=re.MULTILINE)
                if table.name == 'seasonality':
                    self.assertEqual(described, ['name', '1 … 12'])
                else:
                    self.assertEqual(described, list(table.columns))

    def test_order(self):
        "The bad cells are sorted by file, line and column"
        self.change('invoices', 11, party='C99', date='x')
        self.change('invoices', 2, amount='x')
        self.change('actions', 3, core='x')

        self.assertEqual([b.split(': "')[0] for b in self.bad_cells()], [
                'actions.csv:3: core',
                'invoices.csv:2: amount',
                'invoices.csv:11: party',
                'invoices.csv:11: date',
                ])

    def test_multi_line(self):
        "The line is the physical one of the cell"
        self.path.joinpath('findings.csv').write_bytes(
            b'kind,text\r\n'
            b'negative,"Two\r\nlines"\r\n'
            b'\r\n'
            b'wrong,After\r\n')
        self.path.joinpath('milestones.csv').write_text(
            'party,kind,description,date\n'
            'A2,other,"Two\n\nlines",2007-02-31\n'
            'A9,other,,2007-02-01\n')

        self.assertEqual(self.bad_cells(), [
                'findings.csv:5: kind: "wrong" is not one of: '
                'negative, positive, decision, outlook.',
                'milestones.csv:4: date: "2007-02-31" is not a date written '
                'YYYY-MM-DD.',
                'milestones.csv:5: party: "A9" is unknown: neither the '
                'folder (parties) nor the database has it.',
                ])

    def test_tolerance(self):
        "A BOM, blanks around cells, other column and row orders are fine"
        rows = read_table(self.path, 'invoices')
        lines = ['amount , description,date,party,number'] + [
            '{amount} , {description},{date},{party},{number}'.format(**r)
            for r in reversed(rows)]
        self.path.joinpath('invoices.csv').write_bytes(
            b'\xef\xbb\xbf' + '\r\n'.join(lines).encode('utf-8'))

        self.assertEqual(self.bad_cells(), [])
        self.assertEqual(
            Folder(self.path).read()['invoices'][-1].content(),
            Folder(DEMO).read()['invoices'][0].content())

    def test_missing_files(self):
        "A folder needs only the files of what it loads"
        for path in self.path.iterdir():
            if path.name not in {'parties.csv', 'invoices.csv'}:
                path.unlink()

        self.assertEqual(self.bad_cells(), [])

    def test_known(self):
        "The database may have what the folder uses"
        self.path.joinpath('parties.csv').unlink()

        self.assertEqual(self.bad_cells({'parties': {
                        *(f'C{i:02}' for i in range(1, 17)),
                        'A1', 'A2', 'A3'}}), [])

    def test_files(self):
        "The errors of whole files"
        self.path.joinpath('invoice.csv').write_text('number\n')
        self.path.joinpath('payments.csv').write_text('')
        self.path.joinpath('handovers.csv').write_text(
            'party,from,to,when\nC01,E2,E4,2007-12-01\n')
        self.path.joinpath('employees.csv').write_bytes(
            'code,name,team,start_date,end_date\n'
            'E1,Ina,,,\nE2,In\xe8s,,,\n'.encode('latin-1'))
        self.path.joinpath('findings.csv').write_text(
            'kind,text\nnegative,"Open\n')
        self.path.joinpath('seasonality.csv').unlink()
        self.path.joinpath('targets.csv').unlink()
        self.path.joinpath('partners.csv').unlink()
        self.path.joinpath('interactions.csv').unlink()
        self.path.joinpath('concession_reasons.csv').write_text(
            'name,separation\nLate\nQuality,no,often\n'
            'Separation: image,yes,\n')
        self.path.joinpath('concessions.csv').unlink()
        self.path.joinpath('actions.csv').unlink()

        files = ', '.join(t.file for t in TABLES.values())
        self.assertEqual(self.bad_cells(), [
                'concession_reasons.csv:2: separation: '
                'The line ends before this column.',
                'concession_reasons.csv:3: 3: '
                'The line has more cells than the header.',
                'employees.csv:3: The text is not encoded in UTF-8.',
                'findings.csv:2: The line can not be read as CSV '
                '(unexpected end of data).',
                'handovers.csv:1: when: This column is not of the format, '
                'which has: party, from, to, date.',
                'handovers.csv:1: date: The column is missing.',
                f'invoice.csv:1: This file is not of the format, '
                f'which has: {files}.',
                'payments.csv:1: buyback: The column is missing.',
                'payments.csv:1: due_date: The column is missing.',
                'payments.csv:1: paid_date: The column is missing.',
                'payments.csv:1: amount: The column is missing.',
                ])

    def test_empty(self):
        "A folder without any file"
        for path in self.path.iterdir():
            path.unlink()

        self.assertEqual(
            self.bad_cells(), ['folder:1: The folder has no CSV file.'])

    def test_partners(self):
        "A party is one partner at a time"
        first = self.line('partners', party='C01')
        line = self.add(
            'partners', party='C01', manager='E1', state='active',
            start_date='2008-01-01')
        ended = self.line('partners', party='C08')
        same = self.add(
            'partners', party='C08', manager='E1', state='active',
            start_date='2007-10-15')
        self.add(
            'partners', party='C09', manager='E1', state='prospect',
            start_date='2007-10-15')
        self.change('partners', ended + 1, manager='')

        self.assertEqual(self.bad_cells(), [
                f'partners.csv:{ended + 1}: manager: A value is required.',
                f'partners.csv:{line}: party: The party C01 is still the '
                f'partner of line {first} at the start date: '
                'end it before.',
                f'partners.csv:{same}: party: The party C08 is still the '
                f'partner of line {ended} at the start date: '
                'end it before.',
                ])

    def test_partner_restarted(self):
        "A partner who ended may start again"
        self.add(
            'partners', party='C08', manager='E1', state='active',
            start_date='2007-10-16')

        self.assertEqual(self.bad_cells(), [])

    def test_handovers(self):
        "A partner is handed over by its manager at the date"
        self.add(
            'handovers', **{
                'party': 'C01', 'from': 'E4', 'to': 'E1',
                'date': '2008-03-01'})
        old = self.add(
            'handovers', **{
                'party': 'C06', 'from': 'E2', 'to': 'E1',
                'date': '2008-03-01'})
        early = self.add(
            'handovers', **{
                'party': 'C03', 'from': 'E3', 'to': 'E1',
                'date': '2006-02-20'})
        same = self.add(
            'handovers', **{
                'party': 'C04', 'from': 'E4', 'to': 'E4',
                'date': '2007-02-20'})
        left = self.add(
            'handovers', **{
                'party': 'C10', 'from': 'E3', 'to': 'E2',
                'date': '2008-02-20'})
        start = self.add(
            'handovers', **{
                'party': 'C14', 'from': 'E3', 'to': 'E1',
                'date': '2006-05-25'})

        self.assertEqual(self.bad_cells(), [
                f'handovers.csv:{old}: from: E2 does not manage the partner '
                'C06 on 2008-03-01: its manager is E4.',
                f'handovers.csv:{early}: date: The party C03 is not a '
                'partner on 2006-02-20.',
                f'handovers.csv:{same}: to: The partner is handed over to '
                'the same employee E4.',
                f'handovers.csv:{left}: to: The employee E2 left on '
                '2007-11-30.',
                f'handovers.csv:{start}: date: E3 manages the partner C14 '
                'only from 2006-05-25: hand over later.',
                ])

    def test_concessions(self):
        "A gesture stays within its invoice"
        G03 = {
            'party': 'C09', 'kind': 'credit_note', 'reason': 'Quality',
            'invoice': 'F0191', 'cost': '0', 'state': 'granted'}
        exact = self.add(
            'concessions', code='X1', date='2008-02-03', amount='1681.94',
            **G03)
        beyond = self.add(
            'concessions', code='X2', date='2008-02-04', amount='0.01',
            **G03)
        self.add(
            'concessions', code='X3', date='2008-02-04', amount='9999.00',
            **{**G03, 'state': 'draft'})
        before = self.add(
            'concessions', code='X4', date='2008-01-13', amount='0.01',
            **{**G03, 'party': 'C01', 'state': 'rejected'})
        none = self.add(
            'concessions', code='X5', date='2008-02-04', amount='0.00',
            **{**G03, 'invoice': ''})

        self.assertEqual(self.bad_cells(), [
                f'concessions.csv:{beyond}: amount: 0.01 is more than the '
                '0.00 that earlier gestures leave of the invoice F0191.',
                f'concessions.csv:{before}: date: 2008-01-13 is before the '
                'invoice F0191 of 2008-01-14.',
                f'concessions.csv:{before}: invoice: The invoice F0191 is of '
                'the party C09.',
                f'concessions.csv:{none}: amount: "0.00" is not greater than '
                'zero.',
                ])
        self.assertEqual(exact, beyond - 1)

    def test_buybacks(self):
        "The instalments can be paid"
        self.change(
            'buybacks', 2, advance='69939.46', opposition_end='2007-12-01')
        self.add(
            'buybacks', code='R2', party='A3', share_class='Ordinary',
            quantity='1', unit_price='10', route='third_party',
            title_transfer='effective', announcement_date='2008-02-01',
            signature_date='2008-01-31', method='bullet',
            number_of_instalments='0', period_months='1',
            day_count='act_365')

        self.assertEqual(self.bad_cells(), [
                'buybacks.csv:2: advance: The advance of 69939.46 is more '
                'than the price of 69939.45.',
                'buybacks.csv:3: signature_date: 2008-01-31 is before '
                '2008-02-01 of the column announcement_date.',
                'buybacks.csv:3: number_of_instalments: "0" is not greater '
                'than zero.',
                ])

    def test_opposition(self):
        "Nothing is due before the end of the opposition"
        self.change('buybacks', 2, opposition_end='2007-11-30')

        self.assertEqual(self.bad_cells(), [
                'buybacks.csv:2: opposition_end: The instalment of '
                '2007-11-30 is due before the end of the opposition.',
                ])

    def test_payments(self):
        "The payments are those of the instalments"
        self.change('payments', 3, due_date='2007-12-30')
        self.change('payments', 2, amount='17776.26')
        self.add(
            'payments', buyback='R1', due_date='2007-11-30',
            paid_date='2007-12-05', amount='0.01')
        self.add(
            'payments', buyback='R1', due_date='2007-11-30',
            paid_date='2007-12-06', amount='0.01')
        self.add(
            'payments', buyback='R1', due_date='2007-12-31',
            paid_date='2007-10-30', amount='0.01')

        self.assertEqual(self.bad_cells(), [
                'payments.csv:3: due_date: The buyback R1 has no instalment '
                'due on 2007-12-30 but on: 2007-11-30, 2007-12-31, '
                '2008-01-31, 2008-02-29.',
                'payments.csv:7: amount: 0.01 is more than the 0.00 that '
                'remain to pay of the instalment of 2007-11-30 of the '
                'buyback R1.',
                'payments.csv:8: paid_date: 2007-10-30 is before the '
                'signature of the buyback R1 on 2007-10-31.',
                ])

    def test_third_party(self):
        "The company does not pay for a third party"
        self.change('buybacks', 2, route='third_party')

        self.assertEqual(self.bad_cells(), [
                f'payments.csv:{line}: buyback: A third party pays the '
                'buyback R1, not the company.'
                for line in range(2, 6)])

    def test_target_codes(self):
        "The targets are of what the folder has"
        target = {
            'measure': 'revenue', 'start_date': '2008-01-01',
            'end_date': '2008-12-31', 'target': '1'}
        self.add('targets', scope='team', code='Direct', **target)
        team = self.add('targets', scope='team', code='E1', **target)
        self.add('targets', scope='employee', code='E1', **target)
        employee = self.add(
            'targets', scope='employee', code='C01', **target)
        self.add('targets', scope='partner', code='C01', **target)
        partner = self.add('targets', scope='partner', code='C02', **target)
        none = self.add('targets', scope='team', **target)

        self.assertEqual(self.bad_cells(), [
                f'targets.csv:{line}: code: "{code}" is unknown: neither '
                f'the folder ({table}) nor the database has it.'
                for line, code, table in [
                    (team, 'E1', 'employees'),
                    (employee, 'C01', 'employees'),
                    (partner, 'C02', 'partners'),
                    ]] + [
                f'targets.csv:{none}: code: A value is required.'])

    def test_register(self):
        "Shares are held at any date"
        more = self.add(
            'share_transactions', date='2004-02-29', kind='transfer',
            share_class='Ordinary', quantity='1', party_from='A1',
            party_to='A3', unit_price='10.00')
        self.add(
            'share_transactions', date='2008-01-01', kind='transfer',
            share_class='Ordinary', quantity='1250', party_from='A3',
            party_to='A1', unit_price='10.00')
        sold = self.add(
            'share_transactions', date='2007-01-01', kind='transfer',
            share_class='Ordinary', quantity='1', party_from='A2',
            party_to='A1', unit_price='10.00')
        treasury = self.add(
            'share_transactions', date='2008-01-01', kind='cancellation',
            share_class='Ordinary', quantity='2')
        self.assertTrue(sold)

        self.assertEqual(self.bad_cells(), [
                'buybacks.csv:2: quantity: On 2007-10-31 "A2" holds only '
                '1749 shares "Ordinary", not 1750.',
                f'share_transactions.csv:{more}: quantity: On 2004-02-29 '
                '"A1" holds only 0 shares "Ordinary", not 1.',
                f'share_transactions.csv:{treasury}: quantity: On '
                '2008-01-01 "" holds only 0 shares "Ordinary", not 2.',
                ])


class LoadTestCase(TestCase):
    "Test the load of a folder in a database"
    story = DEMO

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        drop_db()
        cls.addClassCleanup(drop_db)
        activate_module(['prm', 'account_fr'])
        code, output, errors = cls.main(cls.folder(cls))
        assert code == 0, errors
        cls.output = output

    def folder(self):
        return DEMO

    @classmethod
    def main(cls, path, *args):
        "Run the command and return its status, output and errors"
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = cli.main([
                    '-d', DB_NAME, '--quiet', '--language', 'en',
                    '--password', 'secret password', *args, str(path)])
        return code, output.getvalue(), errors.getvalue()

    def copy(self):
        "A copy of the folder that the test may change"
        path = Path(tempfile.mkdtemp()) / 'story'
        self.addCleanup(shutil.rmtree, path.parent)
        shutil.copytree(self.folder(), path)
        return Changes(path)

    def load(self, path, *args):
        "Load the folder in the transaction of the test"
        options = cli.get_parser().parse_args([
                '-d', DB_NAME, '--quiet', '--language', 'en', *args,
                str(path)])
        command = cli.Command(options)
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = command.write()
        return code, output.getvalue(), errors.getvalue()

    def review(self, start, end):
        pool = Pool()
        Review = pool.get('prm.review')
        review, = Review.create([{
                    'name': "Test",
                    'start_date': start,
                    'end_date': end,
                    }])
        return review

    def months(self):
        pool = Pool()
        Month = pool.get('prm.review.month')
        return {m.date.strftime('%Y-%m'): m for m in Month.search([])}

    def assertFigures(self, record, figures):
        for name, value in figures.items():
            with self.subTest(record=record, name=name):
                self.assertEqual(getattr(record, name), Decimal(value))

    def assertBalanced(self):
        "The ledger is balanced and nothing is due to the associates"
        pool = Pool()
        Account = pool.get('account.account')
        Line = pool.get('account.move.line')
        self.assertEqual(
            sum(l.debit - l.credit for l in Line.search([])), 0)
        self.assertFalse(Line.search([('move.state', '!=', 'posted')]))
        payable, = Account.search([('code', '=', '45671')])
        self.assertEqual(payable.balance, 0)
        self.assertNotEqual(payable.debit, 0)
        self.assertFalse(Line.search([
                    ('account', '=', payable.id),
                    ('reconciliation', '=', None),
                    ]))


class DemoTestCase(LoadTestCase):
    "Test the load of the folder of the project"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(DEMO / 'expected.json') as file:
            cls.expected = json.load(file)

    def test_output(self):
        self.assertIn("Commercial Gesture", self.output)

    @with_load
    def test_months(self):
        "The months of the review show the expected figures"
        months = self.months()

        self.assertEqual(
            {n for n in months if self.is_counted(months[n])},
            set(self.expected['months']))
        for name, figures in self.expected['months'].items():
            self.assertFigures(months[name], figures)

    def is_counted(self, month):
        return (month.gross_revenue or month.concessions
            or month.buyback_paid or month.interactions)

    @with_load
    def test_halves(self):
        "The half-years show the expected figures"
        for name, figures in self.expected['halves'].items():
            year, half = int(name[:4]), int(name[-1])
            start = dt.date(year, 6 * half - 5, 1)
            end = dt.date(year, 6 * half, 30 if half == 1 else 31)
            self.assertFigures(self.review(start, end), figures)

    @with_load
    def test_targets(self):
        "The targets are spread as expected"
        pool = Pool()
        Line = pool.get('prm.target.line')

        self.assertEqual(
            {l.date.strftime('%Y-%m'): l.amount for l in Line.search([])},
            {m: Decimal(a) for m, a in self.expected['targets'].items()})

    @with_load
    def test_smoothing(self):
        "The smoothing of 2007 is as expected"
        pool = Pool()
        Company = pool.get('company.company')
        Performance = pool.get('prm.performance')
        company, = Company.search([])

        smoothing = Performance.smoothing(
            company, dt.date(2007, 1, 1), dt.date(2007, 12, 31))

        self.assertEqual(
            smoothing.smoothing, Decimal(self.expected['smoothing_2007']))

    @with_load
    def test_tension(self):
        "The tension of the crisis is as expected"
        review = self.review(dt.date(2007, 6, 1), dt.date(2007, 11, 30))

        self.assertFigures(review, {
                f'tension_{population}': value for population, value
                in self.expected['tension_2007_06_11'].items()})

    @with_load
    def test_holdings(self):
        "The shares are held as expected"
        pool = Pool()
        Holding = pool.get('prm.share.holding')

        with Transaction().set_context(date=dt.date(2008, 6, 30)):
            holdings = {
                h.party.code: h.quantity for h in Holding.search([])}

        self.assertEqual(holdings, self.expected['holdings_2008_06_30'])

    @with_load
    def test_schedule(self):
        "The instalments are as expected, paid and balanced"
        pool = Pool()
        Buyback = pool.get('prm.buyback')

        buyback, = Buyback.search([])

        self.assertEqual(buyback.number, 'R1')
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(buyback.price, Decimal(self.expected['price']))
        self.assertEqual([[
                    i.due_date.isoformat(), str(i.principal), str(i.interest),
                    str(i.amount), str(i.outstanding_after)]
                for i in buyback.instalments], self.expected['schedule'])
        self.assertBalanced()

    @with_load
    def test_records(self):
        "The rows became records with their state"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Concession = pool.get('prm.concession')
        Invoice = pool.get('account.invoice')
        Manager = pool.get('prm.partner.manager')
        Partner = pool.get('prm.partner')
        Review = pool.get('prm.review')
        Separation = pool.get('prm.separation')

        partner, = Partner.search([('party.code', '=', 'C08')])
        self.assertEqual(partner.state, 'ended')
        self.assertEqual(
            partner.end_reason.name, "Followed the leaving associate")
        self.assertEqual([
                (m.employee.party.code, m.start_date, m.end_date)
                for m in Manager.search([
                        ('partner.party.code', '=', 'C01'),
                        ], order=[('start_date', 'ASC')])], [
                ('E2', dt.date(2006, 5, 27), dt.date(2007, 11, 30)),
                ('E4', dt.date(2007, 12, 1), None),
                ])
        for row in read_table(DEMO, 'concessions'):
            with self.subTest(code=row['code']):
                concession, = Concession.search([
                        ('number', '=', row['code'])])
                self.assertEqual(concession.state, row['state'])
                self.assertLessEqual(
                    {r.number for r in concession.results}, {row['code']})
                self.assertEqual(
                    len(concession.results),
                    row['state'] == 'granted'
                    and row['kind'] != 'free_service')
        self.assertEqual(Invoice.search([
                    ('number', 'like', 'F0%'),
                    ('state', '=', 'posted'),
                    ], count=True), 244)
        self.assertEqual(
            {(a.name, a.state) for a in Action.search([])},
            {(r['name'], r['state']) for r in read_table(DEMO, 'actions')})
        separation, = Separation.search([])
        self.assertEqual(separation.end_date, dt.date(2008, 2, 29))
        self.assertEqual([b.number for b in separation.buybacks], ['R1'])
        review, = Review.search([])
        self.assertEqual(review.name, "2008 H1")
        self.assertEqual(review.state, 'draft')
        self.assertEqual(
            [(f.kind, f.text) for f in review.findings],
            [(r['kind'], r['text']) for r in read_table(DEMO, 'findings')])

    @with_load
    def test_choices(self):
        "The choices of the cells are those of the models"
        pool = Pool()
        selections = {
            ('partners', 'state'): ('prm.partner', set()),
            # the due date of a delay can not be told
            ('concessions', 'kind'): ('prm.concession', {'payment_delay'}),
            ('concessions', 'state'): ('prm.concession', set()),
            ('interactions', 'direction'): ('prm.interaction', set()),
            ('interactions', 'population'): ('prm.interaction', set()),
            ('interactions', 'state'): ('prm.interaction', set()),
            # the original of a reversal can not be told
            ('share_transactions', 'kind'): (
                'prm.share.transaction', {'reversal'}),
            ('milestones', 'kind'): ('prm.separation.milestone', set()),
            ('buybacks', 'route'): ('prm.buyback', set()),
            ('buybacks', 'title_transfer'): ('prm.buyback', set()),
            # the instalments of a custom schedule can not be told
            ('buybacks', 'method'): ('prm.buyback', {'custom'}),
            ('buybacks', 'day_count'): ('prm.buyback', set()),
            # only the revenue of those who sell can be told
            ('targets', 'scope'): ('prm.target', {'category', 'territory'}),
            ('targets', 'measure'): (
                'prm.target', {
                    'interactions', 'margin', 'new_partners', 'quantity'}),
            ('actions', 'kind'): ('prm.plan.action', set()),
            ('actions', 'state'): ('prm.plan.action', set()),
            ('findings', 'kind'): ('prm.review.finding', set()),
            }
        for (table, column), (model, others) in selections.items():
            with self.subTest(table=table, column=column):
                selection = pool.get(model)._fields[column].selection
                self.assertEqual(
                    set(TABLES[table].columns[column].choices) | others,
                    {key for key, _ in selection if key})
        self.assertEqual(
            set(TABLES['interactions'].columns['channel'].choices),
            set(dict(pool.get('prm.channel').kind.selection)))

    @with_load
    def test_users(self):
        "The users of the roles have their groups and can connect"
        pool = Pool()
        User = pool.get('res.user')
        groups = {
            u.login: {g.name for g in u.groups} for u in User.search([])}

        self.assertEqual(groups.keys(), {
                'admin', 'director', 'accountant', 'claire.morel',
                'ines.roche', 'marc.tissot'})
        self.assertIn("Associates", groups['accountant'])
        self.assertNotIn("Associates", groups['ines.roche'])
        self.assertIn(
            "Partner Relationship Manager", groups['director'])
        ines, = User.search([('login', '=', 'ines.roche')])
        self.assertEqual(ines.employee.party.code, 'E3')

    @with_load
    def test_again(self):
        "A second load changes nothing"
        with count_statements() as statements:
            code, output, errors = self.load(DEMO)

        self.assertEqual(
            output, "The database already has all of the folder.\n")
        self.assertEqual((code, errors), (0, ''))
        self.assertEqual([
                s for s in statements
                if s.startswith(('INSERT', 'UPDATE', 'DELETE'))], [])

    @with_load
    def test_added_rows(self):
        "Added rows are added"
        story = self.copy()
        story.add('parties', code='C17', name="Zinc", role='customer')
        story.add(
            'invoices', number='F0300', party='C17', date='2008-06-30',
            amount='10.00')
        story.add(
            'concessions', code='G99', party='C17', date='2008-06-30',
            kind='credit_note', reason="Quality", invoice='F0300',
            amount='4.00', state='granted')
        # before the other documents of the year
        story.add(
            'concessions', code='G97', party='C05', date='2008-01-31',
            kind='refund', reason="Quality", invoice='F0188', amount='1.00',
            cost='0.00', imputation_date='2007-12-31', state='granted')
        row = read_table(story.path, 'interactions')[0]
        story.add('interactions', **row)
        story.add(
            'share_transactions', date='2008-06-01', kind='transfer',
            share_class="Ordinary", quantity='10', party_from='A1',
            party_to='A3')

        code, output, errors = self.load(story.path)

        self.assertEqual((code, errors), (0, ''))
        self.assertEqual(
            [tuple(l.rsplit(None, 1)) for l in output.splitlines()], [
                ("Party", '1'),
                ("Account Invoice", '1'),
                ("Commercial Gesture", '2'),
                ("Interaction", '1'),
                ("Share Transaction", '1'),
                ])
        june = self.expected['months']['2008-06']
        self.assertFigures(self.months()['2008-06'], {
                'gross_revenue': Decimal(june['gross_revenue']) + 10,
                'concessions': Decimal(june['concessions']) + 4,
                'actual': Decimal(june['actual']) + 6,
                })
        self.assertEqual(self.load(story.path)[1:], (
                "The database already has all of the folder.\n", ''))

    @with_load
    def test_only_added_files(self):
        "The rows may use what only the database has"
        story = self.copy()
        for path in story.path.iterdir():
            path.unlink()
        write_table(story.path, 'interactions', [{
                    'party': 'C01', 'employee': 'E2',
                    'date': '2007-10-01 10:00', 'channel': 'phone',
                    'direction': 'in', 'population': 'customer',
                    'sentiment': '1', 'state': 'done'}])
        write_table(story.path, 'concessions', [{
                    'code': 'G98', 'party': 'C09', 'date': '2008-06-30',
                    'kind': 'refund', 'reason': "Quality",
                    'invoice': 'F0191', 'amount': '5.00',
                    'state': 'approved'}])

        code, output, errors = self.load(story.path)

        self.assertEqual((code, errors), (0, ''))
        self.assertEqual(output.split(), [
                'Commercial', 'Gesture', '1', 'Interaction', '1'])

    @with_load
    def test_contradiction(self):
        "What contradicts the database is a bad cell"
        story = self.copy()
        story.change('parties', 3, name="Bois SA")
        story.change('employees', 2, team="Partners")
        story.change('partners', 2, manager='E1')
        story.change('invoices', 4, amount='4040.59')
        story.change('concessions', 3, cost='1.00')
        story.change('buybacks', 2, interest_rate='0.06')
        story.change('seasonality', 2, **{'1': '0.10', '2': '0.07'})
        story.change('targets', 2, target='1.00')
        story.change('actions', 2, state='planned')
        write_table(story.path, 'payments', [])
        write_table(story.path, 'handovers', [])

        code, output, errors = self.load(story.path)

        self.assertEqual((code, output), (1, ''))
        self.assertEqual(errors.splitlines(), [
                'actions.csv:2: state: The database has "running".',
                'buybacks.csv:2: interest_rate: The database has "0.05".',
                'concessions.csv:3: cost: The database has "104.93".',
                'employees.csv:2: team: The database has "Direct".',
                'invoices.csv:4: amount: The database has "4040.58".',
                'parties.csv:3: name: The database has "Bois & Dérivés SA".',
                'partners.csv:2: manager: The database has "E2".',
                'seasonality.csv:2: 1: The database has "0.09".',
                'seasonality.csv:2: 2: The database has "0.08".',
                'targets.csv:2: target: The database has "572178.60".',
                '10 bad cells, nothing is written.',
                ])

    @with_load
    def test_models_refuse(self):
        "The rows that only the models refuse are found one by one"
        story = self.copy()
        # only the database knows the former gesture on the invoice
        invoice = self.last_invoice()
        write_table(story.path, 'concessions', [])
        write_table(story.path, 'invoices', [])
        good = story.add(
            'concessions', code='G90', party='C09', date='2008-06-29',
            kind='credit_note', reason="Quality", invoice='F0191',
            amount='1.00', state='granted')
        beyond = story.add(
            'concessions', code='G91', party='C09', date='2008-06-30',
            kind='credit_note', reason="Quality", invoice='F0191',
            amount='1681.95', state='granted')
        other = story.add(
            'concessions', code='G92', party='C01', date='2008-06-30',
            kind='credit_note', reason="Quality", invoice='F0191',
            amount='1.00', state='granted')
        write_table(story.path, 'share_transactions', [])
        sold = story.add(
            'share_transactions', date='2008-06-01', kind='transfer',
            share_class="Ordinary", quantity='1251', party_from='A3',
            party_to='A1')
        write_table(story.path, 'buybacks', [])
        overpaid = story.add(
            'payments', buyback='R1', due_date='2008-02-29',
            paid_date='2008-03-29', amount='0.01')
        self.assertTrue(invoice)
        self.assertEqual(good, 2)

        code, output, errors = self.load(story.path)

        self.assertEqual((code, output), (1, ''))
        for line, start in zip(errors.splitlines(), [
                    f'concessions.csv:{beyond}: amount: ',
                    f'concessions.csv:{other}: amount: ',
                    f'payments.csv:{overpaid}: amount: ',
                    f'share_transactions.csv:{sold}: quantity: ',
                    '4 bad cells, nothing is written.']):
            self.assertEqual(line[:len(start)], start)
        self.assertEqual(len(errors.splitlines()), 5)

    def last_invoice(self):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        return Invoice.search([], order=[('id', 'DESC')], limit=1)[0]

    def test_nothing_written(self):
        "A bad cell leaves the database as it was"
        def count():
            with Transaction().start(DB_NAME, 1, readonly=True):
                pool = Pool()
                return {
                    name: pool.get(name).search([], count=True)
                    for name in [
                        'party.party', 'account.invoice', 'account.move',
                        'account.move.line', 'prm.interaction',
                        'prm.concession', 'prm.share.transaction',
                        'prm.partner', 'account.fiscalyear',
                        'ir.queue', 'res.user']}
        before = count()
        story = self.copy()
        story.add('parties', code='C17', name="Zinc", role='customer')
        story.add(
            'invoices', number='F0300', party='C17', date='2009-06-30',
            amount='10.00')
        story.add(
            'partners', party='C17', manager='E2', state='active',
            start_date='2008-06-30')

        code, output, errors = self.main(story.path)

        self.assertEqual((code, output), (1, ''))
        self.assertRegex(errors, r'partners.csv:11: party: .*left')
        self.assertEqual(count(), before)

    def test_dry_run(self):
        "A dry run tells what it would create and keeps nothing"
        story = self.copy()
        story.add('parties', code='C17', name="Zinc", role='customer')

        code, output, errors = self.main(story.path, '--dry-run')

        self.assertEqual((code, errors), (0, ''))
        self.assertEqual(output.splitlines(), [
                "Dry run, nothing is kept. It would create:",
                "Party       1"])
        with Transaction().start(DB_NAME, 1, readonly=True):
            Party = Pool().get('party.party')
            self.assertFalse(Party.search([('code', '=', 'C17')]))

    @with_load
    def test_partial_payments(self):
        "A due date may be paid in several times"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        story = self.copy()
        story.add(
            'buybacks', code='R2', party='A3', share_class="Ordinary",
            quantity='100', unit_price='10.00', route='company_purchase',
            title_transfer='effective', announcement_date='2008-05-01',
            signature_date='2008-05-31', method='bullet',
            number_of_instalments='1', period_months='12',
            interest_rate='0.12', day_count='30e_360')
        payment = {'buyback': 'R2', 'due_date': '2009-05-31'}
        story.add(
            'payments', paid_date='2008-12-15', amount='300.00', **payment)

        self.assertEqual(self.load(story.path)[::2], (0, ''))
        buyback, = Buyback.search([('number', '=', 'R2')])
        self.assertEqual(buyback.state, 'running')
        self.assertEqual(buyback.amount_paid, 300)
        self.assertIn(
            '2611', {l.account.code for l in buyback.move.lines})

        story.add(
            'payments', paid_date='2009-05-31', amount='820.00', **payment)
        self.assertEqual(self.load(story.path)[::2], (0, ''))
        buyback, = Buyback.search([('number', '=', 'R2')])
        self.assertEqual(buyback.amount_paid, 1120)
        self.assertEqual(buyback.state, 'paid')
        self.assertBalanced()

    @with_load
    def test_several_companies(self):
        "The company must be chosen when there are several"
        pool = Pool()
        Company = pool.get('company.company')
        Party = pool.get('party.party')
        company, = Company.search([])
        party, = Party.create([{'name': "Second"}])
        Company.create([{
                    'party': party.id, 'currency': company.currency.id}])

        with self.assertRaises(LoadError) as context:
            self.load(DEMO)
        self.assertEqual(context.exception.message, 'msg_load_company_many')
        with self.assertRaises(LoadError) as context:
            self.load(DEMO, '--company', "Third")
        self.assertEqual(
            context.exception.message, 'msg_load_company_unknown')
        self.assertEqual(self.load(DEMO, '--company', "Demo")[1:], (
                "The database already has all of the folder.\n", ''))


class GeneratedTestCase(LoadTestCase):
    "Test the load of a generated folder"
    seed = 7

    @classmethod
    def setUpClass(cls):
        cls.path = Path(tempfile.mkdtemp()) / 'other_story'
        cls.addClassCleanup(shutil.rmtree, cls.path.parent)
        cls.path.mkdir()
        cls.expected = Story(cls.seed)
        cls.expected.write(cls.path)
        super().setUpClass()

    def folder(self):
        return self.path

    @with_load
    def test_figures(self):
        "The figures are those that the generator computed"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Company = pool.get('company.company')
        Holding = pool.get('prm.share.holding')
        Line = pool.get('prm.target.line')

        company, = Company.search([])
        self.assertEqual(company.party.name, "Other Story")
        months = self.months()
        for name, figures in self.expected.figures().items():
            self.assertFigures(months[name], {
                    n: figures[n] for n in [
                        'gross_revenue', 'concessions', 'net_revenue',
                        'buyback_principal', 'buyback_interest',
                        'buyback_paid', 'imputed_revenue', 'actual',
                        'interactions']})
        years = self.review(dt.date(2010, 1, 1), dt.date(2011, 12, 31))
        self.assertFigures(years, {
                f'tension_{population}': cents(Fraction(
                        sum(s is not None and s < 0 for s in sentiments)
                        * 100, len(sentiments))) / 100
                for population, sentiments
                in self.expected.tension.items()})
        self.assertEqual(
            {l.date: l.amount for l in Line.search([])},
            self.expected.targets)
        with Transaction().set_context(date=dt.date(2011, 12, 31)):
            self.assertEqual(
                {h.party.code: h.quantity for h in Holding.search([])},
                {p: q for p, q in self.expected.holdings.items() if q})
        self.assertEqual(
            {b.state for b in Buyback.search([])}, {'paid'})
        self.assertEqual({
                (b.number, i.due_date, i.principal, i.interest)
                for b in Buyback.search([]) for i in b.instalments},
            {i[:4] for i in self.expected.instalments})
        self.assertBalanced()

    @with_load
    def test_again(self):
        "A second load in another order changes nothing"
        self.expected.write(self.path)

        self.assertEqual(self.load(self.path)[1:], (
                "The database already has all of the folder.\n", ''))


class CommandTestCase(unittest.TestCase):
    "Test the command on a new database"

    def setUp(self):
        super().setUp()
        self.path = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.path)
        (self.path / 'trytond.conf').write_text(
            f'[database]\nuri = sqlite://\npath = {self.path}\n')
        self.story = Changes(self.path / 'story')
        shutil.copytree(DEMO, self.story.path)

    def run_command(self, *args):
        env = {
            k: v for k, v in os.environ.items()
            if not k.startswith('TRYTOND_')}
        return subprocess.run([
                sys.executable, '-m',
                'trytond.modules.prm.trytond_prm.load.cli',
                '-c', str(self.path / 'trytond.conf'), '-d', 'new',
                *args, str(self.story.path)],
            capture_output=True, text=True, encoding='utf-8',
            env={**env, 'LANG': 'C.UTF-8'})

    def test_new_database(self):
        "A new database is created, activated and loaded"
        self.story.change('invoices', 3, amount='x')
        process = self.run_command()
        self.assertEqual(process.returncode, 1)
        self.assertEqual(process.stdout, '')
        self.assertEqual(process.stderr.splitlines(), [
                'invoices.csv:3: amount: "x" is not a number.',
                '1 bad cells, nothing is written.'])
        self.assertFalse((self.path / 'new.sqlite').exists())

        self.story.change('invoices', 3, amount='1146.65')
        process = self.run_command('--company', "New Company")
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertIn('"New Company"', process.stdout)
        self.assertRegex(process.stdout, r'Account Invoice +244\b')
        self.assertIn('Users: admin, director', process.stdout)

        process = self.run_command()
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertEqual(
            process.stdout, "The database already has all of the folder.\n")

    def test_usage(self):
        "A folder that does not exist is an error of usage"
        shutil.rmtree(self.story.path)

        process = self.run_command()

        self.assertEqual(process.returncode, 2)
        self.assertIn("is not a folder", process.stderr)
