# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import json
import re
import unittest
from collections import defaultdict
from decimal import Decimal

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from trytond.model.exceptions import AccessError
from trytond.modules.account.tests import get_fiscalyear
from trytond.modules.account_invoice.tests import set_invoice_sequences
from trytond.modules.company.tests import create_company, set_company
from trytond.modules.currency.tests import add_currency_rate, create_currency
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    BuybackAccountError, BuybackAmendmentError, BuybackCancelError,
    BuybackEarnOutError, BuybackNoticeError, BuybackOppositionWarning,
    BuybackScheduleError, BuybackTermsError, ShareHoldingError)
from trytond.modules.prm.trytond_prm.exceptions import WorkflowAccessError
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction, check_access

from .tools import SharedMixin, count_statements, with_shared

date = dt.date.fromisoformat


class World:
    "A company with a chart of accounts and two associates"

    def __init__(self, company, years=(2007, 2008, dt.date.today().year)):
        pool = Pool()
        FiscalYear = pool.get('account.fiscalyear')
        Journal = pool.get('account.journal')
        Party = pool.get('party.party')
        ShareClass = pool.get('prm.share.class')
        self.company = company
        fiscalyears = []
        for year in years:
            fiscalyear = set_invoice_sequences(
                get_fiscalyear(company, dt.date(year, 6, 1)))
            fiscalyear.save()
            fiscalyears.append(fiscalyear)
        FiscalYear.create_period(fiscalyears)

        self.payable = self.create_account(
            "Associates", 'balance', payable=True,
            reconcile=True, party_required=True)
        self.expense = self.create_account(
            "Interest", 'income', expense=True)
        self.cash = self.create_account("Bank", 'balance')
        self.capital = self.create_account("Capital", 'balance')
        self.premium = self.create_account("Reserves", 'balance')
        self.journal, = Journal.search([('code', '=', 'MISC')])
        self.cash_journal, = Journal.search(
            [('type', '=', 'cash')], limit=1)
        self.leaver, self.other = Party.create(
            [{'name': "Leaver"}, {'name': "Other"}])
        self.share_class = ShareClass(
            name="Ordinary", nominal_value=Decimal('10.00'))
        self.share_class.save()
        self.issue(self.leaver, 1000)

    def create_account(
            self, name, statement, reconcile=False, party_required=False,
            **type_):
        pool = Pool()
        Account = pool.get('account.account')
        AccountType = pool.get('account.account.type')
        type_ = AccountType(
            company=self.company, name=name, statement=statement, **type_)
        type_.save()
        account = Account(
            company=self.company, name=name, type=type_,
            reconcile=reconcile, party_required=party_required)
        account.save()
        return account

    def issue(self, party, quantity):
        ShareTransaction = Pool().get('prm.share.transaction')
        transaction = ShareTransaction(
            kind='issue', date=dt.date(2004, 3, 1), quantity=quantity,
            share_class=self.share_class, party_to=party)
        transaction.save()
        ShareTransaction.post([transaction])

    def values(self, **values):
        return {
            'party': self.leaver.id,
            'share_class': self.share_class.id,
            'quantity': 1000,
            'unit_price': Decimal('48'),
            'announcement_date': dt.date(2007, 9, 1),
            'signature_date': dt.date(2007, 10, 31),
            'number_of_instalments': 4,
            'period_months': 3,
            'interest_rate': Decimal('0.05'),
            'journal': self.journal.id,
            'account_payable': self.payable.id,
            'account_debit': self.capital.id,
            'account_premium': self.premium.id,
            'account_interest': self.expense.id,
            **values}

    def create(self, state='draft', **values):
        Buyback = Pool().get('prm.buyback')
        buyback, = Buyback.create([self.values(**values)])
        self.go(buyback, state)
        return buyback

    def go(self, buyback, state):
        Buyback = Pool().get('prm.buyback')
        steps = ['announced', 'signed', 'running']
        if state in steps:
            if buyback.method != 'custom':
                Buyback.generate_schedule([buyback])
            for step in steps[:steps.index(state) + 1]:
                method = {
                    'announced': Buyback.announce,
                    'signed': Buyback.sign,
                    'running': Buyback.run,
                    }[step]
                method([buyback])
            Buyback.process([buyback])

    def post_due_interest(self, day):
        Buyback = Pool().get('prm.buyback')
        Buyback.post_due_interest(date(day))

    def pay(self, day, amount, lines=(), party=None, reconcile=True):
        "Post a payment, reconcile it with the lines and follow it"
        pool = Pool()
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        amount = Decimal(amount)
        move = Move(
            company=self.company, journal=self.cash_journal, date=date(day),
            period=Period.find(self.company, date=date(day)))
        line = Line(
            account=self.payable, party=party or self.leaver, debit=amount)
        move.lines = [line, Line(account=self.cash, credit=amount)]
        move.save()
        Move.post([move])
        line, = [l for l in move.lines if l.account == self.payable]
        if reconcile and lines:
            Line.reconcile([line, *lines])
        self.process()
        return line

    def process(self):
        Buyback = Pool().get('prm.buyback')
        Buyback.process(Buyback.search([]))

    def lines(self, *instalments):
        return [
            l for i in instalments for l in [i.line, i.interest_line] if l]

    def payments(self, *domain):
        Payment = Pool().get('prm.buyback.payment')
        return [
            (p.date.isoformat(), p.instalment.sequence, p.principal,
                p.interest)
            for p in Payment.search(
                domain, order=[('date', 'ASC'), ('id', 'ASC')])]

    def balance(self):
        with Transaction().set_context(fiscalyears=None, date=None):
            Line = Pool().get('account.move.line')
            return sum(
                l.debit - l.credit for l in Line.search([
                        ('account', '=', self.payable.id)]))


class WorldMixin(SharedMixin):
    "Share the world between the tests"

    @classmethod
    def create_shared(cls, company):
        return World(company)


with_world = with_shared


def states(buyback):
    return [i.state for i in buyback.instalments]


def count_own(statements):
    """Count the statements that are not the own ones of the account module

    It numbers the moves and creates the reconciliations one by one.
    SQLite inserts the rows one by one, which counts once here.
    """
    count, previous = 0, None
    for statement in statements:
        statement = statement[:60]
        if (not (statement.startswith('INSERT ') and statement == previous)
                and not statement.startswith('UPDATE "account_move" ')):
            count += 1
        previous = statement
    return count


