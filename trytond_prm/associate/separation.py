# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from sql import Null
from sql.aggregate import Max, Min
from sql.conditionals import Case

from trytond import backend
from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, fields
from trytond.pool import Pool
from trytond.pyson import Date, Eval, If
from trytond.tools import cursor_dict, grouped_slice, sqlite_apply_types
from trytond.transaction import Transaction

from .exceptions import SeparationMilestoneValidationError


class Separation(ModelSQL, ModelView):
    __name__ = 'prm.separation'
    __string__ = "Separation"

    company = fields.Many2One('company.company', "Company", required=True)
    party = fields.Many2One(
        'party.party', "Associate", required=True, ondelete='RESTRICT',
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The associate who leaves.")
    description = fields.Text("Description")
    milestones = fields.One2Many(
        'prm.separation.milestone', 'separation', "Milestones",
        help="The dates of the story, from the first differences "
        "to the last payment.")
    start_date = fields.Function(fields.Date(
            "Start Date",
            help="The date of the first milestone."),
        'get_dates', searcher='search_dates')
    end_date = fields.Function(fields.Date(
            "End Date",
            help="The date of the last payment, "
            "empty as long as it is not a milestone."),
        'get_dates', searcher='search_dates')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls._sql_indexes.add(
            Index(table, (table.party, Index.Equality())))
        cls._order.insert(0, ('start_date', 'DESC'))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def _dates_query(cls):
        "Return the SQL query of separation, start_date and end_date"
        pool = Pool()
        Milestone = pool.get('prm.separation.milestone')
        milestone = Milestone.__table__()
        return milestone.select(
            milestone.separation.as_('separation'),
            Min(milestone.date).as_('start_date'),
            Max(Case(
                    (milestone.kind == 'last_payment', milestone.date),
                    else_=Null)).as_('end_date'),
            group_by=[milestone.separation])

    @classmethod
    def get_dates(cls, separations, names):
        cursor = Transaction().connection.cursor()
        result = {n: dict.fromkeys(map(int, separations)) for n in names}
        for sub_ids in grouped_slice(
                [s.id for s in separations], backend.MAX_QUERY_PARAMS):
            query = cls._dates_query()
            query = query.select(
                query.separation.as_('separation'),
                query.start_date.as_('start_date'),
                query.end_date.as_('end_date'),
                where=fields.SQL_OPERATORS['in'](
                    query.separation, list(sub_ids)))
            if backend.name == 'sqlite':
                sqlite_apply_types(query, [None, 'DATE', 'DATE'])
            cursor.execute(*query)
            for row in cursor_dict(cursor):
                for name in names:
                    result[name][row['separation']] = row[name]
        return result

    @classmethod
    def search_dates(cls, name, clause):
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        table = cls.__table__()
        dates = cls._dates_query()
        query = table.join(
            dates, 'LEFT', condition=dates.separation == table.id)
        column = getattr(dates, name)
        return [('id', 'in', query.select(
                    table.id,
                    where=Operator(
                        column, cls._fields[name].sql_format(value))))]

    @classmethod
    def order_start_date(cls, tables):
        table, _ = tables[None]
        dates = cls._dates_query()
        return [dates.select(
                dates.start_date, where=dates.separation == table.id)]

    @classmethod
    def order_end_date(cls, tables):
        table, _ = tables[None]
        dates = cls._dates_query()
        return [dates.select(
                dates.end_date, where=dates.separation == table.id)]

    def get_rec_name(self, name):
        return self.party.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('party.rec_name', *clause[1:])]

    @classmethod
    def write(cls, separations, values, *args):
        pool = Pool()
        Milestone = pool.get('prm.separation.milestone')
        # A milestone may be replaced by another of the same kind
        with Transaction().set_context(_milestone_check_order=False):
            super().write(separations, values, *args)
        actions = iter((separations, values, *args))
        Milestone.check_order({
                s for separations, values in zip(actions, actions)
                if 'milestones' in values for s in separations})

    @classmethod
    def copy(cls, separations, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('milestones')
        return super().copy(separations, default=default)

    @classmethod
    def get_phases(cls, separations):
        """Return the phases of each separation by id

        The phases are a dictionary of before, during and after to the first
        and last date, both included and None when there is no limit; a phase
        that has no date yet is not in it: without milestone there is only
        before, without last payment there is no after.
        """
        day = dt.timedelta(days=1)
        phases = {}
        for separation in separations:
            start, end = separation.start_date, separation.end_date
            phases[separation.id] = phase = {
                'before': (None, start - day if start else None),
                }
            if start:
                phase['during'] = (start, end)
            if end:
                phase['after'] = (end + day, None)
        return phases


class SeparationMilestone(ModelSQL, ModelView):
    __name__ = 'prm.separation.milestone'
    __string__ = "Separation Milestone"

    separation = fields.Many2One(
        'prm.separation', "Separation", required=True, ondelete='CASCADE')
    kind = fields.Selection([
            ('differences', "Differences"),
            ('announcement', "Announcement"),
            ('protocol', "Protocol"),
            ('last_payment', "Last Payment"),
            ('other', "Other"),
            ], "Kind", required=True, sort=False)
    kind_string = kind.translated('kind')
    date = fields.Date("Date", required=True)
    description = fields.Char("Description")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('separation')
        table = cls.__table__()
        cls._sql_indexes.add(
            Index(table,
                (table.separation, Index.Equality()),
                (table.date, Index.Range())))
        cls._order = [
            ('date', 'ASC'),
            ('id', None),
            ]

    def get_rec_name(self, name):
        name = f'{self.separation.rec_name} - {self.kind_string}'
        if self.description:
            name += f' - {self.description}'
        return name

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        operation = 'AND' if operator.startswith(('!', 'not ')) else 'OR'
        return [operation,
            ('separation.rec_name', operator, value),
            ('description', operator, value),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('date', Date()) > Date(), 'muted', '')),
            ]

    @classmethod
    def validate_fields(cls, milestones, field_names):
        super().validate_fields(milestones, field_names)
        if not Transaction().context.get('_milestone_check_order', True):
            return
        if not field_names or field_names & {'separation', 'kind', 'date'}:
            cls.check_order({m.separation for m in milestones})

    @classmethod
    def check_order(cls, separations):
        """Raise when the milestones of a separation contradict their order

        Each kind happens once, not before the previous one; only the others
        happen at any time.
        """
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        order = ['differences', 'announcement', 'protocol', 'last_payment']
        milestones = defaultdict(list)
        for milestone in cls.search([
                    ('separation', 'in', [s.id for s in separations]),
                    ('kind', '!=', 'other'),
                    ]):
            milestones[milestone.separation].append(milestone)
        for separation, milestones in milestones.items():
            milestones.sort(key=lambda m: (order.index(m.kind), m.date))
            for first, second in zip(milestones, milestones[1:]):
                if first.kind == second.kind:
                    message = 'prm.msg_separation_milestone_twice'
                elif first.date > second.date:
                    message = 'prm.msg_separation_milestone_order'
                else:
                    continue
                raise SeparationMilestoneValidationError(
                    gettext(message,
                        separation=separation.rec_name,
                        first=first.kind_string,
                        first_date=lang.strftime(first.date),
                        second=second.kind_string,
                        second_date=lang.strftime(second.date)))
