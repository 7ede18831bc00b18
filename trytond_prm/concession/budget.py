# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal

from sql import Null
from sql.conditionals import Case

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import sql_sum
from .exceptions import ConcessionBudgetError, ConcessionBudgetWarning

_SIZE = 1000  # records of one statement


class Budget(ModelSQL, ModelView):
    __name__ = 'prm.concession.budget'
    __string__ = "Budget of Commercial Gestures"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date", required=True,
        domain=[
            If(Eval('end_date', None),
                ('start_date', '<=', Eval('end_date', None)),
                ()),
            ])
    end_date = fields.Date(
        "End Date", required=True,
        domain=[
            If(Eval('start_date', None),
                ('end_date', '>=', Eval('start_date', None)),
                ()),
            ])
    reason = fields.Many2One(
        'prm.concession.reason', "Reason", ondelete='RESTRICT',
        help="The reason of the gestures that the budget pays.\n"
        "Leave empty for any reason.")
    currency = fields.Function(fields.Many2One(
            'currency.currency', "Currency"),
        'on_change_with_currency')
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True,
        domain=[
            ('amount', '>=', 0),
            ])
    exceeding = fields.Selection([
            ('refuse', "Refuse"),
            ('warn', "Warn"),
            ], "Exceeding", required=True, sort=False,
        help="What happens when a gesture that exceeds the budget "
        "is approved.")
    committed = fields.Function(Monetary(
            "Committed", currency='currency', digits='currency',
            help="What the approved gestures will cost to the budget."),
        'get_amounts')
    consumed = fields.Function(Monetary(
            "Consumed", currency='currency', digits='currency',
            help="What the granted gestures have cost to the budget."),
        'get_amounts')
    remaining = fields.Function(Monetary(
            "Remaining", currency='currency', digits='currency',
            help="The amount less what is committed and consumed."),
        'get_amounts')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order = [
            ('start_date', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_indexes.add(
            Index(
                t,
                (t.start_date, Index.Range(order='DESC')),
                (t.id, Index.Range(order='DESC'))))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_exceeding(cls):
        return 'refuse'

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    def get_rec_name(self, name):
        pool = Pool()
        lang = pool.get('ir.lang').get()
        name = ' – '.join(
            lang.strftime(d) for d in [self.start_date, self.end_date])
        if self.reason:
            name += f' ({self.reason.rec_name})'
        return name

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('reason.rec_name', *clause[1:])]

    @classmethod
    def get_amounts(cls, budgets, names):
        pool = Pool()
        Concession = pool.get('prm.concession')
        cursor = Transaction().connection.cursor()
        table = cls.__table__()
        concession = Concession.__table__()
        imputed = Concession.sql_imputed(concession)

        def amount(state):
            return cls.amount.sql_cast(sql_sum(Case(
                        (concession.state == state, imputed),
                        else_=Decimal(0))))

        committed = dict.fromkeys(map(int, budgets), Decimal(0))
        consumed = committed.copy()
        for sub_budgets in grouped_slice(budgets, _SIZE):
            cursor.execute(*table
                .join(concession, condition=cls._sql_concerns(
                        table, concession))
                .select(
                    table.id, amount('approved'), amount('granted'),
                    where=fields.SQL_OPERATORS['in'](
                        table.id, list(map(int, sub_budgets)))
                    & concession.state.in_(['approved', 'granted']),
                    group_by=[table.id]))
            for id_, *values in cursor:
                committed[id_], consumed[id_] = (
                    Decimal(str(v or 0)) for v in values)
        result = {
            'committed': committed, 'consumed': consumed, 'remaining': {}}
        for budget in budgets:
            for amounts in [committed, consumed]:
                amounts[budget.id] = budget.currency.round(
                    amounts[budget.id])
            result['remaining'][budget.id] = (budget.amount
                - committed[budget.id] - consumed[budget.id])
        return {n: result[n] for n in names}

    @classmethod
    def _sql_concerns(cls, table, concession):
        "SQL condition that the budget pays the gesture"
        return ((table.company == concession.company)
            & (table.start_date <= concession.imputation_date)
            & (table.end_date >= concession.imputation_date)
            & ((table.reason == Null)
                | (table.reason == concession.reason)))

    def concerns(self, concession, date=None):
        """Test if the budget pays the gesture

        The date replaces the one of imputation.
        """
        if date is None:
            date = concession.imputation_date
        return (self.company == concession.company
            and self.start_date <= date <= self.end_date
            and self.reason in {None, concession.reason})

    @classmethod
    def lock_rows(cls, budgets):
        """Prevent concurrent approvals on the same budgets

        The update makes a concurrent transaction, which can not see the
        gestures of this one, fail and be retried by the server.
        """
        table = cls.__table__()
        cursor = Transaction().connection.cursor()
        cursor.execute(*table.update(
                [table.amount], [table.amount],
                where=fields.SQL_OPERATORS['in'](
                    table.id, sorted(map(int, budgets)))))


class Concession(metaclass=PoolMeta):
    __name__ = 'prm.concession'

    @classmethod
    def _get_escaped(cls, concessions):
        """Return the budget that the typed dates take each gesture off

        It is one of today or of the date of the gesture that would pay the
        gesture but does not because of its imputation date.
        """
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        Date = pool.get('ir.date')
        escaped = {}
        for company, c_concessions in cls._by_company(concessions).items():
            with Transaction().set_context(company=company.id):
                today = Date.today()
            dates = {today, *(c.date for c in c_concessions)}
            budgets = Budget.search([
                    ('company', '=', company.id),
                    ('start_date', '<=', max(dates)),
                    ('end_date', '>=', min(dates)),
                    ])
            for concession in c_concessions:
                for budget in budgets:
                    if (not budget.concerns(concession)
                            and any(budget.concerns(concession, d)
                                for d in {today, concession.date})):
                        escaped[concession] = budget
                        break
        return escaped

    @classmethod
    def _at_once(cls, concessions):
        concessions = super()._at_once(concessions)
        escaped = cls._get_escaped(concessions)
        return [c for c in concessions if c not in escaped]

    @classmethod
    def _check_escaped(cls, concessions):
        "Warn about, and log, the gestures which are taken off their budget"
        pool = Pool()
        Lang = pool.get('ir.lang')
        Warning = pool.get('res.user.warning')
        escaped = cls._get_escaped(concessions)
        concessions = [c for c in concessions if c in escaped]
        if not concessions:
            return
        lang = Lang.get()
        for concession in concessions:
            text = gettext('prm.msg_concession_budget_escaped',
                concession=concession.rec_name,
                budget=escaped[concession].rec_name,
                date=lang.strftime(concession.imputation_date))
            key = Warning.format('budget_escaped', [concession])
            if Warning.check(key):
                raise ConcessionBudgetWarning(key, text)
            concession.note = '\n'.join(filter(None, [text, concession.note]))
        cls.save(concessions)

    @classmethod
    def _check_approve(cls, concessions):
        pool = Pool()
        Budget = pool.get('prm.concession.budget')
        Lang = pool.get('ir.lang')
        Warning = pool.get('res.user.warning')
        super()._check_approve(concessions)
        if not concessions:
            return
        cls._check_escaped(concessions)

        dates = [c.imputation_date for c in concessions]
        budgets = Budget.search([
                ('company', 'in', list({c.company.id for c in concessions})),
                ('start_date', '<=', max(dates)),
                ('end_date', '>=', min(dates)),
                ])
        if not budgets:
            return
        Budget.lock_rows(budgets)
        exceeded = defaultdict(list)
        remaining = {b: b.remaining for b in budgets}
        for concession in concessions:
            amount = concession._get_imputed() or Decimal(0)
            for budget in budgets:
                if not amount or not budget.concerns(concession):
                    continue
                if amount > remaining[budget]:
                    if budget.exceeding == 'refuse':
                        lang = Lang.get()
                        raise ConcessionBudgetError(gettext(
                                'prm.msg_concession_budget_refuse',
                                concession=concession.rec_name,
                                budget=budget.rec_name,
                                remaining=lang.currency(
                                    remaining[budget], budget.currency)))
                    exceeded[budget].append(concession)
                remaining[budget] -= amount
        for budget, b_concessions in exceeded.items():
            key = Warning.format(f'budget{budget.id}', b_concessions)
            if Warning.check(key):
                raise ConcessionBudgetWarning(key, gettext(
                        'prm.msg_concession_budget_warn',
                        concession=b_concessions[0].rec_name,
                        budget=budget.rec_name))