class BuybackTestCase(WorldMixin, unittest.TestCase):
    "Test buyback"
    maxDiff = None

    @with_world
    def test_shortfall(self, world):
        "A price below the nominal value credits the premium account"
        buyback = world.create(
            'running', unit_price=Decimal('8'), interest_rate=None)

        self.assertEqual(
            sorted(
                (l.account.name, l.debit, l.credit)
                for l in buyback.move.lines if l.account != world.payable),
            [('Capital', Decimal(10000), 0), ('Reserves', 0, Decimal(2000))])

        Pool().get('prm.buyback').cancel([buyback])
        shortfall = world.create_account("Shortfall", 'balance')
        buyback = world.create(
            'running', unit_price=Decimal('8'), interest_rate=None,
            account_shortfall=shortfall.id)
        self.assertEqual(
            [l.credit for l in buyback.move.lines
                if l.account == shortfall], [Decimal(2000)])
        # What the price lacks comes first
        buyback.fix_earn_out(
            date('2008-05-15'), date('2008-06-30'), Decimal(3000))
        move, = buyback.additional_moves
        self.assertEqual(
            sorted((l.account.name, l.debit) for l in move.lines if l.debit),
            [('Reserves', Decimal(1000)), ('Shortfall', Decimal(2000))])

    @with_world
    def test_story(self, world):
        "The payments of the story count at their dates"
        world.issue(world.leaver, 750)
        buyback = world.create(
            'running', quantity=1750, unit_price=Decimal('39.9654'),
            opposition_end=date('2007-11-20'), period_months=1)
        world.post_due_interest('2008-02-29')
        world.post_due_interest('2008-02-29')

        self.assertEqual(
            [(i.due_date.isoformat(), str(i.principal), str(i.interest),
                    str(i.amount), str(i.outstanding_after))
                for i in buyback.instalments], [
                ('2007-11-30', '17484.86', '291.41', '17776.27', '52454.59'),
                ('2007-12-31', '17484.86', '218.56', '17703.42', '34969.73'),
                ('2008-01-31', '17484.86', '145.71', '17630.57', '17484.87'),
                ('2008-02-29', '17484.87', '70.43', '17555.30', '0.00'),
                ])

        for instalment, day in zip(buyback.instalments, [
                    '2007-11-30', '2008-01-09', '2008-01-31', '2008-02-29']):
            world.pay(day, instalment.amount, world.lines(instalment))

        months = defaultdict(Decimal)
        for day, _, principal, interest in world.payments():
            months[day[:7], 'principal'] += principal
            months[day[:7], 'interest'] += interest
        self.assertEqual(dict(months), {
                ('2007-11', 'principal'): Decimal('17484.86'),
                ('2007-11', 'interest'): Decimal('291.41'),
                ('2008-01', 'principal'): Decimal('34969.72'),
                ('2008-01', 'interest'): Decimal('364.27'),
                ('2008-02', 'principal'): Decimal('17484.87'),
                ('2008-02', 'interest'): Decimal('70.43'),
                })
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(world.balance(), 0)
        self.assertEqual(
            {t.date for t in buyback.share_transactions},
            {date('2008-02-29')})
        self.assertEqual(
            buyback.instalments[1].paid_date, date('2008-01-09'))

    @with_world
    def test_states(self, world):
        "The state of an instalment follows the ledger"
        Line = Pool().get('account.move.line')
        Reconciliation = Pool().get('account.move.reconciliation')
        buyback = world.create('running', interest_rate=None)
        first, *_ = buyback.instalments
        self.assertEqual(states(buyback), ['overdue'] * 4)

        part = world.pay('2008-01-31', '5000.00')
        self.assertEqual(states(buyback)[:2], ['partly_paid', 'overdue'])
        self.assertEqual(first.paid_amount, Decimal(5000))
        self.assertEqual(buyback.amount_due, Decimal(43000))

        world.pay('2008-02-05', '7000.00', [part, first.line])
        self.assertEqual(states(buyback)[:2], ['paid', 'overdue'])
        self.assertEqual(first.paid_date, date('2008-02-05'))

        Reconciliation.delete([first.line.reconciliation])
        world.process()
        self.assertEqual(states(buyback)[:2], ['partly_paid', 'overdue'])
        self.assertEqual(world.payments(), [
                ('2008-01-31', 1, Decimal(5000), 0),
                ('2008-02-05', 1, Decimal(7000), 0),
                ])

        # An overpaid instalment is paid, the rest goes to the next one
        rest = world.pay('2008-02-06', '1000.00')
        self.assertEqual(states(buyback)[:2], ['partly_paid', 'partly_paid'])
        Line.reconcile([part, first.line, *[
                    l for l in Line.search([
                            ('account', '=', world.payable.id),
                            ('debit', '=', Decimal(7000))])]])
        world.process()
        self.assertEqual(states(buyback)[:2], ['paid', 'partly_paid'])
        self.assertIsNone(rest.reconciliation)

    @with_world
    def test_taken_back(self, world):
        "A payment taken back counts negative at its date"
        Line = Pool().get('account.move.line')
        Move = Pool().get('account.move')
        Reconciliation = Pool().get('account.move.reconciliation')
        buyback = world.create('running', interest_rate=None)
        first, second, *_ = buyback.instalments
        world.pay('2008-01-31', '12000.00', [first.line])
        payment = world.pay('2008-04-30', '12000.00', [second.line])
        Reconciliation.delete([payment.reconciliation])
        reversal = payment.move.cancel(default={
                'date': date('2008-05-15'),
                'period': Pool().get('account.period').find(
                    world.company, date=date('2008-05-15')).id,
                })
        Move.post([reversal])
        reversed_, = [
            l for l in reversal.lines if l.account == world.payable]
        world.process()
        expected = [
            ('2008-01-31', 1, Decimal(12000), 0),
            ('2008-04-30', 2, Decimal(12000), 0),
            ('2008-05-15', 2, Decimal(-12000), 0),
            ]
        self.assertEqual(world.payments(), expected)
        self.assertEqual(states(buyback)[:2], ['paid', 'overdue'])

        Line.reconcile([payment, reversed_])
        world.process()
        self.assertEqual(world.payments(), expected)
        self.assertEqual(states(buyback)[:2], ['paid', 'overdue'])

        world.pay('2008-06-01', '12000.00', [second.line])
        self.assertEqual(world.payments(), expected + [
                ('2008-06-01', 2, Decimal(12000), 0)])
        self.assertEqual(states(buyback)[:2], ['paid', 'paid'])

    @with_world
    def test_other_debt(self, world):
        "What pays another debt of the associate is not a payment"
        Line = Pool().get('account.move.line')
        Move = Pool().get('account.move')
        Period = Pool().get('account.period')
        world.create('running', interest_rate=None)
        move = Move(
            company=world.company, journal=world.journal,
            date=date('2008-01-15'),
            period=Period.find(world.company, date=date('2008-01-15')))
        debt = Line(
            account=world.payable, party=world.leaver,
            credit=Decimal(300), maturity_date=date('2008-02-15'))
        move.lines = [debt, Line(account=world.expense, debit=Decimal(300))]
        move.save()
        Move.post([move])
        debt, = [l for l in move.lines if l.account == world.payable]

        world.pay('2008-02-15', '300.00', [debt])

        self.assertEqual(world.payments(), [])

    @with_world
    def test_write_off(self, world):
        "What is written off is waived and not paid"
        pool = Pool()
        Journal = pool.get('account.journal')
        Line = pool.get('account.move.line')
        WriteOff = pool.get('account.move.reconcile.write_off')
        buyback = world.create('running', interest_rate=None)
        journal, = Journal.create([{
                    'name': "Write-Off", 'type': 'write-off'}])
        write_off, = WriteOff.create([{
                    'company': world.company.id,
                    'name': "Waiver",
                    'journal': journal.id,
                    'debit_account': world.premium.id,
                    'credit_account': world.premium.id,
                    }])
        *_, third, last = buyback.instalments
        payment = world.pay('2008-07-31', '11640.00')
        Line.reconcile(
            [payment, third.line], writeoff=write_off,
            date=date('2008-07-31'))
        Line.reconcile(
            [last.line], writeoff=write_off, date=date('2008-07-31'))
        world.process()

        self.assertEqual(states(buyback)[2:], ['paid', 'waived'])
        self.assertEqual(
            [i.paid_amount for i in buyback.instalments[2:]],
            [Decimal(11640), 0])
        self.assertEqual(
            world.payments(), [('2008-07-31', 3, Decimal(11640), 0)])

    @with_world
    def test_reschedule(self, world):
        "A rescheduled instalment is not paid before its new lines are"
        pool = Pool()
        Reschedule = pool.get('account.move.line.reschedule', type='wizard')
        Term = pool.get('account.move.line.reschedule.term')
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        first = buyback.instalments[0]
        with Transaction().set_context(date=None):
            move, _ = Reschedule.reschedule_lines(
                world.lines(first), world.journal, [
                    Term(date=date('2030-01-31'), amount=Decimal('-8000')),
                    Term(date=date('2030-02-28'), amount=Decimal('-4600')),
                    ])
        move.post()
        world.process()

        self.assertEqual(states(buyback)[0], 'pending')
        self.assertEqual(first.paid_amount, 0)
        Instalment = pool.get('prm.buyback.instalment')
        self.assertEqual(
            [(i.due_date.isoformat(), i.maturity_date.isoformat())
                for i in buyback.instalments[:2]], [
                ('2008-01-31', '2030-01-31'), ('2008-04-30', '2008-04-30')])
        self.assertEqual(
            Instalment.search([('maturity_date', '>=', date('2030-01-01'))]),
            [first])
        self.assertEqual(
            Instalment.search(
                [], order=[('maturity_date', 'DESC')], limit=1), [first])
        self.assertEqual(world.payments(), [])
        self.assertEqual(buyback.amount_due, Decimal(48600))
        self.assertIn(move, buyback.additional_moves)

        one, two = sorted(
            (l for l in move.lines if l.maturity_date),
            key=lambda l: l.maturity_date)
        world.pay('2008-03-31', '8000.00', [one])
        self.assertEqual(states(buyback)[0], 'partly_paid')
        world.pay('2008-04-30', '4600.00', [two])
        self.assertEqual(states(buyback)[0], 'paid')
        self.assertEqual(world.payments(), [
                ('2008-03-31', 1, Decimal(7400), Decimal(600)),
                ('2008-04-30', 1, Decimal(4600), 0),
                ])

        # An amendment of the rate keeps what was rescheduled
        *_, last = buyback.instalments
        with Transaction().set_context(date=None):
            move, _ = Reschedule.reschedule_lines(
                [last.line], world.journal,
                [Term(date=date('2029-01-31'), amount=Decimal('-12000'))])
        move.post()
        buyback.amend(date('2008-05-01'), {}, rate=Decimal('0.06'))
        self.assertEqual(
            Instalment(last.id).maturity_date, date('2029-01-31'))

    @with_world
    def test_delegate(self, world):
        "A delegated instalment is not paid before the delegate is"
        Delegate = Pool().get('account.move.line.delegate', type='wizard')
        buyback = world.create('running', interest_rate=None)
        first = buyback.instalments[0]
        move = Delegate.delegate_lines(
            [first.line], world.other, world.journal)
        move.post()
        world.process()

        self.assertEqual(states(buyback)[0], 'overdue')
        self.assertEqual(buyback.amount_due, Decimal(48000))

        line, = [l for l in move.lines if l.party == world.other]
        world.pay('2008-01-31', '12000.00', [line], party=world.other)
        self.assertEqual(states(buyback)[0], 'paid')
        self.assertEqual(
            world.payments(), [('2008-01-31', 1, Decimal(12000), 0)])

    @with_world
    def test_shares_account(self, world):
        "The price passes through the account of the shares to cancel"
        account = world.create_account("Shares to Cancel", 'balance')
        buyback = world.create('running', account_shares=account.id)

        lines = buyback.move.lines
        self.assertEqual(sorted(
                (l.debit, l.credit) for l in lines if l.account == account),
            [(0, buyback.price), (buyback.price, 0)])
        self.assertEqual(
            sum(l.debit for l in lines if l.account == world.capital),
            Decimal(10000))
        self.assertFalse(buyback.reconciled)

    @with_world
    def test_cancel(self, world):
        "A running buyback that is not paid is cancelled by reversal"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        CancelMoves = pool.get('account.move.cancel', type='wizard')
        Move = pool.get('account.move')
        ShareHolding = pool.get('prm.share.holding')

        def cancel_moves(moves):
            "Use the wizard of the accounting"
            session_id, _, _ = CancelMoves.create()
            with Transaction().set_context(
                    active_model='account.move',
                    active_ids=[m.id for m in moves],
                    active_id=moves[0].id):
                CancelMoves.execute(session_id, {
                        'default': {'reversal': True},
                        }, 'cancel')

        for by_wizard in [False, True]:
            buyback = world.create('running', title_transfer='effective')
            world.post_due_interest('2008-01-31')
            self.assertEqual(ShareHolding.search([]), [])

            if by_wizard:
                other, = Move.copy([buyback.move], default={
                        'origin': None,
                        'date': buyback.move.date,
                        })
                Move.post([other])
                cancel_moves([buyback.move, other])
                self.assertEqual(
                    len(Move.search([('origin', '=', str(other))])), 1)
            else:
                Buyback.cancel([buyback])

            buyback = Buyback(buyback.id)
            self.assertEqual(buyback.state, 'cancelled')
            self.assertTrue(buyback.reconciled)
            self.assertEqual(world.balance(), 0)
            self.assertTrue(all(
                    l.reconciliation for m in buyback.moves
                    for l in m.move.lines if l.account == world.payable))
            self.assertEqual(
                [h.quantity for h in ShareHolding.search([])], [1000])
            self.assertEqual(world.payments(), [])

        # The interest that is cancelled is not paid
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        first, *_ = buyback.instalments
        cancel_moves([first.interest_line.move])
        self.assertEqual(world.payments(), [])
        self.assertEqual(buyback.amount_due, Decimal(48000))
        self.assertEqual(
            Buyback.get_statements([buyback])[buyback.id][-1].balance,
            Decimal(48000))

    @with_world
    def test_cancel_paid(self, world):
        "A buyback with a payment can not be cancelled"
        Buyback = Pool().get('prm.buyback')
        buyback = world.create('running', interest_rate=None)
        world.pay('2008-01-31', '1.00')

        with self.assertRaises(BuybackCancelError) as cm:
            Buyback.cancel([buyback])

        self.assertEqual(
            cm.exception.message,
            f'You can not cancel the buyback "{buyback.rec_name}" because '
            f'the instalment "{buyback.rec_name} / 1" is paid or being paid.')

    @with_world
    def test_refuse_holding(self, world):
        "More shares than held and not reserved can not be bought"
        with self.assertRaises(ShareHoldingError) as cm:
            world.create('announced', quantity=1001)
        self.assertEqual(
            cm.exception.message,
            f'"{self.last(world)}" needs 1001 shares "Ordinary" of "Leaver" '
            'who holds only 1000 of them on 09/01/2007. '
            'Reduce the quantity or change the date.')

        Buyback = Pool().get('prm.buyback')
        Buyback.write(
            Buyback.search([('state', '=', 'announced')]),
            {'state': 'cancelled'})
        world.create('announced', quantity=600)
        with self.assertRaises(ShareHoldingError) as cm:
            world.create('announced', quantity=401)
        self.assertEqual(
            cm.exception.message,
            f'"{self.last(world)}" needs 401 shares "Ordinary" of "Leaver" '
            'who holds 1000 of them on 09/01/2007, of which 600 are '
            'reserved. Reduce the quantity or cancel what reserves them.')
        buyback = Buyback.search([('state', '=', 'announced')], limit=1)
        with self.assertRaisesRegex(ShareHoldingError, "1001"):
            Buyback.write(buyback, {'quantity': 1001})

    def last(self, world):
        Buyback = Pool().get('prm.buyback')
        buyback, = Buyback.search([], order=[('id', 'DESC')], limit=1)
        return buyback.rec_name

    @with_world
    def test_refuse_schedule(self, world):
        "The instalments must sum to the price and respect the opposition"
        Buyback = Pool().get('prm.buyback')
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create('announced')
        Instalment.write(
            [buyback.instalments[-1]], {'principal': Decimal('11999.99')})

        with self.assertRaises(BuybackScheduleError) as cm:
            Buyback.sign([buyback])
        self.assertEqual(
            cm.exception.message,
            f'The instalments of the buyback "{buyback.rec_name}" sum to '
            'usd47999.99 but the price is usd48000.00. Generate the '
            'schedule or correct the instalments.')

        Buyback.generate_schedule([buyback])
        Buyback.write([buyback], {'opposition_end': date('2008-01-31')})
        with self.assertRaises(BuybackScheduleError) as cm:
            Buyback.sign([buyback])
        self.assertEqual(
            cm.exception.message,
            f'The instalment "{buyback.rec_name} / 1" can not be due on '
            '01/31/2008 because the creditors can oppose until 01/31/2008. '
            'Change the due dates.')

        Buyback.write([buyback], {'opposition_end': None})
        Instalment.write(
            [buyback.instalments[0]], {'due_date': date('2007-10-30')})
        with self.assertRaises(BuybackScheduleError) as cm:
            Buyback.sign([buyback])
        self.assertEqual(
            cm.exception.message,
            f'The instalment "{buyback.rec_name} / 1" can not be due on '
            '10/30/2007, before the signature on 10/31/2007.')

        Buyback.write([buyback], {'filing_date': date('2007-11-02')})
        self.assertEqual(
            [t for t, _ in buyback.on_change_notify()], ['warning'])
        Buyback.generate_schedule([buyback])
        for method in [Buyback.sign, Buyback.run]:
            with self.assertRaises(BuybackOppositionWarning) as cm:
                method([Buyback(buyback.id)])
            Buyback.write([buyback], {'state': 'signed'})
        self.assertEqual(
            cm.exception.message,
            f'The capital reduction of the buyback "{buyback.rec_name}" was '
            'filed on 11/02/2007 but it has no end of the opposition of the '
            'creditors: nothing keeps its instalments from being paid while '
            'they can oppose.')

    @with_world
    def test_refuse_terms(self, world):
        "The terms must be complete and are frozen by the signature"
        Buyback = Pool().get('prm.buyback')
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create(signature_date=None)
        with self.assertRaises(BuybackTermsError) as cm:
            Buyback.generate_schedule([buyback])
        self.assertEqual(
            cm.exception.message,
            'To continue you must fill the field "Signature Date" of the '
            f'buyback "{buyback.rec_name}".')

        Buyback.write([buyback], {
                'signature_date': date('2007-10-31'),
                'advance': Decimal('48000.01'),
                })
        with self.assertRaises(BuybackTermsError) as cm:
            Buyback.generate_schedule([buyback])
        self.assertEqual(
            cm.exception.message,
            f'The advance of the buyback "{buyback.rec_name}" can not be '
            'greater than its price.')

        Buyback.write([buyback], {'advance': None})
        world.go(buyback, 'signed')
        for field, value in [
                ('unit_price', Decimal(50)), ('interest_rate', Decimal(0)),
                ('quantity', 1)]:
            with self.subTest(field=field):
                with self.assertRaises(AccessError) as cm:
                    Buyback.write([buyback], {field: value})
                string = Buyback.fields_get([field])[field]['string']
                self.assertEqual(
                    cm.exception.message,
                    f'You can not modify the field "{string}" of the '
                    f'buyback "{buyback.rec_name}" in its state. Amend it '
                    'when it is running, or cancel it and copy it.')
        message = (
            'You can not modify the field "Instalments" of the '
            f'buyback "{buyback.rec_name}" in its state. Amend it when it '
            'is running, or cancel it and copy it.')
        for method in [
                lambda: Instalment.write(
                    [buyback.instalments[0]], {'principal': Decimal(1)}),
                lambda: Instalment.delete([buyback.instalments[0]]),
                lambda: Instalment.copy([buyback.instalments[0]]),
                lambda: Buyback.generate_schedule([buyback]),
                ]:
            with self.assertRaises(AccessError) as cm:
                method()
            self.assertEqual(cm.exception.message, message)
        with self.assertRaises(AccessError) as cm:
            Buyback.delete([buyback])
        self.assertEqual(
            cm.exception.message,
            f'You can not delete the buyback "{buyback.rec_name}" because '
            'it is not draft. Cancel it instead.')

    @with_world
    def test_refuse_buyer(self, world):
        "The buyer is another party than the associate"
        Buyback = Pool().get('prm.buyback')
        with self.assertRaises(BuybackTermsError) as cm:
            world.create(route='third_party', buyer=world.leaver.id)
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{self.last(world)}" can not sell the shares of '
            '"Leaver" to itself. Change the buyer.')
        Buyback.delete(Buyback.search([]))
        with self.assertRaises(BuybackTermsError) as cm:
            world.create(buyer=world.other.id)
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{self.last(world)}" can have a buyer only if the '
            'shares are sold to a third party. Remove the buyer or change '
            'the route.')

    @with_world
    def test_refuse_accounts(self, world):
        "The accounts must be filled to run"
        Buyback = Pool().get('prm.buyback')
        for name in [
                'journal', 'account_payable', 'account_debit',
                'account_premium', 'account_interest']:
            with self.subTest(name=name):
                buyback = world.create(
                    'signed', quantity=100, **{name: None})
                with self.assertRaises(BuybackAccountError) as cm:
                    Buyback.run([buyback])
                string = Buyback.fields_get([name])[name]['string']
                self.assertEqual(
                    cm.exception.message,
                    'To post the entries of the buyback '
                    f'"{buyback.rec_name}" you must fill its field '
                    f'"{string}", or in the configuration for the next '
                    'buybacks.')

    @with_world
    def test_copy(self, world):
        "A copy starts again"
        Buyback = Pool().get('prm.buyback')
        buyback = world.create('running')

        copy, = Buyback.copy([buyback])

        self.assertEqual(copy.state, 'draft')
        self.assertNotEqual(copy.number, buyback.number)
        self.assertEqual(copy.price, buyback.price)
        self.assertIsNone(copy.move)
        self.assertIsNone(copy.signature_date)
        self.assertFalse(copy.instalments + copy.share_transactions)

    @with_world
    def test_search(self, world):
        "The computed fields are searched"
        Buyback = Pool().get('prm.buyback')
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create('running', quantity=500)
        draft = world.create(quantity=500)
        first = buyback.instalments[0]
        self.assertEqual(buyback.next_due_date, date('2008-01-31'))
        for domain, expected in [
                ([('move', '=', buyback.move.id)], [buyback]),
                ([('move', '=', None)], [draft]),
                ([('move', '!=', None)], [buyback]),
                ([('additional_moves', '=', None)], [draft, buyback]),
                ([('next_due_date', '<', date('2008-02-01'))], [buyback]),
                ([('next_due_date', '>=', date('2008-02-01'))], []),
                ([('next_due_date', '=', None)], [draft]),
                ([('next_due_date', '!=', None)], [buyback]),
                ([('rec_name', '=', "Leaver")], [draft, buyback]),
                ]:
            with self.subTest(domain=domain):
                self.assertEqual(Buyback.search(domain), expected)
        self.assertEqual(
            Instalment.search([('line', '=', first.line.id)]), [first])
        self.assertEqual(
            len(Instalment.search([('interest_line', '=', None)])), 4)
        self.assertEqual(
            len(Instalment.search([('line', '!=', None)])), 4)

    @with_world
    def test_early_settlement(self, world):
        "The interest stops at the early settlement"
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        world.pay(
            '2008-01-31', '12600.00', world.lines(buyback.instalments[0]))

        buyback.settle_early(date('2008-03-15'))
        world.process()

        _, *later = buyback.instalments
        self.assertEqual(
            [(i.due_date, i.principal, i.interest, i.outstanding_after)
                for i in later], [
                (date('2008-03-15'), Decimal(12000), Decimal(225),
                    Decimal(24000)),
                (date('2008-03-15'), Decimal(12000), 0, Decimal(12000)),
                (date('2008-03-15'), Decimal(12000), 0, 0),
                ])
        self.assertEqual(
            {l.maturity_date for l in world.lines(*later)},
            {date('2008-03-15')})
        self.assertEqual(buyback.amount_due, Decimal(36225))
        self.assertEqual(buyback.next_due_date, date('2008-03-15'))
        world.post_due_interest('2008-12-31')
        world.pay('2008-03-15', '36225.00', world.lines(*later))
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(world.balance(), 0)
        amendment, = buyback.amendments
        self.assertEqual(
            [l.interest for l in amendment.lines],
            [Decimal(600), Decimal(450), Decimal(300), Decimal(150)])

    @with_world
    def test_early_settlement_waiver(self, world):
        "A waiver of the early settlement is not paid"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        buyback = world.create(
            'running', account_waiver=world.premium.id)
        world.post_due_interest('2008-01-31')
        world.pay(
            '2008-01-31', '12600.00', world.lines(buyback.instalments[0]))
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.settle_early(date('2008-03-15'), Decimal('36000.01'))
        message = (
            f'The waiver of the buyback "{buyback.rec_name}" can not be '
            'greater than the principal that remains.')
        self.assertEqual(cm.exception.message, message)

        # What is paid before is not to waive any more
        line = world.pay('2008-02-15', '12000.00')
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.settle_early(date('2008-03-15'), Decimal('24000.01'))
        self.assertEqual(cm.exception.message, message)
        reversal = line.move.cancel()
        Move.post([reversal])
        Line.reconcile([line] + [
                l for l in reversal.lines if l.account == world.payable])

        world.issue(world.leaver, 100)
        other = world.create('running', quantity=100)
        buyback.settle_early(date('2008-03-15'), Decimal('360.00'))

        # The waiver of a buyback does not touch what is due before of another
        _, *later = buyback.instalments
        self.assertEqual(buyback.amount_due, Decimal(35865))
        self.assertEqual(other.amount_due, Decimal(4800))
        Buyback.cancel([other])
        waiver, = Line.search([
                ('account', '=', world.payable.id),
                ('debit', '=', Decimal(360))])
        world.pay(
            '2008-03-15', '35865.00', [waiver, *world.lines(*later)])
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(buyback.amount_paid, Decimal(48465))
        self.assertEqual(world.balance(), 0)
        self.assertEqual(
            sum(p[2] for p in world.payments()), Decimal(47640))
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.settle_early(date('2008-03-16'))
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{buyback.rec_name}" can not be amended because '
            'it is not running or not paid by the company.')

    @with_world
    def test_acceleration(self, world):
        "The default makes everything due with the late interest"
        buyback = world.create(
            'running', late_rate=Decimal('0.08'), cure_days=30)
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.accelerate(date('2008-01-31'))
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{buyback.rec_name}" can not be accelerated '
            'because no instalment is overdue at the notice date.')
        world.post_due_interest('2008-01-31')

        with self.assertRaises(BuybackNoticeError) as cm:
            buyback.give_notice(dt.date.today() + dt.timedelta(days=1))
        tomorrow = dt.date.today() + dt.timedelta(days=1)
        self.assertEqual(
            cm.exception.message,
            f'The formal notice of the buyback "{buyback.rec_name}" can not '
            f'be given on {tomorrow:%m/%d/%Y}, in the future.')
        notice = buyback.give_notice(date('2008-02-15'))
        self.assertEqual(
            (notice.amount, notice.cure_end, notice.recorded_by.id),
            (Decimal(12600), date('2008-03-16'), Transaction().user))
        self.assertIn("usd12,600.00", notice.description)
        notice.document = b'signed'
        notice.save()
        for values in [{'document': b'other'}, {'date': date('2008-02-14')}]:
            with self.assertRaises(AccessError) as cm:
                notice.write([notice], values)
            self.assertEqual(
                cm.exception.message,
                f'You can not modify nor delete "{notice.rec_name}" of '
                '"Formal Notice" but only add its document, once. Make a new '
                'one instead.')
        buyback = buyback.__class__(buyback.id)
        start = Pool().get('prm.buyback.accelerate.start')(
            buyback=buyback, notice_date=notice.date, cure_days=0)
        self.assertEqual(start.on_change_with_date(), notice.cure_end)

        buyback.accelerate(date('2008-02-15'))

        self.assertEqual(buyback.notices, (notice,))
        self.assertEqual(buyback.accelerated_on, date('2008-03-16'))
        self.assertEqual(
            [(i.due_date.isoformat(), i.interest, i.late_interest)
                for i in buyback.instalments], [
                ('2008-01-31', Decimal(600), Decimal('122.67')),
                ('2008-03-16', Decimal('230.00'), 0),
                ('2008-03-16', 0, 0),
                ('2008-03-16', 0, 0),
                ])
        self.assertEqual(buyback.amount_due, Decimal('48952.67'))
        # The late rate can change although nothing is due later
        late_rate = buyback.late_rate
        buyback.amend(date('2008-03-31'), {}, late_rate=Decimal('0.09'))
        buyback.amend(date('2008-03-31'), {}, late_rate=late_rate)
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.amend(date('2008-03-31'), {})
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{buyback.rec_name}" can not be amended because '
            'all its instalments are settled or due. Use an earlier date.')
        buyback = buyback.__class__(buyback.id)
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.accelerate(date('2008-02-15'))
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{buyback.rec_name}" is already accelerated.')

        buyback.charge_late_interest(date('2008-03-31'))
        self.assertEqual(buyback.amount_due, Decimal('49102.00'))
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.charge_late_interest(date('2008-03-31'))
        self.assertEqual(
            cm.exception.message,
            f'The buyback "{buyback.rec_name}" has no late interest to '
            'charge. Use a later date.')
        lines = list({
                p.line for i in buyback.instalments for p in i.lines})
        self.assertEqual(len(lines), 7)
        world.pay('2008-03-31', '49102.00', lines)
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(world.balance(), 0)

    @with_world
    def test_late_interest(self, world):
        "The late interest runs on what was owed between the payments"
        buyback = world.create('running', late_rate=Decimal('0.08'))
        world.post_due_interest('2008-01-31')
        first = buyback.instalments[0]
        lines = world.lines(first)

        def charge(day):
            buyback.charge_late_interest(date(day))
            return sum(
                i.late_interest for i in buyback.instalments)

        # 600 of interest and 6,000 of principal
        world.pay('2008-03-15', '6600.00')
        self.assertEqual(charge('2008-03-31'), Decimal('140.00'))
        # The next payment does not change what ran before
        world.pay('2008-06-30', '6000.00')
        self.assertEqual(charge('2008-04-30'), Decimal('180.00'))
        self.assertEqual(len(lines), 2)

    @with_world
    def test_late_interest_paid(self, world):
        "What was paid late owes its late interest too"
        buyback = world.create('running', late_rate=Decimal('0.08'))
        world.post_due_interest('2008-01-31')
        first = buyback.instalments[0]
        world.pay('2008-03-15', '12600.00', world.lines(first))
        buyback.charge_late_interest(date('2008-03-31'))
        self.assertEqual(first.late_interest, Decimal('120.00'))

    @with_world
    def test_late_interest_rescheduled(self, world):
        "Rescheduled principal is not late before its new date"
        pool = Pool()
        MoveLine = pool.get('account.move.line')
        buyback = world.create('running', late_rate=Decimal('0.08'))
        world.post_due_interest('2008-01-31')
        first = buyback.instalments[0]
        MoveLine.write([first.line], {'maturity_date': date('2008-04-15')})
        with self.assertRaises(BuybackAmendmentError):
            buyback.charge_late_interest(date('2008-03-31'))
        buyback.charge_late_interest(date('2008-04-30'))
        self.assertEqual(first.late_interest, Decimal('40.00'))

    @with_world
    def test_accelerate_cure(self, world):
        "Nothing is accelerated before the end of the cure delay"
        buyback = world.create(
            'running', late_rate=Decimal('0.08'), cure_days=30)
        world.post_due_interest('2008-01-31')
        with self.assertRaisesRegex(
                BuybackAmendmentError, 'before its cure delay ends on'):
            buyback.accelerate(dt.date.today())

    @with_world
    def test_amend_principal(self, world):
        "An amendment spreads the principal that is not due anew"
        pool = Pool()
        Amend = pool.get('prm.buyback.amend', type='wizard')
        Move = pool.get('account.move')
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        first, second, third, last = buyback.instalments
        world.pay('2008-01-31', '12600.00', world.lines(first))
        moves = len(buyback.moves)
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.amend(date('2007-10-30'), {}, rate=Decimal('0.06'))
        self.assertEqual(
            cm.exception.message,
            f'The amendment of the buyback "{buyback.rec_name}" on '
            '10/30/2007 can not be before its signature on 10/31/2007. '
            'Correct its date.')
        day = date('2008-02-01')
        for principals, added, error in [
                ({second: Decimal(11999)}, [],
                    f'The principal of the instalments of the buyback '
                    f'"{buyback.rec_name}" that are not due must be '
                    'positive and keep its sum, which differs by '
                    '-usd1.00. Correct the principal of the instalments.'),
                ({second: Decimal(-1), third: Decimal(24001)}, [],
                    'must be positive'),
                ({first: Decimal(0), second: Decimal(24000)}, [],
                    f'The instalment "{first.rec_name}" must be open'),
                ({second: Decimal(11000)}, [(day, Decimal(1000))],
                    'must be due after the amendment of 02/01/2008'),
                ]:
            with self.assertRaisesRegex(
                    BuybackAmendmentError, re.escape(error)):
                buyback.amend(day, {}, principals=principals, added=added)
        # What is rescheduled or paid in part is not spread
        payment = world.pay('2008-02-01', '100.00')
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.amend(day, {}, principals={
                    second: Decimal(11000), third: Decimal(13000)})
        self.assertEqual(
            cm.exception.message,
            f'The principal of the instalment "{second.rec_name}" can not '
            'be amended because it is partly paid, being paid or '
            'rescheduled. Change only its due date or reschedule its lines.')
        reversal = payment.move.cancel()
        Move.post([reversal])
        payment.reconcile([payment] + [
                l for l in reversal.lines if l.account == world.payable])
        world.process()

        with Transaction().set_context(
                active_model=buyback.__name__, active_id=buyback.id,
                active_ids=[buyback.id]):
            session, _, _ = Amend.create()
            wizard = Amend(session)
            wizard.start.date = day
            wizard.start.interest_rate = buyback.interest_rate
            for name in [
                    'buyback', 'late_rate', 'cure_days', 'description',
                    'document', 'document_name']:
                setattr(wizard.start, name, None)
            wizard.start.buyback = buyback
            wizard.start.lines = []
            wizard.start.on_change_date()
            self.assertEqual(
                [(l.instalment, l.principal) for l in wizard.start.lines],
                [(i, Decimal(12000)) for i in [second, third, last]])
            self.assertEqual(wizard.start.principal, Decimal(36000))
            lines = wizard.start.lines
            lines[0].principal = Decimal('5000.01')
            lines[2].principal = Decimal(0)
            lines[2].due_date = date('2008-09-30')
            line = lines[0].__class__(
                instalment=None, due_date=date('2008-12-31'), in_price=True,
                principal=Decimal(18999))
            wizard.start.lines = [*lines, line]
            self.assertEqual(
                wizard.start.on_change_with_difference(), Decimal('0.99'))
            line.principal += Decimal('0.99')
            wizard.start.lines = [*lines, line]
            self.assertEqual(wizard.start.on_change_with_difference(), 0)
            wizard.transition_amend()

        buyback = buyback.__class__(buyback.id)
        self.assertEqual(
            [(i.due_date.isoformat(), i.principal, i.interest,
                    i.outstanding_after)
                for i in buyback.instalments], [
                ('2008-01-31', 12000, 600, 36000),
                ('2008-04-30', Decimal('5000.01'), 450,
                    Decimal('30999.99')),
                ('2008-07-31', 12000, Decimal('387.50'),
                    Decimal('18999.99')),
                ('2008-09-30', 0, Decimal('158.33'), Decimal('18999.99')),
                ('2008-12-31', Decimal('18999.99'), Decimal('237.50'), 0),
                ])
        self.assertEqual(
            sum(i.principal for i in buyback.instalments), buyback.price)
        self.assertEqual(
            [(l.maturity_date.isoformat(), l.credit)
                for l in sorted(
                    buyback.moves[-1].move.lines,
                    key=lambda l: l.maturity_date or dt.date.min)
                if not l.reconciliation], [
                ('2008-04-30', Decimal('5000.01')),
                ('2008-12-31', Decimal('18999.99')),
                ])
        self.assertEqual(len(buyback.moves), moves + 1)
        self.assertEqual(buyback.amount_due, Decimal(36000))
        amendment, = buyback.amendments
        self.assertEqual(
            [(l.principal, l.new_principal) for l in amendment.lines], [
                (12000, 12000), (12000, Decimal('5000.01')), (12000, 12000),
                (12000, 0), (None, Decimal('18999.99'))])
        # It is paid as any other
        world.post_due_interest('2008-12-31')
        world.pay('2008-12-31', '37233.33', [
                p.line for i in buyback.instalments for p in i.lines
                if not p.line.reconciliation])
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(buyback.amount_paid, Decimal('49833.33'))
        self.assertEqual(world.balance(), 0)

    @with_world
    def test_amend_principal_currency(self, world):
        "The amounts in the currency of the company keep their sum"
        chf = create_currency('CHF')
        add_currency_rate(chf, Decimal('1.6740'), date('2007-01-01'))
        add_currency_rate(
            world.company.currency, Decimal(1), date('2007-01-01'))
        buyback = world.create(
            'running', currency=chf.id, quantity=1, route='company_purchase',
            unit_price=Decimal('30000.01'), number_of_instalments=3,
            interest_rate=None)
        first, second, third = buyback.instalments

        buyback.amend(date('2007-11-01'), {}, principals={
                first: Decimal('0.01'), second: Decimal('19999.99')})

        move = buyback.__class__(buyback.id).moves[-1].move
        self.assertEqual(
            [(l.debit, l.credit, l.amount_second_currency, l.origin)
                for l in sorted(
                    move.lines,
                    key=lambda l: (-l.debit, l.credit, l.id))], [
                (Decimal('5973.72'), 0, Decimal(10000), first.line),
                (Decimal('5973.72'), 0, Decimal(10000), second.line),
                (0, Decimal('0.01'), Decimal('-0.01'), first),
                (0, Decimal('11947.43'), Decimal('-19999.99'), second),
                ])
        self.assertEqual(
            [i.principal for i in buyback.instalments],
            [Decimal('0.01'), Decimal('19999.99'), Decimal('10000.01')])
        self.assertEqual(third.line.credit, Decimal('5973.71'))

        # An instalment may pay only interest
        buyback = buyback.__class__(buyback.id)
        moves = len(buyback.moves)
        buyback.amend(
            date('2007-11-01'), {}, added=[(date('2008-05-31'), Decimal(0))],
            rate=Decimal('0.06'))
        buyback = buyback.__class__(buyback.id)
        self.assertEqual(
            [(i.principal, i.interest) for i in buyback.instalments[2:]], [
                (0, Decimal('50.00')), (Decimal('10000.01'), Decimal(100))])
        self.assertEqual(len(buyback.moves), moves)

    @with_world
    def test_amend_opposition(self, world):
        "Nothing becomes due while the creditors can oppose"
        buyback = world.create(
            'running', opposition_end=date('2008-01-15'))
        with self.assertRaisesRegex(
                BuybackScheduleError, 'the creditors can oppose until'):
            buyback.settle_early(date('2008-01-10'))
        with self.assertRaises(BuybackScheduleError) as cm:
            buyback.settle_early(date('2007-10-30'))
        self.assertEqual(
            cm.exception.message,
            f'The instalment "{buyback.rec_name} / 1" can not be due on '
            '10/30/2007, before the signature on 10/31/2007.')

    @with_world
    def test_amend(self, world):
        "An amendment changes the next due dates and the rate"
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        first, second, third, last = buyback.instalments
        with self.assertRaises(BuybackAmendmentError) as cm:
            buyback.amend(
                date('2008-02-01'), {second: date('2008-02-01')})
        self.assertEqual(
            cm.exception.message,
            f'The instalment "{second.rec_name}" must be open and due after '
            'the amendment of 02/01/2008. Correct its due date.')
        with self.assertRaises(BuybackAmendmentError):
            buyback.amend(
                date('2008-02-01'), {first: date('2008-05-01')})

        buyback.amend(
            date('2008-02-01'), {
                second: date('2008-05-31'),
                third: date('2008-08-31'),
                }, rate=Decimal('0.06'), late_rate=Decimal('0.08'))

        self.assertEqual(
            [(i.due_date.isoformat(), i.interest)
                for i in buyback.instalments], [
                ('2008-01-31', Decimal(600)),
                ('2008-05-31', Decimal(720)),
                ('2008-08-31', Decimal(360)),
                ('2008-10-31', Decimal(120)),
                ])
        self.assertEqual(second.line.maturity_date, date('2008-05-31'))
        self.assertEqual(buyback.interest_rate, Decimal('0.06'))
        amendment, = buyback.amendments
        self.assertEqual(
            (amendment.former_interest_rate, amendment.interest_rate,
                amendment.former_late_rate, amendment.late_rate,
                amendment.recorded_by.id), (
                Decimal('0.05'), Decimal('0.06'), None, Decimal('0.08'),
                Transaction().user))
        self.assertEqual(
            [(l.due_date, l.new_due_date, l.interest, l.new_interest)
                for l in amendment.lines][1:3], [
                (date('2008-04-30'), date('2008-05-31'), 450, 720),
                (date('2008-07-31'), date('2008-08-31'), 300, 360),
                ])
        # The signed document is added once
        amendment.document = b'signed'
        amendment.save()
        for method, args in [
                ('delete', []), ('write', [{'document': b'other'}]),
                ('write', [{'interest_rate': Decimal('0.07')}])]:
            with self.assertRaises(AccessError) as cm:
                getattr(amendment, method)([amendment], *args)
            self.assertEqual(
                cm.exception.message,
                f'You can not modify nor delete "{amendment.rec_name}" of '
                '"Buyback Amendment" but only add its document, once. Make a '
                'new one instead.')
        buyback.document = b'agreement'
        buyback.save()
        for name in ['document', 'document_id']:
            with self.assertRaises(AccessError) as cm:
                buyback.write([buyback], {name: None})
            self.assertRegex(
                cm.exception.message,
                'You can not modify the field "Signed Document.*" of the '
                f'buyback "{buyback.rec_name}" in its state. Amend it when it '
            'is running, or cancel it and copy it.')
        with check_access(), self.assertRaises(WorkflowAccessError):
            amendment.lines[0].write(
                [amendment.lines[0]], {'new_interest': Decimal(0)})

        # The interest of an amendment needs its account
        other = world.create(
            'running', share_class=self.other_class(world), quantity=10,
            interest_rate=None, account_interest=None)
        with self.assertRaises(BuybackAccountError) as cm:
            other.amend(date('2007-11-01'), {}, rate=Decimal('0.05'))
        self.assertEqual(
            cm.exception.message,
            'To post the entries of the buyback '
            f'"{other.rec_name}" you must fill its field '
            '"Interest Account", or in the configuration for the next '
            'buybacks.')

    def other_class(self, world):
        ShareClass = Pool().get('prm.share.class')
        ShareTransaction = Pool().get('prm.share.transaction')
        share_class = ShareClass(name="Other", nominal_value=Decimal(1))
        share_class.save()
        transaction = ShareTransaction(
            kind='issue', date=date('2004-03-01'), quantity=100,
            share_class=share_class, party_to=world.leaver)
        transaction.save()
        ShareTransaction.post([transaction])
        return share_class.id

    @with_world
    def test_interest_error(self, world):
        "What can not be posted does not keep the rest from it"
        Buyback = Pool().get('prm.buyback')
        good = world.create('running', quantity=500)
        bad = world.create('running', quantity=500)
        Buyback.write([bad], {'account_interest': None})
        with self.assertLogs(
                'trytond.modules.prm.trytond_prm.associate.buyback') as cm:
            world.post_due_interest('2008-04-30')
        self.assertEqual(len(cm.output), 1)
        self.assertIn(bad.rec_name, cm.output[0])
        notifications = Transaction().user_notifications
        self.assertIn('"Interest Account"', notifications[-1].description)
        self.assertEqual(
            [bool(i.interest_line) for b in [good, bad]
                for i in b.instalments],
            [True, True, False, False] + [False] * 4)
        Buyback.write([bad], {'account_interest': world.expense.id})
        world.post_due_interest('2008-04-30')
        self.assertTrue(bad.instalments[1].interest_line)

        # Nor what the accounting refuses
        pool = Pool()
        JournalPeriod = pool.get('account.journal.period')
        Period = pool.get('account.period')
        journal_period = JournalPeriod(
            journal=world.journal, state='closed',
            period=Period.find(world.company, date=date('2008-07-31')))
        journal_period.save()
        with self.assertLogs(
                'trytond.modules.prm.trytond_prm.associate.buyback') as cm:
            world.post_due_interest('2008-10-31')
        self.assertEqual(len(cm.output), 2)
        self.assertEqual(
            [[bool(i.interest_line) for i in Buyback(b.id).instalments]
                for b in [good, bad]], [[True, True, False, True]] * 2)
        JournalPeriod.reopen([journal_period])
        world.post_due_interest('2008-10-31')
        world.post_due_interest('2008-10-31')
        self.assertEqual(
            [sum(l.credit for i in Buyback(b.id).instalments
                    for l in [i.interest_line])
                for b in [good, bad]], [Decimal(750)] * 2)

    @with_world
    def test_earn_out(self, world):
        "The earn-out is fixed and corrected once it is known"
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create(interest_rate=None)
        earn_out, = Instalment.create([{
                    'buyback': buyback.id,
                    'kind': 'earn_out',
                    'due_date': date('2008-12-31'),
                    'principal': Decimal(0),
                    }])
        world.go(buyback, 'running')
        self.assertEqual(
            (earn_out.state, earn_out.line, buyback.amount_due),
            ('pending', None, 48000))
        world.pay(
            '2008-10-31', '48000.00',
            [i.line for i in buyback.instalments[:4]])
        # The title follows the price but the buyback waits for the earn-out
        self.assertEqual(
            (buyback.state, buyback.transferred, buyback.amount_due),
            ('running', True, 0))
        buyback.fix_earn_out(
            date('2008-11-14'), date('2008-12-15'), Decimal(0), earn_out)
        world.process()
        self.assertEqual(
            (buyback.state, earn_out.state, earn_out.fixed_date),
            ('paid', 'paid', date('2008-11-14')))

        for amount in [5000, 4000]:
            buyback.fix_earn_out(
                date('2008-11-15'), date('2008-12-15'), Decimal(amount),
                earn_out)
            world.process()
            self.assertEqual(buyback.state, 'running')
            self.assertEqual(buyback.amount_due, amount)
            self.assertEqual(earn_out.line.credit, amount)
            self.assertEqual(
                (earn_out.state, earn_out.maturity_date),
                ('overdue', date('2008-12-15')))
        self.assertEqual(
            buyback.get_statements([buyback])[buyback.id][-1].balance, 4000)
        self.assertEqual(
            [(a.lines[-1].principal, a.lines[-1].new_principal)
                for a in reversed(buyback.amendments)],
            [(0, 0), (0, 5000), (5000, 4000)])
        world.pay('2008-12-15', '4000.00', [earn_out.line])
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(world.balance(), 0)
        self.assertEqual(
            world.payments(('instalment', '=', earn_out.id)),
            [('2008-12-15', 5, Decimal(4000), 0)])
        with self.assertRaises(BuybackEarnOutError) as cm:
            buyback.fix_earn_out(
                date('2008-12-16'), date('2008-12-31'), Decimal(1), earn_out)
        self.assertEqual(
            cm.exception.message,
            f'The instalment "{earn_out.rec_name}" can not be fixed because '
            'it is not an earn-out or it is paid, being paid or settled with '
            'another one. Add another earn-out instead.')
        buyback.fix_earn_out(
            date('2008-12-16'), date('2008-12-31'), Decimal(1))
        world.process()
        self.assertEqual(buyback.amount_due, 1)
        with self.assertRaises(BuybackEarnOutError) as cm:
            buyback.fix_earn_out(
                date('2008-12-16'), date('2008-12-15'), Decimal(1))
        self.assertEqual(
            cm.exception.message,
            f'The earn-out of the buyback "{buyback.rec_name}" can not be '
            'due on 12/15/2008 before it is fixed on 12/16/2008. Change one '
            'of the dates.')
        draft = world.create(quantity=1)
        with self.assertRaises(BuybackEarnOutError) as cm:
            draft.fix_earn_out(
                date('2008-12-16'), date('2008-12-31'), Decimal(1))
        self.assertEqual(
            cm.exception.message,
            f'The earn-out of the buyback "{draft.rec_name}" can not be '
            'fixed because it is neither running nor paid.')

    @with_world
    def test_company_purchase(self, world):
        "The company keeps the shares that it purchases"
        buyback = world.create(
            'running', route='company_purchase', title_transfer='effective',
            effective_date=date('2007-11-05'), interest_rate=None,
            account_premium=None)

        self.assertEqual(
            [(l.account, l.debit) for l in buyback.move.lines if l.debit],
            [(world.capital, Decimal(48000))])
        transaction, = buyback.share_transactions
        self.assertEqual(
            (transaction.kind, transaction.date, transaction.party_from),
            ('repurchase', date('2007-11-05'), world.leaver))

    @with_world
    def test_third_party(self, world):
        "A third party who pays the associate gets the shares"
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create(
            'running', route='third_party', buyer=world.other.id)
        self.assertIsNone(buyback.move)
        self.assertEqual(states(buyback), ['overdue'] * 4)
        self.assertEqual(buyback.next_due_date, date('2008-01-31'))

        *instalments, last = buyback.instalments
        # The parties amend it without entries
        buyback.amend(
            date('2008-02-01'), {last: date('2008-11-30')}, principals={
                instalments[-1]: Decimal(11000), last: Decimal(13000)})
        self.assertEqual(
            [(i.due_date.isoformat(), i.amount)
                for i in buyback.instalments[2:]], [
                ('2008-07-31', Decimal('11300.00')),
                ('2008-11-30', Decimal('13216.67'))])
        self.assertFalse(buyback.moves)
        buyback.amend(
            date('2008-02-01'), {last: date('2008-10-31')}, principals={
                instalments[-1]: Decimal(12000), last: Decimal(12000)})

        buyback.__class__.confirm_payment([buyback])
        self.assertEqual(
            [i.confirmed_date for i in buyback.instalments],
            [dt.date.today(), None, None, None])
        Instalment.write(
            instalments, {'confirmed_date': date('2008-01-31')})
        world.process()
        self.assertEqual(
            states(buyback), ['paid', 'paid', 'paid', 'overdue'])
        self.assertEqual(buyback.next_due_date, date('2008-10-31'))
        self.assertEqual(buyback.amount_due, Decimal(12150))
        self.assertEqual(buyback.state, 'running')

        self.assertFalse(buyback.reconciled)

        Instalment.write([last], {'confirmed_date': date('2008-11-05')})
        world.process()
        self.assertEqual(buyback.state, 'paid')
        self.assertTrue(buyback.reconciled)
        transaction, = buyback.share_transactions
        self.assertEqual(
            (transaction.kind, transaction.date, transaction.party_from,
                transaction.party_to),
            ('transfer', date('2008-11-05'), world.leaver, world.other))
        self.assertEqual(world.payments(), [])

        world.issue(world.other, 1)
        other = world.create('signed', quantity=1, party=world.other.id)
        with self.assertRaises(AccessError):
            Instalment.write(
                other.instalments, {'confirmed_date': date('2008-11-05')})

    @with_world
    def test_currency(self, world):
        "The cents of the conversion go to the last line"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Configuration = pool.get('account.configuration')
        Journal = pool.get('account.journal')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        Rate = pool.get('currency.currency.rate')
        Reconciliation = pool.get('account.move.reconciliation')
        chf = create_currency('CHF')
        create_rates = [
            (world.company.currency, '2007-01-01', '1'),
            (chf, '2007-01-01', '1.6740'),
            (chf, '2007-12-31', '1.6547'),
            (chf, '2008-02-29', '1.5891'),
            ]
        Rate.delete(Rate.search([]))
        Rate.create([{
                    'currency': c.id, 'date': date(d), 'rate': Decimal(r)}
                for c, d, r in create_rates])
        journal, = Journal.create([{
                    'name': "Exchange", 'type': 'write-off'}])
        configuration = Configuration(1)
        configuration.currency_exchange_journal = journal
        configuration.currency_exchange_credit_account = world.expense
        configuration.currency_exchange_debit_account = world.expense
        configuration.save()
        buyback = world.create(
            'running', route='company_purchase', quantity=1,
            unit_price=Decimal('30000.01'), currency=chf.id,
            advance=Decimal('10000.00'), number_of_instalments=2,
            period_months=2, interest_rate=None)

        lines = [i.line for i in buyback.instalments]
        self.assertEqual(
            [(l.maturity_date.isoformat(), l.credit,
                    l.amount_second_currency) for l in lines], [
                ('2007-10-31', Decimal('5973.72'), Decimal('-10000.00')),
                ('2007-12-31', Decimal('5973.72'), Decimal('-10000.00')),
                ('2008-02-29', Decimal('5973.71'), Decimal('-10000.01')),
                ])
        paid = [Decimal('5973.72'), Decimal('6043.39'), Decimal('6292.88')]
        for line, amount in zip(lines, paid):
            day = line.maturity_date
            move = Move(
                company=world.company, journal=world.cash_journal, date=day,
                period=Period.find(world.company, date=day))
            move.lines = [
                Line(
                    account=world.payable, party=world.leaver, debit=amount,
                    second_currency=chf,
                    amount_second_currency=-line.amount_second_currency),
                Line(account=world.cash, credit=amount)]
            move.save()
            Move.post([move])
            payment, = [
                l for l in move.lines if l.account == world.payable]
            Buyback.reconcile([buyback])
            self.assertEqual(
                [r.date for r in Reconciliation.search([
                            ('lines', '=', payment.id)])], [day])
        self.assertEqual(
            {l.move.date for l in Line.search([
                        ('account', '=', world.expense.id)])},
            {date('2007-12-31'), date('2008-02-29')})
        world.process()

        self.assertEqual(
            world.payments(), [
                ('2007-10-31', 1, paid[0], 0),
                ('2007-12-31', 2, paid[1], 0),
                ('2008-02-29', 3, paid[2], 0),
                ])
        self.assertEqual(buyback.amount_paid, Decimal('30000.01'))
        self.assertEqual(buyback.amount_due, 0)
        self.assertEqual(buyback.state, 'paid')
        self.assertEqual(world.balance(), 0)

    @with_world
    def test_origin(self, world):
        "An accountant sees of which buyback an entry is and nothing else"
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        Move = pool.get('account.move')
        MoveLine = pool.get('account.move.line')
        Buyback = pool.get('prm.buyback')
        User = pool.get('res.user')
        draft = world.create(quantity=1)
        buyback = world.create('running', quantity=999)
        user, = User.create([{
                    'name': "Accountant",
                    'login': 'accountant',
                    'companies': [('add', [world.company.id])],
                    'company': world.company.id,
                    'groups': [('add', [
                                ModelData.get_id('account.group_account')])],
                    }])
        lines = list(map(int, world.lines(buyback.instalments[0])))
        moves = [m.move.id for m in buyback.moves]
        with Transaction().set_user(user.id), \
                Transaction().set_context(
                    User.get_preferences(context_only=True)), \
                check_access():
            for row in Move.read(moves, ['origin', 'origin.rec_name']):
                self.assertEqual(
                    row['origin.']['rec_name'], buyback.rec_name)
            for row in MoveLine.read(lines, [
                        'origin', 'origin.rec_name', 'move_origin',
                        'move_origin.rec_name']):
                self.assertRegex(
                    row['origin.']['rec_name'], f'^{buyback.rec_name} / ')
            with self.assertRaises(AccessError):
                Buyback.read([buyback.id], ['rec_name', 'price'])
            with self.assertRaises(AccessError):
                Buyback.read([draft.id], ['rec_name'])
        for group in ['prm.group_prm', None]:
            user, = User.create([{
                        'name': group or "Nobody",
                        'login': group or 'nobody',
                        'companies': [('add', [world.company.id])],
                        'company': world.company.id,
                        'groups': [('add', [ModelData.get_id(group)])]
                        if group else None,
                        }])
            with self.subTest(group=group), \
                    Transaction().set_user(user.id), \
                    Transaction().set_context(
                        User.get_preferences(context_only=True)), \
                    check_access():
                for record in [buyback, buyback.instalments[0]]:
                    with self.assertRaises(AccessError):
                        record.__class__.read([record.id], ['rec_name'])

    @with_world
    def test_workflow_access(self, world):
        "The state of a buyback follows its buttons only"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        ShareTransaction = pool.get('prm.share.transaction')
        buyback = world.create('running')
        with check_access():
            with self.assertRaisesRegex(
                    WorkflowAccessError,
                    'You cannot change "State" of Buyback '
                    f'"{buyback.rec_name}" yourself'):
                Buyback.write([buyback], {'state': 'draft'})
            Buyback.write([buyback], {'state': 'running'})
            with self.assertRaises(WorkflowAccessError):
                Buyback.write([buyback], {'run_by': None})
            link, = buyback.moves
            for name, arguments in [
                    ('write', [{'kind': 'interest'}]), ('delete', [])]:
                with self.subTest(name=name), \
                        self.assertRaises(WorkflowAccessError):
                    getattr(link.__class__, name)([link], *arguments)
            with self.assertRaisesRegex(
                    WorkflowAccessError, 'set by the buttons'):
                ShareTransaction.create([{
                            'company': world.company.id,
                            'date': date('2008-01-01'),
                            'kind': 'issue',
                            'share_class': buyback.share_class.id,
                            'quantity': 1,
                            'party_to': buyback.party.id,
                            'state': 'posted',
                            }])

    @with_world
    def test_reserved_again(self, world):
        "Shares that come back to the associate are still reserved"
        pool = Pool()
        ShareTransaction = pool.get('prm.share.transaction')
        buyback = world.create(
            'running', route='company_purchase', title_transfer='effective',
            effective_date=date('2007-11-05'), opposition_end=None)
        transaction, = ShareTransaction.search([
                ('origin', '=', str(buyback)),
                ('kind', '=', 'repurchase'),
                ('state', '=', 'posted'),
                ])
        reversal = ShareTransaction(
            date=date('2007-11-06'), kind='reversal',
            reversal_of=transaction)
        reversal.on_change_reversal_of()
        reversal.save()
        ShareTransaction.post([reversal])
        sale = ShareTransaction(
            date=date('2007-11-07'), kind='transfer', quantity=1,
            share_class=world.share_class, party_from=world.leaver,
            party_to=world.other)
        sale.save()
        with self.assertRaisesRegex(ShareHoldingError, "1000"):
            ShareTransaction.post([sale])

    @with_world
    def test_access(self, world):
        "Only the associates group reads buybacks"
        pool = Pool()
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        buyback = world.create('running')
        world.post_due_interest('2008-01-31')
        world.pay(
            '2008-01-31', '12600.00', world.lines(buyback.instalments[0]))
        buyback.settle_early(date('2008-03-15'))
        buyback.give_notice(date('2008-04-01'))
        groups = {
            name: ModelData.get_id(module, name) for module, name in [
                ('prm', 'group_prm'), ('prm', 'group_prm_admin'),
                ('prm', 'group_associate'), ('account', 'group_account')]}
        models = [
            'prm.buyback', 'prm.buyback.instalment', 'prm.buyback.payment',
            'prm.buyback.instalment.line', 'prm.buyback-account.move',
            'prm.buyback.amendment', 'prm.buyback.amendment.line',
            'prm.buyback.notice']
        for names, allowed in [
                (['group_prm', 'group_prm_admin', 'group_account'], False),
                (['group_associate'], True)]:
            user, = User.create([{
                        'name': names[0],
                        'login': names[0],
                        'companies': [('add', [world.company.id])],
                        'company': world.company.id,
                        'groups': [('add', [groups[n] for n in names])],
                        }])
            for name in models:
                with self.subTest(model=name, allowed=allowed):
                    Model = pool.get(name)
                    with Transaction().set_user(user.id), \
                            Transaction().set_context(
                                User.get_preferences(context_only=True)), \
                            check_access():
                        if allowed:
                            records = Model.search([])
                            self.assertTrue(
                                Model.read([r.id for r in records], ['id']))
                        else:
                            with self.assertRaises(AccessError):
                                Model.read(
                                    [r.id for r in Model.search([])], ['id'])

    @with_transaction()
    def test_statements(self):
        "The number of statements does not follow the number of buybacks"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Instalment = pool.get('prm.buyback.instalment')
        Party = pool.get('party.party')
        company = create_company()
        with set_company(company):
            world = World(company)
            counts = defaultdict(dict)

            def measure(size):
                parties = Party.create(
                    [{'name': str(i)} for i in range(size)])
                ShareTransaction = pool.get('prm.share.transaction')
                ShareTransaction.post(ShareTransaction.create([{
                                'kind': 'issue',
                                'date': date('2004-03-01'),
                                'quantity': 10,
                                'share_class': world.share_class.id,
                                'party_to': p.id,
                                } for p in parties]))

                def count(name, function, *args):
                    with count_statements() as statements:
                        result = function(*args)
                    counts[name][size] = count_own(statements)
                    return result

                buybacks = count('create', Buyback.create, [
                        world.values(
                            party=p.id, quantity=10,
                            title_transfer='effective')
                        for p in parties])
                count('schedule', Buyback.generate_schedule, buybacks)
                count('announce', Buyback.announce, buybacks)
                count('sign', Buyback.sign, buybacks)
                count('run', Buyback.run, buybacks)
                count('interest', world.post_due_interest, '2008-01-31')
                count('process', Buyback.process, buybacks)
                ids = [b.id for b in buybacks]
                with Transaction().reset_context(), set_company(company):
                    count('read', Buyback.read, ids,
                        [n for n in Buyback._fields])
                    instalments = [
                        i.id for b in Buyback.browse(ids)
                        for i in b.instalments]
                    count('read instalments', Instalment.read, instalments,
                        [n for n in Instalment._fields])
                count('cancel', Buyback.cancel, Buyback.copy(buybacks))

            measure(2)
            measure(10)
            measure(100)
            for name, sizes in counts.items():
                with self.subTest(name=name):
                    self.assertLessEqual(
                        sizes[100], sizes[10] + 5, json.dumps(counts))
            self.assertLessEqual(counts['create'][100], 30)
            self.assertLessEqual(counts['read'][100], 28)

    @with_world
    def test_waterfall(self, world):
        "Payments that are not reconciled pay the oldest due first"
        Party = Pool().get('party.party')

        @given(
            price=st.integers(min_value=1, max_value=10 ** 7),
            count=st.integers(min_value=1, max_value=6),
            payments=st.lists(
                st.integers(min_value=1, max_value=40), max_size=6))
        @settings(max_examples=15, deadline=None, phases=[Phase.generate])
        def check(price, count, payments):
            price = Decimal(price) / 100
            party, = Party.create([{'name': "Associate"}])
            world.issue(party, 1)
            buyback = world.create(
                'running', party=party.id, quantity=1, unit_price=price,
                number_of_instalments=count)
            world.post_due_interest('2008-12-31')
            dues = [
                [(i.sequence, name), getattr(i, name)]
                for i in buyback.instalments
                for name in ['interest', 'principal']
                if getattr(i, name) and i.due_date <= date('2008-12-31')
                or name == 'principal' and i.principal]
            expected = defaultdict(Decimal)
            for day, share in enumerate(payments, 1):
                amount = (price * share / 40).quantize(Decimal('0.01'))
                if not amount:
                    continue
                day = f'2008-03-{day:02}'
                world.pay(day, amount, party=party)
                while amount and dues:
                    due, rest = dues[0]
                    part = min(amount, rest)
                    expected[day, *due] += part
                    amount -= part
                    dues[0][1] -= part
                    if not dues[0][1]:
                        dues.pop(0)
            paid = {}
            for day, sequence, principal, interest in world.payments(
                    ('buyback', '=', buyback.id)):
                if principal:
                    paid[day, sequence, 'principal'] = principal
                if interest:
                    paid[day, sequence, 'interest'] = interest
            self.assertEqual(paid, dict(expected))
        check()

    @with_world
    def test_any_order(self, world):
        "Any order of payments leaves the states true to the ledger"
        pool = Pool()
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Party = pool.get('party.party')
        Reconciliation = pool.get('account.move.reconciliation')
        names = ['pay', 'part', 'unreconcile', 'fail']
        price = Decimal(48000)

        def unreconcile(payment):
            if payment.reconciliation:
                Reconciliation.delete([payment.reconciliation])

        def fail(payment):
            unreconcile(payment)
            reversal = payment.move.cancel()
            Move.post([reversal])
            Line.reconcile([payment] + [
                    l for l in reversal.lines
                    if l.account == world.payable])

        @given(
            st.sampled_from([0, 1, 7000, 12000]),
            st.lists(
                st.tuples(
                    st.sampled_from(names),
                    st.integers(min_value=0, max_value=3)),
                max_size=8))
        @settings(max_examples=8, deadline=None, phases=[Phase.generate])
        def check(moved, operations):
            party, = Party.create([{'name': "Associate"}])
            world.issue(party, 1)
            buyback = world.create(
                'running', party=party.id, quantity=1, unit_price=price,
                interest_rate=None, title_transfer='effective')
            if moved:
                first, second, *_ = buyback.instalments
                buyback.amend(date('2007-11-01'), {}, principals={
                        first: first.principal - moved,
                        second: second.principal + moved})
                buyback = buyback.__class__(buyback.id)
            payments = []
            for operation, index in operations:
                due = price - sum(p.debit for p in payments)
                instalment = buyback.instalments[index]
                line = instalment.lines[-1].line
                amount = {
                    'pay': instalment.principal, 'part': Decimal(5000),
                    }.get(operation, Decimal(0))
                if amount > due or amount and line.reconciliation:
                    continue
                elif amount:
                    payments.append(world.pay(
                            '2008-03-01', amount,
                            [line] if operation == 'pay' else [],
                            party=party))
                elif index < len(payments):
                    if operation == 'fail':
                        fail(payments.pop(index))
                    else:
                        unreconcile(payments[index])
                world.process()
                self.check_ledger(world, buyback, payments)
        check()

    def check_ledger(self, world, buyback, payments):
        paid = sum(p.debit for p in payments)
        instalments = buyback.instalments
        self.assertEqual(
            (buyback.amount_paid, buyback.amount_due),
            (paid, buyback.price - paid))
        self.assertEqual(sum(i.paid_amount for i in instalments), paid)
        self.assertEqual(
            sum(p[2] for p in world.payments(
                    ('buyback', '=', buyback.id))), paid)
        closed = [
            bool(i.lines[-1].line.reconciliation) for i in instalments]
        self.assertEqual(
            buyback.state, 'paid' if all(closed) else 'running')
        for instalment, is_closed in zip(instalments, closed):
            self.assertEqual(
                instalment.state,
                'paid' if is_closed
                else 'partly_paid' if instalment.paid_amount
                else 'overdue')
