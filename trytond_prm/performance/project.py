# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Null, Union, With

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval

from ..tools import sql_hours


class Work(metaclass=PoolMeta):
    __name__ = 'project.work'

    plan_action = fields.Many2One(
        'prm.plan.action', "Sales Action", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="The action of the plan that the work is done for, with its "
        "children that have no action themselves.")


class PlanAction(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    project_works = fields.One2Many(
        'project.work', 'plan_action', "Projects and Tasks", readonly=True,
        help="The time that their time sheets hold counts for the action.")

    @classmethod
    def hours_query(cls):
        pool = Pool()
        Line = pool.get('timesheet.line')
        ProjectWork = pool.get('project.work')
        Work = pool.get('timesheet.work')
        child = ProjectWork.__table__()
        line = Line.__table__()
        project_work = ProjectWork.__table__()
        work = Work.__table__()
        tree = With('action', 'work', recursive=True)
        tree.query = project_work.select(
            project_work.plan_action, project_work.id,
            where=project_work.plan_action != Null)
        tree.query |= (child
            .join(tree, condition=child.parent == tree.work)
            .select(tree.action, child.id, where=child.plan_action == Null))
        # A With is only allowed inside a select of the union.
        hours = (line
            .join(work, condition=line.work == work.id)
            .join(tree,
                condition=work.origin.like('project.work,%')
                & (Work.origin.sql_id(work.origin, Work) == tree.work))
            .select(
                tree.action.as_('action'),
                sql_hours(line.duration).as_('hours'),
                with_=[tree]))
        return Union(
            super().hours_query(),
            hours.select(hours.action.as_('action'), hours.hours.as_('hours')),
            all_=True)

    @classmethod
    def copy(cls, actions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('project_works', None)
        return super().copy(actions, default=default)
