# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from trytond.modules.account.exceptions import AccountMissing
from trytond.modules.currency.tests import create_currency
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    BuybackAccrualError, BuybackTerminateError, BuybackTermsError,
    BuybackUserError, ShareHoldingError)
from trytond.pool import Pool
from trytond.transaction import Transaction

from .test_buyback import WorldMixin, count_own, date, states, with_world
from .tools import count_statements


def holdings():
    Holding = Pool().get('prm.share.holding')
    return {
        (h.party.name, h.share_class.name): h.quantity
        for h in Holding.search([])}


def balances(moves):
    "Return what the moves debit less what they credit by account"
    result = {}
    for move in moves:
        for line in move.lines:
            name = line.account.name
            result[name] = (
                result.get(name, 0) + line.debit - line.credit)
    return {n: a for n, a in result.items() if a}


class BuybackEndTestCase(WorldMixin, unittest.TestCase):
    "Test the termination and the other terms of the buybacks"
    maxDiff = None

    @with_world
    def test_terminate(self, world):
        "The termination reverses what is not paid"
        Buyback = Pool().get('prm.buyback')
        buyback = world.create(
            'running', title_transfer='effective',
            termination_date=date('2008-05-15'))
        world.post_due_interest('2008-04-30')
        first, second, *_ = buyback.instalments
        world.pay('2008-01-31', '12600.00', world.lines(first))
        world.pay('2008-04-30', '6450.00')
        self.assertEqual(holdings(), {})

        Buyback.terminate([buyback])

        self.assertEqual(buyback.state, 'terminated')
        self.assertEqual(world.balance(), 0)
        self.assertTrue(all(
                l.reconciliation for m in buyback.moves
                for l in m.move.lines if l.account == world.payable))
        # 18,000 of 48,000 are paid: 375 shares of 1,000
        self.assertEqual(holdings(), {("Leaver", "Ordinary"): 625})
        self.assertEqual(
            balances(m.move for m in buyback.moves), {
                "Associates": Decimal('-19050.00'),
                "Capital": Decimal('3750.00'),
                "Reserves": Decimal('14250.00'),
                "Interest": Decimal('1050.00'),
                })
        self.assertEqual(
            states(buyback), ['paid', 'waived', 'waived', 'waived'])
        self.assertEqual(
            (buyback.amount_paid, buyback.amount_due),
            (Decimal('19050.00'), 0))
        self.assertEqual(
            [(a.kind, a.date, len(a.lines)) for a in buyback.amendments],
            [('termination', date('2008-05-15'), 4)])
        self.assertEqual(
            sum(p[2] + p[3] for p in world.payments()), Decimal(19050))
        # The shares are free again
        world.create(
            'announced', quantity=625, announcement_date=date('2008-06-01'))

    @with_world
    def test_terminate_unpaid(self, world):
        "The associate keeps all the shares when nothing is paid"
        Buyback = Pool().get('prm.buyback')
        buyback = world.create('running')

        Buyback.terminate([buyback])

        self.assertEqual(
            buyback.termination_date, dt.date.today())
        self.assertEqual(holdings(), {("Leaver", "Ordinary"): 1000})
        self.assertEqual(balances(m.move for m in buyback.moves), {})
        self.assertEqual(states(buyback), ['waived'] * 4)
        self.assertFalse(buyback.share_transactions)

    @with_world
    def test_terminate_third_party(self, world):
        "The third party gets the shares that he paid"
        Buyback = Pool().get('prm.buyback')
        Instalment = Pool().get('prm.buyback.instalment')
        buyback = world.create(
            'running', route='third_party', buyer=world.other.id)
        Instalment.write(
            [buyback.instalments[0]], {'confirmed_date': date('2008-01-31')})

        Buyback.terminate([buyback])

        self.assertEqual(holdings(), {
                ("Leaver", "Ordinary"): 750, ("Other", "Ordinary"): 250})
        self.assertEqual(
            states(buyback), ['paid', 'waived', 'waived', 'waived'])
        self.assertEqual(buyback.amount_due, 0)

    @with_world
    def test_terminate_currency(self, world):
        "The termination reverses what is open in both currencies"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Period = pool.get('account.period')
        Rate = pool.get('currency.currency.rate')
        chf = create_currency('CHF')
        Rate.delete(Rate.search([]))
        Rate.create([{
                    'currency': c.id, 'date': date(d), 'rate': Decimal(r)}
                for c, d, r in [
                    (world.company.currency, '2007-01-01', '1'),
                    (chf, '2007-01-01', '1.6740'),
                    (chf, '2007-12-31', '1.6547')]])
        buyback = world.create(
            'running', currency=chf.id, quantity=3,
            unit_price=Decimal('10000.01'), number_of_instalments=3,
            interest_rate=None, route='company_purchase',
            termination_date=date('2008-05-15'))
        move = Move(
            company=world.company, journal=world.cash_journal,
            date=date('2007-12-31'),
            period=Period.find(world.company, date=date('2007-12-31')))
        move.lines = [
            Line(
                account=world.payable, party=world.leaver,
                debit=Decimal('2417.36'), second_currency=chf,
                amount_second_currency=Decimal(4000)),
            Line(account=world.cash, credit=Decimal('2417.36'))]
        move.save()
        Move.post([move])

        with self.assertRaisesRegex(AccountMissing, "currency exchange debit"):
            Buyback.terminate([buyback])
        configuration = pool.get('account.configuration')(1)
        configuration.currency_exchange_debit_account = world.expense
        configuration.save()
        Buyback.terminate([buyback])

        self.assertEqual(world.balance(), 0)
        lines = Line.search([('account', '=', world.payable.id)])
        self.assertTrue(all(l.reconciliation for l in lines))
        self.assertEqual(sum(l.amount_second_currency for l in lines), 0)
        # 4,000 at the rate of the entry, the rest is an exchange difference
        self.assertEqual(balances(m.move for m in buyback.moves), {
                "Capital": Decimal('2389.49'),
                "Interest": Decimal('27.87'),
                "Associates": Decimal('-2417.36')})
        self.assertEqual(
            (buyback.amount_paid, buyback.amount_due), (Decimal(4000), 0))
        self.assertEqual(
            states(buyback), ['waived'] * 3)

    @with_world
    def test_terminate_payment(self, world):
        "A payment of two buybacks must be reconciled first"
        Buyback = Pool().get('prm.buyback')
        buyback = world.create('running', quantity=500, interest_rate=None)
        world.create('running', quantity=500, interest_rate=None)
        line = world.pay('2008-01-31', '7000.00')
        with self.assertRaises(BuybackTerminateError) as cm:
            Buyback.terminate([buyback])
        self.assertEqual(
            cm.exception.message,
            f'You can not terminate the buyback "{buyback.rec_name}" because '
            f'the payment "{line.rec_name}" pays more than it. Reconcile the '
            'payment first.')

    @with_world
    def test_terminate_statements(self, world):
        "The number of statements does not follow the number of buybacks"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Party = pool.get('party.party')
        counts = []
        for size in [2, 20]:
            parties = Party.create([{'name': str(i)} for i in range(size)])
            for party in parties:
                world.issue(party, 10)
            buybacks = Buyback.create([
                    world.values(
                        party=p.id, quantity=10, title_transfer='effective')
                    for p in parties])
            for method in [
                    Buyback.generate_schedule, Buyback.announce,
                    Buyback.sign, Buyback.run]:
                method(buybacks)
            with count_statements() as statements:
                Buyback.terminate(Buyback.browse(buybacks))
            # The account module creates the reconciliations one by one
            counts.append(count_own(
                    s for s in statements
                    if not any(n in s for n in [
                            'ir_sequence"', 'ir_model_data"',
                            '"account_move_reconciliation" (',
                            '"reconciliation" = '])))
        self.assertLessEqual(counts[1], counts[0] + 10, counts)

    @with_world
    def test_duty(self, world):
        "The duty is the one of the date of signature"
        pool = Pool()
        Duty = pool.get('prm.buyback.duty')
        duty, = Duty.create([{
                    'name': "Parts",
                    'rates': [('create', [{
                                    'start_date': date('2007-01-01'),
                                    'rate': Decimal('0.03'),
                                    'allowance': Decimal(23000),
                                    'minimum': Decimal(25),
                                    }, {
                                    'start_date': date('2008-01-01'),
                                    'rate': Decimal('0.05'),
                                    }])],
                    }])
        world.issue(world.other, 4000)
        self.assertIsNone(duty.get_rate(date('2006-12-31')))
        tax = world.create_account("State", 'balance')
        values = {
            'route': 'company_purchase', 'title_transfer': 'effective',
            'duty': duty.id, 'unit_price': Decimal(100),
            'advance': Decimal(30000), 'number_of_instalments': 1,
            'interest_rate': None, 'account_premium': None,
            'account_duty': world.expense.id,
            'account_duty_payable': tax.id}
        buyback = world.create('signed', period_months=4, **values)
        self.assertEqual(buyback.duty_amount, Decimal('2862.00'))
        pool.get('prm.buyback').run([buyback])
        self.assertEqual(buyback.duty_amount, Decimal('2862.00'))
        self.assertEqual(balances([buyback.move]), {
                "Capital": Decimal(100000), "Associates": Decimal(-100000),
                "Interest": Decimal('2862.00'), "State": Decimal('-2862.00'),
                })

        rate = duty.get_rate(date('2007-12-31'))
        for price, quantity, expected in [
                (Decimal(1000), 1000, '25.00'),
                (Decimal(0), 1000, '25.00'),
                (Decimal(100000), 0, '3000.00')]:
            self.assertEqual(
                rate.compute(price, quantity, 5000), Decimal(expected))

        world.issue(world.leaver, 1000)
        with self.assertRaises(BuybackTermsError) as cm:
            world.create(
                'signed', **{
                    **values, 'signature_date': date('2006-12-31'),
                    'announcement_date': date('2006-12-01')})
        buyback, = pool.get('prm.buyback').search(
            [], order=[('id', 'DESC')], limit=1)
        self.assertEqual(
            cm.exception.message,
            'The registration duty "Parts" of the buyback '
            f'"{buyback.rec_name}" has no rate on 12/31/2006. Add it to the '
            'duty or remove the duty.')

    @with_world
    def test_other_instalments(self, world):
        "The earn-out and the current account are not a part of the price"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Instalment = pool.get('prm.buyback.instalment')
        current = world.create_account("Current", 'balance')
        buyback = world.create(account_current=current.id)
        Instalment.create([{
                    'buyback': buyback.id,
                    'kind': kind,
                    'due_date': date(day),
                    'principal': Decimal(amount),
                    } for kind, day, amount in [
                    ('current_account', '2007-11-30', '5000.00'),
                    ('earn_out', '2008-12-31', '1000.00')]])
        world.go(buyback, 'running')

        self.assertEqual(
            [(i.sequence, i.kind, i.principal, i.interest,
                    i.outstanding_after)
                for i in buyback.instalments], [
                (1, 'current_account', Decimal(5000), 0, Decimal(48000)),
                (2, 'instalment', Decimal(12000), Decimal(600),
                    Decimal(36000)),
                (3, 'instalment', Decimal(12000), Decimal(450),
                    Decimal(24000)),
                (4, 'instalment', Decimal(12000), Decimal(300),
                    Decimal(12000)),
                (5, 'instalment', Decimal(12000), Decimal(150), 0),
                (6, 'earn_out', Decimal(1000), 0, 0),
                ])
        self.assertEqual(balances([buyback.move]), {
                "Capital": Decimal(10000), "Reserves": Decimal(39000),
                "Current": Decimal(5000), "Associates": Decimal(-54000)})
        self.assertEqual(buyback.amount_due, Decimal(54000))

        # The early settlement leaves them
        world.post_due_interest('2008-01-31')
        world.pay(
            '2008-01-31', '17600.00', world.lines(*buyback.instalments[:2]))
        buyback.settle_early(date('2008-03-15'))
        self.assertEqual(
            [(i.due_date.isoformat(), i.interest)
                for i in buyback.instalments[2:]], [
                ('2008-03-15', Decimal(225)), ('2008-03-15', 0),
                ('2008-03-15', 0), ('2008-12-31', 0)])

        Buyback.terminate([buyback])
        self.assertEqual(world.balance(), 0)
        self.assertEqual(holdings(), {("Leaver", "Ordinary"): 750})
        self.assertEqual(
            balances(m.move for m in buyback.moves), {
                "Capital": Decimal(2500), "Reserves": Decimal(9500),
                "Current": Decimal(5000), "Interest": Decimal(600),
                "Associates": Decimal(-17600)})

    @with_world
    def test_worked_examples(self, world):
        "The examples of the agreement are settled to zero"
        Instalment = Pool().get('prm.buyback.instalment')
        Party = Pool().get('party.party')
        for terms, dues, total in [
                ({'unit_price': Decimal(8), 'interest_rate': None,
                        'period_months': 1},
                    ['2000.00'] * 4, '8000.00'),
                ({'day_count': 'act_365'},
                    ['12604.93', '12443.84', '12302.47', '12151.23'],
                    '49502.47'),
                ({'unit_price': Decimal(45), 'method': 'annuity'},
                    ['11603.75', '11603.75', '11603.75', '11603.73'],
                    '46414.98'),
                ({'unit_price': Decimal(100), 'advance': Decimal(30000),
                        'number_of_instalments': 1, 'period_months': 4,
                        'interest_rate': Decimal('0.04'),
                        'day_count': 'act_365',
                        'route': 'company_purchase'},
                    ['30000.00', '70928.22'], '100928.22'),
                ({'method': 'bullet', 'day_count': 'act_360',
                        'number_of_instalments': 2},
                    ['613.33', '48600.00'], '49213.33'),
                ]:
            party, = Party.create([{'name': "Associate"}])
            world.issue(party, 1000)
            buyback = world.create('running', party=party.id, **terms)
            self.assertEqual(
                [i.amount for i in buyback.instalments],
                list(map(Decimal, dues)))
            for instalment in buyback.instalments:
                day = instalment.due_date.isoformat()
                world.post_due_interest(day)
                instalment = Instalment(instalment.id)
                world.pay(
                    day, instalment.amount, world.lines(instalment),
                    party=party)
            self.assertEqual(buyback.state, 'paid')
            self.assertEqual(buyback.amount_paid, Decimal(total))
            self.assertEqual(world.balance(), 0)

    @with_world
    def test_custom(self, world):
        "The instalments of the custom method are typed"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Instalment = pool.get('prm.buyback.instalment')
        buyback = world.create(
            method='custom', instalments=[('create', [{
                            'kind': kind,
                            'due_date': date(day),
                            'principal': Decimal(amount),
                            } for kind, day, amount in [
                            ('balance', '2008-10-31', '38000.00'),
                            ('advance', '2007-10-31', '10000.00')]])])
        Buyback.generate_schedule([buyback])
        self.assertEqual(
            [(i.kind, i.principal, i.interest, i.outstanding_after)
                for i in buyback.instalments], [
                ('advance', 10000, 0, 38000),
                ('balance', 38000, 1900, 0)])
        # What is typed needs no generation
        Instalment.create([{
                    'buyback': buyback.id,
                    'kind': 'earn_out',
                    'due_date': date('2008-04-30'),
                    'principal': Decimal(0),
                    }])
        world.go(buyback, 'running')
        self.assertEqual(
            [(i.kind, i.sequence, i.outstanding_after)
                for i in buyback.instalments], [
                ('advance', 1, 38000),
                ('earn_out', 2, 38000),
                ('balance', 3, 0)])
        self.assertEqual(buyback.amount_due, 48000)

    @with_world
    def test_accrue(self, world):
        "The running interest is posted and reversed, once"
        Buyback = Pool().get('prm.buyback')
        accrued = world.create_account("Accrued", 'balance')
        for day_count, amount in [
                ('30e_360', '400.00'), ('act_365', '401.10')]:
            buyback = world.create(
                'running', quantity=500, unit_price=Decimal(96),
                day_count=day_count, account_accrued=accrued.id)
            Buyback.accrue_interest([buyback], date('2007-12-31'))
            self.assertEqual(
                [(m.date.isoformat(), balances([m]))
                    for m in buyback.additional_moves], [
                    ('2007-12-31', {
                            "Interest": Decimal(amount),
                            "Accrued": -Decimal(amount)}),
                    ('2008-01-01', {
                            "Interest": -Decimal(amount),
                            "Accrued": Decimal(amount)}),
                    ])
            with self.assertRaises(BuybackAccrualError) as cm:
                Buyback.accrue_interest([buyback], date('2007-12-31'))
            self.assertEqual(
                cm.exception.message,
                'The buybacks have no interest to accrue on this date. '
                'Choose running buybacks with interest or another date.')
            self.assertEqual(buyback.amount_due, 48000)
        self.assertEqual(
            buyback.get_running_interest(date('2007-10-31')), 0)

        # 300 run on 36,000, and 60 days late on 12,000
        Buyback.accrue_interest([buyback], date('2008-03-31'))
        *_, move, _ = buyback.additional_moves
        self.assertEqual(
            balances([move])["Interest"],
            buyback.get_running_interest(date('2008-03-31'))
            + Decimal('98.63'))

    @with_world
    def test_refuse_later_transfer(self, world):
        "A back-dated buyback may not make a later transfer impossible"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        ShareTransaction = pool.get('prm.share.transaction')
        transaction = ShareTransaction(
            kind='transfer', date=date('2008-01-01'), quantity=600,
            share_class=world.share_class, party_from=world.leaver,
            party_to=world.other)
        transaction.save()
        ShareTransaction.post([transaction])
        with self.assertRaises(ShareHoldingError) as cm:
            world.create('announced', quantity=401)
        buyback, = Buyback.search([])
        self.assertEqual(
            cm.exception.message,
            f'"{buyback.rec_name}" needs 401 shares "Ordinary" of "Leaver" '
            'who holds only 400 of them on 01/01/2008. '
            'Reduce the quantity or change the date.')

    @with_world
    def test_separate_users(self, world):
        "The one who signs can be forbidden to run"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Configuration = pool.get('prm.configuration')
        User = pool.get('res.user')
        user, = User.create([{'name': "Poster", 'login': 'poster'}])
        configuration = Configuration(1)
        configuration.buyback_separate_users = True
        configuration.save()
        buyback = world.create('signed')
        self.assertEqual(buyback.signed_by.id, Transaction().user)
        with self.assertRaises(BuybackUserError) as cm:
            Buyback.run([buyback])
        self.assertEqual(
            cm.exception.message,
            f'You can not run the buyback "{buyback.rec_name}" because you '
            'signed it. Ask another user to run it.')

        with Transaction().set_user(user.id):
            Buyback.run(Buyback.browse([buyback]))
        self.assertEqual(Buyback(buyback.id).run_by, user)
        copy, = Buyback.copy([buyback])
        self.assertEqual((copy.signed_by, copy.run_by), (None, None))
