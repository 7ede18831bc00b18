# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from functools import wraps

from dateutil.relativedelta import relativedelta
from sql import Cast, Literal, Null, Union
from sql.aggregate import Avg, Count
from sql.conditionals import Case, Coalesce, NullIf
from sql.functions import Extract, Round

from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from ..model import AmountsMixin, MonthMixin
from ..tools import sql_local_date, sql_month, sql_sum, to_date

POPULATIONS = ['customer', 'partner', 'staff']
TENSIONS = ['tension', *(f'tension_{p}' for p in POPULATIONS)]
TENSION_LIMIT = -1
# The least people between whom the sentiment of one can not be told
STAFF_MINIMUM = 5
_DAY = dt.timedelta(days=1)
_CLOSING_ORIGIN = 'account.fiscalyear,%'
# Room for the months from 1900 to 2733 of each company
_MONTHS = 10000


def protect_staff(func):
    "Leave the sentiment of few people out of what the function keeps"
    @wraps(func)
    def wrapper(*args, **kwargs):
        with Transaction().set_context(protect_staff=True):
            return func(*args, **kwargs)
    return wrapper


class Figures(ModelSQL):
    "The figures of a period of a company, in its currency and untaxed."

    company = fields.Many2One('company.company', "Company")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"), 'get_currency')
    ledger_revenue = Monetary(
        "Ledger Revenue", currency='currency', digits='currency',
        help="The balance of the posted moves on revenue accounts, "
        "by move date and without the closing of fiscal years.")
    booked_concessions = Monetary(
        "Booked Gestures", currency='currency', digits='currency',
        help="What the documents of the commercial gestures took off "
        "the revenue accounts, by move date.")
    gross_revenue = Monetary(
        "Gross Revenue", currency='currency', digits='currency',
        help="The ledger revenue as if no commercial gesture "
        "had been booked.")
    concessions = Monetary(
        "Gestures", currency='currency', digits='currency',
        help="The granted commercial gestures, by imputation date.")
    net_revenue = Monetary(
        "Net Revenue", currency='currency', digits='currency',
        help="The gross revenue less the gestures.")
    concession_rate = fields.Numeric(
        "Gesture Rate", digits=(None, 4),
        help="The gestures divided by the gross revenue.")
    buyback_principal = Monetary(
        "Buyback Principal", currency='currency', digits='currency',
        help="The principal paid for the shares of associates, "
        "by payment date.\n"
        "It is equity or an asset, never an expense.")
    buyback_interest = Monetary(
        "Buyback Interest", currency='currency', digits='currency',
        help="The interest paid for the shares of associates, "
        "by payment date.")
    buyback_paid = Monetary(
        "Buyback Paid", currency='currency', digits='currency',
        help="The principal and interest paid for the shares of associates, "
        "by payment date.")
    imputed_revenue = Monetary(
        "Imputed Revenue", currency='currency', digits='currency',
        help="The net revenue less what the buybacks paid.\n"
        "It is a view for the management, not an accounting result.")
    actual = Monetary(
        "Actual", currency='currency', digits='currency',
        help="The revenue of the posted invoices less the credit notes, "
        "by invoice date.")
    target = Monetary(
        "Target", currency='currency', digits='currency',
        help="The revenue target of the company.")
    attainment = fields.Numeric(
        "Attainment", digits=(None, 4),
        help="The actual revenue divided by the target.")
    weighted_pipeline = Monetary(
        "Weighted Pipeline", currency='currency', digits='currency',
        help="The amount of the open opportunities times their probability, "
        "by expected month.")
    partners_lost = fields.Integer(
        "Partners Lost", help="The number of partners that ended.")
    interactions = fields.Integer(
        "Interactions", help="The number of interactions done.")
    tension = fields.Numeric(
        "Tension", digits=(None, 4),
        help="The share of the interactions done whose sentiment "
        "is negative.\n"
        "Those with the staff count only when five different people at least "
        "had them.")
    tension_customer = fields.Numeric(
        "Customer Tension", digits=(None, 4),
        help="The tension of the interactions with customers.")
    tension_partner = fields.Numeric(
        "Partner Tension", digits=(None, 4),
        help="The tension of the interactions with partners.")
    tension_staff = fields.Numeric(
        "Staff Tension", digits=(None, 4),
        help="The tension of the interactions with staff.\n"
        "It is empty as long as less than five different people had them.")

    @classmethod
    def get_currency(cls, records, name):
        return {r.id: r.company.currency.id for r in records}

    @classmethod
    def view_attributes(cls):
        # A graph draws the months without interactions at zero otherwise
        return super().view_attributes() + [
            (f'/graph[@type="line"]/y/field[@name="{name}"]', 'domain',
                Eval(name, -1) >= 0)
            for name in TENSIONS]


