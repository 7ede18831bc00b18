# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from trytond.exceptions import UserError
from trytond.model import ModelSQL, fields
from trytond.model.exceptions import (
    AccessError, SQLConstraintError, ValidationError)
from trytond.modules.account.tests import create_chart, get_fiscalyear
from trytond.modules.account_invoice.tests import set_invoice_sequences
from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.party.exceptions import EraseError
from trytond.modules.prm.trytond_prm.partner.exceptions import (
    ManagerError, PartnerDeleteError, PartnerOpenError, PartnerStateError,
    SocialURLError)
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction

from .tools import SharedMixin, count_statements, get_company

TODAY = dt.date.today()
DAY = dt.timedelta(days=1)


def create_parties(count=1, name="Party"):
    Party = Pool().get('party.party')
    return Party.create([
            {'name': f"{name} {i}", 'addresses': []} for i in range(count)])


def create_partners(company, count=1, **values):
    Partner = Pool().get('prm.partner')
    values.setdefault('start_date', dt.date(2020, 1, 1))
    return Partner.create([
            dict(company=company.id, party=p.id, **values)
            for p in create_parties(count)])


def create_reason():
    Reason = Pool().get('prm.partner.end_reason')
    reason = Reason(name="Followed the leaving associate")
    reason.save()
    return reason


def activate(partners):
    Partner = Pool().get('prm.partner')
    Partner.onboard(partners)
    Partner.activate(partners)


def end(partners, date=TODAY):
    Partner = Pool().get('prm.partner')
    Partner.write(partners, {
            'end_date': date,
            'end_reason': create_reason().id,
            })
    Partner.end(partners)


