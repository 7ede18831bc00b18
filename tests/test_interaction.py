# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
from unittest.mock import patch

from trytond import backend
from trytond.model.exceptions import (
    AccessError, RequiredValidationError, SQLConstraintError)
from trytond.modules.company.tests import create_employee, set_company
from trytond.modules.party.exceptions import EraseError
from trytond.modules.prm.trytond_prm.exceptions import WorkflowAccessError
from trytond.modules.prm.trytond_prm.interaction.exceptions import (
    InteractionDeleteError, PartnerPartyError, SentimentError)
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction, check_access

from .test_partner import activate, create_parties, create_partners, end
from .tools import SharedMixin, count_statements, get_company

NOW = dt.datetime.now().replace(microsecond=0)
TODAY = NOW.date()
DAY = dt.timedelta(days=1)


def get_channel(kind='phone'):
    pool = Pool()
    Channel = pool.get('prm.channel')
    ModelData = pool.get('ir.model.data')
    return Channel(ModelData.get_id('prm', f'channel_{kind}'))


def create_interactions(*vlist, **default):
    Interaction = Pool().get('prm.interaction')
    default.setdefault('channel', get_channel().id)
    return Interaction.create([{**default, **v} for v in vlist])


class InteractionTestCase(SharedMixin, unittest.TestCase):
    "Test interactions"

    @with_transaction()
    def test_channels(self):
        "There is a channel of each kind"
        pool = Pool()
        Channel = pool.get('prm.channel')
        self.assertEqual(
            {c.kind for c in Channel.search([])},
            {k for k, _ in Channel.kind.selection})

    @with_transaction()
    def test_workflow(self):
        "A planned interaction is done or cancelled and planned again"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            interaction, = create_interactions(
                {'party': party.id, 'date': NOW - DAY})
            self.assertEqual(interaction.state, 'planned')
            self.assertEqual(interaction.population, 'customer')
            Interaction.cancel([interaction])
            self.assertEqual(interaction.state, 'cancelled')
            Interaction.do([interaction])
            self.assertEqual(interaction.state, 'cancelled')
            Interaction.plan([interaction])
            self.assertEqual(interaction.state, 'planned')
            Interaction.do([interaction])
            self.assertEqual(interaction.state, 'done')
            self.assertEqual(interaction.date, NOW - DAY)
            for button in [Interaction.cancel, Interaction.plan]:
                button([interaction])
                self.assertEqual(interaction.state, 'done')
            with check_access(), self.assertRaises(WorkflowAccessError):
                Interaction.write([interaction], {'state': 'planned'})
            with self.assertRaisesRegex(
                    InteractionDeleteError,
                    'You cannot delete the interaction "Phone - Party 0" '
                    'because it is done.'):
                Interaction.delete([interaction])

    @with_transaction()
    def test_do_early(self):
        "What is done before its date was done now"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            interaction, = create_interactions(
                {'party': party.id, 'date': NOW + 3 * DAY})
            Interaction.do([interaction])
            self.assertLess(interaction.date, NOW + DAY)

    @with_transaction()
    def test_delete(self):
        "What is not done is deleted"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            a, b = create_interactions(
                {'party': party.id}, {'party': party.id})
            Interaction.cancel([b])
            Interaction.delete([a, b])

    @with_transaction()
    def test_sentiment(self):
        "The sentiment goes from -2 to 2"
        company = get_company()
        with set_company(company):
            party, = create_parties()
            for sentiment in [None, -2, -1, 0, 1, 2]:
                create_interactions(
                    {'party': party.id, 'sentiment': sentiment})
            for sentiment in [-3, 3]:
                with self.assertRaisesRegex(
                        SentimentError,
                        f'The sentiment {sentiment} of the interaction '
                        '"Phone - Party 0" is not between -2 and 2.'):
                    create_interactions(
                        {'party': party.id, 'sentiment': sentiment})

    @with_transaction()
    def test_party_required(self):
        "Only interactions with the staff have no party"
        company = get_company()
        with set_company(company):
            create_interactions({'population': 'staff'})
            for population in ['customer', 'partner']:
                with self.assertRaises(RequiredValidationError):
                    create_interactions({'population': population})

    @with_transaction()
    def test_partner(self):
        "The partner of the party at the date is filled in"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(company, 2)
            end([partner], dt.date(2021, 1, 1))
            restarted, = Partner.browse(
                Partner.restart([partner])['res_id'])
            party = partner.party
            before, after, customer, explicit, without = create_interactions({
                    'party': party.id,
                    'date': dt.datetime(2021, 1, 1, 12),
                    }, {
                    'party': party.id,
                    'date': dt.datetime(2021, 1, 2, 12),
                    }, {
                    'party': party.id,
                    'population': 'customer',
                    'date': dt.datetime(2022, 1, 2, 12),
                    }, {
                    'party': party.id,
                    'partner': partner.id,
                    'date': dt.datetime(2022, 1, 2, 12),
                    }, {
                    'party': party.id,
                    'partner': None,
                    })
            self.assertEqual(before.partner, partner)
            self.assertEqual(before.population, 'partner')
            self.assertEqual(after.partner, restarted)
            self.assertEqual(customer.partner, restarted)
            self.assertEqual(customer.population, 'customer')
            self.assertEqual(explicit.partner, partner)
            self.assertEqual(without.partner, None)
            with self.assertRaisesRegex(
                    PartnerPartyError,
                    r'The partner "\[.*\] Party 1" of the interaction '
                    '"Phone - Party 0" is not its party. Change one of '
                    'them.'):
                create_interactions(
                    {'party': party.id, 'partner': other.id})

    @with_transaction()
    def test_on_change(self):
        "The partner brings its party and the reverse"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            party, = create_parties(name="Customer")
            interaction = Interaction(company=company)
            interaction.population = 'customer'
            interaction.party = partner.party
            interaction.on_change_party()
            self.assertEqual(interaction.partner, partner)
            self.assertEqual(interaction.population, 'partner')
            interaction.party = party
            interaction.on_change_party()
            self.assertEqual(interaction.partner, None)
            self.assertEqual(interaction.population, 'customer')
            interaction.partner = partner
            interaction.on_change_partner()
            self.assertEqual(interaction.party, partner.party)

    @with_transaction()
    def test_next(self):
        "The next interaction is the one that follows up"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            first, = create_interactions({'party': party.id})
            second, = create_interactions(
                dict(first.follow_up_values(), date=NOW + DAY))
            self.assertEqual(second.previous, first)
            self.assertEqual(first.next, second)
            self.assertEqual(second.next, None)
            for clause, result in [
                    (('next', '=', second.id), [first]),
                    (('next', '=', None), [second]),
                    (('next', '!=', None), [first]),
                    (('next.state', '=', 'planned'), [first]),
                    (('next.state', '=', 'done'), [])]:
                self.assertEqual(
                    Interaction.search([clause]), result, msg=clause)
            with self.assertRaisesRegex(
                    SQLConstraintError, 'only be followed up once'):
                create_interactions(first.follow_up_values())

    @with_transaction()
    def test_follow_up(self):
        "The wizard does the interaction and plans the next one"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        FollowUp = pool.get('prm.interaction.follow_up', type='wizard')
        Session = pool.get('ir.session.wizard')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            first, = create_interactions(
                {'party': party.id, 'subject': "Offer"})
            session = Session()
            session.save()
            with Transaction().set_context(
                    active_model='prm.interaction', active_id=first.id,
                    active_ids=[first.id]):
                wizard = FollowUp(session.id)
                self.assertEqual(
                    wizard.default_start([])['subject'], "Offer")
                wizard.start.date = NOW + DAY
                wizard.start.channel = get_channel('meeting')
                wizard.start.employee = None
                wizard.start.subject = "Negotiation"
                wizard.transition_plan()
            first = Interaction(first.id)
            self.assertEqual(first.state, 'done')
            self.assertEqual(first.next.state, 'planned')
            self.assertEqual(first.next.date, NOW + DAY)
            self.assertEqual(first.next.channel, get_channel('meeting'))
            self.assertEqual(first.next.party, party)

    def create_type(self, name, **values):
        Type = Pool().get('prm.interaction.type')
        type_, = Type.create([dict(values, name=name)])
        return type_

    @with_transaction()
    def test_type(self):
        "An interaction that is done opens the next one of its type"
        Interaction = Pool().get('prm.interaction')
        company = get_company()
        company.timezone = 'Europe/Paris'
        company.save()
        meeting = get_channel('meeting')
        last = self.create_type("Reminder", follow_up=True, next_days=3)
        first = self.create_type(
            "Offer", follow_up=True, next_days=7, next_channel=meeting.id,
            next_subject="What do you think of it?", next_type=last.id)
        without = self.create_type("Talk")
        with set_company(company):
            party, = create_parties()
            employee = create_employee(company)
            # The clocks change on the 31st of March
            date = dt.datetime(2024, 3, 28, 9)
            default = {
                'party': party.id, 'employee': employee.id, 'date': date}
            offer, followed, talk, cancelled, undone = create_interactions(
                {'type': first.id}, {'type': first.id},
                {'type': without.id}, {'type': first.id},
                {'type': first.id}, **default)
            create_interactions(followed.follow_up_values())
            Interaction.cancel([cancelled])
            Interaction.do([offer, followed, talk, cancelled])
            Interaction.do([offer, followed, talk, cancelled])
            self.assertEqual(
                Interaction.search([('previous', '=', talk.id)]), [])
            self.assertEqual(
                Interaction.search([
                        ('previous', 'in', [cancelled.id, undone.id])]), [])
            for interaction in [offer, followed]:
                following = Interaction(interaction.id).next
                self.assertEqual(following.state, 'planned')
                self.assertEqual(
                    following.date, dt.datetime(2024, 4, 4, 8))
                self.assertEqual(following.channel, meeting)
                self.assertEqual(
                    following.subject, "What do you think of it?")
                self.assertEqual(following.employee, employee)
                self.assertEqual(following.type, last)
            Interaction.do([following])
            end = Interaction(following.id).next
            self.assertEqual(end.subject, following.subject)
            self.assertEqual(end.channel, meeting)
            self.assertEqual(end.type, None)
            Interaction.do([end])
            self.assertEqual(Interaction(end.id).next, None)

            counts = []
            for count in [2, 20]:
                interactions = create_interactions(
                    *[{'type': first.id} for _ in range(count)], **default)
                with count_statements() as statements:
                    Interaction.do(Interaction.browse(interactions))
                counts.append(len([
                            s for s in statements
                            if not s.startswith('INSERT')]))
            self.assertLessEqual(counts[1], counts[0])

    @with_transaction()
    def test_type_follow_up(self):
        "The wizard proposes what the type plans and plans it once"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        FollowUp = pool.get('prm.interaction.follow_up', type='wizard')
        Session = pool.get('ir.session.wizard')
        company = get_company()
        type_ = self.create_type("Offer", follow_up=True, next_days=7)
        with set_company(company):
            party, = create_parties()
            first, = create_interactions({
                    'party': party.id, 'type': type_.id, 'date': NOW})
            session = Session()
            session.save()
            with Transaction().set_context(
                    active_model='prm.interaction', active_id=first.id,
                    active_ids=[first.id]):
                wizard = FollowUp(session.id)
                defaults = wizard.default_start([])
                self.assertEqual(defaults['date'], NOW + 7 * DAY)
                wizard.start.date = NOW + DAY
                wizard.start.channel = get_channel()
                wizard.start.employee = None
                wizard.start.subject = None
                wizard.transition_plan()
            first = Interaction(first.id)
            self.assertEqual(first.state, 'done')
            self.assertEqual(first.next.date, NOW + DAY)

    @with_transaction()
    def test_default_channel(self):
        "The channel is the last one that the user entered"
        pool = Pool()
        Channel = pool.get('prm.channel')
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            self.assertEqual(Interaction.default_channel(), None)
            for kind in ['email', 'meeting']:
                channel = get_channel(kind)
                create_interactions(
                    {'party': party.id, 'channel': channel.id})
            with count_statements() as statements:
                self.assertEqual(Interaction.default_channel(), channel.id)
            self.assertEqual(len(statements), 1)
            Channel.write([channel], {'active': False})
            self.assertEqual(
                Interaction.default_channel(), get_channel('email').id)
            with Transaction().set_user(0):
                self.assertEqual(Interaction.default_channel(), None)

    @with_transaction()
    def test_due(self):
        "What is planned is found by its day at the company"
        Date = Pool().get('ir.date')
        Interaction = Pool().get('prm.interaction')
        company = get_company()
        company.timezone = 'Europe/Paris'
        company.save()
        with set_company(company):
            party, = create_parties()
            expected = dict(zip(
                    create_interactions(*[{'date': d} for d in [
                                dt.datetime(2030, 7, 14, 21, 59, 59),
                                dt.datetime(2030, 7, 14, 22),
                                dt.datetime(2030, 7, 15, 22),
                                dt.datetime(2030, 7, 21, 21, 59, 59),
                                dt.datetime(2030, 7, 21, 22),
                                dt.datetime(2030, 7, 15),
                                ]], party=party.id),
                    ['overdue', 'today', 'week', 'week', 'later', None]))
            Interaction.cancel(list(expected)[-1:])
            with patch.object(
                    Date, 'today',
                    lambda timezone=None: dt.date(2030, 7, 15)):
                self.assertEqual(
                    {i: i.due for i in Interaction.browse(list(expected))},
                    expected)
                for operator, value, dues in [
                        ('=', 'today', {'today'}),
                        ('=', None, {None}),
                        ('in', ['today', 'week'], {'today', 'week'}),
                        ('!=', 'overdue', {'today', 'week', 'later', None}),
                        ('not in', ['later', None],
                            {'overdue', 'today', 'week'})]:
                    with self.subTest(operator=operator, value=value):
                        self.assertEqual(
                            set(Interaction.search(
                                    [('due', operator, value)])),
                            {i for i, d in expected.items() if d in dues})

    @with_transaction()
    def test_steps(self):
        "The partner knows its last interaction and next step"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            partner, other = create_partners(company, 2)
            done = create_interactions(
                *[{
                        'party': partner.party.id,
                        'date': NOW - i * DAY,
                        } for i in [3, 2, 4]])
            Interaction.do(done)
            cancelled = create_interactions(
                {'party': partner.party.id, 'date': NOW + DAY})
            Interaction.cancel(cancelled)
            create_interactions(
                *[{
                        'party': partner.party.id,
                        'date': NOW + i * DAY,
                        } for i in [3, 2, 4]])
            self.assertEqual(partner.last_interaction, NOW - 2 * DAY)
            self.assertEqual(partner.next_step, NOW + 2 * DAY)
            self.assertEqual(other.last_interaction, None)
            self.assertEqual(other.next_step, None)
            for clause, result in [
                    (('last_interaction', '<', NOW - DAY), [partner]),
                    (('last_interaction', '<', NOW - 2 * DAY), []),
                    (('last_interaction', '<=', NOW - 2 * DAY), [partner]),
                    (('last_interaction', '=', NOW - 2 * DAY), [partner]),
                    (('last_interaction', '=', None), [other]),
                    (('last_interaction', '!=', None), [partner]),
                    (('next_step', '>', NOW + DAY), [partner]),
                    (('next_step', '=', NOW + 2 * DAY), [partner]),
                    (('next_step', '=', NOW + 3 * DAY), []),
                    (('next_step', '=', None), [other]),
                    ]:
                with self.subTest(clause=clause):
                    self.assertEqual(Partner.search([clause]), result)
            self.assertEqual(
                Partner.search(
                    [], order=[('next_step', 'ASC NULLS LAST')]),
                [partner, other])

    @with_transaction()
    def test_next_step_state(self):
        "The state of the next step changes at midnight of the company"
        pool = Pool()
        Date = pool.get('ir.date')
        Partner = pool.get('prm.partner')
        company = get_company()
        # Midnight in Paris is 22:00 UTC in summer
        company.timezone = 'Europe/Paris'
        company.save()
        today = dt.date(2030, 7, 15)
        with set_company(company):
            partners = create_partners(company, 6)
            expected = {}
            for partner, (date, state) in zip(partners, [
                        (dt.datetime(2030, 7, 14, 21, 59, 59), 'overdue'),
                        (dt.datetime(2030, 7, 14, 22, 0, 0), 'today'),
                        (dt.datetime(2030, 7, 15, 21, 59, 59), 'today'),
                        (dt.datetime(2030, 7, 15, 22, 0, 0), 'planned'),
                        (dt.datetime(2031, 7, 15, 22, 0, 0), 'planned'),
                        (None, 'none')]):
                expected[partner] = state
                if date:
                    create_interactions(
                        {'party': partner.party.id, 'date': date})
            with patch.object(Date, 'today', lambda timezone=None: today):
                for partner in Partner.browse(partners):
                    self.assertEqual(
                        partner.next_step_state, expected[partner])
                for state in ['none', 'overdue', 'today', 'planned']:
                    for operator, value in [
                            ('=', state), ('in', [state])]:
                        self.assertEqual(
                            set(Partner.search(
                                    [('next_step_state', operator, value)])),
                            {p for p, s in expected.items() if s == state})
                    self.assertEqual(
                        set(Partner.search(
                                [('next_step_state', '!=', state)])),
                        {p for p, s in expected.items() if s != state})
                self.assertEqual(
                    len(Partner.search(
                            [('next_step_state', 'in',
                                    ['none', 'planned'])])), 3)

    @with_transaction()
    def test_handover(self):
        "The open interactions pass to the new manager with a trace"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        ModelData = pool.get('ir.model.data')
        Partner = pool.get('prm.partner')
        User = pool.get('res.user')
        company = get_company()
        with set_company(company):
            a, b, c = [create_employee(company, n) for n in 'ABC']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            date = TODAY - 10 * DAY
            noon = dt.datetime.combine(date, dt.time(12))
            (overdue, open_, colleague, done, cancelled,
                private) = create_interactions(*[{
                        'partner': partner.id,
                        'date': d,
                        'employee': e.id,
                        'private': p,
                        } for d, e, p in [
                        (noon - 5 * DAY, a, False),
                        (noon + 20 * DAY, a, False),
                        (noon + 20 * DAY, c, False),
                        (noon - 5 * DAY, a, False),
                        (noon + 5 * DAY, a, False),
                        (noon + 5 * DAY, a, True)]],
                party=partner.party.id)
            Interaction.do([done])
            Interaction.cancel([cancelled])
            director, = User.create([{
                        'name': "Director",
                        'login': 'director',
                        'companies': [('add', [company.id])],
                        'company': company.id,
                        'groups': [('add', [ModelData.get_id(
                                        'prm', 'group_prm_manager')])],
                        }])

            # The director does not see what is private but passes it
            with Transaction().set_user(director.id), check_access():
                Partner.handover([Partner(partner.id)], b, date=date)

            for interaction, employee in [
                    (overdue, b), (open_, b), (colleague, c), (done, a),
                    (cancelled, a), (private, b)]:
                self.assertEqual(
                    Interaction(interaction.id).employee, employee)
            transfer, = Interaction(open_.id).transfers
            self.assertEqual(transfer.date, date)
            self.assertEqual(transfer.employee_from, a)
            self.assertEqual(transfer.employee_to, b)

    @with_transaction()
    def test_handover_future(self):
        "What is left undone at the handover passes then"
        pool = Pool()
        Date = pool.get('ir.date')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        company = get_company()
        with set_company(company):
            a, b = [create_employee(company, n) for n in 'AB']
            partner, = create_partners(company, manager=a.id)
            activate([partner])
            date = TODAY + 10 * DAY
            noon = dt.datetime.combine(date, dt.time(12))
            before, after = create_interactions(
                {'date': noon - 5 * DAY}, {'date': noon + DAY},
                party=partner.party.id, employee=a.id)
            Partner.handover([partner], b, date=date)
            farewell, = create_interactions(
                {'date': noon + 2 * DAY},
                party=partner.party.id, employee=a.id)

            self.assertEqual(Interaction(before.id).employee, a)
            self.assertEqual(Interaction(after.id).employee, b)
            Interaction.follow_managers()
            self.assertEqual(Interaction(before.id).employee, a)
            with patch.object(Date, 'today', lambda timezone=None: date):
                Interaction.follow_managers()
                Interaction.follow_managers()
            self.assertEqual(Interaction(before.id).employee, b)
            self.assertEqual(len(Interaction(before.id).transfers), 1)
            self.assertEqual(Interaction(farewell.id).employee, a)

    @with_transaction()
    def test_statements(self):
        "Nothing needs a statement by record"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        with set_company(company):
            employee = create_employee(company)
            channel = get_channel()
            partners = create_partners(company, 200)
            names = [
                n for n, f in Interaction._fields.items()
                if f._type not in {'one2many', 'many2many'}]
            counts = {}
            for count in [20, 200]:
                vlist = [{
                        'party': p.party.id,
                        'channel': channel.id,
                        'employee': employee.id,
                        'sentiment': 1,
                        } for p in partners[:count]]

                def run(name, func, *args):
                    with count_statements() as statements:
                        result = func(*args)
                    counts.setdefault(name, []).append(len([
                                s for s in statements
                                if not s.startswith('INSERT')]))
                    return result

                interactions = run('create', Interaction.create, vlist)
                for name in ['cancel', 'plan', 'do']:
                    run(name, getattr(Interaction, name),
                        Interaction.browse(interactions))
                with Transaction().set_context(_test=count):
                    run('read', Interaction.read,
                        [i.id for i in interactions], names)
            for name, (few, many) in counts.items():
                with self.subTest(name=name, few=few, many=many):
                    self.assertLessEqual(many, few + 6)
                    self.assertLessEqual(few, 30)

    @with_transaction()
    def test_timeline_index(self):
        "The timelines are read from an index"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        company = get_company()
        cursor = Transaction().connection.cursor()
        with set_company(company):
            partners = create_partners(company, 20)
            for partner in partners:
                create_interactions(
                    *[{'date': NOW - i * DAY} for i in range(20)],
                    party=partner.party.id)
            if backend.name == 'sqlite':
                explain = 'EXPLAIN QUERY PLAN '
                index = r'USING (COVERING )?INDEX'
            else:
                # So few records would be faster without index
                cursor.execute('SET LOCAL enable_seqscan = off')
                explain, index = 'EXPLAIN ', 'Index Cond'
            for name, record in [
                    ('partner', partner), ('party', partner.party)]:
                query, params = Interaction.search(
                    [(name, '=', record.id)], limit=10, query=True)
                cursor.execute(explain + query, params)
                plan = '\n'.join(str(r) for r in cursor)
                with self.subTest(name=name, plan=plan):
                    self.assertRegex(plan, index)
                    self.assertRegex(plan, rf'[(]"?{name}"? ?=')

    @with_transaction()
    def test_replace(self):
        "A replaced party gives its interactions"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        Replace = pool.get('party.replace', type='wizard')
        Session = pool.get('ir.session.wizard')
        company = get_company()
        with set_company(company):
            partner, = create_partners(company)
            destination, = create_parties(name="Destination")
            interaction, = create_interactions({'party': partner.party.id})
            own, before = create_interactions(
                {'date': NOW}, {'date': dt.datetime(2019, 12, 31)},
                party=destination.id)
            session = Session()
            session.save()
            wizard = Replace(session.id)
            wizard.ask.source = partner.party
            wizard.ask.destination = destination
            wizard.check_similarity = lambda: None
            wizard.transition_replace()
            Transaction().counter += 1
            self.assertEqual(
                set(Interaction.search([
                            ('party', '=', destination.id),
                            ('partner', '=', partner.id),
                            ('partner.party', '=', destination.id),
                            ])),
                {interaction, own})
            self.assertIsNone(Interaction(before.id).partner)

    @with_transaction()
    def test_erase(self):
        "The text of an erased party disappears"
        pool = Pool()
        Erase = pool.get('party.erase', type='wizard')
        Interaction = pool.get('prm.interaction')
        Session = pool.get('ir.session.wizard')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            party.active = False
            party.save()
            interaction, = create_interactions({
                    'party': party.id, 'subject': "Secret", 'body': "Secret",
                    'outcome': "Secret"})
            session = Session()
            session.save()
            erase = Erase(session.id)
            erase.ask.party = party
            with self.assertRaisesRegex(
                    EraseError,
                    'You cannot erase the party "Party 0" while it has '
                    'planned interactions with "Dunder Mifflin".'):
                erase.transition_erase()
            Interaction.do([interaction])
            erase.transition_erase()
            self.assertEqual(
                Interaction.search([
                        ('subject', '=', None),
                        ('body', '=', None),
                        ('outcome', '=', None),
                        ]),
                [interaction])

    def create_user(self, company, group, employee):
        pool = Pool()
        Group = pool.get('res.group')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        user = User(
            name=employee.rec_name, login=employee.rec_name,
            groups=[Group(ModelData.get_id('prm', group))],
            companies=[company.id], company=company.id,
            employees=[employee.id], employee=employee.id)
        user.save()
        return user

    @with_transaction()
    def test_access(self):
        "Private interactions and those with the staff are not for everybody"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        User = pool.get('res.user')
        company = get_company()
        with set_company(company):
            party, = create_parties()
            a, b, c = [create_employee(company, n) for n in 'ABC']
            users = [
                self.create_user(company, 'group_prm', a),
                self.create_user(company, 'group_prm', b),
                self.create_user(company, 'group_prm_manager', c)]

        def as_user(user):
            with Transaction().set_user(user.id):
                context = User.get_preferences(context_only=True)
            return (
                Transaction().set_user(user.id),
                Transaction().set_context(context, _check_access=True))

        set_user, set_context = as_user(users[0])
        channel = get_channel()
        with set_user, set_context:
            public, private, staff = Interaction.create([{
                        'party': party.id,
                        'channel': channel.id,
                        }, {
                        'party': party.id,
                        'private': True,
                        'channel': channel.id,
                        }, {
                        'population': 'staff',
                        'channel': channel.id,
                        }])
            self.assertEqual(public.employee, a)
        for user, visible in zip(users, [
                    {public, private, staff}, {public}, {public}]):
            set_user, set_context = as_user(user)
            with self.subTest(user=user.name), set_user, set_context:
                self.assertEqual(
                    set(map(int, Interaction.search([]))),
                    set(map(int, visible)))
                for interaction in [public, private, staff]:
                    if interaction not in visible:
                        with self.assertRaises(AccessError):
                            Interaction.read([interaction.id], ['subject'])
