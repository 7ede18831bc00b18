# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from dateutil.rrule import MONTHLY, rrule
from sql import Literal
from sql.aggregate import Sum
from sql.conditionals import Case, Coalesce

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Workflow, fields
from trytond.modules.company.model import reset_employee, set_employee
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If, PYSONEncoder
from trytond.transaction import Transaction
from trytond.wizard import StateAction, StateTransition, Wizard

from ..model import WorkflowAccessMixin
from ..tools import sql_exact, sql_ratio, sql_sum, to_decimal
from .exceptions import ActionStopError, PlanAccessError
from .smoothing import smoothing

_in = fields.SQL_OPERATORS['in']
_WEEK = dt.timedelta(days=7)


class Plan(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.plan'
    __string__ = "Sales Action Plan"

    _states = {
        'readonly': Eval('state') != 'draft',
        }

    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='RESTRICT',
        states={
            'readonly': (
                (Eval('state') != 'draft')
                | Eval('actions', [0]) | Eval('targets', [0])),
            })
    name = fields.Char("Name", required=True, states=_states)
    start_date = fields.Date(
        "Start Date", required=True, states=_states,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ])
    end_date = fields.Date(
        "End Date", required=True, states=_states,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ])
    manager = fields.Many2One(
        'company.employee', "Manager", ondelete='RESTRICT', states=_states,
        domain=[('company', '=', Eval('company', -1))],
        help="The sales director who answers for the plan.")
    objectives = fields.Text(
        "Objectives", states=_states,
        help="What the plan must obtain, in words; "
        "the figures are in the targets.")
    targets = fields.One2Many(
        'prm.target', 'plan', "Targets",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'readonly': Eval('state') == 'closed',
            })
    actions = fields.One2Many(
        'prm.plan.action', 'plan', "Actions",
        states={
            'readonly': Eval('state') == 'closed',
            })
    budget = fields.Function(Monetary(
            "Budget", currency='currency', digits='currency',
            help="The budget of the actions."),
        'get_amount')
    cost = fields.Function(Monetary(
            "Cost", currency='currency', digits='currency',
            help="What the actions have cost."),
        'get_amount')
    expected_revenue = fields.Function(Monetary(
            "Expected Revenue", currency='currency', digits='currency',
            help="What is expected from the actions that are not shelved or "
            "abandoned."),
        'get_amount')
    actual_revenue = fields.Function(Monetary(
            "Actual Revenue", currency='currency', digits='currency',
            help="What the actions have brought."),
        'get_actual_revenue')
    level = fields.Function(Monetary(
            "Level", currency='currency', digits='currency',
            help="The highest monthly revenue target of the company over the "
            "period of the plan."),
        'get_smoothing')
    smoothing = fields.Function(
        fields.Numeric(
            "Smoothing", digits=(1, 6),
            help="The share of the level that the revenue of each month of "
            "the period fills: 100 % when no month is below the level."),
        'get_smoothing')
    last_meeting = fields.Date(
        "Last Meeting", readonly=True,
        states={
            'invisible': ~Eval('last_meeting'),
            },
        help="When the actions were last gone through together: "
        "the agenda shows what has been done since.")
    focus = fields.Function(
        fields.Numeric(
            "Focus", digits=(1, 4),
            help="The share of the hours spent that is for the core "
            "business, empty without hours."),
        'get_focus')
    approved_by = fields.Many2One(
        'company.employee', "Approved By", readonly=True,
        ondelete='RESTRICT',
        states={
            'invisible': ~Eval('approved_by'),
            })
    state = fields.Selection([
            ('draft', "Draft"),
            ('approved', "Approved"),
            ('running', "Running"),
            ('closed', "Closed"),
            ], "State", required=True, readonly=True, sort=False)
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.update({
                Index(
                    t,
                    (t.start_date, Index.Range(order='DESC')),
                    (t.id, Index.Range(order='DESC'))),
                Index(
                    t, (t.state, Index.Equality(cardinality='low')),
                    where=t.state != 'closed'),
                })
        cls._order = [('start_date', 'DESC'), ('id', 'DESC')]
        cls._transitions |= {
            ('draft', 'approved'),
            ('approved', 'draft'),
            ('approved', 'running'),
            ('running', 'closed'),
            ('closed', 'running'),
            }
        cls._buttons.update({
                'draft': {
                    'invisible': Eval('state') != 'approved',
                    'depends': ['state'],
                    'icon': 'tryton-back',
                    },
                'approve': {
                    'invisible': Eval('state') != 'draft',
                    'depends': ['state'],
                    'icon': 'tryton-ok',
                    },
                'run': {
                    'invisible': ~Eval('state').in_(['approved', 'closed']),
                    'depends': ['state'],
                    'icon': If(Eval('state') == 'closed',
                        'tryton-back', 'tryton-launch'),
                    },
                'meet': {
                    'invisible': ~Eval('state').in_(['approved', 'running']),
                    'depends': ['state'],
                    'icon': 'tryton-date',
                    },
                'close': {
                    'invisible': Eval('state') != 'running',
                    'depends': ['state'],
                    'icon': 'tryton-archive',
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_manager(cls):
        return Transaction().context.get('employee')

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @classmethod
    def get_amount(cls, plans, names):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        action = Action.__table__()
        cursor = Transaction().connection.cursor()
        amounts = {
            name: {p.id: p.currency.round(Decimal(0)) for p in plans}
            for name in names}
        currencies = {p.id: p.currency for p in plans}
        cursor.execute(*action.select(
                action.plan,
                *(sql_sum(cls._amount_column(action, name)).as_(name)
                    for name in names),
                where=_in(action.plan, [p.id for p in plans]),
                group_by=[action.plan]))
        for plan, *values in cursor:
            for name, value in zip(names, values):
                if value is not None:
                    amounts[name][plan] = currencies[plan].round(
                        to_decimal(value))
        return amounts

    @classmethod
    def get_actual_revenue(cls, plans, name):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        amounts = {p.id: p.currency.round(Decimal(0)) for p in plans}
        for action in Action.search([
                    ('plan', 'in', [p.id for p in plans]),
                    ], order=[]):
            amounts[action.plan.id] += action.obtained_revenue or 0
        return amounts

    @classmethod
    def _amount_column(cls, action, name):
        column = getattr(action, name)
        if name == 'expected_revenue':
            column = Case(
                (action.state.in_(['shelved', 'abandoned']), 0), else_=column)
        return column

    @classmethod
    def get_focus(cls, plans, name):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        action = Action.__table__()
        hours = Action.hours_query()
        cursor = Transaction().connection.cursor()
        core = Case((action.core == Literal(True), hours.hours))
        cursor.execute(*action
            .join(hours, condition=hours.action == action.id)
            .select(
                action.plan,
                sql_ratio(
                    Sum(sql_exact(Coalesce(core, 0))),
                    Sum(sql_exact(hours.hours))),
                where=_in(action.plan, [p.id for p in plans]),
                group_by=[action.plan]))
        focus = dict.fromkeys(map(int, plans))
        focus.update(
            (plan, to_decimal(value).quantize(Decimal('0.0001')))
            for plan, value in cursor if value is not None)
        return focus

    @classmethod
    def get_smoothing(cls, plans, names):
        pool = Pool()
        Performance = pool.get('prm.performance')
        months = Performance.company_months(
            {p.company for p in plans},
            min(p.start_date for p in plans),
            max(p.end_date for p in plans))
        result = {name: dict.fromkeys(map(int, plans)) for name in names}
        for plan in plans:
            figures = smoothing([
                    month for month in months[plan.company.id]
                    if (plan.start_date.replace(day=1) <= month.date
                        <= plan.end_date)])
            for name in names:
                result[name][plan.id] = getattr(figures, name)
        return result

    @classmethod
    def check_modification(cls, mode, plans, values=None, external=False):
        super().check_modification(
            mode, plans, values=values, external=external)
        if mode == 'write' and values.keys() & cls._approved_fields():
            for plan in plans:
                if plan.state != 'draft':
                    raise PlanAccessError(gettext(
                            'prm.msg_plan_write_approved',
                            plan=plan.rec_name))
        elif mode == 'delete':
            for plan in plans:
                if plan.state != 'draft' or any(
                        a.state != 'planned' for a in plan.actions):
                    raise PlanAccessError(gettext(
                            'prm.msg_plan_delete_draft',
                            plan=plan.rec_name))

    @classmethod
    def _approved_fields(cls):
        "The fields that the approval of the plan freezes"
        return {
            'company', 'name', 'start_date', 'end_date', 'manager',
            'objectives'}

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | {'approved_by', 'last_meeting'}

    @classmethod
    def copy(cls, plans, default=None):
        default = default.copy() if default is not None else {}
        for name in ['approved_by', 'last_meeting', 'targets']:
            default.setdefault(name, None)
        return super().copy(plans, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('draft')
    @reset_employee('approved_by')
    def draft(cls, plans):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('approved')
    @set_employee('approved_by')
    def approve(cls, plans):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('running')
    def run(cls, plans):
        pass

    @classmethod
    @ModelView.button
    def meet(cls, plans):
        "Date the meeting from which the agenda starts again"
        pool = Pool()
        Date = pool.get('ir.date')
        by_company = defaultdict(list)
        for plan in plans:
            by_company[plan.company].append(plan)
        for company, plans in by_company.items():
            with Transaction().set_context(company=company.id):
                today = Date.today()
            cls.write(plans, {'last_meeting': today})

    @classmethod
    @ModelView.button
    @Workflow.transition('closed')
    def close(cls, plans):
        pass


class PlanAction(WorkflowAccessMixin, Workflow, ModelSQL, ModelView):
    __name__ = 'prm.plan.action'
    __string__ = "Sales Action"

    _states = {
        'readonly': (
            Eval('state').in_(['done', 'shelved', 'abandoned'])
            | Eval('plan_closed', False)),
        }
    _result_states = {
        'readonly': Eval('plan_closed', False),
        }

    plan = fields.Many2One(
        'prm.plan', "Plan", required=True, ondelete='CASCADE', states=_states)
    plan_closed = fields.Function(
        fields.Boolean("Plan Closed"), 'on_change_with_plan_closed')
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    name = fields.Char("Name", required=True, states=_states)
    kind = fields.Selection([
            ('product', "Product"),
            ('service', "Service"),
            ('event', "Event"),
            ('campaign', "Campaign"),
            ('other', "Other"),
            ], "Kind", required=True, sort=False, states=_states)
    core = fields.Boolean(
        "Core Business", states=_states,
        help="Checked for the core business, unchecked for a complementary "
        "activity.")
    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='RESTRICT', states=_states,
        domain=[('company', '=', Eval('company', -1))],
        help="The employee in charge of the action.")
    start_date = fields.Date(
        "Start Date", states=_states,
        domain=[
            If(Eval('start_date') & Eval('due_date'),
                ('start_date', '<=', Eval('due_date')),
                ()),
            ])
    due_date = fields.Date(
        "Due Date", states=_states,
        domain=[
            If(Eval('start_date') & Eval('due_date'),
                ('due_date', '>=', Eval('start_date')),
                ()),
            ])
    late = fields.Function(
        fields.Boolean(
            "Late", help="The due date is over and the action is not."),
        'get_late', searcher='search_late')
    agenda = fields.Function(
        fields.Selection([
                (None, ""),
                ('late', "Late"),
                ('due', "Due"),
                ('done', "Done"),
                ], "Agenda", sort=False,
            help="Why the action is on the agenda of the weekly meeting: it "
            "is late, it is due in the next 7 days, or it has been done "
            "since the last meeting of the plan or in the last 7 days."),
        'get_agenda', searcher='search_agenda')
    budget = Monetary(
        "Budget", currency='currency', digits='currency', states=_states,
        domain=['OR', ('budget', '=', None), ('budget', '>=', 0)])
    cost = Monetary(
        "Cost", currency='currency', digits='currency',
        states=_result_states,
        domain=['OR', ('cost', '=', None), ('cost', '>=', 0)],
        help="What the action has cost so far, typed by the employee in "
        "charge.")
    expected_revenue = Monetary(
        "Expected Revenue", currency='currency', digits='currency',
        states=_states,
        domain=['OR',
            ('expected_revenue', '=', None), ('expected_revenue', '>=', 0)])
    actual_revenue = Monetary(
        "Actual Revenue", currency='currency', digits='currency',
        states=_result_states,
        help="What the action has brought so far, typed by the employee in "
        "charge.")
    invoices = fields.One2Many(
        'account.invoice', 'plan_action', "Invoices", readonly=True,
        help="The customer invoices that the action has brought.")
    invoiced_revenue = fields.Function(Monetary(
            "Invoiced Revenue", currency='currency', digits='currency',
            help="The posted lines of the invoices less the credit notes "
            "that the action has brought, by itself, its opportunities or "
            "its campaigns; empty without any."),
        'get_invoiced_revenue')
    obtained_revenue = fields.Function(Monetary(
            "Obtained Revenue", currency='currency', digits='currency',
            help="The invoiced revenue, or the actual revenue that was typed "
            "without any."),
        'on_change_with_obtained_revenue')
    troughs = fields.Function(
        fields.Integer(
            "Troughs", help="The months that the action fills and whose "
            "revenue is below the level of the plan."),
        'get_troughs')
    trough_expected = fields.Function(Monetary(
            "Expected by Trough", currency='currency', digits='currency',
            help="The expected revenue divided by the number of troughs."),
        'get_troughs')
    trough_obtained = fields.Function(Monetary(
            "Obtained by Trough", currency='currency', digits='currency',
            help="The obtained revenue divided by the number of troughs."),
        'get_troughs')
    deferred_revenue = fields.Function(Monetary(
            "Deferred Revenue", currency='currency', digits='currency',
            states={
                'invisible': ~Eval('state').in_(['shelved', 'abandoned']),
                },
            help="The expected revenue that a shelved or abandoned action "
            "has not brought."),
        'on_change_with_deferred_revenue')
    hours_spent = fields.Numeric(
        "Hours Spent", digits=(16, 2), states=_result_states,
        domain=['OR', ('hours_spent', '=', None), ('hours_spent', '>=', 0)],
        help="The hours worked on the action so far, typed by the employee "
        "in charge.")
    hours = fields.Function(
        fields.Numeric(
            "Hours", digits=(16, 2),
            help="The hours spent that were typed and, where they are used, "
            "those of the time sheets, also of the projects."),
        'get_hours')
    fills = fields.MultiSelection(
        'get_months', "Fills", sort=False, states=_states,
        help="The months, during the plan, that the action must lift to the "
        "level of the targets.")
    why = fields.Text(
        "Why",
        states={
            'readonly': (
                (Eval('state') == 'done') | Eval('plan_closed', False)),
            'required': Eval('state').in_(['shelved', 'abandoned']),
            },
        help="Why the action is shelved or abandoned.")
    stopped_date = fields.Date(
        "Stopped On",
        states={
            'readonly': (
                (Eval('state') == 'done') | Eval('plan_closed', False)),
            'required': Eval('state').in_(['shelved', 'abandoned']),
            },
        help="When the action was shelved or abandoned; "
        "today when it is empty at that moment.")
    done_date = fields.Date(
        "Done On",
        states={
            'readonly': (
                Eval('state').in_(['shelved', 'abandoned'])
                | Eval('plan_closed', False)),
            'required': Eval('state') == 'done',
            },
        help="When the action was done; "
        "today when it is empty at that moment.")
    decision = fields.Selection([
            (None, ""),
            ('restart', "Restart"),
            ('drop', "Drop"),
            ], "Decision", readonly=True, sort=False,
        states={
            'invisible': ~Eval('decision'),
            },
        help="What was decided on the unfinished action.")
    decision_date = fields.Date(
        "Decided On", readonly=True,
        states={
            'invisible': ~Eval('decision'),
            })
    decided_by = fields.Many2One(
        'company.employee', "Decided By", readonly=True, ondelete='RESTRICT',
        states={
            'invisible': ~Eval('decision'),
            })
    state = fields.Selection([
            ('planned', "Planned"),
            ('running', "Running"),
            ('done', "Done"),
            ('shelved', "Shelved"),
            ('abandoned', "Abandoned"),
            ], "State", required=True, readonly=True, sort=False,
        help="A shelved action waits for better days; "
        "an abandoned one is given up.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')
    # The web client only loads the fields that it shows in the calendar
    calendar_color = fields.Function(
        fields.Char("Color"), 'on_change_with_calendar_color',
        loading='eager')

    del _states, _result_states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.update({
                Index(
                    t, (t.due_date, Index.Range()), (t.id, Index.Range())),
                Index(
                    t,
                    (t.state, Index.Equality(cardinality='low')),
                    (t.due_date, Index.Range()),
                    where=t.state.in_(['planned', 'running'])),
                Index(
                    t,
                    (t.employee, Index.Equality()),
                    (t.due_date, Index.Range())),
                })
        cls._order = [('due_date', 'ASC NULLS LAST'), ('id', 'ASC')]
        cls._transitions |= {
            ('planned', 'running'),
            ('planned', 'done'),
            ('planned', 'shelved'),
            ('planned', 'abandoned'),
            ('running', 'done'),
            ('running', 'shelved'),
            ('running', 'abandoned'),
            ('done', 'running'),
            ('shelved', 'planned'),
            ('shelved', 'abandoned'),
            ('abandoned', 'planned'),
            }
        cls._buttons.update({
                'run': {
                    'invisible': (
                        ~Eval('state').in_(['planned', 'done'])
                        | Eval('plan_closed', False)),
                    'depends': ['state', 'plan_closed'],
                    'icon': If(Eval('state') == 'done',
                        'tryton-back', 'tryton-launch'),
                    },
                'do': {
                    'invisible': (
                        ~Eval('state').in_(['planned', 'running'])
                        | Eval('plan_closed', False)),
                    'depends': ['state', 'plan_closed'],
                    'icon': 'tryton-ok',
                    },
                'shelve': {
                    'invisible': (
                        ~Eval('state').in_(['planned', 'running'])
                        | Eval('plan_closed', False)),
                    'depends': ['state', 'plan_closed'],
                    'icon': 'tryton-archive',
                    },
                'abandon': {
                    'invisible': ~(
                        (Eval('state') == 'shelved')
                        | (Eval('state').in_(['planned', 'running'])
                            & ~Eval('plan_closed', False))),
                    'depends': ['state', 'plan_closed'],
                    'icon': 'tryton-cancel',
                    },
                'restart': {
                    'invisible': (
                        ~Eval('state').in_(['shelved', 'abandoned'])
                        | Eval('plan_closed', False)),
                    'depends': ['state', 'plan_closed'],
                    'icon': 'tryton-back',
                    },
                })

    @classmethod
    def default_plan(cls):
        pool = Pool()
        Plan = pool.get('prm.plan')
        plans = Plan.search([
                ('company', '=', Transaction().context.get('company')),
                ('state', 'in', ['approved', 'running']),
                ], limit=2)
        if len(plans) == 1:
            plan, = plans
            return plan.id

    @classmethod
    def default_kind(cls):
        return 'other'

    @classmethod
    def default_core(cls):
        return True

    @classmethod
    def default_employee(cls):
        return Transaction().context.get('employee')

    @classmethod
    def default_state(cls):
        return 'planned'

    @fields.depends('plan', '_parent_plan.company')
    def on_change_with_company(self, name=None):
        return self.plan.company if self.plan else None

    @classmethod
    def search_company(cls, name, clause):
        return [('plan.' + clause[0], *clause[1:])]

    @fields.depends('plan', '_parent_plan.state')
    def on_change_with_plan_closed(self, name=None):
        return bool(self.plan and self.plan.state == 'closed')

    @fields.depends('plan', '_parent_plan.currency')
    def on_change_with_currency(self, name=None):
        return self.plan.currency if self.plan else None

    @fields.depends('actual_revenue', 'invoiced_revenue')
    def on_change_with_obtained_revenue(self, name=None):
        if self.invoiced_revenue is not None:
            return self.invoiced_revenue
        return self.actual_revenue

    @fields.depends(
        'state', 'expected_revenue',
        methods=['on_change_with_obtained_revenue'])
    def on_change_with_deferred_revenue(self, name=None):
        if self.state in {'shelved', 'abandoned'}:
            obtained = self.on_change_with_obtained_revenue()
            return max(
                (self.expected_revenue or Decimal(0))
                - (obtained or Decimal(0)), Decimal(0))

    @classmethod
    def revenue_query(cls, actions):
        """Return the SQL query of the revenue that the actions have brought

        The columns are action and amount, in the currency of the company.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Performance = pool.get('prm.performance')
        invoice = Invoice.__table__()
        lines = Performance.actual_query()
        return (lines
            .join(invoice, condition=lines.invoice == invoice.id)
            .select(
                invoice.plan_action.as_('action'),
                lines.amount.as_('amount'),
                where=_in(invoice.plan_action, [a.id for a in actions])))

    @classmethod
    def get_invoiced_revenue(cls, actions, name):
        query = cls.revenue_query(actions)
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.action, sql_sum(query.amount).as_('amount'),
                group_by=[query.action]))
        amounts = dict.fromkeys(map(int, actions))
        currencies = {a.id: a.currency for a in actions}
        for action, amount in cursor:
            amounts[action] = currencies[action].round(to_decimal(amount))
        return amounts

    @classmethod
    def hours_query(cls):
        """Return the SQL query of the hours spent on the actions

        The columns are action and hours; an action may have several rows.
        """
        table = cls.__table__()
        return table.select(
            table.id.as_('action'), table.hours_spent.as_('hours'),
            where=table.hours_spent != None)  # noqa: E711

    @classmethod
    def get_hours(cls, actions, name):
        query = cls.hours_query()
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.action, sql_sum(query.hours).as_('hours'),
                where=_in(query.action, [a.id for a in actions]),
                group_by=[query.action]))
        hours = dict.fromkeys(map(int, actions))
        hours.update(
            (action, to_decimal(value).quantize(Decimal('0.01')))
            for action, value in cursor)
        return hours

    @classmethod
    def get_troughs(cls, actions, names):
        pool = Pool()
        Performance = pool.get('prm.performance')
        plans = {a.plan for a in actions}
        months = Performance.company_months(
            {p.company for p in plans},
            min(p.start_date for p in plans),
            max(p.end_date for p in plans))
        troughs = {
            plan: {date for date, _ in smoothing([
                        month for month in months[plan.company.id]
                        if (plan.start_date.replace(day=1) <= month.date
                            <= plan.end_date)]).troughs}
            for plan in plans}
        result = {name: {} for name in names}
        for action in actions:
            count = len(troughs[action.plan] & set(action.filled_dates))
            for name, amount in [
                    ('trough_expected', action.expected_revenue),
                    ('trough_obtained', action.obtained_revenue)]:
                if name in names:
                    result[name][action.id] = (
                        action.currency.round(amount / count)
                        if count and amount is not None else None)
            if 'troughs' in names:
                result['troughs'][action.id] = count
        return result

    @fields.depends('state', 'late')
    def on_change_with_calendar_color(self, name=None):
        if self.late:
            return 'firebrick'
        return {
            'planned': 'steelblue',
            'running': 'chocolate',
            'done': 'seagreen',
            'shelved': 'gray',
            'abandoned': 'dimgray',
            }.get(self.state)

    @classmethod
    def get_months(cls):
        pool = Pool()
        Month = pool.get('ir.calendar.month')
        names = Month.locale()
        return [(str(i), names[i]) for i in range(1, 13)]

    def get_late(self, name):
        pool = Pool()
        Date = pool.get('ir.date')
        return bool(
            self.state in {'planned', 'running'}
            and self.plan.state != 'closed'
            and self.due_date and self.due_date < Date.today())

    @classmethod
    def search_late(cls, name, clause):
        pool = Pool()
        Date = pool.get('ir.date')
        _, operator, value = clause
        late = [
            ('state', 'in', ['planned', 'running']),
            ('plan.state', '!=', 'closed'),
            ('due_date', '<', Date.today()),
            ]
        not_late = ['OR',
            ('state', 'not in', ['planned', 'running']),
            ('plan.state', '=', 'closed'),
            ('due_date', '=', None),
            ('due_date', '>=', Date.today()),
            ]
        values = set(value) if operator in {'in', 'not in'} else {value}
        wanted = {bool(v) for v in values}
        if operator in {'!=', 'not in'}:
            wanted = {True, False} - wanted
        domain = ['OR']
        if True in wanted:
            domain.append(late)
        if False in wanted:
            domain.append(not_late)
        return domain if wanted else [('id', '=', -1)]

    @classmethod
    def _agenda_query(cls):
        "Return the query of the agenda of the actions, by identifier"
        pool = Pool()
        Date = pool.get('ir.date')
        Plan = pool.get('prm.plan')
        table = cls.__table__()
        plan = Plan.__table__()
        today = Date.today()
        open_ = (
            table.state.in_(['planned', 'running']) & (plan.state != 'closed'))
        agenda = Case(
            (open_ & (table.due_date < today), 'late'),
            (open_ & (table.due_date <= today + _WEEK), 'due'),
            ((table.state == 'done')
                & (table.done_date >= Coalesce(
                        plan.last_meeting, today - _WEEK)), 'done'))
        return (table
            .join(plan, condition=table.plan == plan.id)
            .select(
                table.id.as_('id'),
                cls.state.sql_cast(agenda).as_('agenda')))

    @classmethod
    def get_agenda(cls, actions, name):
        query = cls._agenda_query()
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.id, query.agenda,
                where=_in(query.id, [a.id for a in actions])))
        return dict(cursor)

    @classmethod
    def search_agenda(cls, name, clause):
        _, operator, value = clause
        query = cls._agenda_query()
        Operator = fields.SQL_OPERATORS[operator]
        return [('id', 'in', query.select(
                    query.id, where=Operator(query.agenda, value)))]

    @property
    def filled_dates(self):
        "The first days of the months of the plan that the action fills"
        months = {int(month) for month in self.fills or []}
        return [
            month.date() for month in rrule(
                MONTHLY, dtstart=self.plan.start_date.replace(day=1),
                until=self.plan.end_date)
            if month.month in months]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['shelved', 'abandoned']), 'muted',
                    If(Eval('late'), 'danger',
                        If(Eval('state') == 'done', 'success', '')))),
            ]

    @classmethod
    def check_modification(cls, mode, actions, values=None, external=False):
        pool = Pool()
        Plan = pool.get('prm.plan')
        super().check_modification(
            mode, actions, values=values, external=external)
        if mode != 'write' or values.keys() - cls._decision_fields():
            plans = {a.plan for a in actions}
            if mode == 'write' and values.get('plan'):
                plans.add(Plan(values['plan']))
            for plan in plans:
                if plan.state == 'closed':
                    raise PlanAccessError(gettext(
                            'prm.msg_plan_write_closed',
                            plan=plan.rec_name))
        if mode == 'delete':
            for action in actions:
                if action.state != 'planned':
                    raise PlanAccessError(gettext(
                            'prm.msg_plan_action_delete_planned',
                            action=action.rec_name))

    @classmethod
    def _decision_fields(cls):
        "The fields that change even once the plan is closed"
        return {'state', 'decision', 'decision_date', 'decided_by'}

    @classmethod
    def _workflow_fields(cls):
        return super()._workflow_fields() | cls._decision_fields()

    @classmethod
    def copy(cls, actions, default=None):
        default = default.copy() if default is not None else {}
        for name in [
                'cost', 'actual_revenue', 'hours_spent', 'why', 'invoices',
                'stopped_date', 'done_date', 'decision', 'decision_date',
                'decided_by']:
            default.setdefault(name, None)
        return super().copy(actions, default=default)

    @classmethod
    def _fill_date(cls, actions, field):
        "Set today, at the company, on the actions without the date"
        for today, sub_actions in cls._by_today(
                a for a in actions if not getattr(a, field)):
            cls.write(sub_actions, {field: today})

    @classmethod
    def _by_today(cls, actions):
        "Return the pairs of the day at the company and of its actions"
        pool = Pool()
        Date = pool.get('ir.date')
        by_company = defaultdict(list)
        for action in actions:
            by_company[action.company].append(action)
        for company, actions in by_company.items():
            with Transaction().set_context(company=company.id):
                yield Date.today(), actions

    @classmethod
    def _stop(cls, actions, state, decision=None):
        "Set the state and the decision with the day it happens"
        for today, sub_actions in cls._by_today(actions):
            values = cls._decision_values(decision, today)
            dated, undated = [], []
            for action in sub_actions:
                date = action.stopped_date
                # The one of the time before, unless it was typed since
                if action.decision and date and date <= action.decision_date:
                    date = None
                (dated if date else undated).append(action)
            if dated:
                cls.write(dated, {'state': state, **values})
            if undated:
                cls.write(undated, {
                        'state': state, 'stopped_date': today, **values})

    @classmethod
    def _decision_values(cls, decision, date):
        employee = Transaction().context.get('employee')
        return {
            'decision': decision,
            'decision_date': date if decision else None,
            'decided_by': employee if decision else None,
            }

    @classmethod
    def _check_plan(cls, actions):
        for action in actions:
            if action.plan_closed:
                raise PlanAccessError(gettext(
                        'prm.msg_plan_write_closed',
                        plan=action.plan.rec_name))

    @classmethod
    def _check_why(cls, actions):
        for action in actions:
            if not (action.why or '').strip():
                raise ActionStopError(gettext(
                        'prm.msg_plan_action_why', action=action.rec_name))

    @classmethod
    @ModelView.button
    @Workflow.transition('running')
    def run(cls, actions):
        cls._check_plan(actions)
        cls.write(actions, {'state': 'running', 'done_date': None})

    @classmethod
    @ModelView.button
    @Workflow.transition('done')
    def do(cls, actions):
        cls._check_plan(actions)
        cls._fill_date(actions, 'done_date')

    @classmethod
    @ModelView.button
    @Workflow.transition('shelved')
    def shelve(cls, actions):
        cls._check_plan(actions)
        cls._check_why(actions)
        cls._stop(actions, 'shelved')

    @classmethod
    @ModelView.button
    @Workflow.transition('abandoned')
    def abandon(cls, actions):
        cls._check_plan([a for a in actions if a.state != 'shelved'])
        cls._check_why(actions)
        cls._stop(actions, 'abandoned', decision='drop')

    @classmethod
    @ModelView.button
    @Workflow.transition('planned')
    def restart(cls, actions):
        cls._check_plan(actions)
        for today, sub_actions in cls._by_today(actions):
            cls.write(sub_actions, {
                    'state': 'planned',
                    **cls._decision_values('restart', today),
                    })


class PlanSmoothing(Wizard):
    __name__ = 'prm.plan.smoothing'
    __string__ = "Smoothing of the Plan"

    start_state = 'open_'
    open_ = StateAction('prm.act_smoothing')

    def do_open_(self, action):
        action['pyson_context'] = PYSONEncoder().encode({
                'company': self.record.company.id,
                'scope': 'company',
                'start_date': self.record.start_date,
                'end_date': self.record.end_date,
                })
        action['name'] += f" ({self.record.rec_name})"
        return action, {}


class PlanMeet(Wizard):
    __name__ = 'prm.plan.meet'
    __string__ = "Meeting Held"

    start_state = 'meet'
    meet = StateTransition()

    def transition_meet(self):
        "Close the meeting of the open plans of the actions"
        pool = Pool()
        Plan = pool.get('prm.plan')
        Plan.meet(list(dict.fromkeys(
                    a.plan for a in self.records
                    if a.plan.state in {'approved', 'running'})))
        return 'end'
