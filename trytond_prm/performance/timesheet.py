# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Union

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval

from ..tools import sql_hours


class Work(metaclass=PoolMeta):
    __name__ = 'timesheet.work'

    @classmethod
    def _get_origin(cls):
        return super()._get_origin() + ['prm.plan.action']


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
