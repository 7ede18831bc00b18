# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from sql import Literal, Null

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, Workflow, fields)
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access
from trytond.wizard import Button, StateTransition, StateView, Wizard

from ..model import WorkflowAccessMixin
from ..tools import Inline, local_date
from .exceptions import (
    InteractionDeleteError, PartnerPartyError, SentimentError)

# When the next interaction is proposed if the type does not tell
_FOLLOW_UP = dt.timedelta(days=7)
_SIZE = 10_000  # values of an IN that every database accepts


class Channel(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.channel'
    __string__ = "Channel"

    name = fields.Char("Name", required=True, translate=True)
    kind = fields.Selection([
            ('phone', "Phone"),
            ('email', "E-mail"),
            ('meeting', "Meeting"),
            ('video', "Video"),
            ('event', "Event"),
            ('letter', "Letter"),
            ('social', "Social Network"),
            ('messaging', "Messaging"),
            ('other', "Other"),
            ], "Kind", required=True, sort=False)
    kind_string = kind.translated('kind')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))

    @classmethod
    def default_kind(cls):
        return 'other'


class Interaction(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.interaction'
    __string__ = "Interaction"

    _states = {
        'readonly': Eval('state') != 'planned',
        }

    company = fields.Many2One(
        'company.company', "Company", required=True, states=_states)
    population = fields.Selection([
            ('customer', "Customer"),
            ('partner', "Partner"),
            ('staff', "Staff"),
            ], "Population", required=True, sort=False, states=_states,
        help="Whom the interaction is with.")
    party = fields.Many2One(
        'party.party', "Party", ondelete='RESTRICT',
        states={
            'readonly': _states['readonly'],
            'required': Eval('population') != 'staff',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    partner = fields.Many2One(
        'prm.partner', "Partner", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            # Help the client only, as the server would search the partners
            # of each party: check_partner does it at once
            If((Eval('id', -1) < 0) & Bool(Eval('party')),
                ('party', '=', Eval('party', -1)),
                ()),
            ],
        states=_states,
        help="The partner of the party at the date.\n"
        "Filled in automatically when there is one.")
    contact = fields.Many2One(
        'party.contact_mechanism', "Contact", ondelete='RESTRICT',
        states=_states,
        context={
            'company': Eval('company', -1),
            },
        search_context={
            'related_party': Eval('party'),
            },
        depends={'company', 'party'},
        help="The phone number, address or profile that is used.")
    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states,
        help="The employee who has or had the interaction.")
    channel = fields.Many2One(
        'prm.channel', "Channel", required=True, ondelete='RESTRICT',
        states=_states)
    direction = fields.Selection([
            ('out', "Outgoing"),
            ('in', "Incoming"),
            ], "Direction", required=True, sort=False, states=_states,
        help="Who started the interaction.")
    date = fields.DateTime(
        "Date", required=True, states=_states)
    duration = fields.TimeDelta(
        "Duration",
        domain=['OR',
            ('duration', '=', None),
            ('duration', '>=', dt.timedelta()),
            ])
    subject = fields.Char("Subject")
    body = fields.Text("Body")
    sentiment = fields.Integer(
        "Sentiment",
        help="The mood of the other side, from -2 (very bad) over 0 "
        "(neutral) to 2 (very good).")
    outcome = fields.Text(
        "Outcome",
        states={
            'invisible': Eval('state') == 'planned',
            },
        help="What came out of the interaction.")
    origin = fields.Reference(
        "Origin", selection='get_origin', states=_states,
        help="The record that caused the interaction.")
    previous = fields.Many2One(
        'prm.interaction', "Previous", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states,
        help="The interaction that this one follows up.")
    next = fields.Function(fields.Many2One(
            'prm.interaction', "Next",
            help="The interaction that follows this one up."),
        'get_next', searcher='search_next')
    private = fields.Boolean(
        "Private",
        help="Check to hide the interaction from everybody but its "
        "employee and who entered it.")
    transfers = fields.One2Many(
        'prm.interaction.transfer', 'interaction', "Transfers",
        readonly=True,
        states={
            'invisible': ~Eval('transfers'),
            },
        help="How the interaction passed from one employee to another.")
    state = fields.Selection([
            ('planned', "Planned"),
            ('done', "Done"),
            ('cancelled', "Cancelled"),
            ], "State", readonly=True, required=True, sort=False)
    due = fields.Function(fields.Selection([
                (None, ""),
                ('overdue', "Overdue"),
                ('today', "Today"),
                ('week', "Next 7 Days"),
                ('later', "Later"),
                ], "Due", sort=False,
            help="When the planned interaction takes place.\n"
            "Overdue when its day is over."),
        'get_due', searcher='search_due')

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('previous_unique', Unique(t, t.previous),
                'prm.msg_interaction_previous_unique'),
            ]
        cls._sql_indexes.update({
                Index(t, (t.date, Index.Range(order='DESC'))),
                Index(t,
                    (t.party, Index.Range()),
                    (t.date, Index.Range(order='DESC'))),
                Index(t,
                    (t.partner, Index.Range()),
                    (t.date, Index.Range(order='DESC'))),
                Index(t,
                    (t.employee, Index.Range()),
                    (t.date, Index.Range()),
                    where=t.state == Inline('planned')),
                Index(t,
                    (t.create_uid, Index.Equality()),
                    (t.id, Index.Range(order='DESC'))),
                })
        cls._transitions |= {
            ('planned', 'done'),
            ('planned', 'cancelled'),
            ('cancelled', 'planned'),
            }
        cls._buttons.update({
                'do': {
                    'invisible': Eval('state') != 'planned',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'cancel': {
                    'invisible': Eval('state') != 'planned',
                    'icon': 'tryton-cancel',
                    'depends': ['state'],
                    },
                'plan': {
                    'invisible': Eval('state') != 'cancelled',
                    'icon': 'tryton-undo',
                    'depends': ['state'],
                    },
                'follow_up': {
                    'invisible': (
                        (Eval('state') == 'cancelled') | Bool(Eval('next'))),
                    'icon': 'tryton-forward',
                    'depends': ['state', 'next'],
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_population(cls):
        return 'customer'

    @classmethod
    def default_employee(cls):
        return Transaction().context.get('employee')

    @classmethod
    def default_channel(cls):
        "Return the channel of the last interaction that the user entered"
        pool = Pool()
        Channel = pool.get('prm.channel')
        transaction = Transaction()
        if not transaction.user:
            return
        cursor = transaction.connection.cursor()
        table = cls.__table__()
        channel = Channel.__table__()
        cursor.execute(*table
            .join(channel, condition=table.channel == channel.id)
            .select(
                channel.id,
                where=(table.create_uid == transaction.user)
                & (channel.active == Literal(True)),
                order_by=[table.id.desc],
                limit=1))
        if row := cursor.fetchone():
            return row[0]

    @classmethod
    def default_direction(cls):
        return 'out'

    @classmethod
    def default_date(cls):
        return dt.datetime.now().replace(microsecond=0)

    @classmethod
    def default_private(cls):
        return False

    @classmethod
    def default_state(cls):
        return 'planned'

    @classmethod
    def get_origin(cls):
        pool = Pool()
        Model = pool.get('ir.model')
        return [(None, "")] + Model.get_name_items()

    @fields.depends(
        'company', 'party', 'population', 'contact', 'partner',
        '_parent_partner.party')
    def on_change_party(self):
        pool = Pool()
        Partner = pool.get('prm.partner')
        if not self.party:
            self.partner = None
            self.contact = None
            return
        if self.partner and self.partner.party != self.party:
            self.partner = None
        if self.contact and self.contact.party != self.party:
            self.contact = None
        if not self.partner and self.company:
            partners = Partner.search([
                    ('company', '=', self.company.id),
                    ('party', '=', self.party.id),
                    ('state', '!=', 'ended'),
                    ], limit=1)
            if partners:
                self.partner, = partners
        if self.population != 'staff':
            self.population = 'partner' if self.partner else 'customer'

    @fields.depends(
        'partner', '_parent_partner.party', 'party', 'population')
    def on_change_partner(self):
        if self.partner:
            self.party = self.partner.party
            self.population = 'partner'

    @classmethod
    def get_next(cls, interactions, name):
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        nexts = dict.fromkeys(map(int, interactions))
        for sub_interactions in grouped_slice(interactions, _SIZE):
            cursor.execute(*table.select(
                    table.previous, table.id,
                    where=fields.SQL_OPERATORS['in'](
                        table.previous, list(map(int, sub_interactions)))))
            nexts.update(cursor)
        return nexts

    @classmethod
    def search_next(cls, name, clause):
        _, operator, operand, *extra = clause
        nested = clause[0][len(name) + 1:]
        table = cls.__table__()
        if operand is None and not nested and operator in {'=', '!='}:
            query = table.select(table.previous, where=table.previous != Null)
            return [('id', 'not in' if operator == '=' else 'in', query)]
        if nested:
            target = [(nested, operator, operand, *extra)]
        elif isinstance(operand, str):
            target = [('rec_name', operator, operand)]
        else:
            target = [('id', operator, operand)]
        nexts = cls.search(target, order=[], query=True)
        return [('id', 'in', table.select(
                    table.previous,
                    where=(table.previous != Null) & table.id.in_(nexts)))]

    @classmethod
    def _due_bounds(cls, company=None):
        "Return the start of today, of tomorrow and of the day in a week"
        pool = Pool()
        Partner = pool.get('prm.partner')
        start, end = Partner._today_bounds(company)
        return start, end, start + dt.timedelta(days=7)

    @classmethod
    def get_due(cls, interactions, name):
        bounds, dues = {}, {}
        for interaction in interactions:
            due = None
            if interaction.state == 'planned':
                company = interaction.company
                if company not in bounds:
                    bounds[company] = cls._due_bounds(company)
                due = next(
                    (d for d, bound in zip(
                            ['overdue', 'today', 'week'], bounds[company])
                        if interaction.date < bound), 'later')
            dues[interaction.id] = due
        return dues

    @classmethod
    def search_due(cls, name, clause):
        _, operator, value = clause
        start, end, week = cls._due_bounds()
        domains = {
            None: [('state', '!=', 'planned')],
            'overdue': [('date', '<', start)],
            'today': [('date', '>=', start), ('date', '<', end)],
            'week': [('date', '>=', end), ('date', '<', week)],
            'later': [('date', '>=', week)],
            }
        values = {value} if operator in {'=', '!='} else set(value or [])
        if operator in {'!=', 'not in'}:
            values = domains.keys() - values
        return ['OR', ('id', '=', -1)] + [
            [*domain, ('state', '=', 'planned')] if due else domain
            for due, domain in domains.items() if due in values]

    def get_rec_name(self, name):
        items = [self.subject or self.channel.rec_name]
        if self.party:
            items.append(self.party.rec_name)
        return ' - '.join(items)

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('subject', operator, operand, *extra),
            ('channel.name', operator, operand, *extra),
            ('party.rec_name', operator, operand, *extra),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual', If(Eval('state') == 'cancelled', 'muted', '')),
            ('/tree/field[@name="sentiment"]', 'visual',
                If(Eval('sentiment', 0) < 0, 'danger',
                    If(Eval('sentiment', 0) > 0, 'success', ''))),
            ('/tree/field[@name="due"]', 'visual',
                If(Eval('due') == 'overdue', 'danger',
                    If(Eval('due') == 'today', 'warning', ''))),
            ]

    @classmethod
    def create(cls, vlist):
        vlist = [v.copy() for v in vlist]
        cls._set_partner(vlist)
        for values in vlist:
            if 'population' not in values and values.get('partner'):
                values['population'] = 'partner'
        return super().create(vlist)

    @classmethod
    @without_check_access
    def _set_partner(cls, vlist):
        "Set the partner that the party is at the date, with one search"
        pool = Pool()
        Partner = pool.get('prm.partner')
        without = defaultdict(list)
        for values in vlist:
            if values.get('party') and 'partner' not in values:
                without[values['party']].append(values)
        for sub_parties in grouped_slice(without.keys(), _SIZE):
            for partner in Partner.search([
                        ('party', 'in', list(sub_parties)),
                        ],
                    order=[('start_date', 'ASC'), ('id', 'ASC')]):
                for values in without[partner.party.id]:
                    company = values.get('company', cls.default_company())
                    date = values.get('date') or cls.default_date()
                    if (partner.company.id == company
                            and (partner.state != 'ended'
                                or date.date() <= partner.end_date)
                            and not values.get('partner')):
                        values['partner'] = partner.id

    @classmethod
    def check_modification(
            cls, mode, interactions, values=None, external=False):
        # What is already done may be entered as such
        super().check_modification(
            mode, interactions, values=values,
            external=external and mode != 'create')
        if mode == 'delete':
            for interaction in interactions:
                if interaction.state == 'done':
                    raise InteractionDeleteError(gettext(
                            'prm.msg_interaction_delete_done',
                            interaction=interaction.rec_name))

    @classmethod
    def validate_fields(cls, interactions, field_names):
        super().validate_fields(interactions, field_names)
        cls.check_sentiment(interactions, field_names)
        cls.check_partner(interactions, field_names)

    @classmethod
    def check_sentiment(cls, interactions, field_names=None):
        if field_names and 'sentiment' not in field_names:
            return
        for interaction in interactions:
            if (interaction.sentiment is not None
                    and not -2 <= interaction.sentiment <= 2):
                raise SentimentError(gettext(
                        'prm.msg_interaction_sentiment',
                        interaction=interaction.rec_name,
                        sentiment=interaction.sentiment))

    @classmethod
    def check_partner(cls, interactions, field_names=None):
        if field_names and not {'party', 'partner'} & field_names:
            return
        for interaction in interactions:
            if (interaction.partner
                    and interaction.partner.party != interaction.party):
                raise PartnerPartyError(gettext(
                        'prm.msg_interaction_partner_party',
                        interaction=interaction.rec_name,
                        partner=interaction.partner.rec_name))

    @classmethod
    def copy(cls, interactions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('date', cls.default_date())
        default.setdefault('previous', None)
        default.setdefault('transfers', None)
        default.setdefault('outcome', None)
        default.setdefault('sentiment', None)
        return super().copy(interactions, default=default)

    def follow_up_values(self):
        "Return the values of an interaction that follows this one up"
        return {
            'company': self.company.id,
            'population': self.population,
            'party': self.party.id if self.party else None,
            'partner': self.partner.id if self.partner else None,
            'contact': self.contact.id if self.contact else None,
            'employee': self.employee.id if self.employee else None,
            'channel': self.channel.id,
            'direction': 'out',
            'subject': self.subject,
            'origin': str(self.origin) if self.origin else None,
            'private': self.private,
            'previous': self.id,
            }

    @classmethod
    @without_check_access
    def follow_handovers(cls, handovers, employee, date):
        """Pass the open interactions of the former managers to the employee

        handovers is a list of the partner, its former manager and the last
        day of the new one or None. The interactions planned from the date
        to that day pass; those planned before pass if the date has come.
        The private ones, which the user may not see, pass too.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        former = {p.id: (e, d) for p, e, d in handovers}
        to_transfer = []
        for sub_partners in grouped_slice(former.keys(), _SIZE):
            for interaction in cls.search([
                        ('partner', 'in', list(sub_partners)),
                        ('state', '=', 'planned'),
                        ('employee', 'in', list({
                                    e.id for e, _ in former.values()})),
                        ], order=[]):
                former_employee, end_date = former[interaction.partner.id]
                if interaction.employee != former_employee:
                    continue
                day = local_date(interaction.date, interaction.company)
                if ((day >= date and (not end_date or day <= end_date))
                        or (day < date <= Date.today())):
                    to_transfer.append(interaction)
        cls.transfer(to_transfer, employee, date=date)

    @classmethod
    def follow_managers(cls):
        """Pass what former managers left undone to the present ones

        A handover in the future leaves the interactions before it to the
        former manager. Those still open at its date pass then.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Employee = pool.get('company.employee')
        Manager = pool.get('prm.partner.manager')
        Partner = pool.get('prm.partner')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        former = Manager.__table__()
        manager = Manager.__table__()
        partner = Partner.__table__()
        today = Date.today()
        day = fields.Date.sql_cast(Manager.start_date, table.date)
        query = (table
            .join(partner, condition=table.partner == partner.id)
            .join(former,
                condition=(former.partner == partner.id)
                & (former.employee == table.employee))
            .join(manager,
                condition=(manager.partner == partner.id)
                & (manager.employee != table.employee))
            .select(
                table.id, manager.employee,
                where=(table.state == 'planned')
                & (former.end_date < today)
                & (day <= former.end_date)
                & (manager.start_date <= today)
                & ((manager.end_date == Null)
                    | (manager.end_date >= today))))
        company = Transaction().context.get('company')
        if company is not None:
            query.where &= table.company == company
        cursor.execute(*query)
        to_transfer = defaultdict(set)
        for interaction, employee in cursor:
            to_transfer[employee].add(interaction)
        for employee, interactions in to_transfer.items():
            cls.transfer(cls.browse(interactions), Employee(employee))

    @classmethod
    def transfer(cls, interactions, employee, date=None):
        """Give the interactions to the employee and keep the trace

        The date of the trace is today by default.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Transfer = pool.get('prm.interaction.transfer')
        interactions = [i for i in interactions if i.employee != employee]
        if not interactions:
            return
        date = date or Date.today()
        Transfer.create([{
                    'interaction': i.id,
                    'date': date,
                    'employee_from': i.employee.id if i.employee else None,
                    'employee_to': employee.id,
                    } for i in interactions])
        cls.write(interactions, {'employee': employee.id})

    @classmethod
    @ModelView.button
    @Workflow.transition('planned')
    def plan(cls, interactions):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('cancelled')
    def cancel(cls, interactions):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('done')
    def do(cls, interactions):
        now = cls.default_date()
        early = [i for i in interactions if i.date > now]
        if early:
            cls.write(early, {'date': now})

    @classmethod
    @ModelView.button_action('prm.wizard_interaction_follow_up')
    def follow_up(cls, interactions):
        pass


class InteractionFollowUp(Wizard):
    "Plan the interaction that follows another one up"
    __name__ = 'prm.interaction.follow_up'
    start = StateView(
        'prm.interaction.follow_up.start',
        'prm.interaction_follow_up_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Plan", 'plan', 'tryton-ok', default=True),
            ])
    plan = StateTransition()

    def default_start(self, fields):
        values = self.record.follow_up_values()
        values.setdefault(
            'date', self.record.default_date() + _FOLLOW_UP)
        return {
            n: values[n] for n in [
                'company', 'date', 'channel', 'employee', 'subject']
            if n in values}

    def transition_plan(self):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        values = self.record.follow_up_values()
        values['date'] = self.start.date
        values['channel'] = self.start.channel.id
        values['employee'] = (
            self.start.employee.id if self.start.employee else None)
        values['subject'] = self.start.subject
        Interaction.create([values])
        if self.record.state == 'planned':
            Interaction.do([self.record])
        return 'end'


class InteractionFollowUpStart(ModelView):
    __name__ = 'prm.interaction.follow_up.start'
    __string__ = "Follow Up Interaction"

    company = fields.Many2One('company.company', "Company", required=True)
    date = fields.DateTime("Date", required=True)
    channel = fields.Many2One('prm.channel', "Channel", required=True)
    employee = fields.Many2One(
        'company.employee', "Employee",
        domain=[
            ('company', '=', Eval('company', -1)),
            ])
    subject = fields.Char("Subject")


class InteractionTransfer(ModelSQL, ModelView):
    "The trace of a follow-up that passed to another employee"
    __name__ = 'prm.interaction.transfer'
    __string__ = "Interaction Transfer"

    interaction = fields.Many2One(
        'prm.interaction', "Interaction", required=True, ondelete='CASCADE')
    date = fields.Date("Date", required=True)
    employee_from = fields.Many2One(
        'company.employee', "From", ondelete='RESTRICT')
    employee_to = fields.Many2One(
        'company.employee', "To", required=True, ondelete='RESTRICT')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('interaction')
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]