class Month(MonthMixin, AmountsMixin, Figures, ModelView):
    __name__ = 'prm.review.month'
    __string__ = "Month of Review"

    date = fields.Date(
        "Month", help="The first day of the month.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('date', 'ASC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        Review = Pool().get('prm.review')
        context = Transaction().context
        start_date, end_date = cls._get_dates(context)
        items = cls.items(start_date=start_date, end_date=end_date)
        company = items.company
        if context.get('prm_review') is not None:
            items, company = Review.consolidated(context['prm_review'], items)
        months = items.select(
            company.as_('company'), sql_month(items.date).as_('date'),
            items.measure, items.value, items.person)
        return months.select(
            (months.company * Literal(_MONTHS)
                + (Cast(Extract('year', months.date), 'INTEGER')
                    - Literal(1900)) * Literal(12)
                + Cast(Extract('month', months.date), 'INTEGER')).as_('id'),
            months.company,
            months.date,
            *(expression.as_(name)
                for name, expression in cls.figures(months).items()),
            group_by=[months.company, months.date])

    @classmethod
    def _get_dates(cls, context):
        """Return the dates of the context

        Without them, last_months is the number of months until the one of
        the last posted move: those of a graph.
        """
        start_date = context.get('start_date')
        end_date = context.get('end_date')
        months = context.get('last_months')
        if months and not start_date and not end_date:
            if date := cls._get_last_date(context.get('company')):
                date = date.replace(day=1)
                start_date = date - relativedelta(months=months - 1)
                end_date = date + relativedelta(day=31)
        return start_date, end_date

    @classmethod
    def _get_last_date(cls, company):
        pool = Pool()
        Move = pool.get('account.move')
        cursor = Transaction().connection.cursor()
        move = Move.__table__()
        where = move.state == 'posted'
        if company:
            where &= move.company == company
        cursor.execute(*move.select(
                move.date, where=where, order_by=[move.date.desc], limit=1))
        return to_date(next(cursor, [None])[0])

    @classmethod
    def month_id(cls, company, date):
        "Return the id of the month of the date for the company id"
        return company * _MONTHS + (date.year - 1900) * 12 + date.month

    @classmethod
    def items(cls, start_date=None, end_date=None, companies=None):
        """Return the SQL query of all that a review counts

        Its columns are company, date, measure, value and person.
        The value is an amount in the currency of the company or, for the
        measures of POPULATIONS which are interactions done, 1 when the
        sentiment is negative and 0 otherwise. The person is the party of
        who had the interaction with the staff: the colleague or, when not
        told, the employee.
        The moment of an interaction counts in the time zone of its company
        (UTC when it has none).
        """
        pool = Pool()
        Company = pool.get('company.company')
        Concession = pool.get('prm.concession')
        Employee = pool.get('company.employee')
        Interaction = pool.get('prm.interaction')
        Partner = pool.get('prm.partner')
        Payment = pool.get('prm.buyback.payment')
        Performance = pool.get('prm.performance')
        Pipeline = pool.get('prm.pipeline')
        Target = pool.get('prm.target')
        TargetLine = pool.get('prm.target.line')

        nobody = Cast(Null, 'INTEGER').as_('person')

        def restrict(where, company, date):
            if start_date:
                where &= date >= start_date
            if end_date:
                where &= date <= end_date
            if companies:
                where &= company.in_(companies)
            return where

        def select(measure, query, value='amount'):
            return query.select(
                query.company.as_('company'),
                query.date.as_('date'),
                Literal(measure).as_('measure'),
                getattr(query, value).as_('value'),
                nobody,
                where=restrict(Literal(True), query.company, query.date))

        company = Company.__table__()
        employee = Employee.__table__()
        interaction = Interaction.__table__()
        payment = Payment.__table__()
        target = Target.__table__()
        target_line = TargetLine.__table__()
        target = (target
            .join(target_line, condition=target_line.target == target.id)
            .select(
                target.company.as_('company'),
                target_line.date.as_('date'),
                Literal('target').as_('measure'),
                target_line.amount.as_('value'),
                nobody,
                where=restrict(
                    (target.scope == 'company')
                    & (target.measure == 'revenue'),
                    target.company, target_line.date)))
        local_date = sql_local_date(interaction.date, company.timezone)
        # Let the index on the timestamp work whatever the time zone is
        nearby = Literal(True)
        if start_date:
            nearby &= interaction.date >= (
                dt.datetime.combine(start_date, dt.time.min) - _DAY)
        if end_date:
            nearby &= interaction.date < (
                dt.datetime.combine(end_date, dt.time.min) + 2 * _DAY)
        tension = (interaction
            .join(company, condition=interaction.company == company.id)
            .join(employee, 'LEFT',
                condition=(interaction.employee == employee.id)
                & (interaction.population == 'staff'))
            .select(
                interaction.company.as_('company'),
                local_date.as_('date'),
                interaction.population.as_('measure'),
                Case((interaction.sentiment <= TENSION_LIMIT, 1),
                    else_=0).as_('value'),
                Coalesce(interaction.party, employee.party).as_('person'),
                where=restrict(
                    (interaction.state == 'done') & nearby,
                    interaction.company, local_date)))
        partner = Partner.__table__()
        lost = partner.select(
            partner.company.as_('company'),
            partner.end_date.as_('date'),
            Literal('lost').as_('measure'),
            Literal(1).as_('value'),
            nobody,
            where=restrict(
                partner.state == 'ended',
                partner.company, partner.end_date))
        return Union(
            select('ledger', cls.ledger_query()),
            select('booked', Concession.booked_query()),
            select('concession', Concession.imputed_query()),
            select('principal', payment, 'principal'),
            select('interest', payment, 'interest'),
            select('actual', Performance.actual_query()),
            target,
            select('pipeline', Pipeline.__table__(), 'weighted_amount'),
            tension,
            lost,
            all_=True)

    @classmethod
    def ledger_query(cls):
        """Return the SQL query of the ledger revenue, one row per line

        Its columns are company, date, move and amount (credit less debit, in
        the currency of the company) of the posted moves on revenue accounts,
        but those that close a fiscal year.
        """
        pool = Pool()
        Account = pool.get('account.account')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Type = pool.get('account.account.type')
        account = Account.__table__()
        line = Line.__table__()
        move = Move.__table__()
        type_ = Type.__table__()
        return (line
            .join(move, condition=line.move == move.id)
            .join(account, condition=line.account == account.id)
            .join(type_, condition=account.type == type_.id)
            .select(
                move.company.as_('company'),
                move.date.as_('date'),
                move.id.as_('move'),
                (line.credit - line.debit).as_('amount'),
                where=(move.state == 'posted')
                & (type_.revenue == Literal(True))
                & ((move.origin == Null)
                    | ~move.origin.like(_CLOSING_ORIGIN))))

    @classmethod
    def figures(cls, items):
        """Return by name the SQL expression of each figure of grouped items

        The sentiment of the staff is left out of what users read and of what
        is kept for them as long as it comes from less than STAFF_MINIMUM
        people: nobody can tell whose it is.
        """
        transaction = Transaction()

        def total(plus, minus=[], empty=False):
            value = Case(
                (items.measure.in_(plus), items.value),
                (items.measure.in_(minus or ['']), -items.value),
                else_=Null if empty else 0)
            return sql_sum(value)

        def tension(populations):
            return Round(
                Avg(Case((items.measure.in_(populations), items.value))), 4)

        tensions = {
            'tension': tension(POPULATIONS),
            **{f'tension_{p}': tension([p]) for p in POPULATIONS},
            }
        if (transaction.check_access
                or transaction.context.get('protect_staff')):
            enough = Count(
                Case((items.measure == 'staff', items.person)),
                distinct=True) >= STAFF_MINIMUM
            tensions['tension'] = Case(
                (enough, tensions['tension']),
                else_=tension([p for p in POPULATIONS if p != 'staff']))
            tensions['tension_staff'] = Case(
                (enough, tensions['tension_staff']))

        gross_revenue = ['ledger', 'booked']
        buyback = ['principal', 'interest']
        return {
            'ledger_revenue': total(['ledger']),
            'booked_concessions': total(['booked']),
            'gross_revenue': total(gross_revenue),
            'concessions': total(['concession']),
            'net_revenue': total(gross_revenue, ['concession']),
            'concession_rate': Round(
                total(['concession'])
                / NullIf(total(gross_revenue), 0), 4),
            'buyback_principal': total(['principal']),
            'buyback_interest': total(['interest']),
            'buyback_paid': total(buyback),
            'imputed_revenue': total(
                gross_revenue, ['concession', *buyback]),
            'actual': total(['actual']),
            'target': total(['target'], empty=True),
            'attainment': Round(
                total(['actual'])
                / NullIf(total(['target'], empty=True), 0), 4),
            'weighted_pipeline': total(['pipeline']),
            'partners_lost': Count(
                Case((items.measure == 'lost', items.value))),
            'interactions': Count(
                Case((items.measure.in_(POPULATIONS), items.value))),
            **tensions,
            }

    def get_rec_name(self, name):
        return self.date.strftime('%Y-%m')


class MonthContext(ModelView):
    __name__ = 'prm.review.month.context'
    __string__ = "Context of Months of Review"

    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="Show only what happened from this date.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="Show only what happened until this date.")

    @classmethod
    def default_start_date(cls):
        return Transaction().context.get('start_date')

    @classmethod
    def default_end_date(cls):
        return Transaction().context.get('end_date')
