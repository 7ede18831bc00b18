# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import threading
import unittest
from collections import Counter
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from trytond import backend
from trytond.model import ModelSQL
from trytond.model.exceptions import AccessError, SQLConstraintError
from trytond.modules.company.tests import create_company, set_company
from trytond.modules.party.exceptions import EraseError
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    ShareClassAccessError, ShareClassValidationError, ShareClassWarning,
    ShareHoldingError, ShareNumberError, ShareTransactionAccessError,
    ShareTransactionError)
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    DB_NAME, activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction, TransactionError

from .tools import SharedMixin, count_statements, get_company


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


def new_ranges(*ranges):
    Range = Pool().get('prm.share.transaction.range')
    return [Range(from_number=f, to_number=t) for f, t in ranges]


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


class ShareTestCase(SharedMixin, unittest.TestCase):
    "Test the share register"

    @with_transaction()
    def test_capital_reduction(self):
        "Repurchased shares are the company's own until cancelled"
        Holding = Pool().get('prm.share.holding')
        company = get_company()
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
        company = get_company()
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
        company = get_company()
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
        company = get_company()
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
        company = get_company()
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
        company = get_company()
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

    @with_transaction()
    def test_copy(self):
        "A copy is a new draft"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")
            issue, = post(new(
                    class_, '2004-03-01', 'issue', 1, party_to=a,
                    reference="C-1"))

            copy, = ShareTransaction.copy([issue])

            self.assertEqual(
                (copy.state, copy.number, copy.reference),
                ('draft', None, None))

    @with_transaction()
    def test_quantity(self):
        "The quantity is positive"
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")

            with self.assertRaisesRegex(SQLConstraintError,
                    r'The quantity of a share transaction must be '
                    r'greater than zero\.'):
                new(class_, '2004-03-01', 'issue', 0, party_to=a).save()

    @with_transaction()
    def test_same_holder(self):
        "A holder can not give to himself"
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")
            post(new(class_, '2004-03-01', 'issue', 2, party_to=a))
            for transaction, name in [
                    (new(class_, '2005-01-01', 'transfer', 1, a, a), "A"),
                    (new(class_, '2005-01-01', 'transfer', 1),
                        company.party.name),
                    (new(class_, '2005-01-01', 'repurchase', 1,
                            company.party), company.party.name),
                    ]:
                with self.subTest(name=name):
                    with self.assertRaisesRegex(ShareTransactionError,
                            r'^The share transaction "\(\d+\)" can not be '
                            r'posted because "%s" would give the shares to '
                            r'itself\. Change one of the parties\.' % name):
                        post(transaction)

    @with_transaction()
    def test_treasury(self):
        "The company gives its own shares again"
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "B")
            post(
                new(class_, '2004-03-01', 'issue', 10, party_to=a),
                new(class_, '2005-01-01', 'repurchase', 4, a),
                new(class_, '2006-01-01', 'transfer', 3, party_to=b))

            self.assertEqual(
                holdings(), {'A': 6, 'B': 3, company.party.name: 1})
            with self.assertRaisesRegex(ShareHoldingError,
                    'needs 2 shares "Ordinary" of "%s" who holds only 1'
                    % company.party.name):
                post(new(class_, '2006-01-02', 'cancellation', 2))

    @with_transaction()
    def test_reverse(self):
        "A reversal gives the shares back from its date"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "B")
            _, transfer = post(
                new(class_, '2004-03-01', 'issue', 10, party_to=a),
                new(class_, '2005-01-01', 'transfer', 4, a, b))

            reversal, = ShareTransaction.create_reversals(
                [transfer], dt.date(2005, 2, 1), "Refused approval")

            self.assertEqual(reversal.state, 'posted')
            self.assertEqual(reversal.description, "Refused approval")
            self.assertEqual(
                (reversal.party_from, reversal.party_to), (b, a))
            transfer = ShareTransaction(transfer.id)
            self.assertEqual(transfer.reversed_by, reversal)
            self.assertEqual(holdings('2005-01-31'), {'A': 6, 'B': 4})
            self.assertEqual(holdings('2005-02-01'), {'A': 10})
            for domain, result in [
                    ([('reversed_by', '=', None)], 2),
                    ([('reversed_by', '!=', None)], 1),
                    ([('reversed_by', '=', reversal.id)], 1),
                    ([('reversed_by.description', 'like', 'Ref%')], 1),
                    ([('reversed_by', 'ilike', reversal.number)], 1),
                    ]:
                with self.subTest(domain=domain):
                    self.assertEqual(
                        ShareTransaction.search(domain, count=True), result)
            with self.assertRaisesRegex(ShareTransactionError,
                    r'The share transaction "2" is already reversed by '
                    r'"3"\.'):
                ShareTransaction.create_reversals(
                    [transfer], dt.date(2005, 3, 1))

    @with_transaction()
    def test_reverse_not_held(self):
        "What was given on can not be taken back"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, b, c = create_parties("A", "B", "C")
            _, transfer, _ = post(
                new(class_, '2004-03-01', 'issue', 10, party_to=a),
                new(class_, '2005-01-01', 'transfer', 4, a, b),
                new(class_, '2006-01-01', 'transfer', 3, b, c))

            with self.assertRaisesRegex(ShareHoldingError,
                    'needs 4 shares "Ordinary" of "B" '
                    'who holds only 1 of them on 01/01/2006'):
                ShareTransaction.create_reversals(
                    [transfer], dt.date(2005, 6, 1))

    @with_transaction()
    def test_reversal_differs(self):
        "A reversal is the exact opposite of its transaction"
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "B")
            issue, = post(new(class_, '2004-03-01', 'issue', 10, party_to=a))
            reversal = new(
                class_, '2005-01-01', 'reversal', 9, a, reversal_of=issue)

            with self.assertRaisesRegex(ShareTransactionError,
                    r'because it is not the exact opposite of "1"\. '
                    r'Use the button "Reverse" of "1"\.'):
                post(reversal)
            reversal.quantity = 10
            reversal.date = dt.date(2004, 1, 1)
            with self.assertRaisesRegex(ShareTransactionError,
                    r'because it is before "1" that it reverses\. '
                    r'Use a date from 03/01/2004\.'):
                post(reversal)
            reversal.date = dt.date(2005, 1, 1)
            post(reversal)

            self.assertEqual(holdings(), {})

    @with_transaction()
    def test_numbers(self):
        "A holder gives only the numbers that he holds at the date"
        ShareTransaction = Pool().get('prm.share.transaction')
        company = get_company()
        with set_company(company):
            class_ = create_class(company, numbered=True)
            a, b = create_parties("A", "B")
            post(
                new(class_, '2004-03-01', 'issue', 100, party_to=a,
                    from_number=1, to_number=100),
                new(class_, '2004-03-01', 'issue', 50, party_to=b,
                    from_number=101, to_number=150),
                new(class_, '2006-01-01', 'transfer', 10, a, b,
                    from_number=91, to_number=100))
            for error, message, transaction in [
                    (ShareNumberError, r'because the numbers 1–10 are not '
                        r'11 shares\. Correct the numbers or the quantity\.',
                        new(class_, '2007-01-01', 'transfer', 11, a, b,
                            from_number=1, to_number=10)),
                    (ShareNumberError, r'because "A" does not hold the number '
                        r'91 of "Ordinary" on 01/01/2007\.',
                        new(class_, '2007-01-01', 'transfer', 10, a, b,
                            from_number=86, to_number=95)),
                    (ShareNumberError, r'because "A" does not hold the number '
                        r'91 of "Ordinary" on 01/01/2006\.',
                        new(class_, '2005-01-01', 'repurchase', 5, a,
                            from_number=88, to_number=92)),
                    (ShareNumberError, r'because the number 150 of "Ordinary" '
                        r'already exists on 01/01/2007\.',
                        new(class_, '2007-01-01', 'issue', 2, party_to=a,
                            from_number=150, to_number=151)),
                    (ShareNumberError, r'because the numbers 1–2, 5–6 are not '
                        r'5 shares\. Correct the numbers or the quantity\.',
                        new(class_, '2007-01-01', 'transfer', 5, a, b,
                            from_number=1, to_number=2,
                            ranges=new_ranges((5, 6)))),
                    (ShareNumberError, r'because it has the number 2 twice\.',
                        new(class_, '2007-01-01', 'transfer', 4, a, b,
                            from_number=1, to_number=2,
                            ranges=new_ranges((2, 3)))),
                    (ShareNumberError, r'because "A" does not hold the number '
                        r'95 of "Ordinary" on 01/01/2007\. '
                        r'Correct the numbers\.',
                        new(class_, '2007-01-01', 'transfer', 3, a, b,
                            from_number=1, to_number=2,
                            ranges=new_ranges((95, 95)))),
                    ]:
                with self.subTest(message=message):
                    with self.assertRaisesRegex(error, message):
                        post(transaction)
            post(new(class_, '2006-01-02', 'transfer', 60, b, a,
                    from_number=91, to_number=150))

            self.assertEqual(holdings(), {'A': 150})
            self.assertEqual(
                class_.get_numbers(a, dt.date(2004, 3, 1)), [(1, 100)])
            self.assertEqual(
                class_.get_numbers(b, dt.date(2006, 1, 1)), [(91, 150)])
            self.assertEqual(
                class_.get_numbers(a, dt.date(2006, 1, 2)), [(1, 150)])
            self.assertEqual(class_.get_numbers(b, dt.date(2006, 1, 2)), [])

            transfer, = post(new(class_, '2008-01-01', 'transfer', 6, a, b,
                    from_number=1, ranges=new_ranges((7, 9), (20, 20)),
                    to_number=2))

            self.assertEqual(transfer.on_change_with_to_number(), 2)
            self.assertEqual(transfer.numbers, "1–2, 7–9, 20")
            self.assertEqual(
                class_.get_numbers(b, dt.date(2008, 1, 1)),
                [(1, 2), (7, 9), (20, 20)])
            with self.assertRaisesRegex(ShareTransactionAccessError,
                    'You can not modify the share transaction'):
                transfer.ranges[0].delete(transfer.ranges)

            reversal, = ShareTransaction.create_reversals(
                [transfer], dt.date(2008, 2, 1))

            self.assertEqual(reversal.numbers, "1–2, 7–9, 20")
            self.assertEqual(class_.get_numbers(b, dt.date(2008, 2, 1)), [])

    @with_transaction()
    def test_votes(self):
        "Capital counts by nominal value and votes by class"
        Holding = Pool().get('prm.share.holding')
        company = get_company()
        with set_company(company):
            ordinary = create_class(company)
            founder = create_class(
                company, name="Founder", nominal_value=Decimal('30'),
                votes=10)
            a, b = create_parties("A", "B")
            post(
                new(ordinary, '2004-03-01', 'issue', 100, party_to=a),
                new(founder, '2004-03-01', 'issue', 100, party_to=b))

            self.assertEqual({
                    h.rec_name: (h.percentage, h.votes, h.votes_percentage)
                    for h in Holding.search([])}, {
                    "A (Ordinary)": (
                        Decimal('0.25'), 100, Decimal('0.090909')),
                    "B (Founder)": (
                        Decimal('0.75'), 1000, Decimal('0.909091')),
                    })

    @with_transaction()
    def test_without_par_value(self):
        "Without nominal value each share is the same part of the capital"
        Holding = Pool().get('prm.share.holding')
        company = get_company()
        with set_company(company):
            class_ = create_class(company, nominal_value=None)
            a, b = create_parties("A", "B")
            post(
                new(class_, '2004-03-01', 'issue', 1, party_to=a),
                new(class_, '2004-03-01', 'issue', 2, party_to=b))

            self.assertEqual(
                {h.party: h.percentage for h in Holding.search([])},
                {a: Decimal('0.333333'), b: Decimal('0.666667')})

    @with_transaction()
    def test_class_modify(self):
        "A class with posted transactions keeps what they are made of"
        pool = Pool()
        ShareClass = pool.get('prm.share.class')
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, = create_parties("A")
            ShareClass.write([class_], {'numbered': True})
            ShareClass.write([class_], {'numbered': False})
            post(new(class_, '2004-03-01', 'issue', 1, party_to=a))

            with self.assertRaisesRegex(ShareClassAccessError,
                    r'You can not modify the field "Numbered" of the share '
                    r'class "Ordinary" because it has posted transactions\. '
                    r'Create another share class instead\.'):
                ShareClass.write([class_], {'numbered': True})
            with self.assertRaisesRegex(ShareClassWarning,
                    r'the new value of the field "Votes" changes the '
                    r'percentages of the past holdings too\.'):
                ShareClass.write([class_], {'votes': 2})
            ShareClass.write([class_], {'votes': 1, 'name': "Common"})

    @with_transaction()
    def test_class_currency(self):
        "The capital has one currency"
        pool = Pool()
        Currency = pool.get('currency.currency')
        company = get_company()
        with set_company(company):
            create_class(company)
            currency = Currency(name="Franc", symbol='F', code='CHF')
            currency.save()

            with self.assertRaisesRegex(ShareClassValidationError,
                    r'The currency of the share class "B" must be the one of '
                    r'the other share classes of "Dunder Mifflin"\.'):
                create_class(company, name="B", currency=currency)

    @with_transaction()
    def test_class_name(self):
        "The name of a class is unique by company"
        company = get_company()
        with set_company(company):
            create_class(company)
            with self.assertRaisesRegex(SQLConstraintError,
                    r'The name of a share class must be unique by company\.'):
                create_class(company)

    @with_transaction()
    def test_party(self):
        "A holder can be replaced but not erased"
        pool = Pool()
        Erase = pool.get('party.erase', type='wizard')
        Replace = pool.get('party.replace', type='wizard')
        Holding = pool.get('prm.share.holding')
        company = get_company()
        with set_company(company):
            class_ = create_class(company)
            a, b = create_parties("A", "A")
            post(new(class_, '2004-03-01', 'issue', 1, party_to=a))

            session_id, _, _ = Erase.create()
            with self.assertRaisesRegex(EraseError,
                    r'You can not erase the party "A" while it holds shares '
                    r'of "Dunder Mifflin"\.'):
                Erase(session_id).check_erase_company(a, company)
            session_id, _, _ = Replace.create()
            replace = Replace(session_id)
            replace.ask.source = a
            replace.ask.destination = b
            replace.transition_replace()

            holding, = Holding.search([])
            self.assertEqual((holding.party, holding.quantity), (b, 1))

    @with_transaction()
    def test_access(self):
        "Nobody but the associates group reads the register"
        pool = Pool()
        Group = pool.get('res.group')
        Model = pool.get('ir.model')
        ModelAccess = pool.get('ir.model.access')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        company = get_company()
        # The review of the director analyses the separations
        models = [
            m.name for m in Model.search([('name', 'like', 'prm.%')])
            if issubclass(pool.get(m.name), ModelSQL)
            and m.name.split('.')[1] in {'share', 'separation', 'buyback'}
            and any(
                '.associate.' in c.__module__
                for c in pool.get(m.name).__mro__)]
        self.assertGreaterEqual(len(models), 12)
        for name, allowed in [
                ('group_prm', False),
                ('group_prm_manager', False),
                ('group_prm_admin', False),
                ('group_associate', True)]:
            group = Group(ModelData.get_id('prm', name))
            user, = User.create([{
                        'name': name,
                        'login': name,
                        'groups': [('add', [group.id])],
                        'companies': [('add', [company.id])],
                        'company': company.id,
                        }])
            with Transaction().set_user(user.id), \
                    Transaction().set_context(
                        User.get_preferences(context_only=True),
                        _check_access=True):
                for model in models:
                    Model_ = pool.get(model)
                    with self.subTest(group=name, model=model):
                        if allowed:
                            Model_.search([])
                        else:
                            with self.assertRaises(AccessError):
                                Model_.search([])
                        if model in ModelAccess.get_access([model]):
                            self.assertEqual(
                                bool(ModelAccess.get_access(
                                        [model])[model]['read']),
                                allowed)


