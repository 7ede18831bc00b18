# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from sql import Null
from sql.aggregate import Max, Min
from sql.conditionals import Case

from trytond import backend
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If
from trytond.tools import grouped_slice, sqlite_apply_types
from trytond.tools import timezone as tz
from trytond.transaction import Transaction

from ..tools import company_timezone, local_date

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    interactions = fields.One2Many(
        'prm.interaction', 'partner', "Interactions",
        states={
            'readonly': Eval('state') == 'ended',
            },
        order=[('date', 'DESC'), ('id', 'DESC')])
    last_interaction = fields.Function(fields.DateTime(
            "Last Interaction",
            help="The date of the last interaction that is done."),
        'get_steps', searcher='search_step')
    next_step = fields.Function(fields.DateTime(
            "Next Step",
            help="The date of the first interaction that is planned."),
        'get_steps', searcher='search_step')
    next_step_state = fields.Function(fields.Selection([
                ('none', "None"),
                ('overdue', "Overdue"),
                ('today', "Today"),
                ('planned', "Planned"),
                ], "Next Step State", sort=False,
            help="Overdue when the day of the next step is over."),
        'get_steps', searcher='search_next_step_state')

    days_without_contact = fields.Function(fields.Integer(
            "Days without Contact",
            help="The days since the last interaction that is done, or since "
            "the start of the relationship."),
        'get_days_without_contact', searcher='search_days_without_contact')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'quick_interaction': {
                    'invisible': Eval('state') == 'ended',
                    'icon': 'tryton-chat',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def _today_bounds(cls, company=None):
        """Return the start of today and of tomorrow of the company

        They are in UTC and by default for the company of the context.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        if company is None:
            company = cls._context_company()
        timezone = company_timezone(company)
        today = Date.today(timezone=timezone)
        return tuple(
            dt.datetime.combine(day, dt.time(), tzinfo=timezone)
            .astimezone(tz.UTC).replace(tzinfo=None)
            for day in [today, today + dt.timedelta(days=1)])

    @classmethod
    def _step_expression(cls, name, interaction):
        if name == 'last_interaction':
            return Max(Case(
                    (interaction.state == 'done', interaction.date)))
        else:
            return Min(Case(
                    (interaction.state == 'planned', interaction.date)))

    @classmethod
    def get_steps(cls, partners, names):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        cursor = Transaction().connection.cursor()
        interaction = Interaction.__table__()
        dates = {
            'last_interaction': dict.fromkeys(map(int, partners)),
            'next_step': dict.fromkeys(map(int, partners)),
            }
        for sub_partners in grouped_slice(partners, _SIZE):
            query = interaction.select(
                interaction.partner,
                cls._step_expression(
                    'last_interaction', interaction).as_('last_interaction'),
                cls._step_expression(
                    'next_step', interaction).as_('next_step'),
                where=_in(interaction.partner, list(map(int, sub_partners)))
                & interaction.state.in_(['done', 'planned']),
                group_by=interaction.partner)
            if backend.name == 'sqlite':
                sqlite_apply_types(query, [None, 'DATETIME', 'DATETIME'])
            cursor.execute(*query)
            for partner, last_interaction, next_step in cursor:
                dates['last_interaction'][partner] = last_interaction
                dates['next_step'][partner] = next_step

        result = {n: dates[n] for n in names if n in dates}
        if 'next_step_state' in names:
            bounds = {}
            states = result['next_step_state'] = {}
            for partner in partners:
                if partner.company not in bounds:
                    bounds[partner.company] = cls._today_bounds(
                        partner.company)
                start, end = bounds[partner.company]
                next_step = dates['next_step'][partner.id]
                if not next_step:
                    state = 'none'
                elif next_step < start:
                    state = 'overdue'
                elif next_step < end:
                    state = 'today'
                else:
                    state = 'planned'
                states[partner.id] = state
        return result

    @classmethod
    def get_days_without_contact(cls, partners, name):
        pool = Pool()
        Date = pool.get('ir.date')
        last = cls.get_steps(partners, ['last_interaction'])[
            'last_interaction']
        days = {}
        today = {}
        for partner in partners:
            company = partner.company
            if company not in today:
                today[company] = Date.today(
                    timezone=company_timezone(company))
            date = (
                local_date(last[partner.id], company)
                if last[partner.id] else partner.start_date)
            days[partner.id] = max((today[company] - date).days, 0)
        return days

    @classmethod
    def search_days_without_contact(cls, name, clause):
        "The days are compared as the dates on which they start"
        _, operator, value = clause
        swap = {'<': '>', '<=': '>=', '>': '<', '>=': '<='}
        if operator not in {'=', '!=', *swap} or value is None:
            return [('id', '=', -1)]
        if operator == '!=':
            return ['OR', (name, '<', value), (name, '>', value)]
        if operator == '=':
            return [(name, '>=', value), (name, '<=', value)]
        start, tomorrow = cls._today_bounds()
        today = local_date(start, cls._context_company())
        if operator in {'>', '<='}:
            limit = start - dt.timedelta(days=value)
        else:
            limit = tomorrow - dt.timedelta(days=value)
        date = today - dt.timedelta(days=value)
        # At least value days ago is before the day after
        contact = {
            '>': ('<', limit), '>=': ('<', limit),
            '<': ('>=', limit), '<=': ('>=', limit),
            }[operator]
        return ['OR',
            ('last_interaction', *contact),
            [
                ('last_interaction', '=', None),
                ('start_date', swap[operator], date),
                ],
            ]

    @classmethod
    def _context_company(cls):
        pool = Pool()
        Company = pool.get('company.company')
        company_id = Transaction().context.get('company')
        return Company(company_id) if company_id is not None else None

    @classmethod
    def order_last_interaction(cls, tables):
        return cls._order_step('last_interaction', tables)

    @classmethod
    def order_next_step(cls, tables):
        return cls._order_step('next_step', tables)

    @classmethod
    def _order_step(cls, name, tables):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        interaction = Interaction.__table__()
        table, _ = tables[None]
        return [interaction.select(
                cls._step_expression(name, interaction),
                where=interaction.partner == table.id)]

    @classmethod
    def search_step(cls, name, clause):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        interaction = Interaction.__table__()
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        expression = cls._step_expression(name, interaction)
        query = interaction.select(
            interaction.partner,
            where=interaction.partner != Null,
            group_by=interaction.partner)
        if value is None and operator in {'=', '!='}:
            query.having = expression != Null
            return [('id', 'in' if operator == '!=' else 'not in', query)]
        field = getattr(Interaction, 'date')
        query.having = Operator(
            expression, field._domain_value(operator, value))
        return [('id', 'in', query)]

    @classmethod
    def search_next_step_state(cls, name, clause):
        _, operator, value = clause
        states = ['none', 'overdue', 'today', 'planned']
        if operator in {'=', '!='}:
            values = {value}
        elif operator in {'in', 'not in'}:
            values = set(value)
        else:
            return []
        if operator in {'!=', 'not in'}:
            values = set(states) - values
        start, end = cls._today_bounds()
        domains = {
            'none': [('next_step', '=', None)],
            'overdue': [('next_step', '<', start)],
            'today': [
                ('next_step', '>=', start),
                ('next_step', '<', end),
                ],
            'planned': [('next_step', '>=', end)],
            }
        return ['OR', ('id', '=', -1)] + [
            domains[s] for s in states if s in values]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="next_step"]', 'visual',
                If(Eval('next_step_state') == 'overdue', 'danger',
                    If(Eval('next_step_state') == 'today', 'warning', ''))),
            ]

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('interactions', None)
        return super().copy(partners, default=default)

    @classmethod
    def _handed_over(cls, handovers, employee, date):
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        super()._handed_over(handovers, employee, date)
        Interaction.follow_handovers(handovers, employee, date)

    @classmethod
    @ModelView.button_action('prm.act_interaction_quick')
    def quick_interaction(cls, partners):
        pass
