# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal
from threading import Event, Thread
from types import SimpleNamespace

from trytond import backend
from trytond.modules.company.tests import create_employee
from trytond.modules.prm.trytond_prm.deal.exceptions import (
    AttributionError, RegistrationAccessError, RegistrationConflictError,
    RegistrationError)
from trytond.pool import Pool
from trytond.tests.test_tryton import DB_NAME
from trytond.transaction import Transaction, check_access

from .concession_tools import SetupMixin, with_setup
from .test_partner import activate
from .test_program import create_program
from .tools import ALL_MODULES, count_statements

D = Decimal


class RegistrationTestCase(SetupMixin, unittest.TestCase):
    "Test deal registrations"
    modules = ALL_MODULES

    @classmethod
    def set_up_data(cls, setup):
        pool = Pool()
        Category = pool.get('product.category')
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        Template = pool.get('product.template')
        Uom = pool.get('product.uom')
        setup.employee = create_employee(setup.company)
        parties = Party.create([
                {'name': f"Partner {i}"} for i in range(2)])
        setup.first, setup.second = Partner.create([{
                    'company': setup.company.id,
                    'party': p.id,
                    'manager': setup.employee.id,
                    'start_date': dt.date(2020, 1, 1),
                    } for p in parties])
        activate([setup.first, setup.second])
        setup.category, = Category.create([{'name': "Software"}])
        unit, = Uom.search([('name', '=', "Unit")])
        templates = Template.create([{
                    'name': name,
                    'type': 'service',
                    'default_uom': unit.id,
                    'categories': [('add', categories)],
                    'products': [('create', [{}])],
                    } for name, categories in [
                    ("Licence", [setup.category.id]), ("Training", [])]])
        setup.licence, setup.training = (t.products[0] for t in templates)

    def create(self, setup, partner, submit=True, **values):
        Registration = Pool().get('prm.registration')
        registration, = Registration.create([{
                    'company': setup.company.id,
                    'partner': partner.id,
                    'party': setup.party.id,
                    'description': "Deal",
                    'amount': D(1000),
                    'currency': setup.company.currency.id,
                    **values}])
        if submit:
            Registration.submit([registration])
        return registration

    @with_setup
    def test_workflow(self, setup):
        "A registration is approved, converted and expires"
        pool = Pool()
        Attribution = pool.get('prm.attribution')
        Partner = pool.get('prm.partner')
        Registration = pool.get('prm.registration')
        registration = self.create(
            setup, setup.first, submit=False,
            expected_close_date=dt.date(2030, 5, 1))
        self.assertEqual(registration.state, 'draft')
        Registration.submit([registration])
        self.assertEqual(registration.state, 'submitted')
        self.assertTrue(registration.submitted_at)
        with self.assertRaises(RegistrationError) as cm:
            Registration.return_([registration])
        self.assertEqual(
            cm.exception.message,
            'You must tell why you return or reject the deal registration '
            f'"{registration.rec_name}".')
        Registration.write([registration], {'reason': "Which product?"})
        Registration.return_([registration])
        self.assertEqual(registration.state, 'returned')
        Registration.submit([registration])
        Registration.approve([registration])
        self.assertEqual(registration.state, 'approved')
        self.assertEqual(
            registration.expires_at - registration.approved_at,
            dt.timedelta(days=90))
        self.assertEqual(registration.approved_by.id, Transaction().user)
        with check_access(), self.assertRaises(
                RegistrationAccessError) as cm:
            Registration.write([registration], {'amount': D(1)})
        self.assertEqual(
            cm.exception.message,
            'You cannot modify the deal registration '
            f'"{registration.rec_name}" because it is submitted. Use its '
            'buttons.')

        Registration.convert([registration])
        self.assertEqual(registration.state, 'converted')
        opportunity = registration.opportunity
        self.assertEqual(opportunity.party, setup.party)
        self.assertEqual(opportunity.amount, D(1000))
        self.assertEqual(opportunity.employee, setup.employee)
        self.assertEqual(
            opportunity.expected_close_date, dt.date(2030, 5, 1))
        attribution, = opportunity.attributions
        self.assertEqual(
            (attribution.partner, attribution.kind, attribution.amount),
            (setup.first, 'sourced', D(1000)))
        with self.assertRaises(AttributionError) as cm:
            Attribution.create([{
                        'opportunity': opportunity.id,
                        'partner': setup.second.id,
                        'kind': 'sourced', 'share': D('0.0001')}])
        self.assertEqual(
            cm.exception.message,
            f'The sourced shares of the opportunity "{opportunity.rec_name}" '
            'cannot be more than 100%. Lower another one before.')
        Attribution.write([attribution], {'share': D('0.3333')})
        influenced, = Attribution.create([{
                    'opportunity': opportunity.id,
                    'partner': setup.second.id,
                    'kind': 'influenced', 'share': D(1)}])
        self.assertEqual(attribution.amount, D('333.30'))

        partner = Partner(setup.first.id)
        self.assertEqual(partner.pipeline, 0)
        opportunity.conversion_probability = 0.5
        opportunity.save()
        setup.party.name = "Customer"
        customer, = Partner.create([{
                    'company': setup.company.id, 'party': setup.party.id}])
        self.assertEqual(
            (customer.pipeline, customer.weighted_pipeline),
            (D(1000), D(500)))

        expired = self.create(setup, setup.second)
        Registration.approve([expired])
        Registration.write([expired], {
                'expires_at': dt.datetime.now() - dt.timedelta(days=1)})
        Registration.expire_all()
        self.assertEqual(expired.state, 'expired')

    @with_setup
    def test_conflicts(self, setup):
        "Only one holder of a deal is approved at a time"
        pool = Pool()
        Party = pool.get('party.party')
        Replace = pool.get('party.replace', type='wizard')
        Session = pool.get('ir.session.wizard')
        Registration = pool.get('prm.registration')
        first = self.create(
            setup, setup.first, products=[('add', [setup.licence.id])])
        second = self.create(
            setup, setup.second, categories=[('add', [setup.category.id])])
        other = self.create(
            setup, setup.second, products=[('add', [setup.training.id])])
        self.assertEqual(first.conflicts, (second,))
        self.assertEqual(second.conflicts, (first,))
        self.assertEqual(other.conflicts, ())
        for approved in [False, True]:
            with self.assertRaises(RegistrationConflictError) as cm:
                Registration.approve([second])
            self.assertEqual(
                cm.exception.message,
                'You cannot approve the deal registration '
                f'"{second.rec_name}" because "{first.rec_name}" is before '
                'it. Tell the reason to override it.')
            Registration.approve([first, other])
        Registration.write([second], {'override_reason': "Named account"})
        Registration.approve([second])
        self.assertEqual(
            [r.state for r in [first, second, other]],
            ['withdrawn', 'approved', 'approved'])
        everything = self.create(setup, setup.first)
        self.assertEqual(set(everything.conflicts), {second, other})

        twin = Party(name=setup.party.name)
        twin.save()
        held = self.create(setup, setup.first, party=twin.id)
        Registration.approve([held])
        session = Session()
        session.save()
        wizard = Replace(session.id)
        wizard.ask.source = twin
        wizard.ask.destination = setup.party
        with self.assertRaisesRegex(
                RegistrationConflictError,
                'You cannot replace the party "Customer" by .* because the '
                'deal registrations .* would protect the same deal. Let one '
                'of them expire or be withdrawn before.'):
            wizard.transition_replace()
        Registration.withdraw([held])
        wizard.transition_replace()
        Transaction().cache.clear()
        self.assertEqual(Registration(held.id).party, setup.party)

    @with_setup
    def test_same_time(self, setup):
        "Two holders of a deal are not approved together"
        pool = Pool()
        Registration = pool.get('prm.registration')
        registrations = [
            self.create(setup, p, override_reason="Both")
            for p in [setup.first, setup.second]]
        with self.assertRaises(RegistrationConflictError):
            Registration.approve(registrations)

    @with_setup
    def test_metric(self, setup):
        "The approved registrations count for the tiers"
        pool = Pool()
        Criterion = pool.get('prm.program.tier.criterion')
        Partner = pool.get('prm.partner')
        Registration = pool.get('prm.registration')
        program = create_program(setup.company)
        bronze, silver, gold = program.tiers
        Criterion.delete(list(silver.criteria + gold.criteria))
        Criterion.create([{
                    'tier': silver.id, 'metric': 'registrations',
                    'threshold': D(1), 'window_months': 12,
                    }, {
                    'tier': gold.id, 'metric': 'registrations',
                    'threshold': D(2), 'window_months': 12,
                    }])
        self.create(setup, setup.second)
        registration = self.create(
            setup, setup.first, override_reason="First")
        Registration.approve([registration])
        self.assertEqual(
            [p.eligible_tier
                for p in Partner.browse([setup.first, setup.second])],
            [silver, bronze])

    @with_setup
    def test_statements(self, setup):
        "The buttons have a constant number of statements"
        pool = Pool()
        Party = pool.get('party.party')
        Registration = pool.get('prm.registration')
        counts = []
        for count in [2, 20]:
            parties = Party.create([
                    {'name': f"Customer {i}"} for i in range(count)])
            with count_statements() as statements:
                registrations = Registration.create([{
                            'company': setup.company.id,
                            'partner': setup.first.id,
                            'party': p.id,
                            'amount': D(10),
                            'currency': setup.company.currency.id,
                            } for p in parties])
                Registration.submit(registrations)
                [r.conflicts for r in registrations]
                Registration.approve(registrations)
            counts.append(len([
                        s for s in statements
                        if not s.startswith('INSERT')]))
        self.assertLessEqual(counts[1], counts[0])

    @unittest.skipIf(
        backend.name == 'sqlite', "SQLite has one writer at a time")
    def test_concurrency(self):
        "Two users do not approve two holders of a deal"
        pool = Pool(DB_NAME)
        Company = pool.get('company.company')
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        Registration = pool.get('prm.registration')
        with Transaction().start(DB_NAME, 1) as transaction:
            company = Company(self.shared.company.id)
            setup = SimpleNamespace(
                company=company, party=Party(self.shared.party.id))
            with transaction.set_context(company=company.id):
                ids = [
                    self.create(
                        setup, Partner(p.id), override_reason="Mine").id
                    for p in [self.shared.first, self.shared.second]]
            transaction.commit()
        has_read, has_approved = Event(), Event()
        results = []

        def approve(id_, wait, signal):
            with Transaction().start(DB_NAME, 1) as transaction:
                registration = Registration(id_)
                self.assertEqual(registration.state, 'submitted')
                wait()
                try:
                    with transaction.set_context(
                            company=self.shared.company.id):
                        Registration.approve([registration])
                    signal()
                    transaction.commit()
                    results.append('approved')
                except backend.DatabaseOperationalError:
                    transaction.rollback()
                    results.append('refused')

        def wait_second():
            has_read.set()
            has_approved.wait(10)

        second = Thread(target=approve, args=(
                ids[1], wait_second, lambda: None))
        second.start()
        approve(ids[0], lambda: has_read.wait(10), has_approved.set)
        second.join()
        self.assertEqual(sorted(results), ['approved', 'refused'])
        with Transaction().start(DB_NAME, 1) as transaction:
            registrations = Registration.browse(ids)
            states = [r.state for r in registrations]
            # The other tests start without them
            Registration.write(registrations, {'state': 'draft'})
            Registration.delete(registrations)
            transaction.commit()
        self.assertEqual(states, ['approved', 'submitted'])