movements = st.lists(
    st.tuples(
        st.sampled_from([
                'issue', 'transfer', 'repurchase', 'cancellation',
                'reversal']),
        st.integers(min_value=1, max_value=9),  # day
        st.sampled_from([None, 0, 1]),  # from
        st.sampled_from([None, 0, 1]),  # to
        st.integers(min_value=1, max_value=6),  # first number
        st.integers(min_value=1, max_value=4),  # quantity
        ),
    min_size=1, max_size=12)


class Register:
    """A simple register

    It is a list of day, giver, receiver, first number and quantity; nobody is
    '' and the company is 'company'.
    """

    def __init__(self, numbered):
        self.numbered = numbered
        self.movements = []

    @staticmethod
    def ranges(first, quantity):
        "Return the ranges of the numbers, which may have a gap"
        if first % 2 and quantity > 1:
            return [(first, first), (first + 3, first + quantity + 1)]
        return [(first, first + quantity - 1)]

    @classmethod
    def set_numbers(cls, transaction, first, quantity):
        (first, last), *others = cls.ranges(first, quantity)
        transaction.from_number = first
        transaction.to_number = last
        transaction.ranges = new_ranges(*others)

    def shares(self, day, movements):
        "Return the number of each share, or of all, by holder"
        shares = Counter()
        for date, giver, receiver, first, quantity in movements:
            if date > day:
                continue
            if self.numbered:
                for start, end in self.ranges(first, quantity):
                    for number in range(start, end + 1):
                        shares[giver, number] -= 1
                        shares[receiver, number] += 1
            else:
                shares[giver, None] -= quantity
                shares[receiver, None] += quantity
        return shares

    def holdings(self, day):
        holdings = Counter()
        for (holder, _), quantity in self.shares(day, self.movements).items():
            if holder:
                holdings[holder] += quantity
        return {h: q for h, q in holdings.items() if q}

    def accept(self, *movement):
        movements = self.movements + [movement]
        for day in range(1, 10):
            total = Counter()
            for (holder, number), quantity in self.shares(
                    day, movements).items():
                if holder:
                    total[number] += quantity
                    if quantity < 0:
                        return False
            if self.numbered and any(q > 1 for q in total.values()):
                return False
        self.movements = movements
        return True