class PartnerTestCase(SharedMixin, unittest.TestCase):
    "Test partners"

    @with_transaction()
    def test_workflow(self):
        "A partner goes through its states"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Log = pool.get('ir.model.log')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            partner, = create_partners(company, manager=employee.id)

            self.assertEqual(partner.state, 'prospect')
            self.assertTrue(partner.number)
            self.assertEqual(partner.manager, employee)
            Partner.onboard([partner])
            self.assertEqual(partner.state, 'onboarding')
            Partner.activate([partner])
            self.assertEqual(partner.state, 'active')
            Partner.suspend([partner])
            self.assertEqual(partner.state, 'suspended')
            Partner.resume([partner])
            self.assertEqual(partner.state, 'active')
            end([partner], TODAY - DAY)
            self.assertEqual(partner.state, 'ended')
            self.assertEqual(partner.manager, employee)
            manager, = partner.managers
            self.assertEqual(manager.end_date, TODAY - DAY)

            Log.save(Transaction().log_records)
            logs = Log.search([
                    ('resource', '=', str(partner)),
                    ('event', '=', 'transition'),
                    ], order=[('id', 'ASC')])
            self.assertEqual([l.target for l in logs], [
                    'state:onboarding', 'state:active', 'state:suspended',
                    'state:active', 'state:ended'])

    @with_transaction()
    def test_workflow_order(self):
        "A step of the workflow cannot be skipped"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            partner, = create_partners(company, manager=employee.id)
            for button in [Partner.activate, Partner.suspend, Partner.resume]:
                button([partner])
                self.assertEqual(partner.state, 'prospect')
            end([partner])
            for button in [
                    Partner.onboard, Partner.activate, Partner.suspend,
                    Partner.resume]:
                button([partner])
                self.assertEqual(partner.state, 'ended')

    @with_transaction()
    def test_onboarding(self):
        "The checklist of the type is done before the partner is active"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Type = pool.get('prm.partner.type')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            type_ = Type(
                name="Integrator",
                steps=[{'name': "Training"}, {'name': "Contract"}])
            type_.save()
            partner, = create_partners(
                company, type=type_.id, manager=employee.id)
            self.assertFalse(partner.steps)
            Partner.onboard([partner])
            first, second = partner.steps
            self.assertEqual(first.name, "Training")
            first.done = True
            first.save()
            with self.assertRaisesRegex(
                    PartnerStateError,
                    r'To activate the partner "\[.*\] Party 0" you must do '
                    'the step "Contract" before.'):
                Partner.activate([partner])
            second.done = True
            second.save()
            partner = Partner(partner.id)
            Partner.activate([partner])
            self.assertEqual(partner.state, 'active')

    @with_transaction()
    def test_end_required(self):
        "The end needs a date and a reason"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            reason = create_reason()
            for values in [
                    {'end_date': TODAY},
                    {'end_date': None, 'end_reason': reason.id}]:
                Partner.write([partner], values)
                with self.assertRaisesRegex(
                        PartnerStateError,
                        r'To end the partner "\[.*\] Party 0" you must set '
                        'its end date and its end reason.'):
                    Partner.end([partner])
            partner.end_date = TODAY + DAY
            partner.save()
            with self.assertRaisesRegex(
                    PartnerStateError,
                    r'You cannot end the partner "\[.*\] Party 0" before its '
                    'end date .* has come.'):
                Partner.end([partner])
            self.assertEqual(partner.state, 'prospect')

    @with_transaction()
    def test_end_before_start(self):
        "The end cannot be before the start"
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            partner.end_date = partner.start_date - DAY
            with self.assertRaises(ValidationError):
                partner.save()

    @with_transaction()
    def test_one_open(self):
        "A party is only one open partner of a company"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        other = create_company("Other", currency=company.currency)
        with set_company(company):
            partner, = create_partners(company)
            values = {'company': company.id, 'party': partner.party.id}
            with self.assertRaisesRegex(
                    PartnerOpenError,
                    'The party "Party 0" is already an open partner. End '
                    'that one before you create another.'):
                Partner.create([values])
            # Another company
            with Transaction().set_context(company=other.id):
                Partner.create([dict(values, company=other.id)])
            end([partner])
            Partner.create([values])
            with self.assertRaises(PartnerOpenError):
                Partner.create([values])

    @with_transaction()
    def test_one_open_batch(self):
        "A party cannot be two partners of a batch"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            values = {'company': company.id, 'party': party.id}
            with self.assertRaises(PartnerOpenError):
                Partner.create([values, values])

    @with_transaction()
    def test_one_open_constraint(self):
        "The database decides a race for a party"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(company, 2)
            with self.assertRaisesRegex(
                    SQLConstraintError, 'only be one open partner'):
                Partner.write([other], {'party': partner.party.id})

    @with_transaction()
    def test_restart(self):
        "An ended partner restarts as a new one"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            partner, = create_partners(company, manager=employee.id)
            end([partner], TODAY - DAY)
            action = Partner.restart([partner])

            restarted, = Partner.browse(action['res_id'])
            self.assertNotEqual(restarted, partner)
            self.assertEqual(restarted.state, 'prospect')
            self.assertEqual(restarted.party, partner.party)
            self.assertEqual(restarted.previous, partner)
            self.assertEqual(restarted.start_date, TODAY)
            self.assertEqual(restarted.manager, employee)
            self.assertNotEqual(restarted.number, partner.number)
            with self.assertRaises(PartnerOpenError):
                Partner.restart([partner])

    @with_transaction()
    def test_delete(self):
        "Only prospects are deleted"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(company, 2)
            Partner.onboard([other])
            Partner.delete([partner])
            with self.assertRaisesRegex(
                    PartnerDeleteError,
                    'because it is no longer a prospect'):
                Partner.delete([other])

    @with_transaction()
    def test_manager_required(self):
        "An active partner has a manager"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            Partner.onboard([partner])
            with self.assertRaisesRegex(
                    ManagerError,
                    r'The partner "\[.*\] Party 0" must have a manager to be '
                    'active. Set one before.'):
                Partner.activate([partner])

    @with_transaction()
    def test_manager_dates(self):
        "The manager is the one of the date"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            first = create_employee(company, "First")
            second = create_employee(company, "Second")
            partner, other = create_partners(
                company, 2, manager=first.id)
            Partner.handover([partner], second, date=dt.date(2021, 12, 1))

            self.assertEqual(
                [(m.employee, m.start_date, m.end_date)
                    for m in partner.managers], [
                    (second, dt.date(2021, 12, 1), None),
                    (first, dt.date(2020, 1, 1), dt.date(2021, 11, 30)),
                    ])
            for date, manager in [
                    (dt.date(2019, 12, 31), None),
                    (dt.date(2020, 1, 1), first),
                    (dt.date(2021, 11, 30), first),
                    (dt.date(2021, 12, 1), second),
                    (None, second)]:
                with self.subTest(date=date), \
                        Transaction().set_context(date=date):
                    self.assertEqual(
                        Partner(partner.id).manager, manager)
                    for clause, result in [
                            (('manager', '=', first.id), manager == first),
                            (('manager', '!=', first.id),
                                manager == second),
                            (('manager', 'in', [second.id]),
                                manager == second),
                            (('manager', '=', None), manager is None),
                            (('manager', '!=', None), manager is not None),
                            (('manager', 'ilike', 'Fir%'),
                                manager == first),
                            (('manager.party.name', '=', "Second"),
                                manager == second),
                            ]:
                        self.assertEqual(
                            partner in Partner.search([clause]), result,
                            msg=clause)

    @with_transaction()
    def test_manager_set(self):
        "To set the manager hands the partner over today"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            first = create_employee(company, "First")
            second = create_employee(company, "Second")
            partner, = create_partners(company, manager=first.id)
            activate([partner])
            partner.manager = second
            partner.save()
            self.assertEqual(
                [(m.employee, m.start_date, m.end_date)
                    for m in partner.managers], [
                    (second, TODAY, None),
                    (first, dt.date(2020, 1, 1), TODAY - DAY),
                    ])
            # Change one's mind the same day
            Partner.write([partner], {'manager': first.id})
            self.assertEqual(
                [m.employee for m in partner.managers], [first, first])
            with self.assertRaisesRegex(
                    ManagerError, 'Hand it over to another employee'):
                Partner.write([partner], {'manager': None})

    @with_transaction()
    def test_handover_between(self):
        "A handover before a planned one stays until that one"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employees = [create_employee(company, n) for n in 'ABC']
            a, b, c = employees
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            Partner.handover([partner], c, date=dt.date(2030, 1, 1))
            Partner.handover([partner], b, date=dt.date(2025, 1, 1))
            self.assertEqual(
                [(m.employee, m.start_date, m.end_date)
                    for m in partner.managers], [
                    (c, dt.date(2030, 1, 1), None),
                    (b, dt.date(2025, 1, 1), dt.date(2029, 12, 31)),
                    (a, dt.date(2020, 1, 1), dt.date(2024, 12, 31)),
                    ])
            self.assertEqual(partner.manager, b)
            with self.assertRaisesRegex(
                    ManagerError,
                    r'You cannot end the partner "\[.*\] Party 0" on .* '
                    'because "C" manages it from .*. Change the end date '
                    'or remove that handover.'):
                end([partner])

    @with_transaction()
    def test_handover_ended(self):
        "An ended partner is not handed over after its end"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            end([partner], dt.date(2022, 1, 1))
            with self.assertRaisesRegex(
                    PartnerStateError, 'because it ended before'):
                Partner.handover([partner], b, date=dt.date(2022, 1, 2))
            Partner.handover([partner], b, date=dt.date(2021, 1, 1))
            self.assertEqual(
                [(m.employee, m.start_date, m.end_date)
                    for m in partner.managers], [
                    (b, dt.date(2021, 1, 1), dt.date(2022, 1, 1)),
                    (a, dt.date(2020, 1, 1), dt.date(2020, 12, 31)),
                    ])

    @with_transaction()
    def test_handover_left(self):
        "Who has left does not become manager"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            b.end_date = dt.date(2021, 1, 1)
            b.save()
            partner, = create_partners(company, manager=a.id)
            Partner.handover([partner], b, date=dt.date(2021, 1, 1))
            Partner.handover([partner], a, date=dt.date(2021, 1, 2))
            with self.assertRaisesRegex(
                    ManagerError,
                    r'The employee "B" cannot manage the partner '
                    r'"\[.*\] Party 0" from .* because of having left on'):
                Partner.handover([partner], b, date=dt.date(2022, 1, 1))

    @with_transaction()
    def test_manager_overlap(self):
        "A partner never has two managers"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            partner, = create_partners(company)
            Manager.create([{
                        'partner': partner.id,
                        'employee': a.id,
                        'start_date': dt.date(2020, 1, 1),
                        'end_date': dt.date(2020, 6, 30),
                        }])
            for start_date, end_date, overlap in [
                    (dt.date(2019, 1, 1), dt.date(2020, 1, 1), True),
                    (dt.date(2020, 6, 30), None, True),
                    (dt.date(2020, 2, 1), dt.date(2020, 3, 1), True),
                    (dt.date(2019, 1, 1), dt.date(2021, 1, 1), True),
                    (dt.date(2019, 1, 1), dt.date(2019, 12, 31), False),
                    (dt.date(2020, 7, 1), None, False)]:
                values = {
                    'partner': partner.id,
                    'employee': b.id,
                    'start_date': start_date,
                    'end_date': end_date,
                    }
                with self.subTest(start_date=start_date, end_date=end_date):
                    if overlap:
                        with self.assertRaisesRegex(
                                ManagerError,
                                r'The partner "\[.*\] Party 0" cannot be '
                                'managed by ".*" and ".*" at the same time. '
                                'Change the dates.'):
                            Manager.create([values])
                        Manager.delete(Manager.search([
                                    ('employee', '=', b.id)]))
                    else:
                        Manager.create([values])

    @with_transaction()
    def test_manager_gap(self):
        "An active partner is never without manager"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            Partner.handover([partner], b, date=dt.date(2021, 1, 1))
            second, first = partner.managers
            message = (
                r'The active partner "\[.*\] Party 0" would have no manager '
                'from .*. Hand it over to another employee instead.')
            with self.assertRaisesRegex(ManagerError, message):
                Manager.write([first], {'end_date': dt.date(2020, 12, 30)})
            with self.assertRaisesRegex(ManagerError, message):
                Manager.write([second], {'end_date': dt.date(2030, 12, 30)})
            with self.assertRaisesRegex(ManagerError, message):
                Manager.delete([second])

    @with_transaction()
    def test_manager_delete(self):
        "The managers of an active partner are not deleted"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            partner, other = create_partners(
                company, 2, manager=employee.id)
            activate([partner])
            Manager.delete(other.managers)
            with self.assertRaisesRegex(ManagerError, 'Set one before'):
                Manager.delete(partner.managers)

    @with_transaction()
    def test_manager_edit(self):
        "The managers can be changed at once from the partner"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            manager, = partner.managers
            Partner.write([partner], {
                    'managers': [
                        ('write', [manager.id], {
                                'end_date': dt.date(2021, 1, 1),
                                }),
                        ('create', [{
                                    'employee': b.id,
                                    'start_date': dt.date(2021, 1, 2),
                                    }]),
                        ],
                    })
            self.assertEqual(partner.manager, b)

    @with_transaction()
    def test_manager_next(self):
        "The next manager ends the time of the present one"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Manager = pool.get('prm.partner.manager')
        company = get_company()
        date = TODAY + 10 * DAY
        with set_company(company):
            a, b, c = [create_employee(company, n) for n in 'ABC']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            channel, = Channel.search([('kind', '=', 'phone')])
            interaction, = Interaction.create([{
                        'party': partner.party.id,
                        'partner': partner.id,
                        'channel': channel.id,
                        'employee': a.id,
                        'date': dt.datetime.combine(
                            date + DAY, dt.time(12)),
                        }])

            Manager.create([{
                        'partner': partner.id,
                        'employee': b.id,
                        'start_date': date,
                        }])
            self.assertEqual(partner.manager, a)
            self.assertEqual([
                    (m.employee, m.start_date, m.end_date)
                    for m in partner.managers[:2]], [
                    (b, date, None),
                    (a, partner.managers[1].start_date, date - DAY)])
            self.assertEqual(Interaction(interaction.id).employee, b)

            Partner = pool.get('prm.partner')
            Partner.write([partner], {
                    'managers': [('create', [{
                                    'employee': c.id,
                                    'start_date': date + DAY,
                                    }])],
                    })
            self.assertEqual([
                    (m.employee, m.end_date)
                    for m in Partner(partner.id).managers], [
                    (c, None), (b, date), (a, date - DAY)])

    @with_transaction()
    def test_parent_recursion(self):
        "A partner does not belong to itself"
        company = get_company()
        with set_company(company):
            a, b = create_partners(company, 2)
            b.parent = a
            b.save()
            a.parent = b
            with self.assertRaises(UserError):
                a.save()

    @with_transaction()
    def test_search_rec_name(self):
        "A partner is found by name, number, contact and e-mail"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(company, 2)
            person = Party(name="Ada Lovelace")
            person.save()
            Partner.write([partner], {
                    'contacts': [('create', [{
                                    'party': person.id,
                                    'role': "Engineer",
                                    }])],
                    })
            Party.write([partner.party], {
                    'contact_mechanisms': [('create', [{
                                    'type': 'email',
                                    'value': 'sales@example.com',
                                    }])],
                    })
            for text in [
                    "Party 0", "Lovelace", 'sales@example.com']:
                with self.subTest(text=text):
                    self.assertEqual(
                        Partner.search([('rec_name', 'ilike', f'%{text}%')]),
                        [partner])
            self.assertEqual(
                Partner.search([('rec_name', '=', partner.number)]),
                [partner])

    @with_transaction()
    def test_contact_mechanisms(self):
        "The contacts show how to reach them"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            person, = create_parties(name="Person")
            person.contact_mechanisms = [
                {'type': 'phone', 'value': '+33 1 23 45 67 89'},
                {'type': 'email', 'value': 'ada@example.com'},
                ]
            person.save()
            Partner.write([partner], {
                    'contacts': [('create', [{'party': person.id}])],
                    })
            contact, = partner.contacts
            self.assertEqual(contact.phone, '+33 1 23 45 67 89')
            self.assertEqual(contact.email, 'ada@example.com')

    @with_transaction()
    def test_statements_create(self):
        "The creation has a constant number of statements"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            counts = []
            for count in [100, 1000]:
                parties = create_parties(count)
                vlist = [{
                        'company': company.id,
                        'party': p.id,
                        'manager': employee.id,
                        } for p in parties]
                with count_statements() as statements:
                    partners = Partner.create(vlist)
                counts.append([
                        s for s in statements
                        # SQLite inserts and counts one by one
                        if not s.startswith('INSERT')
                        and 'ir_sequence' not in s])
                self.assertEqual(
                    len({p.number for p in partners}), count)
            self.assertLessEqual(len(counts[0]), 30)
            self.assertLessEqual(len(counts[1]), len(counts[0]) + 4)

    @with_transaction()
    def test_statements_buttons(self):
        "The buttons have a constant number of statements"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            counts = {}
            for count in [10, 100]:
                partners = create_partners(company, count, manager=a.id)
                for name, func in [
                        ('onboard', Partner.onboard),
                        ('activate', Partner.activate),
                        ('handover', lambda r: Partner.handover(r, b)),
                        ('suspend', Partner.suspend),
                        ('resume', Partner.resume),
                        ('end', end),
                        ('restart', Partner.restart)]:
                    records = Partner.browse(partners)
                    with count_statements() as statements:
                        func(records)
                    counts.setdefault(name, []).append(len([
                                s for s in statements
                                if not s.startswith('INSERT')
                                and 'ir_sequence' not in s]))
            for name, (few, many) in counts.items():
                with self.subTest(name=name, few=few, many=many):
                    self.assertLessEqual(many, few + 5)

    @with_transaction()
    def test_statements_read(self):
        "All the fields are read with a constant number of statements"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            counts = []
            names = [
                n for n, f in Partner._fields.items()
                if f._type not in {'one2many', 'many2many'}]
            for count in [10, 100]:
                partners = create_partners(
                    company, count, manager=employee.id)
                with Transaction().set_context(_test=count), \
                        count_statements() as statements:
                    Partner.read([p.id for p in partners], names)
                counts.append(len(statements))
            self.assertLessEqual(counts[1], counts[0] + 2)

    @with_transaction()
    def test_revenue(self):
        "The revenue is what the posted invoices of the year booked"
        pool = Pool()
        Account = pool.get('account.account')
        Invoice = pool.get('account.invoice')
        Journal = pool.get('account.journal')
        Partner = pool.get('prm.partner')
        PaymentTerm = pool.get('account.invoice.payment_term')
        company = get_company()
        with set_company(company):
            create_chart(company)
            fiscalyears = []
            for year in [TODAY.year - 1, TODAY.year]:
                fiscalyear = set_invoice_sequences(
                    get_fiscalyear(company, today=dt.date(year, 1, 1)))
                fiscalyear.save()
                fiscalyear.create_period([fiscalyear])
                fiscalyears.append(fiscalyear)
            payment_term, = PaymentTerm.create([{
                        'name': "Direct",
                        'lines': [('create', [{'type': 'remainder'}])],
                        }])
            revenue, = Account.search([
                    ('type.revenue', '=', True), ('closed', '=', False)],
                limit=1)
            receivable, = Account.search([
                    ('type.receivable', '=', True), ('closed', '=', False)],
                limit=1)
            journal, = Journal.search([('type', '=', 'revenue')], limit=1)
            partner, other = create_partners(company, 2)

            def invoice(date, quantity, price, post=True):
                invoice = Invoice(
                    company=company, type='out', party=partner.party,
                    currency=company.currency, account=receivable,
                    journal=journal,
                    payment_term=payment_term, invoice_date=date,
                    lines=[{
                            'type': 'line', 'quantity': quantity,
                            'unit_price': Decimal(price),
                            'account': revenue.id,
                            'currency': company.currency.id,
                            'company': company.id,
                            }])
                invoice.invoice_address = partner.party.addresses[0]
                invoice.save()
                if post:
                    with Transaction().set_context(_skip_warnings=True):
                        Invoice.post([invoice])

            partner.party.addresses = [{}]
            partner.party.save()
            year = TODAY.year
            invoice(dt.date(year, 1, 1), 3, '33.33')
            invoice(dt.date(year, 1, 2), -1, '10')
            invoice(dt.date(year, 1, 3), 1, '5', post=False)
            invoice(dt.date(year - 1, 12, 31), 1, '7.01')

            with count_statements() as statements:
                values = {
                    r['id']: r for r in Partner.read(
                        [partner.id, other.id],
                        ['revenue', 'revenue_last_year'])}
            self.assertEqual(
                values[partner.id]['revenue'], Decimal('89.99'))
            self.assertEqual(
                values[partner.id]['revenue_last_year'], Decimal('7.01'))
            self.assertEqual(values[other.id]['revenue'], Decimal('0'))
            self.assertEqual(
                len([s for s in statements if 'account_move_line' in s]), 1)
            for name, operator, value, result in [
                    ('revenue', '=', Decimal('89.99'), [partner]),
                    ('revenue', '>', 0, [partner]),
                    ('revenue', 'in', [Decimal('89.99'), 1], [partner]),
                    ('revenue', '=', 0, [other]),
                    ('revenue', '=', None, []),
                    ('revenue_last_year', '<=', Decimal('7.01'), [
                            partner, other]),
                    ]:
                self.assertCountEqual(
                    Partner.search([(name, operator, value)]), result)
            with Transaction().set_context(date=dt.date(year - 1, 6, 1)):
                self.assertEqual(
                    Partner(partner.id).revenue, Decimal('7.01'))


