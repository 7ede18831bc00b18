# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from decimal import Decimal

from dateutil.relativedelta import relativedelta

from trytond.model.exceptions import SQLConstraintError
from trytond.modules.company.tests import create_employee, set_company
from trytond.modules.prm.trytond_prm.program.exceptions import (
    CriterionError, DecisionAccessError, DecisionError, EnrolmentAccessError,
    EnrolmentError)
from trytond.pool import Pool
from trytond.pyson import Eval, PYSONEncoder
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction, check_access

from .test_partner import activate, create_partners, end
from .tools import SharedMixin, count_statements, get_company

TODAY = dt.date.today()
DAY = dt.timedelta(days=1)


def create_program(company, **values):
    "Create a program whose tiers are open to all, 12 and 24 months"
    Program = Pool().get('prm.program')
    values.setdefault('grace_days', 30)
    program, = Program.create([{
                'company': company.id,
                'name': "Resellers",
                'tiers': [('create', [
                            {'name': "Bronze", 'sequence': 1},
                            {'name': "Silver", 'sequence': 2,
                                'criteria': [('create', [{
                                                'metric': 'tenure',
                                                'threshold': Decimal(12),
                                                }])]},
                            {'name': "Gold", 'sequence': 3,
                                'criteria': [('create', [{
                                                'metric': 'tenure',
                                                'threshold': Decimal(24),
                                                }])]},
                            ])],
                **values}])
    return program


def enrol(partners, program, tier=None, approve=True, **values):
    Enrolment = Pool().get('prm.enrolment')
    enrolments = Enrolment.create([{
                'partner': p.id,
                'program': program.id,
                'tier': tier.id if tier else None,
                **values} for p in partners])
    if approve:
        Enrolment.submit(enrolments)
        Enrolment.approve(enrolments)
    return enrolments


def months_ago(months):
    return TODAY - relativedelta(months=months)


