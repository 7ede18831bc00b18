# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""What the gestures kept

The customers of a period who had a trouble are followed for the twelve
months after the first one. Those who were given a gesture within some months
are compared with those who were given none and are similar: the same kind of
trouble and a revenue of the same power of ten in the twelve months before.
The others are weighted by the number of customers with a gesture that they
are similar to, so that both sides are made of the same customers.
"""
from collections import defaultdict, namedtuple
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Literal, Null, Union

from trytond.i18n import gettext
from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If, PYSONEncoder
from trytond.tools import grouped_slice
from trytond.transaction import Transaction
from trytond.wizard import StateAction, Wizard

from ..tools import sql_local_date, sql_sum, to_date, to_decimal

_SIZE = 1000  # values of one statement
_YEAR = relativedelta(years=1)
# The interaction in which a customer is in a bad mood
_SENTIMENT = -1
# The square of the deviation that chance exceeds once in 20
_CHANCE = Decimal('3.84')

# A customer who had a trouble: the revenue of the twelve months before and
# after, and the reason (None when given nothing) and the cost of his gestures
Customer = namedtuple(
    'Customer', ['company', 'party', 'trouble', 'before', 'after', 'reason',
        'cost'])
Comparison = namedtuple(
    'Comparison', ['given', 'others', 'unmatched', 'given_before',
        'others_before', 'given_after', 'others_after', 'given_retention',
        'others_retention', 'cost', 'kept', 'verdict'])


def similarity(customer):
    "Return what similar customers have in common"
    if customer.before <= 0:
        return customer.trouble, None
    return customer.trouble, customer.before.adjusted()


def compare(given, others, minimum):
    """Return the Comparison of customers given a gesture and others

    The averages, the rates of retention (those with a revenue after) and
    what the gestures kept concern the customers given a gesture for whom
    there is a similar other one; unmatched is the number of the rest.
    There is no verdict and kept is None below the minimum of customers on
    one of the sides.
    """
    groups = defaultdict(lambda: ([], []))
    for customer in given:
        groups[similarity(customer)][0].append(customer)
    for customer in others:
        if similarity(customer) in groups:
            groups[similarity(customer)][1].append(customer)
    matched = [(g, o) for g, o in groups.values() if g and o]
    n_given = sum(len(g) for g, _ in matched)
    n_others = sum(len(o) for _, o in matched)
    cost = sum((c.cost for g, _ in matched for c in g), Decimal(0))
    unmatched = len(given) - n_given
    if not n_given:
        return Comparison(
            0, 0, unmatched, None, None, None, None, None, None, cost, None,
            'few')

    def average(side, value):
        "Average of the averages by the number of those with a gesture"
        total = Decimal(0)
        for group in matched:
            customers = group[side]
            total += len(group[0]) * sum(
                map(value, customers), Decimal(0)) / len(customers)
        return total / n_given

    def retained(customer):
        return Decimal(customer.after > 0)

    averages = [
        average(side, value)
        for value in [lambda c: c.before, lambda c: c.after, retained]
        for side in [0, 1]]
    given_after, others_after, given_rate, others_rate = averages[2:]
    kept, verdict = None, 'few'
    if min(n_given, n_others) >= minimum:
        kept = (given_after - others_after) * n_given
        variance = given_rate * (1 - given_rate) / n_given
        for group in matched:
            customers = group[1]
            rate = sum(map(retained, customers)) / len(customers)
            weight = Decimal(len(group[0])) / n_given
            variance += weight ** 2 * rate * (1 - rate) / len(customers)
        difference = given_rate - others_rate
        if difference ** 2 <= _CHANCE * variance:
            verdict = 'unclear'
        else:
            verdict = 'more' if difference > 0 else 'less'
    return Comparison(
        n_given, n_others, unmatched, *averages, cost, kept, verdict)


class ConcessionRetention(ModelSQL, ModelView):
    __name__ = 'prm.concession.retention'
    __string__ = "What Commercial Gestures Kept"

    company = fields.Many2One('company.company', "Company")
    reason = fields.Many2One(
        'prm.concession.reason', "Reason",
        help="The reason of the first gesture after the trouble.\n"
        "Empty for all the reasons.")
    given = fields.Function(fields.Integer(
            "With Gesture",
            help="The number of customers with a gesture who have a similar "
            "customer without."), 'get_figures')
    others = fields.Function(fields.Integer(
            "Without Gesture",
            help="The number of similar customers who had the same trouble "
            "and were given nothing."), 'get_figures')
    unmatched = fields.Function(fields.Integer(
            "Without Similar",
            help="The number of customers with a gesture who are like nobody "
            "without and are left out."), 'get_figures')
    given_before = fields.Function(Monetary(
            "Before, With", currency='currency', digits='currency',
            help="The average revenue in the twelve months before the "
            "trouble of a customer with a gesture."), 'get_figures')
    others_before = fields.Function(Monetary(
            "Before, Without", currency='currency', digits='currency',
            help="The average revenue in the twelve months before the "
            "trouble of a similar customer without a gesture."),
        'get_figures')
    given_after = fields.Function(Monetary(
            "After, With", currency='currency', digits='currency',
            help="The average revenue in the twelve months after the "
            "trouble of a customer with a gesture, "
            "before what the gestures took off it."), 'get_figures')
    others_after = fields.Function(Monetary(
            "After, Without", currency='currency', digits='currency',
            help="The average revenue in the twelve months after the "
            "trouble of a similar customer without a gesture."),
        'get_figures')
    given_retention = fields.Function(fields.Numeric(
            "Retention With", digits=(16, 4),
            help="The share of the customers with a gesture who bought in "
            "the twelve months after the trouble."), 'get_figures')
    others_retention = fields.Function(fields.Numeric(
            "Retention Without", digits=(16, 4),
            help="The share of the similar customers without a gesture who "
            "bought in the twelve months after the trouble."),
        'get_figures')
    cost = fields.Function(Monetary(
            "Cost", currency='currency', digits='currency',
            help="What the gestures to the customers cost in the twelve "
            "months after the trouble."), 'get_figures')
    kept = fields.Function(Monetary(
            "Revenue Kept", currency='currency', digits='currency',
            help="How much more the customers with a gesture bought than "
            "as many similar ones without.\n"
            "Empty when the samples are too small."), 'get_figures')
    cost_rate = fields.Function(fields.Numeric(
            "Cost per Unit Kept", digits=(16, 4),
            help="The cost divided by the revenue kept.\n"
            "Empty when the samples are too small or nothing was kept."),
        'get_figures')
    verdict = fields.Function(fields.Selection([
                ('few', "Too Few"),
                ('unclear', "No Clear Difference"),
                ('more', "Keeps More"),
                ('less', "Keeps Less"),
                ], "Verdict", sort=False,
            help="Whether the retention differs more than by chance, "
            "which would do so once in 20.\n"
            "There is no verdict when the samples are too small."),
        'get_figures')
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('reason', 'ASC NULLS FIRST'), ('id', 'ASC')]

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    def get_rec_name(self, name):
        if self.reason:
            return self.reason.rec_name
        return gettext('prm.msg_concession_retention_all')

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('reason.rec_name', *clause[1:])]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="verdict"]', 'visual',
                If(Eval('verdict') == 'more', 'success',
                    If(Eval('verdict') == 'less', 'danger',
                        If(Eval('verdict') == 'few', 'muted', '')))),
            ]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Concession = pool.get('prm.concession')
        concession = Concession.__table__()
        company = Transaction().context.get('company')
        where = concession.state == 'granted'
        if company is not None:
            where &= concession.company == company
        total = Concession.__table__()
        total_where = total.state == 'granted'
        if company is not None:
            total_where &= total.company == company
        return Union(
            concession.select(
                (concession.company * 2 ** 20 + concession.reason).as_('id'),
                concession.company.as_('company'),
                concession.reason.as_('reason'),
                where=where,
                group_by=[concession.company, concession.reason]),
            total.select(
                (total.company * 2 ** 20).as_('id'),
                total.company.as_('company'),
                cls.reason.sql_cast(Null).as_('reason'),
                where=total_where, group_by=[total.company]),
            all_=True)

    @classmethod
    def get_figures(cls, records, names):
        pool = Pool()
        Configuration = pool.get('prm.configuration')
        configuration = Configuration(1)
        minimums = {
            c: configuration.get_multivalue(
                'concession_minimum', company=c.id)
            for c in {r.company for r in records}}
        customers = defaultdict(list)
        for customer in cls.get_customers(list({r.company for r in records})):
            customers[customer.company].append(customer)
        result = {name: {} for name in names}
        for record in records:
            given, others = cls._split(record, customers[record.company.id])
            comparison = compare(given, others, minimums[record.company])
            figures = comparison._asdict()
            round_ = record.currency.round
            for name in [
                    'given_before', 'others_before', 'given_after',
                    'others_after', 'cost', 'kept']:
                if figures[name] is not None:
                    figures[name] = round_(figures[name])
            for name in ['given_retention', 'others_retention']:
                if figures[name] is not None:
                    figures[name] = round(figures[name], 4)
            figures['cost_rate'] = None
            if figures['kept'] and figures['kept'] > 0:
                figures['cost_rate'] = round(
                    figures['cost'] / figures['kept'], 4)
            for name in names:
                result[name][record.id] = figures[name]
        return result

    @classmethod
    def _split(cls, record, customers):
        "Return the customers with a gesture of the record and those without"
        given = [
            c for c in customers
            if c.reason and (
                not record.reason or c.reason == record.reason.id)]
        return given, [c for c in customers if not c.reason]

    @classmethod
    def get_customers(cls, companies):
        """Return the Customer of the period of the context

        Those who were given a gesture later than the months of the context
        but in the twelve months after the trouble are in neither group.
        """
        pool = Pool()
        Context = pool.get('prm.concession.retention.context')
        Date = pool.get('ir.date')
        context = Transaction().context
        start = context.get('start_date') or Context.default_start_date()
        end = context.get('end_date') or Date.today()
        months = context.get('months')
        if months is None:
            months = Context.default_months()
        # The twelve months after must be over
        end = min(end, Date.today() - _YEAR)
        if not companies or start > end:
            return []
        cursor = Transaction().connection.cursor()
        first = {}
        query = Union(*cls._trouble_queries(), all_=True)
        cursor.execute(*query.select(
                query.company, query.party, query.date, query.trouble,
                where=query.company.in_([c.id for c in companies])
                & (query.date >= start) & (query.date <= end)))
        for company, party, date, trouble in cursor:
            value = (to_date(date), trouble)
            key = company, party
            if key not in first or value < first[key]:
                first[key] = value
        if not first:
            return []

        gestures = cls._get_gestures(first, start, end + _YEAR)
        before, after = defaultdict(Decimal), defaultdict(Decimal)
        for company, party, date, amount in cls._get_revenue(
                first, start - _YEAR, end + _YEAR):
            key = company, party
            trouble_date, _ = first[key]
            if trouble_date - _YEAR <= date < trouble_date:
                before[key] += amount
            elif trouble_date < date <= trouble_date + _YEAR:
                after[key] += amount
        customers = []
        for key, (date, trouble) in first.items():
            given = [
                g for g in gestures[key] if date <= g[0] <= date + _YEAR]
            reason = None
            if given:
                first_date, reason, _ = min(given)
                if first_date > date + relativedelta(months=months):
                    continue
            customers.append(Customer(
                    *key, trouble, before[key], after[key], reason,
                    sum((c for _, _, c in given), Decimal(0))))
        return customers

    @classmethod
    def _trouble_queries(cls):
        """Return the SQL queries of the troubles of customers

        The columns are company, party, date and trouble: a done interaction
        in a bad mood and the request of a gesture that was rejected.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Concession = pool.get('prm.concession')
        Interaction = pool.get('prm.interaction')
        company = Company.__table__()
        concession = Concession.__table__()
        interaction = Interaction.__table__()
        return [
            interaction
            .join(company, condition=interaction.company == company.id)
            .select(
                interaction.company.as_('company'),
                interaction.party.as_('party'),
                sql_local_date(interaction.date, company.timezone).as_(
                    'date'),
                Literal('interaction').as_('trouble'),
                where=(interaction.state == 'done')
                & (interaction.population != 'staff')
                & (interaction.party != Null)
                & (interaction.sentiment <= _SENTIMENT)),
            concession.select(
                concession.company.as_('company'),
                concession.party.as_('party'),
                concession.date.as_('date'),
                Literal('rejected').as_('trouble'),
                where=concession.state == 'rejected'),
            ]

    @classmethod
    def _get_gestures(cls, keys, start, end):
        "Return by company and party the date, reason and cost of gestures"
        pool = Pool()
        Concession = pool.get('prm.concession')
        cursor = Transaction().connection.cursor()
        table = Concession.__table__()
        gestures = defaultdict(list)
        for parties in grouped_slice({p for _, p in keys}, _SIZE):
            cursor.execute(*table.select(
                    table.company, table.party, table.date, table.reason,
                    table.company_cost, table.company_amount,
                    where=(table.state == 'granted')
                    & fields.SQL_OPERATORS['in'](table.party, list(parties))
                    & (table.date >= start) & (table.date <= end)))
            for company, party, date, reason, cost, amount in cursor:
                cost = amount if cost is None else cost
                gestures[company, party].append(
                    (to_date(date), reason, to_decimal(cost or 0)))
        return gestures

    @classmethod
    def _get_revenue(cls, keys, start, end):
        "Yield the company, party, date and revenue before the gestures"
        pool = Pool()
        Performance = pool.get('prm.performance')
        cursor = Transaction().connection.cursor()
        query = Performance.gross_query(start, end)
        for parties in grouped_slice({p for _, p in keys}, _SIZE):
            cursor.execute(*query.select(
                    query.company, query.party, query.date,
                    sql_sum(query.amount).as_('amount'),
                    where=fields.SQL_OPERATORS['in'](
                        query.party, list(parties)),
                    group_by=[query.company, query.party, query.date]))
            for company, party, date, amount in cursor:
                if (company, party) in keys:
                    yield company, party, to_date(date), to_decimal(amount)