class PartnerListTestCase(SharedMixin, unittest.TestCase):
    "Test the list and the form of partners"

    @with_transaction()
    def test_statements(self):
        "All the columns take a constant number of statements"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        AgreementType = pool.get('prm.agreement.type')
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Metric = pool.get('prm.health.metric')
        Partner = pool.get('prm.partner')
        company = get_company()
        views = [
            set(Partner.fields_view_get(view_type=type_)['fields'])
            for type_ in ['tree', 'form']]
        self.assertLessEqual({
                'number', 'type', 'territory', 'manager', 'tier',
                'eligible_tier', 'health_score', 'last_interaction',
                'days_without_contact', 'next_step', 'next_step_state',
                'open_gestures', 'revenue', 'revenue_last_year', 'state',
                }, views[0])
        self.assertLessEqual({
                'revenue', 'revenue_last_year', 'concessions', 'agreements',
                'health_score', 'interactions', 'next_step', 'enrolments',
                }, views[1])
        with set_company(company):
            employee = create_employee(company)
            agreement_type = AgreementType(name="Distribution")
            agreement_type.save()
            channel, = Channel.create([{'name': "Phone", 'kind': 'phone'}])
            Metric.create([{
                        'kind': 'recency', 'weight': Decimal(100),
                        'worst': Decimal(90), 'best': Decimal(0)}])
            counts = []
            for count in [2, 20]:
                partners = create_partners(
                    company, count, manager=employee.id)
                activate(partners)
                Agreement.create([{
                            'partner': p.id,
                            'type': agreement_type.id,
                            } for p in partners])
                Interaction.create([{
                            'company': company.id, 'partner': p.id,
                            'party': p.party.id, 'channel': channel.id,
                            'population': 'partner', 'direction': 'out',
                            'date': dt.datetime.now(), 'state': state,
                            } for p in partners
                        for state in ['planned', 'done']])
                Partner.take_health(partners)
                ids = [p.id for p in partners]
                counts.append([])
                for names in views:
                    with Transaction().set_context(_check_access=True):
                        with count_statements() as statements:
                            rows = Partner.read(ids, list(names))
                        self.assertEqual(len(rows), count)
                    counts[-1].append(len(statements))
            self.assertLessEqual(counts[1][0], counts[0][0])
            self.assertLessEqual(counts[1][1], counts[0][1])
            self.assertLessEqual(counts[1][0], 60)

    @with_transaction()
    def test_search(self):
        "A partner is found by anything that is known of it"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Mechanism = pool.get('party.contact_mechanism')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company, "Pam Beesly")
            partner, other = create_partners(
                company, 2, manager=employee.id,
                start_date=TODAY - 30 * DAY)
            Partner.handover([other], create_employee(company, "Jim Halpert"))
            contact, = create_parties(name="Dwight")
            Partner.write([partner], {
                    'contacts': [('create', [{'party': contact.id}])]})
            Mechanism.create([{
                        'party': party.id, 'type': type_, 'value': value,
                        } for party, type_, value in [
                        (partner.party, 'email', "sales@example.com"),
                        (partner.party, 'phone', "+32 2 555 12 12"),
                        (contact, 'email', "dwight@example.com"),
                        ]])
            for text in [
                    partner.party.name, "Dwight",
                    "sales@example", "dwight@example", "555 12 12"]:
                with self.subTest(text=text):
                    self.assertEqual(
                        Partner.search([('rec_name', 'ilike', f'%{text}%')]),
                        [partner])
            for domain in [
                    [('rec_name', '=', partner.number)],
                    [('manager', 'ilike', "%Beesly%")],
                    ]:
                with self.subTest(domain=domain):
                    self.assertEqual(Partner.search(domain), [partner])

            channel, = Channel.create([{'name': "Phone", 'kind': 'phone'}])
            Interaction.create([{
                        'company': company.id, 'partner': partner.id,
                        'party': partner.party.id, 'channel': channel.id,
                        'population': 'partner', 'direction': 'out',
                        'date': dt.datetime.combine(
                            TODAY - 10 * DAY, dt.time(12)),
                        'state': 'done'}])
            self.assertEqual(
                [p.days_without_contact
                    for p in Partner.browse([partner, other])], [10, 30])
            for operator, days, found in [
                    ('>', 9, [partner, other]),
                    ('>', 10, [other]),
                    ('>=', 10, [partner, other]),
                    ('>=', 30, [other]),
                    ('>', 30, []),
                    ('<', 10, []),
                    ('<=', 10, [partner]),
                    ('<', 30, [partner]),
                    ('<=', 30, [partner, other]),
                    ('=', 10, [partner]),
                    ('=', 30, [other]),
                    ('!=', 10, [other]),
                    ]:
                with self.subTest(operator=operator, days=days):
                    self.assertEqual(
                        Partner.search(
                            [('days_without_contact', operator, days)],
                            order=[('id', 'ASC')]),
                        found)

    @with_transaction()
    def test_first_tab(self):
        "The first tab shows all the partners"
        pool = Pool()
        Domain = pool.get('ir.action.act_window.domain')
        ModelData = pool.get('ir.model.data')
        Action = pool.get('ir.action.act_window')
        action = Action(ModelData.get_id('prm', 'act_partner_form'))
        first = Domain.search([
                ('act_window', '=', action.id),
                ], order=[('sequence', 'ASC'), ('id', 'ASC')])[0]
        self.assertFalse(first.domain)


