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

from .exceptions import ConcessionLimitError

_SIZE = 1000  # records of one statement


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
        help="The number of months before a gesture "
        "whose gestures count for the cumulative amount.")

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


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    @classmethod
    @ModelView.button
    def submit(cls, concessions):
        super().submit(concessions)
        within = []
        for company, c_concessions in cls._by_company(concessions).items():
            c_concessions = [
                c for c in c_concessions if c.state == 'submitted']
            limits = cls._user_limits(company, delegated=False)
            if limits and c_concessions:
                within.extend(cls._within(c_concessions, limits))
        if within:
            cls.approve(within)

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
    def _within(cls, concessions, limits):
        """Return the gestures that one of the limits allows

        The gestures of a customer are added one after the other.
        """
        pool = Pool()
        Currency = pool.get('currency.currency')

        def amount(concession):
            if concession.kind == 'payment_delay':
                return Decimal(0)
            with Transaction().set_context(date=concession.date):
                return Currency.compute(
                    concession.currency, concession.amount,
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
        for concession in concessions:
            def received(months):
                start = concession.date - relativedelta(months=months)
                return sum((amount(o) for o in past[concession.party]
                        if start < o.date <= concession.date
                        and o != concession), Decimal(0))

            if any(l.allows(amount(concession), received) for l in limits):
                within.append(concession)
                past[concession.party].append(concession)
        return within

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
