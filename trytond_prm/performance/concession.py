# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Cast, Literal, Null, Union, With
from sql.conditionals import Coalesce
from sql.operators import Exists

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from .measure import at_date

_SIZE = 1000  # records of one statement


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    team = fields.Function(fields.Many2One(
            'prm.team', "Team",
            states={
                'invisible': ~Eval('team'),
                },
            help="The team, at the date of the gesture, of who submitted it "
            "or else of the manager of the partner."),
        'get_team', searcher='search_team')

    @classmethod
    def get_team(cls, concessions, name):
        cursor = Transaction().connection.cursor()
        teams = dict.fromkeys(map(int, concessions))
        query = cls.attributed_query()
        for sub_concessions in grouped_slice(concessions, _SIZE):
            cursor.execute(*query.select(
                    query.concession, query.team,
                    where=fields.SQL_OPERATORS['in'](
                        query.concession,
                        [c.id for c in sub_concessions])))
            teams.update(cursor)
        return teams

    @classmethod
    def search_team(cls, name, clause):
        pool = Pool()
        Team = pool.get('prm.team')
        _, operator, operand, *extra = clause
        nested = clause[0][len(name) + 1:]
        query = cls.attributed_query()
        if operand is None and not nested and operator in {'=', '!='}:
            query = query.select(query.concession, where=query.team != Null)
            return [('id', 'not in' if operator == '=' else 'in', query)]
        if nested:
            target = [(nested, operator, operand, *extra)]
        elif isinstance(operand, str):
            target = [('rec_name', operator, operand)]
        else:
            target = [('id', operator, operand)]
        teams = Team.search(target, order=[], query=True)
        return [('id', 'in', query.select(
                    query.concession, where=query.team.in_(teams)))]

    @classmethod
    def attributed_query(cls):
        """Return the SQL query of who gave the gestures

        The columns are concession, employee (who submitted it or else the
        manager of the partner at the date of the gesture) and team (the one
        of the employee at the date).
        """
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Member = pool.get('prm.team.member')
        manager = Manager.__table__()
        member = Member.__table__()
        table = cls.__table__()
        by_employee = (table
            .join(manager, 'LEFT',
                condition=(table.submitted_by == Null)
                & (manager.partner == table.partner)
                & at_date(manager, table.date))
            .select(
                table.id.as_('concession'),
                table.date.as_('date'),
                Coalesce(table.submitted_by, manager.employee).as_(
                    'employee')))
        return (by_employee
            .join(member, 'LEFT',
                condition=(member.employee == by_employee.employee)
                & at_date(member, by_employee.date))
            .select(
                by_employee.concession.as_('concession'),
                by_employee.employee.as_('employee'),
                member.team.as_('team')))


class Budget(metaclass=PoolMeta):
    __name__ = 'prm.concession.budget'

    team = fields.Many2One(
        'prm.team', "Team", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The team whose gestures the budget pays.\n"
        "Leave empty for any team.")

    def get_rec_name(self, name):
        name = super().get_rec_name(name)
        if self.team:
            name += f' ({self.team.rec_name})'
        return name

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            super().search_rec_name(name, clause),
            ('team.rec_name', *clause[1:]),
            ]

    @classmethod
    def _sql_concerns(cls, table, concession):
        pool = Pool()
        Concession = pool.get('prm.concession')
        query = Concession.attributed_query()
        return super()._sql_concerns(table, concession) & (
            (table.team == Null)
            | Exists(query.select(
                    Literal(1),
                    where=(query.concession == concession.id)
                    & (query.team == table.team))))

    def concerns(self, concession, date=None):
        return (super().concerns(concession, date=date)
            and self.team in {None, concession.team})


class Performance(metaclass=PoolMeta):
    __name__ = 'prm.performance'

    @classmethod
    def gross_query(cls, start_date=None, end_date=None):
        """Return the SQL query of the revenue before the gestures

        It is the one of actual_query plus what the documents of the
        gestures took off the revenue, by date of their move. The columns are
        company, party, line, date and amount. The dates are inclusive.
        """
        pool = Pool()
        Concession = pool.get('prm.concession')
        actual = cls.actual_query(start_date, end_date)
        booked = Concession.booked_query()
        concession = Concession.__table__()
        where = Literal(True)
        if start_date:
            where &= booked.date >= start_date
        if end_date:
            where &= booked.date <= end_date
        return Union(
            actual.select(
                actual.company, actual.party, actual.line, actual.date,
                actual.amount),
            booked
            .join(concession, condition=booked.concession == concession.id)
            .select(
                booked.company, concession.party,
                Cast(Null, 'INTEGER').as_('line'), booked.date, booked.amount,
                where=where),
            all_=True)

    @classmethod
    def gross_source(cls, start_date=None, end_date=None):
        """Return the source of the revenue before the gestures

        The columns are company, party, date, amount as sql_exact, partner,
        employee and team. It comes with the queries that it needs.
        """
        withs = []

        def add(query):
            with_ = query if isinstance(query, With) else With(query=query)
            withs.append(with_)
            return with_

        by_party = add(cls._by_party_query(
                cls.gross_query(start_date, end_date)))
        return cls._attribute('revenue', by_party, add, 'party'), withs
