# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import time
import unittest
from decimal import Decimal
from functools import partial
from threading import Event, Thread

from trytond import backend
from trytond.model.exceptions import AccessButtonError
from trytond.modules.company.tests import create_employee
from trytond.modules.prm.trytond_prm.concession.exceptions import (
    ConcessionBudgetError, ConcessionBudgetWarning, ConcessionGrantError,
    ConcessionLimitError, DelegationAccessError, DelegationValidationError,
    InvoiceOverCreditError)
from trytond.pool import Pool
from trytond.tests.test_tryton import DB_NAME
from trytond.transaction import Transaction, TransactionError

from .concession_tools import SetupMixin, with_setup
from .tools import count_statements

D = Decimal


class ConcessionLimitTestCase(SetupMixin, unittest.TestCase):
    "Test limits, budgets and payment delays"

    @classmethod
    def set_up_data(cls, setup):
        pool = Pool()
        Group = pool.get('res.group')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        setup.group = Group(ModelData.get_id('prm', 'group_prm_manager'))
        sales = Group(ModelData.get_id('prm', 'group_prm'))
        for name, group in [
                ('sam', sales), ('dora', setup.group), ('dan', setup.group)]:
            employee = create_employee(setup.company, name)
            user = User(
                name=name, login=name, groups=[group],
                companies=[setup.company], company=setup.company,
                employees=[employee], employee=employee)
            user.save()
            setattr(setup, name, user)
            setattr(setup, f'{name}_employee', employee)
        Party = pool.get('party.party')
        setup.other = Party(name="Other Customer")
        setup.other.save()

    def limit(self, setup, employee=None, **values):
        pool = Pool()
        Limit = pool.get('prm.concession.limit')
        limit = Limit(
            company=setup.company, employee=employee,
            group=None if employee else setup.group, **values)
        limit.save()
        return limit

    def click(self, user, name, concession):
        pool = Pool()
        Concession = pool.get('prm.concession')
        with Transaction().set_user(user.id), \
                Transaction().set_context(_check_access=True), \
                Transaction().set_context(
                    **({'_skip_warnings': True} if name == 'submit' else {})):
            getattr(Concession, name)(Concession.browse([concession.id]))
        return Concession(concession.id)

    def ask(self, setup, user, amount, **values):
        with Transaction().set_user(user.id):
            values = {
                'kind': 'free_service', 'cost': D(amount), **values}
            concession = setup.concession(amount, **values)
        return self.click(user, 'submit', concession)

    @with_setup
    def test_cost(self, setup):
        "The cost of a free service counts when it is more than the price"
        self.limit(setup, setup.sam_employee, amount=D('100'))
        with Transaction().set_user(setup.sam.id):
            concession = setup.concession(
                '1', kind='free_service', cost=D('101'))
        concession = self.click(setup.sam, 'submit', concession)
        self.assertEqual(concession.state, 'submitted')

    @with_setup
    def test_back_dated(self, setup):
        "To date gestures back does not make room for more"
        self.limit(
            setup, setup.sam_employee, amount=D('100'), cumulative=D('100'),
            months=3)
        states = []
        for i in range(2):
            concession = self.ask(
                setup, setup.sam, '100',
                date=setup.today - dt.timedelta(days=i))
            states.append(concession.state)
        self.assertEqual(states, ['approved', 'submitted'])

    @with_setup
    def test_delegation_own(self, setup):
        "Nobody lends himself the limits of another one"
        pool = Pool()
        Delegation = pool.get('prm.concession.delegation')
        values = {
            'employee': setup.sam_employee.id,
            'delegate': setup.dora_employee.id,
            }
        with Transaction().set_user(setup.dora.id), \
                Transaction().set_context(_check_access=True), \
                self.assertRaisesRegex(
                    DelegationAccessError, 'because they are not yours'):
            Delegation.create([values])
        # Who has not the button could do nothing with the limits
        with Transaction().set_user(setup.dora.id), \
                Transaction().set_context(_check_access=True), \
                self.assertRaises(DelegationValidationError) as cm:
            Delegation.create([{
                        'employee': setup.dora_employee.id,
                        'delegate': setup.sam_employee.id,
                        }])
        self.assertEqual(
            cm.exception.message,
            'You cannot lend limits to "sam" because none of his users has '
            'the button "Approve" of the gestures.\nChoose somebody else, or '
            'ask the administrator to add his user to a group that has it.')

    @with_setup
    def test_own(self, setup):
        "A salesperson acts only on what is his own"
        pool = Pool()
        Concession = pool.get('prm.concession')
        User = pool.get('res.user')
        other, clerk = (User(
                name=name, login=name, groups=groups, employees=[],
                companies=[setup.company], company=setup.company)
            for name, groups in [
                ('steve', setup.sam.groups),
                ('clara', [pool.get('res.group')(
                            pool.get('ir.model.data').get_id(
                                'account', 'group_account'))])])
        User.save([other, clerk])
        with Transaction().set_user(setup.sam.id):
            draft = setup.concession('1', kind='free_service', cost=D(1))
        submitted = self.ask(setup, setup.sam, '2')
        rejected = self.click(
            setup.dora, 'reject', self.ask(setup, setup.sam, '3'))
        approved = self.click(
            setup.dora, 'approve', self.ask(setup, setup.sam, '4'))
        for name, concession in [
                ('submit', draft), ('cancel', draft), ('draft', submitted),
                ('cancel', submitted), ('draft', rejected),
                ('grant', approved)]:
            with self.subTest(name=name, state=concession.state), \
                    self.assertRaises(AccessButtonError):
                self.click(other, name, concession)
        for user, writable in [
                (setup.sam, True), (other, False), (setup.dora, True)]:
            with Transaction().set_user(user.id):
                self.assertEqual(
                    Concession(draft.id).writable, writable)

        self.assertEqual(
            self.click(clerk, 'grant', approved).state, 'granted')
        for name, concession in [
                ('submit', draft), ('draft', submitted),
                ('draft', rejected)]:
            self.click(setup.sam, name, concession)
        self.assertEqual(
            self.click(setup.dora, 'cancel', draft).state, 'cancelled')

    @with_setup
    def test_no_limit(self, setup):
        "Without limits a manager approves anything"
        concession = self.ask(setup, setup.dora, '1000000')
        self.assertEqual(concession.state, 'submitted')
        self.assertEqual(concession.submitted_by, setup.dora_employee)
        concession = self.click(setup.dora, 'approve', concession)
        self.assertEqual(concession.state, 'approved')

    @with_setup
    def test_amount(self, setup):
        "Within one's limit a gesture is approved, above it somebody else"
        self.limit(setup, setup.sam_employee, amount=D('100'))
        self.limit(setup, setup.dora_employee, amount=D('500'))
        self.limit(setup, amount=D('1000'))

        concession = self.ask(setup, setup.sam, '100')
        self.assertEqual(concession.state, 'approved')
        self.assertEqual(concession.approved_by, setup.sam_employee)
        concession = self.click(setup.sam, 'grant', concession)
        self.assertEqual(concession.granted_by, setup.sam_employee)

        concession = self.ask(setup, setup.sam, '500')
        self.assertEqual(concession.state, 'submitted')
        concession = self.click(setup.dora, 'approve', concession)
        self.assertEqual(concession.approved_by, setup.dora_employee)

        concession = self.ask(setup, setup.dora, '500.01')
        self.assertEqual(concession.state, 'submitted')
        with self.assertRaises(ConcessionLimitError) as cm:
            self.click(setup.dora, 'approve', concession)
        self.assertEqual(
            cm.exception.message,
            f'You cannot approve the gesture "{concession.rec_name}" that '
            'you have submitted because it is above your limits; '
            'somebody else must approve it.')
        # The limit of the group counts for the one who has no own
        concession = self.click(setup.dan, 'approve', concession)
        self.assertEqual(concession.state, 'approved')

        concession = self.ask(setup, setup.sam, '1000.01')
        for user in [setup.dora, setup.dan]:
            with self.assertRaisesRegex(
                    ConcessionLimitError, "somebody with a higher limit"):
                self.click(user, 'approve', concession)

    @with_setup
    def test_cumulative(self, setup):
        "The gestures of a customer cumulate over the months"
        pool = Pool()
        Party = pool.get('party.party')
        self.limit(
            setup, setup.sam_employee, amount=D('100'),
            cumulative=D('150'), months=3)
        old = setup.today - dt.timedelta(days=200)
        for date, amount, state in [
                (old, '100', 'approved'),
                (setup.today, '100', 'approved'),
                (setup.today, '50.01', 'submitted'),
                (setup.today, '50', 'approved'),
                (setup.today, '0.01', 'submitted'),
                ]:
            concession = self.ask(setup, setup.sam, amount, date=date)
            self.assertEqual(concession.state, state)

        other = Party(name="Other")
        other.save()
        concession = self.ask(setup, setup.sam, '100', party=other)
        self.assertEqual(concession.state, 'approved')

    @with_setup
    def test_delegation(self, setup):
        "Who is away lends his limits, but not for one's own gestures"
        pool = Pool()
        Delegation = pool.get('prm.concession.delegation')
        self.limit(setup, setup.dan_employee, amount=D('1000'))
        self.limit(setup, setup.dora_employee, amount=D('10'))
        own = self.ask(setup, setup.dora, '1000')
        concession = self.ask(setup, setup.sam, '999')
        with self.assertRaises(ConcessionLimitError):
            self.click(setup.dora, 'approve', concession)

        delegation = Delegation(
            employee=setup.dan_employee, delegate=setup.dora_employee,
            start_date=setup.today)
        delegation.save()

        concession = self.click(setup.dora, 'approve', concession)
        self.assertEqual(concession.approved_by, setup.dora_employee)
        self.assertEqual(
            concession.logs[0].note, "Approved with delegated limits.")
        with self.assertRaisesRegex(
                ConcessionLimitError, "somebody else must approve"):
            self.click(setup.dora, 'approve', own)

        delegation.start_date = setup.today - dt.timedelta(days=9)
        delegation.end_date = setup.today - dt.timedelta(days=1)
        delegation.save()
        concession = self.ask(setup, setup.sam, '998')
        with self.assertRaises(ConcessionLimitError):
            self.click(setup.dora, 'approve', concession)

    @with_setup
    def test_waiting(self, setup):
        "Those whose limits are sufficient are told what waits for them"
        pool = Pool()
        Concession = pool.get('prm.concession')
        self.limit(setup, setup.dora_employee, amount=D('100'))
        self.limit(setup, setup.dan_employee, amount=D('1000'))
        notifications = Transaction().user_notifications

        small = self.ask(setup, setup.sam, '100')
        big = self.ask(setup, setup.sam, '101', party=setup.other)

        self.assertEqual(
            sorted((n.user.name, n.label) for n in notifications
                if n.model == 'prm.concession'),
            [(name, '1 commercial gestures wait for your approval')
                for name in ['dan', 'dan', 'dora']])
        pool.get('res.notification').save(notifications)
        notifications.clear()
        self.assertEqual(set(small.approvers), {setup.dora, setup.dan})
        self.assertEqual(set(big.approvers), {setup.dan})
        for user, waiting in [
                (setup.sam, []), (setup.dora, [small]),
                (setup.dan, [small, big])]:
            with self.subTest(user=user.name), \
                    Transaction().set_user(user.id):
                found = Concession.search([('waiting', '=', True)])
                self.assertEqual(set(found), set(waiting))
                self.assertEqual(
                    Concession.search_count([('waiting', '!=', True)]),
                    2 - len(waiting))
                self.assertEqual(
                    [Concession(c.id).waiting for c in [small, big]],
                    [c in waiting for c in [small, big]])

        approved = self.click(setup.dora, 'approve', small)
        self.assertFalse(approved.waiting)
        self.assertFalse(approved.approvers)
        self.assertEqual(
            [(l.state, l.employee) for l in approved.logs],
            [('approved', setup.dora_employee),
                ('submitted', setup.sam_employee)])

    def budget(self, setup, amount, **values):
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        values.setdefault('start_date', setup.today)
        values.setdefault('end_date', setup.today)
        budget = Budget(company=setup.company, amount=D(amount), **values)
        budget.save()
        return budget

    @with_setup
    def test_budget(self, setup):
        "A budget is committed by approval and consumed by granting"
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        Concession = pool.get('prm.concession')
        Reason = pool.get('prm.concession.reason')
        other = Reason(name="Other")
        other.save()
        budget = self.budget(setup, '1000')
        own = self.budget(setup, '1000', reason=setup.reason)
        past = self.budget(
            setup, '1000', start_date=setup.today - dt.timedelta(days=9),
            end_date=setup.today - dt.timedelta(days=1))
        invoice = setup.invoice((1, '500', [setup.tax]))

        setup.grant(
            setup.concession('100', invoice),
            setup.concession('400', kind='free_service', cost=D('30')),
            setup.concession('50', invoice, reason=other))
        approved = setup.concession('200.10', invoice, kind='refund')
        Concession.submit([approved])
        Concession.approve([Concession(approved.id)])

        def amounts(budget):
            budget = Budget(budget.id)
            return budget.committed, budget.consumed, budget.remaining

        self.assertEqual(
            amounts(budget), (D('200.10'), D('180.00'), D('619.90')))
        self.assertEqual(
            amounts(own), (D('200.10'), D('130.00'), D('669.90')))
        self.assertEqual(amounts(past), (D(0), D(0), D('1000')))

        Concession.cancel([Concession(approved.id)])
        self.assertEqual(
            amounts(budget), (D(0), D('180.00'), D('820.00')))
        with count_statements() as statements:
            Budget.read(
                [budget.id, own.id, past.id],
                ['committed', 'consumed', 'remaining'])
        self.assertLess(len(statements), 8)

    @with_setup
    def test_budget_exceeded(self, setup):
        "What exceeds a budget is refused or warned"
        pool = Pool()
        Concession = pool.get('prm.concession')
        self.budget(setup, '100')
        concessions = [
            setup.concession(a, kind='free_service', cost=D(a))
            for a in ['60', '40', '0.01']]
        Concession.submit(concessions)

        with self.assertRaises(ConcessionBudgetError) as cm:
            Concession.approve(concessions)

        self.assertRegex(
            cm.exception.message,
            'You cannot approve the gesture ".*" because only usd0.00 '
            'remain of the budget ".*".')
        Concession.approve(Concession.browse([c.id for c in concessions[:2]]))

        # Another imputation is no way round: a manager sees and approves it
        self.limit(setup, setup.sam_employee, amount=D('100'))
        self.limit(setup, setup.dora_employee, amount=D('100'))
        tomorrow = setup.today + dt.timedelta(days=1)
        escaping = self.ask(
            setup, setup.sam, '50', imputation_date=tomorrow)
        self.assertEqual(escaping.state, 'submitted')
        with self.assertRaisesRegex(
                ConcessionBudgetWarning,
                'The imputation on .* takes the gesture .* off the budget'):
            self.click(setup.dora, 'approve', escaping)
        with Transaction().set_context(_skip_warnings=True):
            escaping = self.click(setup.dora, 'approve', escaping)
        self.assertRegex(escaping.logs[0].note, "off the budget")
        pool.get('prm.concession.limit').delete(
            pool.get('prm.concession.limit').search([]))

        pool.get('prm.concession.budget').write(
            pool.get('prm.concession.budget').search([]),
            {'exceeding': 'warn'})
        with self.assertRaises(ConcessionBudgetWarning):
            Concession.approve(Concession.browse([concessions[2].id]))

    @with_setup
    def test_payment_delay(self, setup):
        "A payment delay postpones what is open and nothing else"
        pool = Pool()
        Concession = pool.get('prm.concession')
        invoice = setup.invoice((1, '100', [setup.tax]))
        line, = invoice.lines_to_pay
        due = line.maturity_date
        later = setup.today + dt.timedelta(days=30)

        def delay(date):
            concession = setup.concession(
                '0', invoice, kind='payment_delay', due_date=date)
            return setup.grant(concession)[0]

        first = delay(later)
        self.assertEqual(type(line)(line.id).maturity_date, later)
        self.assertEqual(
            [(d.line, d.from_date, d.to_date) for d in first.delays],
            [(line, due, later)])
        with self.assertRaisesRegex(ConcessionGrantError, "nothing of the"):
            delay(later)
        second = delay(later + dt.timedelta(days=30))

        # The days count since the first due date
        limit = self.limit(
            setup, setup.sam_employee, amount=D('100'),
            delay_days=(later - due).days + 59, delay_amount=D('120'))
        states = []
        for days, values in [
                (60, {}), (59, {}), (59, {'delay_amount': D('119.99')})]:
            limit.__class__.write([limit], values)
            states.append(self.ask(
                    setup, setup.sam, '0', invoice=invoice,
                    kind='payment_delay', cost=None,
                    due_date=later + dt.timedelta(days=days)).state)
        self.assertEqual(states, ['submitted', 'approved', 'submitted'])
        limit.delete([limit])

        # What is delayed further is restored with the last one
        Concession.cancel([first])
        self.assertEqual(
            type(line)(line.id).maturity_date,
            later + dt.timedelta(days=30))
        Concession.cancel([second])
        self.assertEqual(type(line)(line.id).maturity_date, due)

        imputed = Concession.imputed_query()
        cursor = Transaction().connection.cursor()
        third = delay(later + dt.timedelta(days=1))
        self.assertEqual(third.state, 'granted')
        cursor.execute(*imputed.select(imputed.amount))
        self.assertEqual([D(str(a)) for a, in cursor], [D(0)])

        paid = setup.pay(setup.invoice((1, '100', [setup.tax])))
        concession = setup.concession(
            '0', paid, kind='payment_delay', due_date=later)
        with self.assertRaisesRegex(ConcessionGrantError, "nothing of the"):
            setup.grant(concession)