class ProgramTestCase(SharedMixin, unittest.TestCase):
    "Test programs"

    @with_transaction()
    def test_workflow(self):
        "An enrolment is asked for and approved"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company, start_date=months_ago(13))
            program = create_program(company, term_months=12)
            bronze, silver, gold = program.tiers
            self.assertEqual(partner.eligible_tier, silver)

            enrolment, = enrol([partner], program, approve=False)
            self.assertEqual(enrolment.state, 'draft')
            Enrolment.submit([enrolment])
            self.assertEqual(enrolment.state, 'pending')
            self.assertEqual(enrolment.tier, silver)
            self.assertIsNone(Partner(partner.id).tier)
            Enrolment.approve([enrolment])

            partner = Partner(partner.id)
            self.assertEqual(enrolment.state, 'approved')
            self.assertEqual(partner.tier, silver)
            self.assertEqual(enrolment.start_date, TODAY)
            self.assertEqual(
                enrolment.end_date, TODAY + relativedelta(months=12) - DAY)
            self.assertEqual(
                enrolment.review_date, TODAY + relativedelta(months=12))
            self.assertEqual(
                enrolment.progress,
                "Silver\n- Tenure: 13 of 12\nGold\n- Tenure: 13 of 24")
            decision, = enrolment.decisions
            self.assertEqual(decision.kind, 'entry')
            self.assertEqual(decision.to_tier, silver)
            self.assertEqual(decision.decided_by.id, Transaction().user)
            self.assertTrue(decision.decided_at)
            self.assertEqual(decision.explanation, enrolment.progress)
            self.assertEqual(
                Partner.search([('tier', '=', silver.id)]), [partner])
            self.assertEqual(
                Partner.search([('tier.name', '=', "Gold")]), [])
            self.assertEqual(Partner.search([('tier', '=', None)]), [])
            self.assertEqual(
                Partner.search([('eligible_tier', '=', "Silver")]),
                [partner])

            with self.assertRaises(SQLConstraintError) as cm:
                enrol([partner], program, approve=False)
            self.assertEqual(
                cm.exception.message,
                "A partner can only be enrolled once at a time in a "
                "program.")

    @with_transaction()
    def test_protected(self):
        "The tier only changes by a decision"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company, start_date=months_ago(13))
            program = create_program(company)
            bronze, silver, gold = program.tiers
            enrolment, = enrol([partner], program)
            name = enrolment.rec_name
            with check_access():
                with self.assertRaises(EnrolmentAccessError) as cm:
                    Enrolment.write([enrolment], {'tier': gold.id})
                self.assertEqual(
                    cm.exception.message,
                    f'You cannot modify the enrolment "{name}" because it '
                    'is no longer a draft. Use its buttons or propose a '
                    'decision.')
                with self.assertRaises(DecisionAccessError):
                    Decision.delete(list(enrolment.decisions))
                with self.assertRaises(EnrolmentAccessError):
                    Enrolment.delete([enrolment])
                decision, = Decision.create([{
                            'enrolment': enrolment.id,
                            'to_tier': gold.id,
                            }])
            self.assertEqual(decision.kind, 'promotion')
            self.assertEqual(decision.from_tier, silver)
            with self.assertRaises(DecisionError) as cm:
                Decision.approve([decision])
            self.assertEqual(
                cm.exception.message,
                'You must tell the reason of the decision on the enrolment '
                f'"{name}".')
            Decision.write([decision], {'reason': "Key account"})
            Decision.approve([decision])
            self.assertEqual(enrolment.tier, gold)
            self.assertEqual(
                [(d.from_tier, d.to_tier, d.reason)
                    for d in Decision.search([])],
                [(silver, gold, "Key account"), (None, silver, None)])
            with check_access(), self.assertRaises(DecisionAccessError):
                Decision.create([{
                            'enrolment': enrolment.id,
                            'kind': 'promotion',
                            'to_tier': gold.id,
                            'state': 'approved',
                            }])

    @with_transaction()
    def test_submit_errors(self):
        "What cannot be approved is not asked for"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        Tier = pool.get('prm.program.tier')
        company = get_company()
        with set_company(company):
            partner, pending, draft = create_partners(
                company, 3, start_date=months_ago(1))
            program = create_program(company)
            kept, drafted, asked = enrol(
                [partner, draft, pending], program, approve=False)
            Enrolment.submit([asked])
            end([pending, draft])
            self.assertEqual(asked.state, 'rejected')
            self.assertEqual(
                Enrolment.search([], order=[('id', 'ASC')]), [kept, asked])
            Tier.write(list(program.tiers), {'criteria': [('create', [{
                                    'metric': 'tenure',
                                    'threshold': Decimal(2)}])]})
            with self.assertRaises(EnrolmentError) as cm:
                Enrolment.submit([kept])
            self.assertEqual(
                cm.exception.message,
                f'The partner of the enrolment "{kept.rec_name}" '
                'is not eligible for any tier. Choose the tier to ask for.')

    @with_transaction()
    def test_review(self):
        "The review proposes promotions and, after a grace, demotions"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            better, worse, same = partners = create_partners(
                company, 3, start_date=months_ago(13))
            program = create_program(company)
            bronze, silver, gold = program.tiers
            enrolments = enrol(partners, program)
            Partner.write([better], {'start_date': months_ago(24)})
            Partner.write([worse], {'start_date': months_ago(3)})
            Enrolment.follow_up()
            self.assertEqual(
                Decision.search([('state', '=', 'proposed')]), [])
            Enrolment.write(enrolments, {'review_date': TODAY})
            Enrolment.follow_up()
            Enrolment.follow_up()

            down, up = Decision.search([('state', '=', 'proposed')])
            self.assertEqual(up.partner, better)
            self.assertEqual(
                (up.kind, up.from_tier, up.to_tier, up.grace_date),
                ('promotion', silver, gold, None))
            self.assertEqual(
                up.explanation,
                "Silver\n- Tenure: 24 of 12\nGold\n- Tenure: 24 of 24")
            self.assertEqual(down.partner, worse)
            self.assertEqual(
                (down.kind, down.from_tier, down.to_tier, down.grace_date),
                ('demotion', silver, bronze, TODAY + 30 * DAY))
            self.assertEqual(
                {e.review_date for e in enrolments},
                {TODAY + relativedelta(months=12)})
            self.assertEqual(Partner(better.id).tier, silver)

            Decision.approve([up])
            self.assertEqual(Partner(better.id).tier, gold)
            with self.assertRaises(DecisionError) as cm:
                Decision.approve([down])
            self.assertIn(
                "before the end of its grace period on",
                cm.exception.message)
            Decision.write([down], {'grace_date': TODAY - DAY})
            Decision.approve([down])
            self.assertEqual(Partner(worse.id).tier, bronze)
            self.assertEqual(Partner(same.id).tier, silver)

    @with_transaction()
    def test_review_recovered(self):
        "Who fulfils the criteria again is not demoted"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company, start_date=months_ago(13))
            program = create_program(company)
            enrolment, = enrol([partner], program)
            Partner.write([partner], {'start_date': months_ago(3)})
            Enrolment.review([enrolment])
            decision, = Decision.search([('state', '=', 'proposed')])
            Partner.write([partner], {'start_date': months_ago(14)})
            Enrolment.follow_up()
            self.assertEqual(decision.state, 'withdrawn')
            self.assertEqual(
                Decision.search([('state', '=', 'proposed')]), [])

    @with_transaction()
    def test_leave(self):
        "Who may have no tier leaves the program by a decision"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        Partner = pool.get('prm.partner')
        Tier = pool.get('prm.program.tier')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company, start_date=months_ago(13))
            program = create_program(company, grace_days=0)
            Tier.delete(program.tiers[:1])
            enrolment, = enrol([partner], program)
            Partner.write([partner], {'start_date': months_ago(3)})
            Enrolment.review([enrolment])
            decision, = Decision.search([('state', '=', 'proposed')])
            Decision.write([decision], {'grace_date': None})
            Decision.approve([decision])
            self.assertEqual(enrolment.state, 'terminated')
            self.assertEqual(enrolment.end_date, TODAY)
            self.assertEqual(decision.state, 'approved')
            self.assertEqual(len(enrolment.decisions), 2)
            self.assertIsNone(Partner(partner.id).tier)

    @with_transaction()
    def test_expire(self):
        "Enrolments expire, are renewed and end with the relationship"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            partners = create_partners(
                company, 3, start_date=months_ago(24), manager=employee.id)
            activate(partners)
            program = create_program(company, term_months=12)
            expired, renewed, ended = enrol(
                partners, program, start_date=months_ago(12))
            self.assertEqual(expired.end_date, TODAY - DAY)
            Enrolment.renew([renewed])
            self.assertEqual(
                renewed.end_date, TODAY + relativedelta(months=12) - DAY)
            Enrolment.renew([ended])
            end([partners[2]])
            Enrolment.follow_up()
            self.assertEqual(
                [e.state for e in [expired, renewed, ended]],
                ['expired', 'approved', 'terminated'])
            self.assertEqual(
                [e.decisions[0].kind for e in [expired, renewed, ended]],
                ['expiry', 'entry', 'termination'])
            self.assertEqual(ended.end_date, TODAY)
            tier = program.tiers[2]
            self.assertEqual(
                [p.tier for p in Partner.browse(partners)[:2]],
                [None, tier])

    @with_transaction()
    def test_custom(self):
        "A criterion combines other metrics in an expression"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Criterion = pool.get('prm.program.tier.criterion')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            old, new = create_partners(company, 2, start_date=TODAY)
            program = create_program(company)
            bronze, silver, gold = program.tiers
            Criterion.delete(list(silver.criteria + gold.criteria))
            Criterion.create([{
                        'tier': silver.id,
                        'metric': 'interactions',
                        'threshold': Decimal(2),
                        'window_months': 6,
                        }, {
                        'tier': gold.id,
                        'metric': 'custom',
                        'window_months': 12,
                        'expression': PYSONEncoder().encode(
                            (Eval('interactions', 0) >= 3)
                            | (Eval('tenure', 0) > 60)),
                        }])
            channel, = Channel.create([{'name': "Phone", 'kind': 'phone'}])
            Interaction.create([{
                        'company': company.id,
                        'party': new.party.id,
                        'partner': new.id,
                        'population': 'partner',
                        'channel': channel.id,
                        'date': dt.datetime.combine(date, dt.time(12)),
                        'direction': 'out',
                        'state': 'done',
                        } for date in [
                        TODAY - DAY, months_ago(6) + DAY,
                        months_ago(6), months_ago(12)]])
            Partner.write([old], {'start_date': months_ago(61)})
            self.assertEqual(
                [p.eligible_tier for p in Partner.browse([old, new])],
                [gold, gold])
            Partner.write([old], {'start_date': months_ago(60)})
            self.assertEqual(
                [p.eligible_tier for p in Partner.browse([old, new])],
                [bronze, gold])
            with self.assertRaises(CriterionError) as cm:
                Criterion.create([{
                            'tier': gold.id,
                            'metric': 'custom',
                            'window_months': 12,
                            'expression': "revenue > 10",
                            }])
            self.assertEqual(
                cm.exception.message,
                'The expression "revenue > 10" of the tier "Gold" is not a '
                'valid PYSON statement. Correct it.')

    @with_transaction()
    def test_statements(self):
        "The number of statements does not depend on the partners"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        Enrolment = pool.get('prm.enrolment')
        Criterion = pool.get('prm.program.tier.criterion')
        Partner = pool.get('prm.partner')
        company = get_company()
        counts = []
        with set_company(company):
            program = create_program(company)
            silver, gold = program.tiers[1:]
            Criterion.create([{
                        'tier': gold.id,
                        'metric': metric,
                        'threshold': Decimal(0),
                        'window_months': months,
                        } for metric in ['revenue', 'interactions']
                    for months in [6, 12]])
            for count in [2, 20]:
                partners = create_partners(
                    company, count, start_date=months_ago(25))
                with count_statements() as statements:
                    enrolments = enrol(partners, program, silver)
                    Enrolment.review(enrolments)
                    Decision.approve(Decision.search([
                                ('state', '=', 'proposed')]))
                    self.assertEqual(
                        {p.tier for p in Partner.browse(partners)}, {gold})
                    self.assertEqual(
                        {p.eligible_tier for p in Partner.browse(partners)},
                        {gold})
                    {e.progress for e in enrolments}
                counts.append([
                        s for s in statements
                        if not s.startswith('INSERT')])
        self.assertLessEqual(len(counts[1]), len(counts[0]))
        self.assertEqual(
            len([s for s in counts[1] if 'account_move_line' in s]),
            len([s for s in counts[0] if 'account_move_line' in s]))
