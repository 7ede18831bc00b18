# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import random
import statistics
from calendar import monthrange
from collections import defaultdict
from decimal import Decimal
from itertools import groupby

from dateutil.relativedelta import relativedelta
from dateutil.rrule import MONTHLY, rrule

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, fields)
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from .exceptions import TeamMemberOverlapError

# The months that make a range worth showing and the draws that make it
_SURPLUS_MONTHS = 6
_SURPLUS_DRAWS = 1000


def surplus_range(surpluses, draws=_SURPLUS_DRAWS):
    """Return the low and the high of the total of the surpluses of months

    The months are drawn again with replacement, each draw gives a total and
    9 totals out of 10 are in the range. The draws are always the same ones.
    Return None twice if there are less than 6 months.
    """
    if len(surpluses) < _SURPLUS_MONTHS:
        return None, None
    draw = random.Random(len(surpluses))
    totals = [
        sum(draw.choices(surpluses, k=len(surpluses))) for _ in range(draws)]
    ventiles = statistics.quantiles(totals, n=20)
    return ventiles[0], ventiles[-1]


class Team(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.team'
    __string__ = "Sales Team"

    name = fields.Char("Name", required=True)
    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='RESTRICT')
    manager = fields.Many2One(
        'company.employee', "Manager", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="The employee who leads the team.")
    members = fields.One2Many(
        'prm.team.member', 'team', "Members",
        help="The employees whose revenue makes the one of the team, "
        "each during the dates of membership.")

    surplus_actual = fields.Function(Monetary(
            "Actual", currency='currency', digits='currency',
            help="The revenue of the team over the period."),
        'get_surplus')
    surplus_baseline = fields.Function(Monetary(
            "Baseline", currency='currency', digits='currency',
            help="What the members would bring one by one."),
        'get_surplus')
    surplus = fields.Function(Monetary(
            "Surplus", currency='currency', digits='currency',
            help="The actual of the team less the baselines of its members."),
        'get_surplus')
    surplus_low = fields.Function(Monetary(
            "Surplus Low", currency='currency', digits='currency',
            help="In 9 out of 10 draws of as many months among those of the "
            "period, the surplus is between this and the high.\n"
            "Empty with less than 6 months."),
        'get_surplus')
    surplus_high = fields.Function(Monetary(
            "Surplus High", currency='currency', digits='currency',
            help="In 9 out of 10 draws of as many months among those of the "
            "period, the surplus is between the low and this.\n"
            "Empty with less than 6 months."),
        'get_surplus')
    surplus_months = fields.Function(
        fields.Integer("Sample", help="The number of months compared."),
        'get_surplus')
    surplus_method = fields.Function(
        fields.Selection([
                (None, ""),
                ('typed', "Typed"),
                ('last_year', "Year Before"),
                ('mixed', "Mixed"),
                ], "Method", sort=False,
            help="Where the baselines come from."),
        'get_surplus')
    surplus_missing = fields.Function(
        fields.Integer(
            "Months Without Baseline",
            help="The months of members without typed baseline and without "
            "revenue the year before: they count for nothing, "
            "so the surplus is too high."),
        'get_surplus')
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_constraints.append(
            ('name_unique', Unique(t, t.company, t.name),
                'prm.msg_team_name_unique'))
        cls._sql_indexes.add(Index(t, (t.name, Index.Range())))
        cls._order.insert(0, ('name', 'ASC'))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def get_surplus(cls, teams, names):
        """Return the surplus of the teams over the period of the context

        Without dates it is the 12 months until the end of the last one, or of
        the last target if all are over.
        The baseline of a member is the typed one, for the part of the days
        of the month in the team, or else the revenue of the employee on the
        same days of the year before.
        """
        pool = Pool()
        Context = pool.get('prm.team.surplus.context')
        Performance = pool.get('prm.performance')
        context = Transaction().context
        start = context.get('start_date') or Context.default_start_date()
        end = context.get('end_date') or Context.default_end_date()

        actuals = defaultdict(Decimal)
        for _, team, date, amount in Performance.attributed_amounts(
                start, end):
            actuals[team, date.replace(day=1)] += amount
        last_year = defaultdict(list)
        for employee, _, date, amount in Performance.attributed_amounts(
                _last_year(start), _last_year(end)):
            last_year[employee].append((date, amount))

        result = {name: dict.fromkeys(map(int, teams)) for name in names}
        for team in teams:
            surpluses, methods, missing = [], set(), 0
            total_actual = total_baseline = Decimal(0)
            for month in rrule(
                    MONTHLY, dtstart=start.replace(day=1), until=end):
                month = month.date()
                members = [
                    (member, *period) for member in team.members
                    if (period := member.days_in(month, start, end))]
                if not members:
                    continue
                baseline = Decimal(0)
                for member, first, last in members:
                    if member.baseline is not None:
                        methods.add('typed')
                        days = monthrange(month.year, month.month)[1]
                        baseline += team.currency.round(
                            member.baseline
                            * ((last - first).days + 1) / days)
                    else:
                        methods.add('last_year')
                        first, last = _last_year(first), _last_year(last)
                        amounts = [
                            amount
                            for date, amount in last_year[member.employee.id]
                            if first <= date <= last]
                        missing += not amounts
                        baseline += sum(amounts)
                actual = actuals[team.id, month]
                surpluses.append(actual - baseline)
                total_actual += actual
                total_baseline += baseline
            low, high = (
                team.currency.round(amount) if amount is not None else None
                for amount in surplus_range(surpluses))
            figures = {
                'surplus_months': len(surpluses),
                'surplus_missing': missing,
                }
            if surpluses:
                figures.update({
                        'surplus_actual': total_actual,
                        'surplus_baseline': total_baseline,
                        'surplus': total_actual - total_baseline,
                        'surplus_low': low,
                        'surplus_high': high,
                        'surplus_method': (
                            'mixed' if len(methods) > 1 else methods.pop()),
                        })
            for name in names:
                result[name][team.id] = figures.get(name)
        return result

    @classmethod
    def copy(cls, teams, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault(
            'name', lambda data: gettext(
                'prm.msg_team_copy_name', name=data['name']))
        default.setdefault('members', None)
        return super().copy(teams, default=default)


def _last_year(date):
    "The same day of the year before, the last of a month for the last"
    if (date + dt.timedelta(days=1)).day == 1:
        return date + relativedelta(years=-1, day=31)
    return date + relativedelta(years=-1)


class TeamSurplusContext(ModelView):
    __name__ = 'prm.team.surplus.context'
    __string__ = "Team Surplus Context"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ])
    end_date = fields.Date(
        "End Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ])

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        return cls.default_end_date() + relativedelta(months=-11, day=1)

    @classmethod
    def default_end_date(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        Target = pool.get('prm.target')
        return min(
            Date.today() + relativedelta(months=-1, day=31),
            Target.get_present() + relativedelta(day=31))


class TeamMember(ModelSQL, ModelView):
    __name__ = 'prm.team.member'
    __string__ = "Sales Team Member"

    team = fields.Many2One(
        'prm.team', "Team", required=True, ondelete='CASCADE')
    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))])
    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="The first day in the team; always when empty.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="The last day in the team; still there when empty.")
    baseline = Monetary(
        "Baseline", currency='currency', digits='currency',
        domain=['OR', ('baseline', '=', None), ('baseline', '>=', 0)],
        help="The revenue of a month that the employee would bring alone.\n"
        "When empty, it is the one of the same days of the year before.")
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('team')
        cls._sql_indexes.add(
            Index(
                t,
                (t.employee, Index.Equality()),
                (t.start_date, Index.Range())))
        cls._order = [
            ('team', 'ASC'), ('start_date', 'ASC NULLS FIRST'), ('id', 'ASC')]

    @fields.depends('team', '_parent_team.company')
    def on_change_with_company(self, name=None):
        return self.team.company if self.team else None

    @classmethod
    def search_company(cls, name, clause):
        return [('team.' + clause[0], *clause[1:])]

    @fields.depends('team', '_parent_team.currency')
    def on_change_with_currency(self, name=None):
        return self.team.currency if self.team else None

    def days_in(self, month, start_date, end_date):
        """Return the first and the last day of the month in the team

        Only the days of the period count, return None without any.
        """
        first = max(filter(None, [month, start_date, self.start_date]))
        last = min(filter(None, [
                    month + relativedelta(day=31), end_date, self.end_date]))
        return (first, last) if first <= last else None

    def get_rec_name(self, name):
        return self.employee.rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('employee.rec_name', *clause[1:])]

    @classmethod
    def validate_fields(cls, members, field_names):
        super().validate_fields(members, field_names)
        cls.check_overlap(members, field_names)

    @classmethod
    def check_overlap(cls, members, field_names=None):
        """Refuse that an employee is in two teams on the same day

        The revenue of an employee counts for the team of that day: with two
        teams a euro would count twice.
        """
        if field_names is not None and not (
                field_names & {'employee', 'start_date', 'end_date'}):
            return
        pool = Pool()
        Employee = pool.get('company.employee')
        employees = {m.employee for m in members}
        # Two users may add one each
        Employee.lock(employees)
        others = cls.search([
                ('employee', 'in', [e.id for e in employees]),
                ],
            order=[('employee', 'ASC'), ('start_date', 'ASC NULLS FIRST')])
        for _, periods in groupby(others, key=lambda m: m.employee):
            previous = None
            for member in periods:
                if previous and (
                        (previous.end_date or dt.date.max)
                        >= (member.start_date or dt.date.min)):
                    raise TeamMemberOverlapError(gettext(
                            'prm.msg_team_member_overlap',
                            employee=member.employee.rec_name,
                            team=member.team.rec_name,
                            other=previous.team.rec_name))
                previous = member