class SharePropertyTestCase(SharedMixin, unittest.TestCase):
    "Test the properties of the share register"

    @settings(max_examples=40, deadline=None)
    @given(st.booleans(), movements)
    def test_register(self, numbered, movements):
        "No sequence of transactions makes a holding negative at any date"
        self.check_register(numbered, movements)

    @with_transaction()
    def check_register(self, numbered, movements):
        ShareTransaction = Pool().get('prm.share.transaction')
        company = get_company()
        with set_company(company):
            class_ = create_class(company, numbered=numbered)
            parties = create_parties("A", "B")
            register = Register(numbered)
            posted = []

            def name(party, empty='company'):
                return "AB"[party] if party is not None else empty

            for kind, day, from_, to, first, quantity in movements:
                date = dt.date(2007, 1, day)
                if kind == 'reversal':
                    originals = [
                        p for p in posted
                        if not ShareTransaction(p[0].id).reversed_by
                        and p[1][0] <= day]
                    if not originals:
                        continue
                    original, (_, giver, receiver, *rest) = originals[
                        first % len(originals)]
                    movement = (day, receiver, giver, *rest)
                    transaction = ShareTransaction(
                        kind=kind, date=date, reversal_of=original,
                        **original._get_reversal())
                else:
                    if (kind == 'issue' and to is None
                            or kind == 'repurchase' and from_ is None):
                        continue
                    giver = name(from_) if kind != 'issue' else ''
                    receiver = name(to) if kind != 'cancellation' else ''
                    if giver == receiver:
                        continue
                    movement = (day, giver, receiver, first, quantity)
                    transaction = new(
                        class_, date.isoformat(), kind, quantity,
                        parties[from_]
                        if from_ is not None and giver else None,
                        parties[to] if to is not None and receiver else None)
                    if numbered:
                        register.set_numbers(transaction, first, quantity)
                transaction.save()
                if register.accept(*movement):
                    ShareTransaction.post([transaction])
                    if kind != 'reversal':
                        posted.append((transaction, movement))
                else:
                    with self.assertRaises(
                            (ShareHoldingError, ShareNumberError)):
                        ShareTransaction.post([transaction])
                    ShareTransaction.delete([transaction])

            for day in range(1, 10):
                expected = register.holdings(day)
                if 'company' in expected:
                    expected[company.party.name] = expected.pop('company')
                self.assertEqual(holdings(f'2007-01-{day:02}'), expected)


