# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"The steps of the shares, the separation and the buybacks."
from collections import defaultdict
from decimal import Decimal

from trytond.pool import Pool

from .check import check_payment
from .loader import Step, search

__all__ = [
    'ShareClasses', 'ShareTransactions', 'Milestones', 'Buybacks',
    'Payments']


class ShareClasses(Step):
    table = 'share_classes'
    model = 'prm.share.class'
    key = ('name',)
    column = 'name'
    references = True

    def find(self, values):
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        return {
            c.name: c for c in search(
                ShareClass, 'name', values,
                [('company', '=', self.company.id)])}

    def existing(self, rows):
        for name, share_class in self.find({r['name'] for r in rows}).items():
            yield share_class, {
                'name': name,
                'nominal_value': share_class.nominal_value,
                'votes': share_class.votes,
                }

    def write(self, rows):
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        return ShareClass.create([{
                    'company': self.company.id,
                    'currency': self.company.currency.id,
                    'name': r['name'],
                    'nominal_value': r['nominal_value'],
                    'votes': r['votes'],
                    } for r in rows])


class ShareTransactions(Step):
    table = 'share_transactions'
    model = 'prm.share.transaction'
    column = 'quantity'

    def existing(self, rows):
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        for t in ShareTransaction.search([
                    ('company', '=', self.company.id),
                    ('state', '=', 'posted'),
                    ('origin', '=', None),
                    ]):
            yield t, {
                'date': t.date,
                'kind': t.kind,
                'share_class': t.share_class.name,
                'quantity': t.quantity,
                'party_from': t.party_from.code if t.party_from else None,
                'party_to': t.party_to.code if t.party_to else None,
                'unit_price': t.unit_price,
                }

    def write(self, rows):
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        transactions = ShareTransaction.create([{
                    'company': self.company.id,
                    'date': r['date'],
                    'kind': r['kind'],
                    'share_class': self.id('share_classes', r, 'share_class'),
                    'quantity': r['quantity'],
                    'party_from': self.id('parties', r, 'party_from'),
                    'party_to': self.id('parties', r, 'party_to'),
                    'unit_price': r['unit_price'],
                    } for r in rows])
        ShareTransaction.post(transactions)
        return transactions


class Milestones(Step):
    table = 'milestones'
    model = 'prm.separation.milestone'
    column = 'date'

    def _separations(self, rows):
        pool = Pool()
        Separation = pool.get('prm.separation')
        return {
            s.party.id: s for s in search(
                Separation, 'party',
                {self.id('parties', r, 'party') for r in rows},
                [('company', '=', self.company.id)],
                order=[('id', 'DESC')])}

    def existing(self, rows):
        for separation in self._separations(rows).values():
            for milestone in separation.milestones:
                yield milestone, {
                    'party': separation.party.code,
                    'kind': milestone.kind,
                    'date': milestone.date,
                    'description': milestone.description or None,
                    }

    def write(self, rows):
        pool = Pool()
        Milestone = pool.get('prm.separation.milestone')
        Separation = pool.get('prm.separation')
        separations = self._separations(rows)
        missing = {
            self.id('parties', r, 'party'): None for r in rows
            if self.id('parties', r, 'party') not in separations}
        for separation in Separation.create([{
                    'company': self.company.id,
                    'party': party,
                    } for party in missing]):
            separations[separation.party.id] = separation
        self.count('prm.separation', len(missing))
        return Milestone.create([{
                    'separation': separations[
                        self.id('parties', r, 'party')].id,
                    'kind': r['kind'],
                    'date': r['date'],
                    'description': r['description'],
                    } for r in rows])


class Buybacks(Step):
    table = 'buybacks'
    model = 'prm.buyback'
    key = ('code',)
    column = 'code'
    references = True

    def find(self, values):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        return {
            b.number: b for b in search(
                Buyback, 'number', values,
                [('company', '=', self.company.id)])}

    def existing(self, rows):
        for code, buyback in self.find({r['code'] for r in rows}).items():
            values = {
                c: getattr(buyback, c) for c in rows[0].values if c != 'code'}
            values.update({
                    'code': code,
                    'party': buyback.party.code,
                    'share_class': buyback.share_class.name,
                    })
            yield buyback, values

    def same(self, column, value, existing):
        if column in {'advance', 'interest_rate'}:
            return (value or 0) == (existing or 0)
        return super().same(column, value, existing)

    def write(self, rows):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Separation = pool.get('prm.separation')
        parties = {self.id('parties', r, 'party') for r in rows}
        separations = {
            s.party.id: s.id for s in search(
                Separation, 'party', parties,
                [('company', '=', self.company.id)],
                order=[('id', 'DESC')])}
        copied = [
            c for c in rows[0].values
            if c not in {'code', 'party', 'share_class'}]
        buybacks = Buyback.create([{
                    'number': r['code'],
                    'company': self.company.id,
                    'currency': self.company.currency.id,
                    'party': self.id('parties', r, 'party'),
                    'separation': separations.get(
                        self.id('parties', r, 'party')),
                    'share_class': self.id('share_classes', r, 'share_class'),
                    **{c: r[c] for c in copied},
                    **self.loader.setup.buyback_values(r['route']),
                    } for r in rows])
        Buyback.generate_schedule(buybacks)
        Buyback.announce(buybacks)
        Buyback.sign(buybacks)
        Buyback.run(buybacks)
        return buybacks


