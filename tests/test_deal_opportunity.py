# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from lxml import etree

from trytond.model.exceptions import DomainValidationError
from trytond.modules.company.tests import (
    create_company, create_employee, set_company)
from trytond.modules.currency.tests import add_currency_rate, create_currency
from trytond.modules.prm.trytond_prm.performance.exceptions import (
    ActionCampaignError, PlanAccessError)
from trytond.pool import Pool
from trytond.tests.test_tryton import (
    activate_module, drop_db, with_transaction)
from trytond.transaction import Transaction, check_access

from .test_performance import (
    create_invoices, create_parties, create_partners, create_product,
    create_target, performances, setup_accounting)
from .tools import ALL_MODULES, count_statements


class PipelineOpportunityTestCase(unittest.TestCase):
    "Test pipeline with opportunities"

    @classmethod
    def setUpClass(cls):
        drop_db()
        activate_module(ALL_MODULES)

    @classmethod
    def tearDownClass(cls):
        drop_db()

    def create(self, company, *values, **default):
        Opportunity = Pool().get('sale.opportunity')
        default.setdefault('start_date', dt.date(2030, 1, 10))
        return Opportunity.create([{
                    'company': company.id,
                    'currency': company.currency.id,
                    **default, **v,
                    } for v in values])

    def rows(self):
        Pipeline = Pool().get('prm.pipeline')
        return [
            (r.date, r.amount, r.weighted_amount)
            for r in Pipeline.search([])]

    @with_transaction()
    def test_months(self):
        "Each deal is rounded, then summed by expected month"
        company = create_company()
        with set_company(company):
            self.create(company, {
                    # 33.333 and 16.665 round to 33.33 and 16.66, the sum
                    # of the exact values would round to 50.00
                    'amount': Decimal('99.999').quantize(Decimal('0.01')),
                    'conversion_probability': 0.3333,
                    'expected_close_date': dt.date(2030, 3, 1),
                    }, {
                    'amount': Decimal('33.33'),
                    'conversion_probability': 0.5,
                    'expected_close_date': dt.date(2030, 3, 31),
                    }, {
                    'amount': Decimal('10.00'),
                    'conversion_probability': 1,
                    'expected_close_date': dt.date(2031, 3, 31),
                    }, {
                    'amount': None,
                    'conversion_probability': 1,
                    'expected_close_date': dt.date(2031, 4, 30),
                    })

            with count_statements() as statements:
                rows = self.rows()

            self.assertEqual(rows, [
                    (dt.date(2030, 3, 1),
                        Decimal('133.33'), Decimal('49.99')),
                    (dt.date(2031, 3, 1),
                        Decimal('10.00'), Decimal('10.00')),
                    ])
            self.assertEqual(
                len([s for s in statements if 'sale_opportunity' in s]), 1)

    @with_transaction()
    def test_half_even(self):
        "The weighted amounts are rounded half-even, as by the currency"
        company = create_company()
        amounts = [
            Decimal('0.01'), Decimal('0.03'), Decimal('0.05'),
            Decimal('100.01'), Decimal('100.03'), Decimal('1234567.89'),
            Decimal('-0.03'), Decimal('9999999999.99')]
        with set_company(company):
            for amount in amounts:
                opportunity, = self.create(company, {
                        'amount': amount,
                        'conversion_probability': 0.5,
                        })
                with self.subTest(amount=amount):
                    (_, _, weighted), = self.rows()
                    self.assertEqual(
                        weighted,
                        company.currency.round(amount * Decimal('0.5')))
                opportunity.state = 'lost'
                opportunity.save()

    @with_transaction()
    def test_states(self):
        "Only what may still be won is in the pipeline"
        company = create_company()
        with set_company(company):
            for i, state in enumerate([
                        'lead', 'opportunity', 'converted', 'won', 'lost',
                        'cancelled']):
                self.create(company, {
                        'amount': Decimal(10) ** i,
                        'conversion_probability': 1,
                        'state': state,
                        'party': company.party.id,
                        'employee': self.employee(company).id,
                        })
            (date, amount, weighted), = self.rows()
            self.assertEqual(date, dt.date(2030, 1, 1))
            self.assertEqual(amount, Decimal('111.00'))
            self.assertEqual(weighted, Decimal('111.00'))

    def employee(self, company):
        Employee = Pool().get('company.employee')
        employee = Employee(company=company, party=company.party)
        employee.save()
        return employee

    @with_transaction()
    def test_expected_close_date(self):
        "The expected date stays when Tryton sets the end date"
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        company = create_company()
        date = dt.date(2031, 5, 15)
        with set_company(company):
            opportunity, = self.create(company, {
                    'amount': Decimal(10),
                    'end_date': date,
                    })
            self.assertEqual(opportunity.expected_close_date, date)
            Opportunity.lost([opportunity])
            self.assertNotEqual(opportunity.end_date, date)
            self.assertEqual(opportunity.expected_close_date, date)
            self.assertEqual(self.rows(), [])

    @with_transaction()
    def test_currencies(self):
        "Foreign deals count in company currency"
        company = create_company()
        eur = create_currency('eur')
        add_currency_rate(eur, Decimal('3'), dt.date(2029, 1, 1))
        add_currency_rate(eur, Decimal('2'), dt.date(2030, 1, 10))
        add_currency_rate(
            company.currency, Decimal('1'), dt.date(2028, 1, 1))
        with set_company(company):
            self.create(company, {
                    'amount': Decimal('100.01'),
                    'currency': eur.id,
                    'conversion_probability': 0.5,
                    }, {
                    'amount': Decimal('1'),
                    'conversion_probability': 0.5,
                    })
            (date, amount, weighted), = self.rows()
            # 100.01 / 2 = 50.005 and 50.00 / 2
            self.assertEqual(amount, Decimal('51.00'))
            self.assertEqual(weighted, Decimal('25.50'))

    @with_transaction()
    def test_companies(self):
        "Each company has its own months"
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        company = create_company()
        other = create_company("Other", currency=company.currency)
        amounts = {company: Decimal(1), other: Decimal(2)}
        for company, amount in amounts.items():
            with set_company(company):
                self.create(company, {
                        'amount': amount,
                        'conversion_probability': 1,
                        })

        rows = Pipeline.search([])

        self.assertEqual(len({r.id for r in rows}), 2)
        self.assertEqual({r.company: r.amount for r in rows}, amounts)