class HandoverTestCase(SharedMixin, unittest.TestCase):
    "Test the wizard that hands partners over"

    def hand_over(self, **values):
        pool = Pool()
        Handover = pool.get('prm.partner.handover', type='wizard')
        session_id, _, _ = Handover.create()
        handover = Handover(session_id)
        Start = pool.get('prm.partner.handover.start')
        handover.start = Start(**{
                **dict.fromkeys(Start._fields),
                **Start.default_get(
                    ['company', 'date', 'method'], with_rec_name=False)})
        for name, value in values.items():
            setattr(handover.start, name, value)
            if name in {'former_manager', 'territory'}:
                getattr(handover.start, f'on_change_{name}')()
        handover.transition_handover()
        return handover

    @with_transaction()
    def test_load(self):
        "The partners are spread such that all have as many"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            leaver, busy, free = [
                create_employee(company, name)
                for name in ["Leaver", "Busy", "Free"]]
            create_partners(company, 3, manager=busy.id)
            partners = create_partners(company, 5, manager=leaver.id)
            self.hand_over(
                former_manager=leaver, method='load', employees=[busy, free])
            self.assertEqual(
                [p.manager for p in Partner.browse(partners)],
                [free, free, free, busy, free])
            self.assertEqual(Partner.search([('manager', '=', leaver.id)]), [])

    @with_transaction()
    def test_territory(self):
        "The partners go to who is in charge of their territory"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        Territory = pool.get('prm.territory')
        company = get_company()
        with set_company(company):
            leaver, north, south = [
                create_employee(company, name)
                for name in ["Leaver", "North", "South"]]
            territories = Territory.create([
                    {'name': e.party.name, 'employee': e.id}
                    for e in [north, south]])
            partners = create_partners(company, 3, manager=leaver.id)
            for partner, territory in zip(partners, territories):
                Partner.write([partner], {'territory': territory.id})
            channel, = Channel.create([
                    {'name': "Meeting", 'kind': 'meeting'}])

            with self.assertRaises(ManagerError) as cm:
                self.hand_over(former_manager=leaver, method='territory')
            self.assertEqual(
                cm.exception.message,
                f'You cannot hand over the partner "{partners[2].rec_name}" '
                'by territory because nobody is in charge of its territory. '
                'Set its territory and the employee of it before.')
            handover = self.hand_over(
                territory=territories[0], employee=leaver)
            self.assertEqual(handover.start.partners, (partners[0],))
            self.hand_over(
                partners=partners[:2], method='territory',
                introduction_channel=channel, introduction_date=TODAY + DAY)
            self.assertEqual(
                [p.manager for p in Partner.browse(partners)],
                [north, south, leaver])
            self.assertEqual(
                [(i.partner, i.employee, i.date.date(), i.subject, i.state)
                    for i in Interaction.search(
                        [], order=[('id', 'ASC')])],
                [(partners[0], north, TODAY + DAY,
                        "Introduction of North after Leaver", 'planned'),
                    (partners[1], south, TODAY + DAY,
                        "Introduction of South after Leaver", 'planned')])


