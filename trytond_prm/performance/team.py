# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from itertools import groupby

from sql import Null

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, fields)
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from .exceptions import TeamMemberOverlapError


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

    @classmethod
    def copy(cls, teams, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault(
            'name', lambda data: gettext(
                'prm.msg_team_copy_name', name=data['name']))
        default.setdefault('members', None)
        return super().copy(teams, default=default)


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
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')

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
        others = cls.search([
                ('employee', 'in', list({m.employee.id for m in members})),
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

    @classmethod
    def at_date_sql(cls, employee, date):
        "Return the from item of the members and the condition at the date"
        member = cls.__table__()
        return member, (
            (member.employee == employee)
            & ((member.start_date == Null) | (member.start_date <= date))
            & ((member.end_date == Null) | (member.end_date >= date)))
