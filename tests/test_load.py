# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import csv
import datetime as dt
import io
import shutil
import tempfile
import unittest
from pathlib import Path

from trytond.modules.prm.trytond_prm.load.check import check
from trytond.modules.prm.trytond_prm.load.folder import Folder
from trytond.modules.prm.trytond_prm.load.format import TABLES
from trytond.modules.prm.trytond_prm.load.message import format_bad_cell

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


class FolderTestCase(unittest.TestCase):
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
                f'concessions.csv:{none}: invoice: A value is required.',
                f'concessions.csv:{none}: amount: "0" is not greater than '
                'zero.',
                ])
        self.assertEqual(exact, beyond - 1)

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