class PartnerAccessTestCase(SharedMixin, unittest.TestCase):
    "Test access to partners"

    def create_user(self, company, group):
        pool = Pool()
        Group = pool.get('res.group')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        user = User(
            name=group, login=group,
            groups=[Group(ModelData.get_id('prm', group))],
            companies=[company.id], company=company.id)
        user.save()
        return user

    @with_transaction()
    def test_access(self):
        "Sales staff works on partners, the director suspends and ends"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Type = pool.get('prm.partner.type')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            party, = create_parties()
            user = self.create_user(company, 'group_prm')
            manager = self.create_user(company, 'group_prm_manager')
        with Transaction().set_user(user.id), Transaction().set_context(
                company=company.id, _check_access=True):
            partner, = Partner.create([{
                        'company': company.id,
                        'party': party.id,
                        'manager': employee.id,
                        }])
            Partner.onboard([partner])
            Partner.activate([partner])
            partner, = Partner.search([])
            partner.description = "Text"
            partner.save()
            with self.assertRaises(AccessError):
                Partner.delete([partner])
            with self.assertRaises(UserError):
                Partner.suspend([partner])
            with self.assertRaises(AccessError):
                Type.create([{'name': "Type"}])
        with Transaction().set_user(manager.id), Transaction().set_context(
                company=company.id, _check_access=True):
            Partner.suspend([Partner(partner.id)])

    @with_transaction()
    def test_other_company(self):
        "The partners of other companies are hidden"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        other = create_company("Other", currency=company.currency)
        with set_company(company):
            create_partners(company)
            user = self.create_user(other, 'group_prm')
        with Transaction().set_user(user.id), Transaction().set_context(
                company=other.id, _check_access=True):
            self.assertEqual(Partner.search([]), [])