class Payments(Step):
    """The payments of the instalments by the bank

    A payment is recognised by the description of its line.
    """
    table = 'payments'
    model = 'account.move'
    column = 'amount'

    @staticmethod
    def description(number, due_date):
        return f'{number} {due_date.isoformat()}'

    def _lines(self, buybacks):
        "The posted lines of payments by buyback and due date"
        pool = Pool()
        Line = pool.get('account.move.line')
        lines = defaultdict(list)
        for line in search(
                Line, 'move.origin', {str(b) for b in buybacks}, [
                    ('move.journal.type', '=', 'cash'),
                    ('move.state', '=', 'posted'),
                    ('debit', '>', 0),
                    ]):
            lines[line.move_origin, line.description].append(line)
        return lines

    def existing(self, rows):
        due_dates = defaultdict(set)
        for row in rows:
            due_dates[self.record('buybacks', row, 'buyback')].add(
                row['due_date'])
        lines = self._lines(due_dates.keys())
        for buyback, dates in due_dates.items():
            for due_date in dates:
                for line in lines[
                        buyback, self.description(buyback.number, due_date)]:
                    yield line, {
                        'buyback': buyback.number,
                        'due_date': due_date,
                        'paid_date': line.date,
                        'amount': line.debit,
                        }

    def load(self):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        if self.records['buybacks'] and Buyback.search([
                    ('state', '=', 'running'),
                    ('company', '=', self.company.id),
                    ], limit=1):
            date = max([
                    self.loader.last_date,
                    *(r['due_date'] for r in self.rows if r['due_date'])])
            Buyback.post_due_interest(date=date)
        rows = [r for r in self.rows if self.loader.usable(r)]
        if rows:
            new = self._match_content(rows)
            self._check(rows, new)
            self.loader.bulk(
                [r for r in new if r.valid()], self._write, self.column)

    def _check(self, rows, new):
        "Check what remains to pay of the instalments"
        due_dates = defaultdict(set)
        remaining = defaultdict(Decimal)
        buybacks = {self.record('buybacks', r, 'buyback') for r in rows}
        paid = self._lines(buybacks)
        for buyback in buybacks:
            for instalment in buyback.instalments:
                key = buyback.number, instalment.due_date
                due_dates[buyback.number].add(instalment.due_date)
                remaining[key] += instalment.amount - sum(
                    l.debit for l in paid[
                        buyback, self.description(*key)])
        for row in new:
            check_payment(
                self.folder, row, due_dates[row['buyback']], remaining)

    def write(self, rows):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        journal, bank = self.loader.setup.find_bank()
        moves = []
        for row in rows:
            buyback = self.record('buybacks', row, 'buyback')
            move = Move(
                company=self.company, journal=journal, date=row['paid_date'],
                period=Period.find(self.company, date=row['paid_date']),
                origin=buyback)
            description = self.description(buyback.number, row['due_date'])
            move.lines = [
                Line(
                    account=buyback.account_payable, party=buyback.party,
                    debit=row['amount'], credit=Decimal(0),
                    description=description),
                Line(
                    account=bank, debit=Decimal(0), credit=row['amount'],
                    description=description),
                ]
            moves.append(move)
        Move.save(moves)
        Move.post(moves)
        buybacks = {self.record('buybacks', r, 'buyback') for r in rows}
        self._reconcile(Buyback.browse(list(buybacks)))
        Buyback.process(Buyback.browse(list(buybacks)))
        return moves

    def _reconcile(self, buybacks):
        "Reconcile the due dates that are fully paid"
        pool = Pool()
        Line = pool.get('account.move.line')
        payments = self._lines(buybacks)
        to_reconcile = []
        for buyback in buybacks:
            for instalment in buyback.instalments:
                lines = [
                    l for l in [instalment.line, instalment.interest_line]
                    if l and not l.reconciliation]
                paid = [
                    l for l in payments[buyback, self.description(
                            buyback.number, instalment.due_date)]
                    if not l.reconciliation]
                if (lines and paid and not sum(
                            l.debit - l.credit for l in lines + paid)):
                    to_reconcile.append(lines + paid)
        if to_reconcile:
            Line.reconcile(*to_reconcile)
