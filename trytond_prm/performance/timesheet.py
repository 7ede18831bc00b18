# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql import Union

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import sql_hours, sql_sum, to_decimal

_SIZE = 1000  # records of one statement


class Work(metaclass=PoolMeta):
    __name__ = 'timesheet.work'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.plan.action', 'prm.vacancy']


class PlanAction(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    timesheet_works = fields.One2Many(
        'timesheet.work', 'origin', "Timesheet Works", size=1,
        domain=[('company', '=', Eval('company', -1))],
        help="The work on which the time of the action is spent.")

    @classmethod
    def hours_query(cls):
        pool = Pool()
        Line = pool.get('timesheet.line')
        Work = pool.get('timesheet.work')
        line = Line.__table__()
        work = Work.__table__()
        return Union(
            super().hours_query(),
            line
            .join(work, condition=line.work == work.id)
            .select(
                Work.origin.sql_id(work.origin, Work).as_('action'),
                sql_hours(line.duration).as_('hours'),
                where=work.origin.like('prm.plan.action,%')),
            all_=True)

    @classmethod
    def copy(cls, actions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('timesheet_works', None)
        return super().copy(actions, default=default)


class Vacancy(metaclass=PoolMeta):
    __name__ = 'prm.vacancy'

    timesheet_works = fields.One2Many(
        'timesheet.work', 'origin', "Timesheet Works", size=1,
        domain=[('company', '=', Eval('company', -1))],
        help="The work on which the manager spends time on the replacement.")

    @classmethod
    def _get_manager_hours(cls, vacancies):
        pool = Pool()
        Line = pool.get('timesheet.line')
        Work = pool.get('timesheet.work')
        line = Line.__table__()
        work = Work.__table__()
        hours = super()._get_manager_hours(vacancies)
        cursor = Transaction().connection.cursor()
        for sub_vacancies in grouped_slice(vacancies, _SIZE):
            rows = (line
                .join(work, condition=line.work == work.id)
                .select(
                    Work.origin.sql_id(work.origin, Work).as_('vacancy'),
                    sql_hours(line.duration).as_('hours'),
                    where=fields.SQL_OPERATORS['in'](
                        work.origin, list(map(str, sub_vacancies)))))
            cursor.execute(*rows.select(
                    rows.vacancy, sql_sum(rows.hours).as_('hours'),
                    group_by=[rows.vacancy]))
            for id_, value in cursor:
                hours[id_] = to_decimal(value).quantize(Decimal('0.01'))
        return hours

    @classmethod
    def copy(cls, vacancies, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('timesheet_works', None)
        return super().copy(vacancies, default=default)