@unittest.skipIf(
    backend.name == 'sqlite', "SQLite has only one connection in memory")
class ShareConcurrencyTestCase(unittest.TestCase):
    "Test the share register with several connections"

    @classmethod
    def setUpClass(cls):
        activate_module('prm')
        cls.addClassCleanup(drop_db)

    def test_post(self):
        "Two users can not give the same shares at the same time"
        with Transaction().start(DB_NAME, 1) as transaction:
            company = create_company()
            with set_company(company):
                class_ = create_class(company)
                a, b, c = create_parties("A", "B", "C")
                issue = new(class_, '2004-03-01', 'issue', 1000, party_to=a)
                issue.save()
                first = new(class_, '2005-01-01', 'transfer', 700, a, b)
                first.save()
                second = new(class_, '2005-01-01', 'transfer', 700, a, c)
                second.save()
            transaction.commit()

        def run(transaction_id, before=None, after=None):
            "Post like the server does for a request"
            extras = {}
            while True:
                with Transaction().start(
                        DB_NAME, 1, context={'company': company.id},
                        **extras) as transaction:
                    ShareTransaction = Pool().get('prm.share.transaction')
                    try:
                        ShareTransaction.search([])
                        if before:
                            before()
                        ShareTransaction.post(
                            [ShareTransaction(transaction_id)])
                        if after:
                            after()
                        transaction.commit()
                    except TransactionError as e:
                        transaction.rollback()
                        e.fix(extras)
                        continue
                    except backend.DatabaseOperationalError:
                        transaction.rollback()
                        conflicts.append(transaction_id)
                        continue
                return

        def run_second():
            try:
                run(second.id, before=started.set)
            except Exception as e:
                errors.append(e)

        conflicts, errors = [], []
        started = threading.Event()
        thread = threading.Thread(target=run_second)

        def start_second():
            # The first one has claimed the register, the second reads it as
            # it was before and has to wait
            thread.start()
            self.assertTrue(started.wait(30))

        run(issue.id)
        run(first.id, after=start_second)
        thread.join(60)

        self.assertFalse(thread.is_alive())
        self.assertEqual(set(conflicts), {second.id})
        error, = errors
        self.assertIsInstance(error, ShareHoldingError)
        self.assertIn('who holds only 300 of them', str(error))
