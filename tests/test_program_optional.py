# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from trytond.modules.company.tests import create_employee
from trytond.pool import Pool

from .concession_tools import SetupMixin, with_setup
from .test_program import create_program, enrol, months_ago
from .tools import ALL_MODULES

D = Decimal


class ProgramOptionalTestCase(SetupMixin, unittest.TestCase):
    "Test programs with the optional modules"
    modules = ALL_MODULES

    def partner(self, setup, **values):
        Partner = Pool().get('prm.partner')
        partner, = Partner.create([{
                    'company': setup.company.id,
                    'party': setup.party.id,
                    'start_date': months_ago(13),
                    **values}])
        return partner

    @with_setup
    def test_price_list(self, setup):
        "The partners of a tier buy by its price list"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        Party = pool.get('party.party')
        PriceList = pool.get('product.price_list')
        Sale = pool.get('sale.sale')
        price_list, own = PriceList.create([{
                    'name': name,
                    'company': setup.company.id,
                    'unit': 'product_default',
                    'price': 'list_price',
                    'lines': [('create', [{'formula': formula}])],
                    } for name, formula in [
                    ("Silver", 'unit_price * 0.9'),
                    ("Own", 'unit_price * 0.8')]])
        program = create_program(setup.company)
        silver = program.tiers[1]
        silver.price_list = price_list
        silver.save()
        partner = self.partner(setup)

        def sale_price_list():
            sale = Sale(company=setup.company, party=Party(setup.party.id))
            sale.on_change_party()
            return sale.price_list

        self.assertIsNone(sale_price_list())
        enrolment, = enrol([partner], program)
        self.assertEqual(partner.eligible_tier, silver)
        self.assertEqual(sale_price_list(), price_list)
        party = Party(setup.party.id)
        party.sale_price_list = own
        party.save()
        self.assertEqual(sale_price_list(), own)
        party.sale_price_list = None
        party.save()
        self.assertEqual(sale_price_list(), price_list)
        Enrolment.terminate([enrolment])
        self.assertIsNone(sale_price_list())

    @with_setup
    def test_commission_plan(self, setup):
        "The partners of a tier earn by its commission plan"
        pool = Pool()
        Agent = pool.get('commission.agent')
        Category = pool.get('product.category')
        Commission = pool.get('commission')
        Invoice = pool.get('account.invoice')
        Plan = pool.get('commission.plan')
        Template = pool.get('product.template')
        Uom = pool.get('product.uom')
        category = Category(
            name="Category", accounting=True,
            account_expense=setup.expense, account_revenue=setup.revenue)
        category.save()
        unit, = Uom.search([('name', '=', "Unit")])
        template = Template(
            name="Commission", type='service', default_uom=unit,
            list_price=D(0), account_category=category, products=[{}])
        template.save()
        plans = Plan.create([{
                    'name': name,
                    'commission_product': template.products[0].id,
                    'commission_method': 'posting',
                    'lines': [('create', [{'formula': formula}])],
                    } for name, formula in [
                    ("Agent", 'amount * 0.1'), ("Silver", 'amount * 0.2')]])
        program = create_program(setup.company)
        silver = program.tiers[1]
        silver.commission_plan = plans[1]
        silver.save()
        agent = Agent(
            party=setup.party, company=setup.company, type_='agent',
            plan=plans[0], currency=setup.company.currency)
        agent.save()
        enrolment, = enrol([self.partner(setup)], program)
        self.assertEqual(Agent(agent.id).tier_plan, plans[1])

        for state in ['approved', 'terminated']:
            invoice = setup.invoice((1, '1000', []), post=False)
            invoice.agent = Agent(agent.id)
            invoice.save()
            Invoice.post([invoice])
            if state == 'approved':
                pool.get('prm.enrolment').terminate([enrolment])
        self.assertEqual(
            [c.amount for c in Commission.search(
                    [], order=[('id', 'ASC')])],
            [D(200), D(100)])

    @with_setup
    def test_won_deals(self, setup):
        "The won deals count by their end date"
        pool = Pool()
        Criterion = pool.get('prm.program.tier.criterion')
        Opportunity = pool.get('sale.opportunity')
        Partner = pool.get('prm.partner')
        program = create_program(setup.company)
        bronze, silver, gold = program.tiers
        Criterion.delete(list(silver.criteria + gold.criteria))
        Criterion.create([{
                    'tier': silver.id,
                    'metric': 'won_deals',
                    'threshold': D(2),
                    'window_months': months,
                    } for months in [12, 24]] + [{
                    'tier': gold.id,
                    'metric': 'won_deals',
                    'threshold': D(3),
                    'window_months': 12,
                    }])
        partner = self.partner(setup)
        address, = setup.party.addresses
        employee = create_employee(setup.company)
        Opportunity.create([{
                    'company': setup.company.id,
                    'party': setup.party.id,
                    'address': address.id,
                    'employee': employee.id,
                    'start_date': months_ago(30),
                    'end_date': date,
                    'state': state,
                    } for date, state in [
                    (setup.today, 'won'),
                    (months_ago(11), 'won'),
                    (months_ago(13), 'won'),
                    (setup.today, 'lost'),
                    (setup.today + dt.timedelta(days=1), 'won'),
                    ]])
        self.assertEqual(Partner(partner.id).eligible_tier, silver)

    @with_setup
    def test_relations(self, setup):
        "The relations of the party are those of the partner"
        pool = Pool()
        Party = pool.get('party.party')
        Partner = pool.get('prm.partner')
        Type = pool.get('party.relation.type')
        type_ = Type(name="Subsidiary")
        type_.save()
        subsidiary = Party(name="Subsidiary")
        subsidiary.save()
        partner = self.partner(setup)
        Partner.write([partner], {
                'relations': [('create', [{
                                'to': subsidiary.id,
                                'type': type_.id}])]})
        relation, = Partner(partner.id).relations
        self.assertEqual(relation.from_, setup.party)
        self.assertEqual(relation.to, subsidiary)
        self.assertEqual(
            Partner.search([('relations.to', '=', subsidiary.id)]), [partner])