class ConcessionRetentionComplaint(metaclass=PoolMeta):
    __name__ = 'prm.concession.retention'

    @classmethod
    def _trouble_queries(cls):
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        complaint = Complaint.__table__()
        return super()._trouble_queries() + [
            complaint.select(
                complaint.company.as_('company'),
                complaint.customer.as_('party'),
                complaint.date.as_('date'),
                Literal('complaint').as_('trouble'),
                where=~complaint.state.in_(['draft', 'cancelled'])),
            ]


class ConcessionRetentionContext(ModelView):
    __name__ = 'prm.concession.retention.context'
    __string__ = "What Commercial Gestures Kept Context"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="The first date of the troubles.")
    end_date = fields.Date(
        "End Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        help="The last date of the troubles.\n"
        "Those of the last twelve months are never counted.")
    months = fields.Integer(
        "Months", required=True,
        domain=[
            ('months', '>=', 0),
            ('months', '<=', 12),
            ],
        help="A customer given a gesture within this number of months after "
        "his trouble was given it for the trouble.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        return Date.today() + relativedelta(years=-4)

    @classmethod
    def default_end_date(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        return Date.today() - _YEAR

    @classmethod
    def default_months(cls):
        return 3


class ConcessionRetentionParties(Wizard):
    "Open the customers that a row compares"
    __name__ = 'prm.concession.retention.parties'
    __string__ = "Compared Customers"

    start_state = 'open_'
    open_ = StateAction('party.act_party_form')

    def do_open_(self, action):
        pool = Pool()
        Retention = pool.get('prm.concession.retention')
        parties = set()
        for record in self.records:
            customers = [
                c for c in Retention.get_customers([record.company])
                if c.company == record.company.id]
            given, others = Retention._split(record, customers)
            alike = set(map(similarity, given))
            parties.update(c.party for c in given)
            parties.update(
                c.party for c in others if similarity(c) in alike)
        action['pyson_domain'] = PYSONEncoder().encode([
                ('id', 'in', list(parties)),
                ])
        return action, {}
