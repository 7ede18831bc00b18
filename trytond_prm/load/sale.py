# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The steps of the invoices and the commercial gestures."
import datetime as dt
from collections import defaultdict

from trytond.pool import Pool
from trytond.transaction import Transaction

from .exceptions import LoadError
from .loader import Step, search

__all__ = ['FiscalYears', 'Invoices', 'ConcessionReasons', 'Concessions']


class FiscalYears(Step):
    "The fiscal years of the dates that are posted"
    table = 'invoices'
    model = 'account.fiscalyear'
    size = 0

    def load(self):
        loader = self.loader
        dates = defaultdict(list)
        for table, columns in {
                'invoices': ['date'],
                'concessions': ['date'],
                'buybacks': ['signature_date', 'decision_date'],
                'payments': ['due_date', 'paid_date'],
                }.items():
            for row in self.folder[table]:
                for column in columns:
                    if row[column]:
                        dates[row[column]].append((row, column))
        created, prevented = loader.setup.create_fiscalyears(dates)
        self.count(self.model, created)
        for date in prevented:
            for row, column in dates[date]:
                self.folder.error(
                    row, column, 'msg_load_fiscalyear',
                    date=date.isoformat(), company=self.company.rec_name)


class Invoices(Step):
    table = 'invoices'
    model = 'account.invoice'
    key = ('number',)
    column = 'number'
    references = True

    def find(self, values):
        pool = Pool()
        Invoice = pool.get('account.invoice')
        return {
            i.number: i for i in search(
                Invoice, 'number', values, [
                    ('company', '=', self.company.id),
                    ('type', '=', 'out'),
                    ('state', 'in', ['posted', 'paid']),
                    ])}

    def existing(self, rows):
        for number, invoice in self.find(
                {r['number'] for r in rows}).items():
            yield invoice, {
                'number': number,
                'party': invoice.party.code,
                'date': invoice.invoice_date,
                'description': invoice.description or None,
                'amount': invoice.untaxed_amount,
                }

    def write(self, rows):
        pool = Pool()
        Configuration = pool.get('account.configuration')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        account = Configuration(1).get_multivalue(
            'default_category_account_revenue', company=self.company.id)
        if not account:
            raise LoadError('msg_load_revenue_account',
                company=self.company.rec_name)
        invoices = []
        defaults = {}
        for row in rows:
            if row['party'] not in defaults:
                defaults[row['party']] = self._defaults(
                    self.record('parties', row, 'party'))
            invoices.append(Invoice(
                    number=row['number'],
                    invoice_date=row['date'],
                    description=row['description'],
                    lines=[Line(
                            type='line',
                            invoice_type='out',
                            company=self.company,
                            currency=self.company.currency,
                            account=account.current(row['date']),
                            description=row['description'],
                            quantity=1,
                            unit_price=row['amount'],
                            )],
                    **defaults[row['party']]))
        Invoice.save(invoices)
        with Transaction().set_context(_skip_warnings=True):
            Invoice.post(invoices)
        return invoices

    def _defaults(self, party):
        "The values of the invoices of the party, computed once"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        invoice = Invoice(
            company=self.company, type='out', party=party,
            currency=self.company.currency)
        invoice.on_change_type()
        invoice.on_change_party()
        return {
            name: getattr(invoice, name, None) for name in [
                'company', 'type', 'party', 'currency', 'journal', 'account',
                'invoice_address', 'payment_term']}


class ConcessionReasons(Step):
    table = 'concession_reasons'
    model = 'prm.concession.reason'
    key = ('name',)
    column = 'name'
    references = True

    def find(self, values):
        pool = Pool()
        Reason = pool.get('prm.concession.reason')
        return {r.name: r for r in search(Reason, 'name', values)}

    def existing(self, rows):
        for name, reason in self.find({r['name'] for r in rows}).items():
            yield reason, {
                'name': name,
                'separation': bool(reason.separation),
                }

    def write(self, rows):
        pool = Pool()
        Reason = pool.get('prm.concession.reason')
        return Reason.create([{
                    'name': r['name'],
                    'separation': r['separation'],
                    } for r in rows])


class Concessions(Step):
    table = 'concessions'
    model = 'prm.concession'
    key = ('code',)
    column = 'amount'

    def existing(self, rows):
        pool = Pool()
        Concession = pool.get('prm.concession')
        for c in search(
                Concession, 'number', {r['code'] for r in rows},
                [('company', '=', self.company.id)]):
            yield c, {
                'code': c.number,
                'party': c.party.code,
                'date': c.date,
                'kind': c.kind,
                'reason': c.reason.name,
                'invoice': c.invoice.number if c.invoice else None,
                'amount': c.amount,
                'cost': c.cost,
                'imputation_date': c.imputation_date,
                'state': c.state,
                }

    def same(self, column, value, existing):
        if column == 'imputation_date' and value is None:
            return True
        return super().same(column, value, existing)

    def load(self):
        # What is left of an invoice depends on the order
        self.rows.sort(key=lambda r: (r['date'] or dt.date.max, r['code']))
        super().load()

    def write(self, rows):
        pool = Pool()
        Concession = pool.get('prm.concession')
        concessions = Concession.create([{
                    'number': r['code'],
                    'company': self.company.id,
                    'party': self.id('parties', r, 'party'),
                    'date': r['date'],
                    'kind': r['kind'],
                    'reason': self.id('concession_reasons', r, 'reason'),
                    'invoice': self.id('invoices', r, 'invoice'),
                    'currency': self.company.currency.id,
                    'amount': r['amount'],
                    'cost': r['cost'],
                    'imputation_date': r['imputation_date'] or r['date'],
                    } for r in rows])
        states = defaultdict(list)
        for row, concession in zip(rows, concessions):
            states[row['state']].append(concession)
        approved = states['approved'] + states['granted']
        Concession.submit(
            approved + states['submitted'] + states['rejected'])
        Concession.approve(approved)
        Concession.reject(states['rejected'])
        with Transaction().set_context(_concession_number=True):
            Concession.grant(states['granted'])
        Concession.cancel(states['cancelled'])
        return concessions
