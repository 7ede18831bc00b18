# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.wizard import Button, StateTransition, StateView, Wizard


class Finding(metaclass=PoolMeta):
    __name__ = 'prm.review.finding'

    action = fields.Many2One(
        'prm.plan.action', "Action", readonly=True, ondelete='SET NULL',
        states={
            'invisible': (Eval('kind') != 'decision') & ~Eval('action'),
            },
        help="The sales action that carries the decision out.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'plan': {
                    'invisible': (
                        (Eval('kind') != 'decision') | Bool(Eval('action'))),
                    'icon': 'tryton-add',
                    'depends': ['kind', 'action'],
                    },
                })

    @classmethod
    def _get_unfrozen(cls):
        return super()._get_unfrozen() | {'action'}

    @classmethod
    def copy(cls, findings, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('action', None)
        return super().copy(findings, default=default)

    @classmethod
    @ModelView.button_action('prm.wizard_review_finding_plan')
    def plan(cls, findings):
        pass


class FindingPlan(Wizard):
    __name__ = 'prm.review.finding.plan'

    start = StateView(
        'prm.review.finding.plan.start',
        'prm.review_finding_plan_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Plan", 'plan', 'tryton-ok', default=True),
            ])
    plan = StateTransition()

    def default_start(self, fields):
        return {
            'company': self.record.review.company.id,
            'name': self.record.text.splitlines()[0],
            }

    def transition_plan(self):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        start = self.start
        action = Action(
            plan=start.plan, name=start.name, kind=start.kind,
            core=start.core, employee=start.employee,
            start_date=start.start_date, due_date=start.due_date)
        action.save()
        self.record.action = action
        self.record.save()
        return 'end'


class FindingPlanStart(ModelView):
    __name__ = 'prm.review.finding.plan.start'
    __string__ = "Plan Decision of Review"

    company = fields.Many2One('company.company', "Company", readonly=True)
    plan = fields.Many2One(
        'prm.plan', "Plan", required=True,
        domain=[
            ('company', '=', Eval('company', -1)),
            ('state', '!=', 'closed'),
            ])
    name = fields.Char("Name", required=True)
    kind = fields.Selection('get_kinds', "Kind", required=True, sort=False)
    core = fields.Boolean(
        "Core Business",
        help="Check if the action is part of the core business.")
    employee = fields.Many2One(
        'company.employee', "Employee",
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The employee in charge of the action.")
    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('due_date'),
                ('start_date', '<=', Eval('due_date')),
                ()),
            ])
    due_date = fields.Date(
        "Due Date",
        domain=[
            If(Eval('start_date') & Eval('due_date'),
                ('due_date', '>=', Eval('start_date')),
                ()),
            ])

    @classmethod
    def default_kind(cls):
        return 'other'

    @classmethod
    def default_core(cls):
        return True

    @classmethod
    def get_kinds(cls):
        Action = Pool().get('prm.plan.action')
        return Action.fields_get(['kind'])['kind']['selection']