@unittest.skipUnless(
    backend.name == 'postgresql', "SQLite has a single writer")
class ConcessionRaceTestCase(SetupMixin, unittest.TestCase):
    "Test that the database decides who comes first"

    @classmethod
    def set_up_data(cls, setup):
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        Concession = pool.get('prm.concession')
        invoice = setup.invoice((1, '100', [setup.tax]))
        setup.approved = [
            setup.concession('60', invoice, kind='refund').id
            for _ in range(2)]
        Concession.submit(Concession.browse(setup.approved))
        Concession.approve(Concession.browse(setup.approved))
        other = setup.invoice((1, '100', [setup.tax]))
        setup.credited = other.id
        setup.conceded = setup.concession('60', other).id
        Concession.submit([Concession(setup.conceded)])
        Concession.approve([Concession(setup.conceded)])
        setup.submitted = [
            setup.concession('60', kind='free_service', cost=D(60)).id
            for _ in range(2)]
        Concession.submit(Concession.browse(setup.submitted))
        Budget(
            company=setup.company, start_date=setup.today,
            end_date=setup.today, amount=D(280)).save()

    def race(self, name, ids):
        "Click on the button for each gesture in its own transaction"
        pool = Pool(DB_NAME)
        Concession = pool.get('prm.concession')

        def click(id_):
            getattr(Concession, name)([Concession(id_)])

        return self.run_race(*(partial(click, id_) for id_ in ids))

    def run_race(self, *actions):
        """Run the two actions each in its own transaction

        Both have read the database before one of them writes.
        Return the errors of the second one and of its retry.
        """
        pool = Pool(DB_NAME)
        User = pool.get('res.user')
        company = self.shared.company.id
        has_read, has_clicked = Event(), Event()
        errors = []

        def click(action):
            extras, reading = {}, True
            while True:
                with Transaction().start(
                        DB_NAME, 1, context={'company': company},
                        **extras) as transaction:
                    User(1).name
                    if reading:
                        reading = False
                        yield
                    try:
                        action()
                    except TransactionError as error:
                        transaction.rollback()
                        error.fix(extras)
                        continue
                    yield
                    transaction.commit()
                break

        def first():
            steps = click(actions[0])
            next(steps)
            has_read.wait()
            next(steps)
            has_clicked.set()
            time.sleep(1)  # let the second one wait for the lock
            for _ in steps:
                pass

        def second():
            steps = click(actions[1])
            next(steps)
            has_read.set()
            has_clicked.wait()
            try:
                for _ in steps:
                    pass
            except backend.DatabaseOperationalError as error:
                errors.append(error)
            try:
                for _ in click(actions[1]):
                    pass
            except Exception as error:
                errors.append(error)

        threads = [Thread(target=f) for f in [first, second]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return errors

    def test_invoice(self):
        "The rest of an invoice is granted once"
        conflict, error = self.race('grant', self.shared.approved)

        self.assertIsInstance(conflict, backend.DatabaseOperationalError)
        self.assertIsInstance(error, ConcessionGrantError)

    def test_credit(self):
        "The accountant does not credit what is granted at the same moment"
        pool = Pool(DB_NAME)
        Concession = pool.get('prm.concession')
        Invoice = pool.get('account.invoice')

        def grant():
            Concession.grant([Concession(self.shared.conceded)])

        def credit():
            with Transaction().set_context(_skip_warnings=True):
                Invoice.credit(
                    [Invoice(self.shared.credited)], refund=True,
                    invoice_date=self.shared.today)

        conflict, error = self.run_race(grant, credit)

        self.assertIsInstance(conflict, backend.DatabaseOperationalError)
        self.assertIsInstance(error, InvoiceOverCreditError)

    def test_budget(self):
        "The rest of a budget is approved once"
        conflict, error = self.race('approve', self.shared.submitted)

        self.assertIsInstance(conflict, backend.DatabaseOperationalError)
        self.assertIsInstance(error, ConcessionBudgetError)