class PartyTestCase(SharedMixin, unittest.TestCase):
    "Test the parties of partners"

    def replace(self, source, destination):
        pool = Pool()
        Replace = pool.get('party.replace', type='wizard')
        Session = pool.get('ir.session.wizard')
        session = Session()
        session.save()
        wizard = Replace(session.id)
        wizard.ask.source = source
        wizard.ask.destination = destination
        wizard.check_similarity = lambda: None
        wizard.transition_replace()

    @with_transaction()
    def test_replace(self):
        "A replaced party gives its partner"
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            source = partner.party
            destination, = create_parties(name="Destination")
            self.replace(source, destination)
            Partner = Pool().get('prm.partner')
            self.assertEqual(
                Partner.search([('party', '=', destination.id)]), [partner])

    @with_transaction()
    def test_replace_contact(self):
        "A replaced person is a contact once"
        pool = Pool()
        Contact = pool.get('prm.partner.contact')
        company = get_company()
        with set_company(company):
            a, b = create_partners(company, 2)
            source, destination = create_parties(2, name="Person")
            Contact.create([
                    {'partner': a.id, 'party': source.id},
                    {'partner': a.id, 'party': destination.id},
                    {'partner': b.id, 'party': source.id},
                    ])
            self.replace(source, destination)
            contacts = Contact.search([('party', '=', destination.id)])
            self.assertEqual({c.partner for c in contacts}, {a, b})
            self.assertEqual(len(contacts), 2)
            self.assertEqual(
                Contact.search([('party', '=', source.id)]), [])

    @with_transaction()
    def test_replace_both_open(self):
        "Two open partners cannot become one"
        company = get_company()
        with set_company(company):
            a, b = create_partners(company, 2)
            with self.assertRaisesRegex(
                    PartnerOpenError,
                    'You cannot replace the party "Party 0" by "Party 1" '
                    'because both are open partners of "Dunder Mifflin". '
                    'End one of them before.'):
                self.replace(a.party, b.party)

    @with_transaction()
    def test_erase(self):
        "An open partner is not erased and nothing of an ended one is left"
        pool = Pool()
        Agreement = pool.get('prm.agreement')
        AgreementType = pool.get('prm.agreement.type')
        Attachment = pool.get('ir.attachment')
        ContactMechanism = pool.get('party.contact_mechanism')
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        Erase = pool.get('party.erase', type='wizard')
        Interaction = pool.get('prm.interaction')
        Program = pool.get('prm.program')
        Registration = pool.get('prm.registration')
        Session = pool.get('ir.session.wizard')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(
                company, 2, description="Secret")
            Partner.write([other], {
                    'description': None,
                    'contacts': [('create', [
                                {'party': partner.party.id,
                                    'role': "Secret"}])],
                    })
            mechanism, = ContactMechanism.create([{
                        'party': partner.party.id, 'type': 'email',
                        'value': 'secret@example.com'}])
            channel, = pool.get('prm.channel').search(
                [('kind', '=', 'email')])
            agreement_type, = AgreementType.create([{'name': "Contract"}])
            agreement, = Agreement.create([{
                        'partner': partner.id, 'type': agreement_type.id,
                        'terms': "Secret"}])
            Attachment.create([{
                        'name': "Secret", 'resource': str(r)}
                    for r in [partner, agreement]])
            Interaction.create([{
                        'party': p.party.id, 'channel': channel.id,
                        'contact': contact, 'state': 'done',
                        'subject': "Secret", 'body': "Secret",
                        'outcome': "Secret",
                        'message_identifier': f"Secret {i}"}
                    for i, (p, contact) in enumerate([
                            (partner, None), (other, mechanism.id)])])
            Registration.create([{
                        'partner': partner.id, 'party': other.party.id,
                        'description': "Secret", 'override_reason': "Secret",
                        'reason': "Secret"}])
            program, = Program.create([{
                        'name': "Resellers",
                        'tiers': [('create', [{'name': "Bronze"}])]}])
            enrolment, = Enrolment.create([{
                        'partner': partner.id, 'program': program.id,
                        'tier': program.tiers[0].id}])
            Decision.create([{
                        'enrolment': enrolment.id, 'reason': "Secret"}])
            partner.party.active = False
            partner.party.save()
            session = Session()
            session.save()
            erase = Erase(session.id)
            erase.ask.party = partner.party
            with self.assertRaisesRegex(
                    EraseError,
                    'You cannot erase the party "Party 0" while it is an '
                    'open partner of "Dunder Mifflin".'):
                erase.transition_erase()
            end([partner])
            erase.transition_erase()
            for name, Model in pool.iterobject():
                if (not name.startswith('prm.') and name != 'ir.attachment'
                        or not issubclass(Model, ModelSQL)
                        or Model.table_query):
                    continue
                texts = [
                    n for n, f in Model._fields.items()
                    if isinstance(f, (fields.Char, fields.Text))]
                with self.subTest(model=name):
                    self.assertFalse(texts and Model.search(['OR', *(
                                    (n, 'like', "Secret%") for n in texts)]))

    @with_transaction()
    def test_social(self):
        "The profile of a social network is an https address"
        pool = Pool()
        Party = pool.get('party.party')
        party, = create_parties()
        for type_, value, stored in [
                ('social', 'https://social.example/in/client01',
                    'https://social.example/in/client01'),
                ('social', 'HTTPS://Social.Example/In/X',
                    'https://social.example/In/X'),
                ('linkedin', 'www.linkedin.com/in/ada',
                    'https://www.linkedin.com/in/ada'),
                ('mastodon', 'https://any.example/@ada',
                    'https://any.example/@ada'),
                ('social', 'http://social.example/in/x', None),
                ('social', 'https://social.example', None),
                ('social', 'https://social.example/', None),
                ('social', 'https:///in/x', None),
                ('social', 'https://user@social.example/x', None),
                ('social', 'javascript:alert(1)', None),
                ('social', 'https://social.example:port/x', None),
                ('social', 'https://[social.example/x', None),
                ('social', 'ada lovelace', None),
                ('linkedin', 'https://linkedin.com.evil.example/in/a', None),
                ('mastodon', 'https://any.example/ada', None),
                ('github', 'https://gitlab.example/ada', None)]:
            with self.subTest(type=type_, value=value):
                values = {
                    'contact_mechanisms': [
                        ('create', [{'type': type_, 'value': value}])],
                    }
                if stored is not None:
                    Party.write([party], values)
                    mechanism = party.contact_mechanisms[-1]
                    self.assertEqual(mechanism.value, stored)
                    self.assertEqual(mechanism.url, stored)
                else:
                    with self.assertRaisesRegex(
                            SocialURLError,
                            'of the party "Party 0" is not the https '
                            'address of a profile on'):
                        Party.write([party], values)
