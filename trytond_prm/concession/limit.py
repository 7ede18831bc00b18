# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Null
from sql.operators import Equal

from trytond.i18n import gettext
from trytond.model import Check, Index, ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from .exceptions import (
    ConcessionLimitError, DelegationAccessError, DelegationValidationError)

_SIZE = 1000  # records of one statement
_NAMES = 5  # gestures that a notification names


class Limit(ModelSQL, ModelView):
    __name__ = 'prm.concession.limit'
    __string__ = "Limit of Commercial Gestures"

    company = fields.Many2One('company.company', "Company", required=True)
    group = fields.Many2One(
        'res.group', "Group", ondelete='CASCADE',
        states={
            'required': ~Eval('employee'),
            'readonly': Bool(Eval('employee')),
            },
        help="The users who may approve up to the limit.")
    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='CASCADE',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states={
            'required': ~Eval('group'),
            'readonly': Bool(Eval('group')),
            },
        help="The employee who may approve up to the limit, "
        "whatever the limits of his groups.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True,
        domain=[
            ('amount', '>=', 0),
            ],
        help="The maximal amount of one gesture.")
    cumulative = Monetary(
        "Cumulative", currency='currency', digits='currency',
        domain=['OR',
            ('cumulative', '=', None),
            ('cumulative', '>=', 0),
            ],
        help="The maximal amount of all the gestures to a customer.\n"
        "Leave empty for no limit.")
    months = fields.Integer(
        "Months",
        domain=[
            If(Bool(Eval('cumulative')),
                ('months', '>', 0),
                ()),
            ],
        states={
            'required': Bool(Eval('cumulative')),
            'invisible': ~Eval('cumulative'),
            },
        help="The number of months before and after a gesture "
        "whose gestures count for the cumulative amount.")
    delay_days = fields.Integer(
        "Days of Delay",
        domain=['OR',
            ('delay_days', '=', None),
            ('delay_days', '>=', 0),
            ],
        help="The maximal number of days that a payment may be delayed after "
        "its first due date.\n"
        "Leave empty for no limit.")
    delay_amount = Monetary(
        "Delayed Amount", currency='currency', digits='currency',
        domain=['OR',
            ('delay_amount', '=', None),
            ('delay_amount', '>=', 0),
            ],
        help="The maximal amount, taxes included, of the payments that one "
        "gesture may delay.\n"
        "Leave empty for no limit.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_constraints += [
            ('group_employee',
                Check(t, ((t.group == Null) & (t.employee != Null))
                    | ((t.group != Null) & (t.employee == Null))),
                'prm.msg_concession_limit_group_employee'),
            ]
        cls._sql_indexes.add(Index(t, (t.company, Index.Equality())))
        cls._order.insert(0, ('amount', 'ASC'))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_months(cls):
        return 12

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    def get_rec_name(self, name):
        return (self.group or self.employee).rec_name

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, value = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('group.rec_name', *clause[1:]),
            ('employee.rec_name', *clause[1:]),
            ]

    @classmethod
    @without_check_access
    def get_applicable(cls, company, delegated=True):
        """Return the limits of the user in the company

        None means that the company limits nobody.
        The limits of the employee win over those of his groups.
        If delegated is set, the limits of those who have delegated theirs to
        the employee today are added.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Delegation = pool.get('prm.concession.delegation')
        User = pool.get('res.user')

        limits = cls.search([('company', '=', company.id)])
        if not limits:
            return None
        user = User(Transaction().user)
        employees = [
            e for e in {*user.employees, user.employee} - {None}
            if e.company == company]
        applicable = cls._filter(limits, employees, User.get_groups())
        if delegated and employees:
            with Transaction().set_context(company=company.id):
                today = Date.today()
            delegators = {
                d.employee for d in Delegation.search([
                        ('delegate', 'in', [e.id for e in employees]),
                        ('start_date', '<=', today),
                        ['OR',
                            ('end_date', '=', None),
                            ('end_date', '>=', today),
                            ],
                        ])}
            for delegator in delegators:
                groups = set()
                for other in User.search([
                            ('employees', '=', delegator.id)]):
                    with Transaction().set_user(other.id):
                        groups.update(User.get_groups())
                applicable += cls._filter(limits, [delegator], groups)
        return applicable

    @classmethod
    def _filter(cls, limits, employees, groups):
        own = [l for l in limits if l.employee in employees]
        return own or [l for l in limits if l.group and l.group.id in groups]

    def allows(self, amount, past):
        """Test if the limit allows one more gesture

        The amount is in the currency of the company and past a function
        which returns what the customer has received for a number of months.
        """
        if amount > self.amount:
            return False
        if self.cumulative is None:
            return True
        return past(self.months) + amount <= self.cumulative

    def allows_delay(self, days, amount):
        """Test if the limit allows to delay a payment

        The days are counted since the first due date and the amount, with
        taxes, is in the currency of the company.
        """
        return (
            (self.delay_days is None or days <= self.delay_days)
            and (self.delay_amount is None or amount <= self.delay_amount))


class Delegation(ModelSQL, ModelView):
    __name__ = 'prm.concession.delegation'
    __string__ = "Delegation of Limits"

    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='CASCADE',
        help="Who lends his limits.")
    delegate = fields.Many2One(
        'company.employee', "Delegate", required=True, ondelete='CASCADE',
        domain=[
            ('id', '!=', Eval('employee', -1)),
            ],
        help="Who may approve with the limits of the employee.")
    start_date = fields.Date("Start Date", required=True)
    end_date = fields.Date(
        "End Date",
        domain=['OR',
            ('end_date', '=', None),
            ('end_date', '>=', Eval('start_date', dt.date.min)),
            ])
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.add(Index(t, (t.delegate, Index.Equality())))
        cls._order.insert(0, ('start_date', 'DESC'))

    @classmethod
    def default_start_date(cls):
        return Pool().get('ir.date').today()

    @classmethod
    def default_employee(cls):
        return Transaction().context.get('employee')

    @fields.depends('employee')
    def on_change_with_company(self, name=None):
        return self.employee.company if self.employee else None

    @classmethod
    def search_company(cls, name, clause):
        return [('employee.' + clause[0], *clause[1:])]

    def get_rec_name(self, name):
        return f'{self.employee.rec_name} → {self.delegate.rec_name}'

    @classmethod
    def validate_fields(cls, delegations, field_names):
        super().validate_fields(delegations, field_names)
        cls.check_delegate(delegations, field_names)

    @classmethod
    @without_check_access
    def check_delegate(cls, delegations, field_names=None):
        pool = Pool()
        Concession = pool.get('prm.concession')
        User = pool.get('res.user')
        if field_names and 'delegate' not in field_names:
            return
        groups = Concession.get_approve_groups()
        if not groups:
            return
        able = set()
        for sub_delegations in grouped_slice(delegations, _SIZE):
            for user in User.search([
                        ('employees', 'in',
                            [d.delegate.id for d in sub_delegations]),
                        ('groups', 'in', groups),
                        ]):
                able.update(user.employees)
        for delegation in delegations:
            if delegation.delegate not in able:
                raise DelegationValidationError(gettext(
                        'prm.msg_concession_delegation_approve',
                        delegate=delegation.delegate.rec_name))

    @classmethod
    def check_modification(
            cls, mode, delegations, values=None, external=False):
        pool = Pool()
        Employee = pool.get('company.employee')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        super().check_modification(
            mode, delegations, values=values, external=external)
        if not external or mode == 'delete':
            return
        admin = ModelData.get_id('prm', 'group_prm_admin')
        if admin in User.get_groups():
            return
        own = set(User.get_employees())
        lenders = {d.employee for d in delegations}
        if mode == 'write' and values.get('employee'):
            lenders.add(Employee(values['employee']))
        for employee in lenders:
            if employee.id not in own:
                raise DelegationAccessError(gettext(
                        'prm.msg_concession_delegation_own',
                        employee=employee.rec_name))


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    waiting = fields.Function(
        fields.Boolean(
            "Waiting for Me",
            help="Check if the gesture waits for an approval "
            "that you may give."),
        'get_waiting', searcher='search_waiting')
    approvers = fields.Function(
        fields.Many2Many(
            'res.user', None, None, "Approvers",
            states={
                'invisible': Eval('state') != 'submitted',
                },
            help="The other users who may approve the gesture."),
        'get_approvers')

    @classmethod
    def get_waiting(cls, concessions, name):
        waiting = dict.fromkeys(map(int, concessions), False)
        waiting.update(dict.fromkeys(
                map(int, cls._get_approvable(concessions)), True))
        return waiting

    @classmethod
    def search_waiting(cls, name, clause):
        _, operator, operand = clause
        operands = operand if operator in {'in', 'not in'} else [operand]
        ids = list(map(int, cls._get_approvable(
                    cls.search([('state', '=', 'submitted')], order=[]))))
        domains = [
            ('id', 'in' if value else 'not in', ids)
            for value in {bool(o) for o in operands}]
        domain = ['OR', *domains] if domains else ('id', 'in', [])
        if operator in {'!=', 'not in'}:
            domain = [('id', 'not in', cls.search(domain, query=True))]
        return domain

    @classmethod
    def _get_approvable(cls, concessions):
        "Return the gestures that the user may approve, each by itself"
        pool = Pool()
        Button = pool.get('ir.model.button')
        User = pool.get('res.user')
        user = Transaction().user
        groups = Button.get_groups(cls.__name__, 'approve')
        if user and groups and not groups & set(User.get_groups()):
            return []
        approvable = []
        for company, c_concessions in cls._by_company(
                [c for c in concessions if c.state == 'submitted']).items():
            limits = cls._user_limits(company)
            if limits is None:
                approvable += c_concessions
                continue
            own = [c for c in c_concessions if c._is_own()]
            others = [c for c in c_concessions if c not in own]
            if others:
                approvable += cls._within(others, limits, together=False)
            if own:
                approvable += cls._within(
                    own, cls._user_limits(company, delegated=False),
                    together=False)
        return approvable

    @classmethod
    @without_check_access
    def get_approvers(cls, concessions, name):
        approvers = {c.id: [] for c in concessions}
        for user, approvable in cls._by_approver(concessions).items():
            for concession in approvable:
                approvers[concession.id].append(user.id)
        return approvers

    @classmethod
    @without_check_access
    def get_approve_groups(cls):
        "Return the ids of the groups that have the button Approve"
        pool = Pool()
        Button = pool.get('ir.model.button')
        Group = pool.get('res.group')
        groups = Button.get_groups(cls.__name__, 'approve')
        if not groups:
            return []
        return [g.id for g in Group.search([
                    ('parent', 'child_of', list(groups)),
                    ])]

    @classmethod
    def _by_approver(cls, concessions):
        "Return the gestures that the other users may approve, by user"
        pool = Pool()
        User = pool.get('res.user')
        concessions = [c for c in concessions if c.state == 'submitted']
        if not concessions:
            return {}
        by_approver = {}
        for user in User.search([
                    ('groups', 'in', cls.get_approve_groups()),
                    ('companies', 'in',
                        list({c.company.id for c in concessions})),
                    ('id', '!=', Transaction().user),
                    ]):
            companies = set(user.companies)
            with Transaction().set_user(user.id):
                approvable = cls._get_approvable(cls.browse([
                            c for c in concessions
                            if c.company in companies]))
            if approvable:
                by_approver[user] = approvable
        return by_approver

    @classmethod
    def _notify_approvers(cls, concessions):
        "Tell the users who may approve the gestures that they wait"
        for user, approvable in cls._by_approver(concessions).items():
            language = user.language.code if user.language else None
            names = [c.rec_name for c in approvable[:_NAMES]]
            if len(approvable) > _NAMES:
                names.append('…')
            cls.notify_user(
                approvable, 'tryton-notification',
                gettext('prm.msg_concession_waiting', language,
                    count=len(approvable)),
                '; '.join(names), user=user)

    @classmethod
    @ModelView.button
    def submit(cls, concessions):
        super().submit(concessions)
        within = []
        for company, c_concessions in cls._by_company(concessions).items():
            c_concessions = [
                c for c in c_concessions if c.state == 'submitted']
            limits = cls._user_limits(company, delegated=False)
            if limits and (c_concessions := cls._at_once(c_concessions)):
                within.extend(cls._within(c_concessions, limits))
        if within:
            with Transaction().set_context(_concession_note=gettext(
                        'prm.msg_concession_within_limit')):
                cls.approve(within)
        cls._notify_approvers(cls.browse(concessions))

    @classmethod
    def _at_once(cls, concessions):
        "Return the gestures that may be approved when they are submitted"
        return concessions

    @classmethod
    def _by_company(cls, concessions):
        by_company = defaultdict(list)
        for concession in cls.browse(concessions):
            by_company[concession.company].append(concession)
        return by_company

    @classmethod
    def _user_limits(cls, company, delegated=True):
        pool = Pool()
        Limit = pool.get('prm.concession.limit')
        if Transaction().user == 0:
            return None
        return Limit.get_applicable(company, delegated=delegated)

    def _is_own(self):
        "Test if the user has submitted the gesture"
        pool = Pool()
        User = pool.get('res.user')
        user = User(Transaction().user)
        if self.submitted_by:
            return self.submitted_by in {*user.employees, user.employee}
        return self.create_uid == user

    @classmethod
    def _within(cls, concessions, limits, together=True):
        """Return the gestures that one of the limits allows

        The gestures of a customer are added one after the other unless
        together is unset.
        """
        pool = Pool()
        Currency = pool.get('currency.currency')

        def amount(concession):
            if concession.kind == 'payment_delay':
                return Decimal(0)
            amount = concession.amount
            if concession.kind == 'free_service':
                amount = max(amount, concession.cost or Decimal(0))
            with Transaction().set_context(date=concession.date):
                return Currency.compute(
                    concession.currency, amount,
                    concession.company.currency)

        within = []
        past = defaultdict(list)
        months = max((l.months for l in limits
                if l.cumulative is not None), default=0)
        if months:
            start = min(c.date for c in concessions) - relativedelta(
                months=months)
            for sub_parties in grouped_slice(
                    list({c.party.id for c in concessions}), _SIZE):
                for other in cls.search([
                            ('company', '=', concessions[0].company.id),
                            ('party', 'in', list(sub_parties)),
                            ('state', 'in', ['approved', 'granted']),
                            ('date', '>', start),
                            ], order=[]):
                    past[other.party].append(other)
        delays = cls._get_delays(concessions)
        for concession in concessions:
            def received(months):
                # On both sides as the date is typed
                window = relativedelta(months=months)
                start, end = concession.date - window, concession.date + window
                return sum((amount(o) for o in past[concession.party]
                        if start < o.date < end
                        and o != concession), Decimal(0))

            delay = delays.get(concession, (0, Decimal(0)))
            if any(l.allows(amount(concession), received)
                    and l.allows_delay(*delay) for l in limits):
                within.append(concession)
                if together:
                    past[concession.party].append(concession)
        return within

    @classmethod
    @without_check_access
    def _get_delays(cls, concessions):
        """Return the days and the amount that payment delays delay

        The days are those since the due date before any gesture.
        """
        pool = Pool()
        Delay = pool.get('prm.concession.delay')
        Invoice = pool.get('account.invoice')
        concessions = [
            c for c in concessions
            if c.kind == 'payment_delay' and c.invoice and c.due_date]
        invoices = {
            i.id: i for i in Invoice.browse(
                list({c.invoice.id for c in concessions}))}
        delays = {}
        lines = {
            c: [l for l in invoices[c.invoice.id].lines_to_pay
                if not l.reconciliation
                and (not l.maturity_date or l.maturity_date < c.due_date)]
            for c in concessions}
        first = {}
        for sub_lines in grouped_slice(
                list({l for c_lines in lines.values() for l in c_lines}),
                _SIZE):
            for delay in Delay.search([
                        ('line', 'in', [l.id for l in sub_lines]),
                        ('concession.state', '=', 'granted'),
                        ], order=[('id', 'ASC')]):
                first.setdefault(delay.line, delay.from_date)
        for concession, c_lines in lines.items():
            days = max((
                    (concession.due_date - (
                            first.get(l, l.maturity_date)
                            or concession.date)).days
                    for l in c_lines), default=0)
            amount = sum((l.debit - l.credit for l in c_lines), Decimal(0))
            delays[concession] = days, amount
        return delays

    @classmethod
    def _check_approve(cls, concessions):
        super()._check_approve(concessions)
        for company, c_concessions in cls._by_company(concessions).items():
            limits = cls._user_limits(company)
            if limits is None:
                continue
            cls._lock_limits(company)
            own = [c for c in c_concessions if c._is_own()]
            others = [c for c in c_concessions if c not in own]
            within = cls._within(others, limits) if others else []
            cls._note_delegated(within, company, limits)
            if own:
                within += cls._within(
                    own, cls._user_limits(company, delegated=False))
            for concession in c_concessions:
                if concession not in within:
                    raise ConcessionLimitError(gettext(
                            'prm.msg_concession_limit_own'
                            if concession in own
                            else 'prm.msg_concession_limit',
                            concession=concession.rec_name))

    @classmethod
    def _note_delegated(cls, concessions, company, limits):
        "Note on the gestures that they are approved thanks to a delegation"
        own = cls._user_limits(company, delegated=False)
        if not concessions or len(own) == len(limits):
            return
        within = set(cls._within(concessions, own)) if own else set()
        delegated = [c for c in concessions if c not in within]
        note = gettext('prm.msg_concession_delegated')
        for concession in delegated:
            concession.note = '\n'.join(filter(None, [note, concession.note]))
        cls.save(delegated)

    @classmethod
    def _lock_limits(cls, company):
        """Prevent concurrent approvals which together exceed a limit

        The update makes a concurrent transaction fail and be retried.
        """
        pool = Pool()
        Limit = pool.get('prm.concession.limit')
        table = Limit.__table__()
        cursor = Transaction().connection.cursor()
        cursor.execute(*table.update(
                [table.company], [table.company],
                where=Equal(table.company, company.id)
                & (table.cumulative != Null)))
