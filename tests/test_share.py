# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from trytond.modules.company.tests import create_company, set_company
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    ShareHoldingError, ShareTransactionAccessError)
from trytond.pool import Pool
from trytond.tests.test_tryton import activate_module, with_transaction
from trytond.transaction import Transaction

from .tools import count_statements


def create_parties(*names):
    Party = Pool().get('party.party')
    return Party.create([{'name': n} for n in names])


def create_class(company, **values):
    ShareClass = Pool().get('prm.share.class')
    values.setdefault('name', "Ordinary")
    values.setdefault('nominal_value', Decimal('10'))
    with set_company(company):
        class_ = ShareClass(company=company, **values)
        class_.save()
    return class_


def new(class_, date, kind, quantity, party_from=None, party_to=None,
        **values):
    ShareTransaction = Pool().get('prm.share.transaction')
    return ShareTransaction(
        company=class_.company, share_class=class_,
        date=dt.date.fromisoformat(date), kind=kind, quantity=quantity,
        party_from=party_from, party_to=party_to, **values)


def post(*transactions):
    ShareTransaction = Pool().get('prm.share.transaction')
    ShareTransaction.save(transactions)
    ShareTransaction.post(transactions)
    return list(transactions)


def holdings(date=None):
    "Return the quantities by holder"
    Holding = Pool().get('prm.share.holding')
    context = {'date': dt.date.fromisoformat(date)} if date else {}
    with Transaction().set_context(**context):
        return {h.party.name: h.quantity for h in Holding.search([])}


class ShareTestCase(unittest.TestCase):
    "Test the share register"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')

    @with_transaction()
    def test_capital_reduction(self):
        "Repurchased shares are the company's own until cancelled"
        Holding = Pool().get('prm.share.holding')
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a1, a2, a3 = create_parties("A1", "A2", "A3")
            post(
                new(class_, '2004-03-01', 'issue', 2000, party_to=a1),
                new(class_, '2004-03-01', 'issue', 1750, party_to=a2),
                new(class_, '2004-03-01', 'issue', 1250, party_to=a3))
            post(new(class_, '2008-02-29', 'repurchase', 1750, a2))

            self.assertEqual(holdings('2008-03-01'), {
                    'A1': 2000, 'A3': 1250, company.party.name: 1750})
            with Transaction().set_context(date=dt.date(2008, 3, 1)):
                self.assertEqual({
                        h.party: (h.percentage, h.votes, h.votes_percentage)
                        for h in Holding.search([])}, {
                        a1: (Decimal('0.4'), 2000, Decimal('0.615385')),
                        a3: (Decimal('0.25'), 1250, Decimal('0.384615')),
                        company.party: (Decimal('0.35'), 0, Decimal(0)),
                        })

            post(new(class_, '2008-03-02', 'cancellation', 1750))

            self.assertEqual(holdings(), {'A1': 2000, 'A3': 1250})
            self.assertEqual(holdings('2004-02-29'), {})
            self.assertEqual(
                holdings('2004-03-01'), {'A1': 2000, 'A2': 1750, 'A3': 1250})
            self.assertEqual(
                {h.party: h.percentage for h in Holding.search([])}, {
                    a1: Decimal('0.615385'), a3: Decimal('0.384615')})

    @with_transaction()
    def test_number(self):
        "Transactions are numbered by date when posted"
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")
            late = new(class_, '2004-03-02', 'issue', 1, party_to=a)
            early = new(class_, '2004-03-01', 'issue', 1, party_to=a)
            late.save()

            self.assertIsNone(late.number)
            self.assertEqual(late.rec_name, f'({late.id})')

            post(late, early)

            self.assertEqual(
                (early.number, late.number, late.state), ('1', '2', 'posted'))

    @with_transaction()
    def test_more_than_held(self):
        "A holder can not give more than he holds"
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "B")
            post(new(class_, '2004-03-01', 'issue', 1000, party_to=a))
            transfer = new(class_, '2007-10-31', 'transfer', 1001, a, b)

            with self.assertRaisesRegex(ShareHoldingError,
                    r'^"\(\d+\)" needs 1001 shares "Ordinary" of "A" '
                    r'who holds only 1000 of them on 10/31/2007\.'):
                post(transfer)

    @with_transaction()
    def test_back_dated(self):
        "A back-dated transaction can not make a later one impossible"
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a, b, c = create_parties("A", "B", "C")
            post(new(class_, '2004-03-01', 'issue', 1000, party_to=a))
            post(new(class_, '2007-12-01', 'transfer', 700, a, b))

            with self.assertRaisesRegex(ShareHoldingError,
                    r'"\(\d+\)" needs 500 shares "Ordinary" of "A" '
                    r'who holds only 300 of them on 12/01/2007\.'):
                post(new(class_, '2007-10-31', 'repurchase', 500, a))

    @with_transaction()
    def test_posted(self):
        "Posted transactions are neither modified nor deleted"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")
            issue, = post(new(class_, '2004-03-01', 'issue', 1, party_to=a))

            with self.assertRaisesRegex(ShareTransactionAccessError,
                    'You can not modify the share transaction "1" '
                    'because it is posted. Reverse it instead.'):
                ShareTransaction.write([issue], {'description': "Deed"})
            with self.assertRaisesRegex(ShareTransactionAccessError,
                    'You can not delete the share transaction "1" '
                    'because it is posted. Reverse it instead.'):
                ShareTransaction.delete([issue])

    @with_transaction()
    def test_statements(self):
        "The statements do not depend on the number of transactions"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = create_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "B")
            post(new(class_, '2004-03-01', 'issue', 10000, party_to=a))
            counts = []
            for n in [10, 200]:
                values = [{
                        'company': company.id,
                        'date': dt.date(2005, 1, 1),
                        'kind': 'transfer',
                        'share_class': class_.id,
                        'quantity': 1,
                        'party_from': a.id,
                        'party_to': b.id,
                        }] * n
                with count_statements() as create:
                    transactions = ShareTransaction.create(values)
                with count_statements() as posting:
                    ShareTransaction.post(transactions)
                with count_statements() as read:
                    ShareTransaction.read(
                        [t.id for t in transactions],
                        list(ShareTransaction._fields))
                # SQLite can only insert one by one
                create = [c for c in create if not c.startswith('INSERT')]
                counts.append((len(create), len(posting), len(read)))

            for few, many in zip(*counts):
                self.assertLessEqual(many, few)
                self.assertLessEqual(many, 30)