class PerformanceOpportunityTestCase(unittest.TestCase):
    "Test performance with opportunities and sales"

    @classmethod
    def setUpClass(cls):
        drop_db()
        activate_module(ALL_MODULES)

    @classmethod
    def tearDownClass(cls):
        drop_db()

    @with_transaction()
    def test_hours(self):
        "The hours of an action add those of its time sheets"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Line = pool.get('timesheet.line')
        Plan = pool.get('prm.plan')
        Project = pool.get('project.work')
        Vacancy = pool.get('prm.vacancy')
        Work = pool.get('timesheet.work')
        company = create_company()
        with set_company(company):
            employee = create_employee(company)
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': dt.date(2024, 1, 1),
                        'end_date': dt.date(2024, 12, 31),
                        }])
            core, other = actions = Action.create([{
                        'plan': plan.id,
                        'name': name,
                        'core': core,
                        'hours_spent': hours,
                        'timesheet_works': [
                            ('create', [{'company': company.id}])],
                        } for name, core, hours in [
                        ("Fair", True, Decimal('0.75')),
                        ("Guide", False, None)]])
            Line.create([{
                        'company': company.id,
                        'employee': employee.id,
                        'date': dt.date(2024, 1, 1),
                        'work': action.timesheet_works[0].id,
                        'duration': dt.timedelta(minutes=minutes),
                        } for action, minutes in [
                        (core, 90), (core, 45), (other, 60)]])
            core, other = Action.browse(actions)
            self.assertEqual(core.hours, Decimal(3))
            self.assertEqual(other.hours, Decimal(1))
            self.assertEqual(Plan(plan.id).focus, Decimal('0.75'))

            # A task counts for its action, or else the one of its parent
            project, = Project.create([{
                        'name': "Stand",
                        'type': 'project',
                        'company': company.id,
                        'plan_action': core.id,
                        'timesheet_available': True,
                        'children': [('create', [{
                                        'name': name,
                                        'type': 'task',
                                        'company': company.id,
                                        'plan_action': action,
                                        'timesheet_available': True,
                                        } for name, action in [
                                        ("Build", None),
                                        ("Print", other.id)]])],
                        }])
            Line.create([{
                        'company': company.id,
                        'employee': employee.id,
                        'date': dt.date(2024, 1, 2),
                        'work': work.timesheet_works[0].id,
                        'duration': dt.timedelta(minutes=minutes),
                        } for work, minutes in zip(
                        [project, *project.children], [60, 120, 300])])
            core, other = Action.browse(actions)
            self.assertEqual(core.hours, Decimal(6))
            self.assertEqual(other.hours, Decimal(6))
            self.assertEqual(Plan(plan.id).focus, Decimal('0.5'))

            vacancy, typed = Vacancy.create([{
                        'company': company.id,
                        'employee': employee.id,
                        'left_date': dt.date(2024, 1, 31),
                        'replaced_date': dt.date(2024, 3, 1),
                        'monthly_target': Decimal(100),
                        'manager_hours': Decimal(7),
                        'manager_hourly_cost': Decimal(40),
                        }] * 2)
            work, = Work.create([{
                        'company': company.id, 'origin': str(vacancy)}])
            Line.create([{
                        'company': company.id,
                        'employee': employee.id,
                        'date': dt.date(2024, 2, day),
                        'work': work.id,
                        'duration': dt.timedelta(minutes=75),
                        } for day in [1, 2]])
            Vacancy.compute([vacancy, typed])
            self.assertEqual(vacancy.manager_hours, Decimal('2.50'))
            self.assertEqual(vacancy.manager_cost, Decimal(100))
            self.assertEqual(vacancy.manager_source, "Time sheets")
            self.assertEqual(typed.manager_cost, Decimal(280))
            self.assertIsNone(typed.manager_source)

    @with_transaction()
    def test_dashboard(self):
        "Each part of the director's dashboard fits in the one of a user"
        pool = Pool()
        Action = pool.get('dashboard.action')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        View = pool.get('ir.ui.view')
        company = create_company()
        director, associate = User.create([{
                    'name': name,
                    'login': name,
                    'companies': [('add', [company.id])],
                    'company': company.id,
                    'groups': [('add', [
                                ModelData.get_id('prm', group)
                                for group in groups])],
                    } for name, groups in [
                    ('director', ['group_prm_manager']),
                    ('associate', ['group_prm_manager', 'group_associate'])]])
        view = View(ModelData.get_id(
                'prm', 'review_director_associate_view_board'))
        actions = [
            element.attrib['name'].split('.')[1]
            for element in etree.fromstring(view.arch)]
        self.assertIn('act_review_dashboard_instalment', actions)
        for user, reserved in [
                (director, ['act_review_dashboard_instalment']),
                (associate, [])]:
            for action in actions:
                values = {
                    'user': user.id,
                    'act_window': ModelData.get_id('prm', action),
                    }
                with self.subTest(user=user.name, action=action), \
                        Transaction().set_user(user.id), \
                        Transaction().set_context(
                            User.get_preferences(context_only=True)), \
                        check_access():
                    if action in reserved:
                        with self.assertRaises(DomainValidationError):
                            Action.create([values])
                    else:
                        Action.create([values])

    @with_transaction()
    def test_won_deals(self):
        "The won deals and the pipeline count for each scope"
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        Team = pool.get('prm.team')
        Territory = pool.get('prm.territory')
        company = create_company()
        with set_company(company):
            john, jane = (
                create_employee(company, name) for name in ["John", "Jane"])
            parties = create_parties(2)
            partner, other = create_partners(company, parties, john, john)
            north, = Territory.create([
                    {'name': "North", 'company': company.id}])
            lille, = Territory.create([{
                        'name': "Lille", 'company': company.id,
                        'parent': north.id}])
            partner.territory = lille
            partner.save()
            team, = Team.create([{
                        'name': "Direct",
                        'company': company.id,
                        'members': [('create', [{'employee': jane.id}])],
                        }])
            Opportunity.create([{
                        'company': company.id,
                        'currency': company.currency.id,
                        'party': party.id,
                        'employee': employee.id,
                        'start_date': dt.date(2030, 1, 10),
                        'end_date': end_date,
                        'amount': Decimal(100),
                        'conversion_probability': 0.25,
                        'state': state,
                        } for party, employee, end_date, state in [
                        (parties[0], jane, dt.date(2030, 2, 1), 'won'),
                        (parties[0], jane, dt.date(2030, 2, 28), 'won'),
                        (parties[1], john, dt.date(2030, 2, 28), 'won'),
                        (parties[0], jane, dt.date(2030, 2, 28), 'lost'),
                        (parties[0], jane, dt.date(2030, 2, 28), 'lead'),
                        (parties[1], john, dt.date(2030, 2, 28), 'converted'),
                        ]])
            for scope, subject, won, weighted in [
                    ('company', company, 3, 50),
                    ('team', team, 2, 25),
                    ('employee', jane, 2, 25),
                    ('partner', partner, 2, 25),
                    ('territory', north, 2, 25),
                    ('territory', lille, 2, 25),
                    ]:
                with self.subTest(scope=scope):
                    month, = performances(
                        scope=scope, measure='won_deals',
                        **{scope: subject.id})
                    self.assertEqual(month.date, dt.date(2030, 2, 1))
                    self.assertEqual(month.actual, Decimal(won))
                    create_target(
                        company, '125', '2030-02-01', '2030-02-28',
                        scope=scope, **(
                            {scope: subject} if scope != 'company' else {}))
                    month, = performances(
                        scope=scope, measure='revenue',
                        **{scope: subject.id})
                    self.assertEqual(
                        month.weighted_pipeline, Decimal(weighted))
                    self.assertEqual(
                        month.coverage, Decimal(weighted) / 125)
            self.assertIn(
                ('won_deals', "Won Deals"),
                pool.get('prm.target').measure.selection)

    @with_transaction()
    def test_pipeline_category(self):
        "The products share the pipeline, a category adds its children"
        pool = Pool()
        Category = pool.get('product.category')
        Opportunity = pool.get('sale.opportunity')
        company = create_company()
        with set_company(company):
            setup_accounting(company, 2030)
            parent, = Category.create([{'name': "Parent"}])
            categories = Category.create([
                    {'name': n, 'parent': parent.id} for n in "AB"])
            products = [create_product(company, n) for n in "AB"]
            for product, category in zip(products, categories):
                template = product.template
                template.salable = True
                template.sale_uom = template.default_uom
                template.list_price = Decimal(10)
                template.categories = [category]
                template.save()

            def create(month, amount, quantities):
                Opportunity.create([{
                            'company': company.id,
                            'currency': company.currency.id,
                            'start_date': dt.date(2030, month, 10),
                            'amount': Decimal(amount),
                            'conversion_probability': 0.5,
                            'lines': [('create', [{
                                            'product': product.id,
                                            'unit': product.default_uom.id,
                                            'quantity': quantity,
                                            } for product, quantity in zip(
                                            products, quantities)])],
                            }])

            def figures(month):
                return [
                    m.weighted_pipeline for c in [parent, *categories]
                    for m in performances(
                        [('date', '=', dt.date(2030, month, 1))],
                        scope='category', category=c.id)]

            create(1, '100', [2, 1])
            # Nothing is shared out of a deal without product
            create(1, '7', [])
            create(2, '0.10', [1, 1])
            for category in [parent, *categories]:
                create_target(
                    company, '400', '2030-01-01', '2030-03-31',
                    scope='category', category=category)
            # 50 × 2 / 3 and what remains
            self.assertEqual(figures(1), [
                    Decimal(50), Decimal('33.33'), Decimal('16.67')])
            # 0.05 in halves, rounded to even
            self.assertEqual(figures(2), [
                    Decimal('0.05'), Decimal('0.02'), Decimal('0.03')])
            products[0].template.list_price = Decimal(0)
            products[0].template.save()
            # Without a price they share equally
            create(3, '3', [2, 1])
            self.assertEqual(figures(3), [
                    Decimal('1.50'), Decimal('0.75'), Decimal('0.75')])

    @with_transaction()
    def test_attribution(self):
        "The revenue goes to the employee of the sale when it is configured"
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Campaign = pool.get('marketing.campaign')
        Row = pool.get('prm.plan.action-marketing.campaign')
        Configuration = pool.get('prm.configuration')
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        Opportunity = pool.get('sale.opportunity')
        Plan = pool.get('prm.plan')
        Sale = pool.get('sale.sale')
        company = create_company()
        with set_company(company):
            setup_accounting(company, 2024)
            john, jane = (
                create_employee(company, name) for name in ["John", "Jane"])
            party, = create_parties()
            partner, = create_partners(company, [party], john)
            invoices = create_invoices(
                company, (party, '2024-01-15', '100', '20'), post=False)
            sale, = Sale.create([{
                        'company': company.id,
                        'currency': company.currency.id,
                        'party': party.id,
                        'invoice_address': party.addresses[0].id,
                        'shipment_address': party.addresses[0].id,
                        'quoted_by': jane.id,
                        'confirmed_by': john.id,
                        'lines': [('create', [{
                                        'quantity': 1,
                                        'unit_price': Decimal(100),
                                        }])],
                        }])
            Line.write([invoices[0].lines[0]], {
                    'origin': str(sale.lines[0])})
            with Transaction().set_context(_skip_warnings=True):
                Invoice.post(invoices)

            def figures(scope='employee'):
                return {
                    m.subject.rec_name: m.actual
                    for m in performances(scope=scope)}

            self.assertEqual(figures(), {"John": Decimal(120)})
            configuration = Configuration(1)
            configuration.performance_attribution = 'sale'
            configuration.save()
            self.assertEqual(
                figures(), {"John": Decimal(20), "Jane": Decimal(100)})
            self.assertEqual(
                list(figures('partner').values()), [Decimal(120)])

            # A credit note takes from who has sold
            credit_note, = create_invoices(
                company, (party, '2024-01-20', '-30'), post=False)
            Line.write([credit_note.lines[0]], {
                    'origin': str(invoices[0].lines[0])})
            with Transaction().set_context(_skip_warnings=True):
                Invoice.post([credit_note])
            self.assertEqual(
                figures(), {"John": Decimal(20), "Jane": Decimal(70)})

            # What the manager has sold and the rest is shared as one amount
            Share = pool.get('prm.revenue.share')
            Sale.write([sale], {'quoted_by': john.id})
            others = [create_employee(company, name) for name in "BC"]
            shares = Share.create([{
                        'partner': partner.id,
                        'employee': employee.id,
                        'percentage': Decimal(percentage),
                        'start_date': dt.date(2024, 1, 1),
                        } for employee, percentage in zip(
                            [jane, *others], ['0.3333', '0.3333', '0.3334'])])
            # 120 gives 40.00, 39.99 (79.99) and 40.01, -30 takes 10.00,
            # 10.00 (20.00) and 10.00
            self.assertEqual(figures(), {
                    "John": 0,
                    "Jane": Decimal('30.00'),
                    "B": Decimal('29.99'),
                    "C": Decimal('30.01')})
            Share.delete(shares)

            # An invoice counts for its action, or else the one of the
            # opportunity of its sale
            plan, = Plan.create([{
                        'company': company.id,
                        'name': "PAC",
                        'start_date': dt.date(2024, 1, 1),
                        'end_date': dt.date(2024, 12, 31),
                        }])
            actions = Action.create([
                    {'plan': plan.id, 'name': name}
                    for name in ["Fair", "Offer"]])
            opportunity, lead = Opportunity.create([{
                        'company': company.id,
                        'currency': company.currency.id,
                        'start_date': dt.date(2024, 1, 1),
                        'amount': Decimal(amount),
                        'conversion_probability': 0.5,
                        'state': state,
                        'party': party.id,
                        'employee': john.id,
                        'plan_action': actions[0].id,
                        } for amount, state in [(500, 'won'), (60, 'lead')]])
            Sale.write([sale], {'origin': str(opportunity)})
            fair, offer = Action.browse(actions)
            self.assertEqual(fair.obtained_revenue, Decimal(70))
            self.assertEqual(fair.weighted_pipeline, Decimal(30))
            self.assertIsNone(offer.obtained_revenue)
            self.assertEqual(Plan(plan.id).actual_revenue, Decimal(70))
            Invoice.write(invoices, {'plan_action': offer.id})
            fair, offer = Action.browse(actions)
            self.assertEqual(
                [fair.obtained_revenue, offer.obtained_revenue],
                [Decimal(-30), Decimal(120)])

            # or else the one of the campaign of the sale
            campaign, other = Campaign.create([
                    {'name': name} for name in ["spring", "autumn"]])
            offer.campaigns = [campaign]
            offer.save()
            self.assertEqual(campaign.plan_actions, (offer,))
            Invoice.write(invoices, {'plan_action': None})
            Sale.write([sale], {'marketing_campaign': campaign.id})
            Opportunity.write(
                [opportunity, lead], {'marketing_campaign': campaign.id})

            def figures():
                return [
                    (a.obtained_revenue, a.weighted_pipeline)
                    for a in Action.browse(actions)]

            self.assertEqual(
                figures(), [(Decimal(70), Decimal(30)), (None, Decimal(0))])
            Opportunity.write([lead], {'plan_action': None})
            self.assertEqual(
                figures(), [(Decimal(70), Decimal(0)), (None, Decimal(30))])
            Opportunity.write([opportunity], {'plan_action': None})
            self.assertEqual(
                figures(), [(None, Decimal(0)), (Decimal(70), Decimal(30))])
            Invoice.write(invoices, {'plan_action': fair.id})
            self.assertEqual(
                figures(),
                [(Decimal(120), Decimal(0)), (Decimal(-30), Decimal(30))])
            self.assertEqual(Plan(plan.id).actual_revenue, Decimal(90))

            # A campaign has one action of the company
            with self.assertRaises(ActionCampaignError) as error:
                Action.write([fair], {'campaigns': [('add', [campaign.id])]})
            self.assertEqual(
                error.exception.message,
                'The campaign "Spring" cannot belong to the action "Fair" '
                'because it belongs to "Offer" and its revenue counts once. '
                'Remove it from one of them.')
            Action.write([fair], {'campaigns': [('add', [other.id])]})
            self.assertEqual(Action.copy([offer])[0].campaigns, ())
            copy, = Campaign.copy([campaign], default={'name': "summer"})
            self.assertEqual(copy.plan_actions, ())

            # The sales of another company count for its own action
            other_company = create_company("Other")
            with set_company(other_company):
                other_plan, = Plan.create([{
                            'company': other_company.id,
                            'name': "PAC",
                            'start_date': dt.date(2024, 1, 1),
                            'end_date': dt.date(2024, 12, 31),
                            'actions': [('create', [{
                                            'name': "Other",
                                            'campaigns': [
                                                ('add', [campaign.id])],
                                            }])],
                            }])
                action, = other_plan.actions
                self.assertIsNone(action.obtained_revenue)
                self.assertEqual(len(Campaign(campaign.id).plan_actions), 2)
                # and they follow the action
                row, = Row.search([('campaign', '=', other.id)])
                self.assertEqual(row.company, company)
                Row.write([row], {'action': action.id})
                self.assertEqual(row.company, other_company)

            # A closed plan keeps its campaigns
            Plan.write([plan], {'state': 'closed'})
            with self.assertRaises(PlanAccessError) as error:
                Campaign.write(
                    [campaign], {'plan_actions': [('remove', [offer.id])]})
            self.assertEqual(
                error.exception.message,
                'The plan "PAC" is closed. To change its actions, run it '
                'again.')
