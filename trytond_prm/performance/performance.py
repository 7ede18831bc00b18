# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from functools import reduce
from operator import or_

from dateutil.relativedelta import relativedelta
from sql import Cast, Literal, Null, Union, Window, With
from sql.aggregate import Count, Max, Min, Sum
from sql.conditionals import Case, Coalesce
from sql.functions import Round

from trytond.i18n import gettext
from trytond.model import fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Date as PYSONDate
from trytond.pyson import Eval, If, PYSONEncoder
from trytond.transaction import Transaction
from trytond.wizard import StateAction, Wizard

from ..model import MonthMixin
from ..tools import (
    sql_amount, sql_exact, sql_month, sql_next_year, sql_ratio, sql_sum,
    to_date, to_decimal)
from .exceptions import PerformanceInvoicesError
from .measure import Extent, Measures, at_date
from .report import Report
from .smoothing import Month, smoothing
from .target import COUNT_MEASURES, MEASURE_SCOPES, MEASURES, SCOPES

# The months over that make a landing worth showing
LANDING_MONTHS = 3

_in = fields.SQL_OPERATORS['in']
_KEYS = ['company', 'scope', 'subject', 'measure', 'date']
_AMOUNTS = [
    'target', 'floor', 'stretch', 'actual', 'last_year', 'weighted_pipeline']
_CUMULATIVE = [
    'cumulative_target', 'cumulative_actual', 'cumulative_last_year']


class Performance(MonthMixin, Measures, Report):
    __name__ = 'prm.performance'
    __string__ = "Sales Performance"

    target = Monetary("Target", currency='currency', digits='currency')
    floor = Monetary("Floor", currency='currency', digits='currency')
    stretch = Monetary("Stretch", currency='currency', digits='currency')
    actual = Monetary(
        "Actual", currency='currency', digits='currency',
        help="What was obtained: for the revenue the posted invoice lines "
        "less the credit notes, by invoice date.")
    gap = Monetary(
        "Gap", currency='currency', digits='currency',
        help="The actual less the target.")
    cumulative_target = Monetary(
        "Cumulative Target", currency='currency', digits='currency')
    cumulative_actual = Monetary(
        "Cumulative Actual", currency='currency', digits='currency')
    cumulative_gap = Monetary(
        "Cumulative Gap", currency='currency', digits='currency')
    attainment = fields.Numeric(
        "Attainment", digits=(16, 4),
        help="The actual divided by the target.")
    cumulative_attainment = fields.Numeric(
        "Cumulative Attainment", digits=(16, 4),
        help="The cumulative actual divided by the cumulative target.")
    last_year = Monetary(
        "Last Year", currency='currency', digits='currency',
        help="The actual of the same month of the year before.")
    cumulative_last_year = Monetary(
        "Cumulative Last Year", currency='currency', digits='currency')
    growth = fields.Numeric(
        "Growth", digits=(16, 4),
        help="The actual compared to the one of the year before.")
    landing_low = Monetary(
        "Landing Low", currency='currency', digits='currency',
        help="Where the period ends if each remaining month reaches the "
        "part of its target that the worst month so far has reached.\n"
        "Empty for a month that is not over and before 3 months with a "
        "target.")
    landing_high = Monetary(
        "Landing High", currency='currency', digits='currency',
        help="Where the period ends if each remaining month reaches the "
        "part of its target that the best month so far has reached.\n"
        "Empty for a month that is not over and before 3 months with a "
        "target.")
    landing_months = fields.Integer(
        "Landing Sample",
        help="The number of months with a target that are over, from the "
        "start of the period to this one.")
    weighted_pipeline = Monetary(
        "Weighted Pipeline", currency='currency', digits='currency',
        states={
            'invisible': Eval('measure') != 'revenue',
            },
        help="The amount of the opportunities expected in the month, each "
        "weighted by its probability.")
    coverage = fields.Numeric(
        "Coverage", digits=(16, 4),
        states={
            'invisible': Eval('measure') != 'revenue',
            },
        help="The weighted pipeline divided by what remains of the target.")

    @classmethod
    def table_query(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        months = cls.months_query(last_year=True)
        partition = cls._window(months)
        until = Window(partition, order_by=[months.date.asc])

        def cumulate(column):
            return Sum(column, window=until)

        # The present month is not over: it tells nothing of the landing.
        today = Date.today()
        rate = Case(
            (months.date < today.replace(day=1),
                sql_ratio(months.actual, months.target, None)),
            else_=Null)
        months = months.select(
            *(getattr(months, name).as_(name) for name in _KEYS + _AMOUNTS),
            cumulate(months.target).as_('cumulative_target'),
            cumulate(months.actual).as_('cumulative_actual'),
            cumulate(months.last_year).as_('cumulative_last_year'),
            Sum(months.target, window=Window(partition)).as_('total'),
            Count(rate, window=until).as_('rates'),
            Min(rate, window=until).as_('rate_low'),
            Max(rate, window=until).as_('rate_high'))
        over = months.date < today.replace(day=1)

        def landing(rate):
            "The remaining months each go as the rate of the target"
            return Case(
                (over & (months.rates >= LANDING_MONTHS),
                    Round(sql_amount(
                            months.cumulative_actual
                            + (months.total - months.cumulative_target)
                            * rate), 2)),
                else_=Null)

        return months.select(
            *cls._key_columns(months),
            *(sql_amount(getattr(months, name)).as_(name)
                for name in _AMOUNTS + _CUMULATIVE),
            sql_amount(months.actual - months.target).as_('gap'),
            sql_amount(
                months.cumulative_actual - months.cumulative_target).as_(
                'cumulative_gap'),
            sql_ratio(months.actual, months.target).as_('attainment'),
            sql_ratio(
                months.cumulative_actual, months.cumulative_target).as_(
                'cumulative_attainment'),
            sql_ratio(
                months.actual - months.last_year, months.last_year).as_(
                'growth'),
            landing(months.rate_low).as_('landing_low'),
            landing(months.rate_high).as_('landing_high'),
            Case((over & (months.rates > 0), months.rates), else_=Null).as_(
                'landing_months'),
            sql_ratio(
                months.weighted_pipeline,
                months.target - months.actual).as_('coverage'))

    @classmethod
    def months_query(cls, last_year=False, companies=None):
        """Return the SQL query of the months that have a target or an actual

        The columns are the key (company, scope, subject: the identifier of
        the record of the scope, measure, date), has_target and the amounts
        as sql_exact. The context limits the rows by start_date, end_date,
        scope, measure and team, employee, partner or category. Without a
        scope in the context, all but the company are those with a target,
        and so are the measures but the revenue without a measure. The actual
        of the year before is only there with last_year. Without companies
        they are those of the user when the access is checked.
        """
        pool = Pool()
        Target = pool.get('prm.target')
        context = Transaction().context
        every = (
            context.get('scope') or 'company',
            context.get('measure') or 'revenue')
        measured = {every, *Target.get_measured()}
        extent = cls._extent(last_year, companies)
        # Another process may already have a target that this one does not
        # know: without its actual it would tell a wrong gap.
        queries = [cls._target_query(extent, measured)]
        withs = []
        for measure, _ in MEASURES:
            if context.get('measure') not in {measure, None}:
                continue
            scopes = [
                scope for scope in MEASURE_SCOPES[measure]
                if (scope, measure) in measured
                and context.get('scope') in {scope, None}]
            if not scopes:
                continue
            sources, needed = cls.sources(measure, scopes, extent)
            withs += needed
            for scope, source in sources.items():
                months = With(query=cls._source_months(
                        source, scope, measure,
                        all_=(scope, measure) == every))
                withs.append(months)
                queries += cls._actual_facts(
                    measure, scope, months, last_year)
            if measure == 'revenue':
                pipelines, needed = cls._pipeline_queries(scopes, extent)
                withs += needed
                queries += pipelines
        facts = Union(*queries, all_=True)
        return facts.select(
            *(getattr(facts, name).as_(name) for name in _KEYS),
            Max(facts.has_target).as_('has_target'),
            *(cls._month_amount(facts, name).as_(name) for name in _AMOUNTS),
            where=cls._subject_where(facts),
            group_by=[getattr(facts, name) for name in _KEYS],
            having=Max(facts.known) > 0,
            with_=withs)

    @classmethod
    def _month_amount(cls, facts, name):
        amount = Sum(getattr(facts, name))
        if name in {'target', 'actual', 'last_year'}:
            amount = Coalesce(amount, 0)
        elif name == 'weighted_pipeline':
            amount = Case(
                (facts.measure == 'revenue', Coalesce(amount, 0)),
                else_=Null)
        return amount

    @classmethod
    def _subject_where(cls, facts):
        context = Transaction().context
        scope = context.get('scope')
        if scope and scope != 'company' and context.get(scope):
            return facts.subject == context[scope]
        return Literal(True)

    @classmethod
    def _facts(cls, from_, company, scope, subject, date, known=1,
            has_target=0, measure='revenue', where=None, group_by=None,
            **amounts):
        "Return a select with the columns of the union of months_query"
        text, null = cls.scope.sql_cast, Cast(Null, 'NUMERIC')
        return from_.select(
            company.as_('company'),
            (text(Literal(scope)) if isinstance(scope, str) else scope
                ).as_('scope'),
            subject.as_('subject'),
            (text(Literal(measure)) if isinstance(measure, str) else measure
                ).as_('measure'),
            date.as_('date'),
            Literal(known).as_('known'),
            Literal(has_target).as_('has_target'),
            *(amounts.get(name, null).as_(name) for name in _AMOUNTS),
            where=where, group_by=group_by)

    @classmethod
    def _month_where(cls, column):
        "The condition that the first day of the month is in the context"
        context = Transaction().context
        where = Literal(True)
        if start_date := context.get('start_date'):
            where &= column >= start_date.replace(day=1)
        if end_date := context.get('end_date'):
            where &= column <= end_date
        return where

    @classmethod
    def _target_query(cls, extent, measured):
        pool = Pool()
        Line = pool.get('prm.target.line')
        Target = pool.get('prm.target')
        context = Transaction().context
        line = Line.__table__()
        target = Target.__table__()
        where = cls._month_where(line.date)
        if extent.companies:
            where &= target.company.in_(extent.companies)
        where &= reduce(or_, (
                (target.scope == scope) & (target.measure == measure)
                for scope, measure in measured))
        for name in ['scope', 'measure']:
            if context.get(name):
                where &= getattr(target, name) == context[name]
        return cls._facts(
            line.join(target, condition=line.target == target.id),
            target.company, target.scope,
            Case(
                *((target.scope == scope, getattr(target, scope))
                    for scope, _ in SCOPES),
                else_=target.company),
            line.date,
            measure=target.measure, has_target=1, where=where,
            target=sql_exact(line.amount),
            floor=sql_exact(line.floor),
            stretch=sql_exact(line.stretch))

    @classmethod
    def _extent(cls, last_year, companies):
        "Return the extent of the months of the context"
        pool = Pool()
        User = pool.get('res.user')
        transaction = Transaction()
        context = transaction.context
        start, end = context.get('start_date'), context.get('end_date')
        if start:
            start = start.replace(day=1)
        if end:
            end += relativedelta(day=31)
        periods = [(start, end)]
        if last_year and start:
            before = start - relativedelta(years=1)
            end_before = end and end + relativedelta(years=-1, day=31)
            if end and end_before < start - relativedelta(days=1):
                periods.append((before, end_before))
            else:
                periods = [(before, end)]
        if companies is None and transaction.check_access:
            companies = User.get_companies()
        return Extent(*periods, companies=companies)

    @classmethod
    def _pipeline_queries(cls, scopes, extent):
        """Return the facts of the weighted pipeline and what they need

        The open deals are those of the employee in charge, of the team, of
        the partner and of its territory of today.
        """
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        deals = Pipeline.deals_query()
        date = cls.date.sql_cast(deals.date)
        where = cls._month_where(date)
        if extent.companies:
            where &= deals.company.in_(extent.companies)
        deals = With(query=deals.select(
                deals.company.as_('company'),
                deals.opportunity.as_('opportunity'),
                date.as_('date'),
                deals.party.as_('party'),
                deals.employee.as_('employee'),
                sql_exact(Cast(deals.weighted_amount, 'NUMERIC')).as_(
                    'amount'),
                where=where))
        withs = [deals]

        def add(query):
            with_ = query if isinstance(query, With) else With(query=query)
            withs.append(with_)
            return with_

        queries = []
        for scope in scopes:
            from_, subject, amount = cls._pipeline_source(scope, deals, add)
            queries.append(cls._facts(
                    from_, deals.company, scope, subject, deals.date, known=0,
                    where=subject != Null, weighted_pipeline=amount))
        return queries, withs

    @classmethod
    def _pipeline_source(cls, scope, deals, add):
        """Return the deals joined to their subject, the subject and the
        amount of the deal that is for it"""
        pool = Pool()
        Date = pool.get('ir.date')
        Member = pool.get('prm.team.member')
        Partner = pool.get('prm.partner')
        if scope == 'team':
            member = Member.__table__()
            from_ = deals.join(
                member,
                condition=(member.employee == deals.employee)
                & at_date(member, Date.today()))
            return from_, member.team, deals.amount
        elif scope in {'partner', 'territory'}:
            partner = Partner.__table__()
            from_ = deals.join(
                partner,
                condition=(partner.company == deals.company)
                & (partner.party == deals.party)
                & (partner.state != 'ended'))
            if scope == 'partner':
                return from_, partner.id, deals.amount
            tree = cls._descendants('prm.territory', add)
            from_ = from_.join(
                tree, condition=partner.territory == tree.record)
            return from_, tree.ancestor, deals.amount
        elif scope == 'category':
            products = add(cls._deal_products_query(deals))
            pairs = cls._category_pairs(add)
            from_ = (deals
                .join(products,
                    condition=products.opportunity == deals.opportunity)
                .join(pairs, condition=pairs.template == products.template))
            return from_, pairs.category, products.amount
        return deals, getattr(deals, scope), deals.amount

    @classmethod
    def _deal_products_query(cls, deals):
        """Return the SQL query of the amounts of the deals by product

        The columns are opportunity, template and amount. Without
        opportunities, there is none.
        """
        return deals.select(
            deals.opportunity.as_('opportunity'),
            Cast(Null, 'INTEGER').as_('template'),
            deals.amount.as_('amount'),
            where=Literal(False))

    @classmethod
    def _source_months(cls, source, scope, measure, all_=True):
        """Return the query of the source by month, company and subject

        Without all, the subjects are those that have a target.
        """
        pool = Pool()
        Target = pool.get('prm.target')
        subject = getattr(source, scope)
        where = subject != Null
        if not all_:
            target = Target.__table__()
            where &= subject.in_(target.select(
                    getattr(target, scope),
                    where=(target.scope == scope)
                    & (target.measure == measure)))
        rows = source.select(
            source.company.as_('company'),
            subject.as_('subject'),
            sql_month(source.date).as_('date'),
            source.amount.as_('amount'),
            where=where)
        return rows.select(
            rows.company, rows.subject, rows.date,
            Sum(rows.amount).as_('amount'),
            group_by=[rows.company, rows.subject, rows.date])

    @classmethod
    def _actual_facts(cls, measure, scope, months, last_year):
        facts = [cls._facts(
                months, months.company, scope, months.subject, months.date,
                measure=measure, where=cls._month_where(months.date),
                actual=months.amount)]
        if last_year:
            date = sql_next_year(months.date)
            facts.append(cls._facts(
                    months, months.company, scope, months.subject, date,
                    known=0, measure=measure, where=cls._month_where(date),
                    last_year=months.amount))
        return facts

    @classmethod
    def view_attributes(cls):
        started = Eval('date', PYSONDate()) <= PYSONDate()
        visual = If((Eval('target', 0) > 0) & started,
            If(Eval('actual', 0) >= Eval('target', 0), 'success',
                If(Eval('actual', 0) < Eval('floor', 0), 'danger',
                    'warning')),
            '')
        # A graph draws what is empty or not yet known at zero otherwise
        return super().view_attributes() + [
            *((f'/tree/field[@name="{name}"]', 'visual', visual)
                for name in ['gap', 'attainment']),
            ('/graph/y/field[@name="cumulative_actual"]', 'domain', started),
            *((f'/graph/y/field[@name="{name}"]', 'domain',
                    Eval(name, -1) >= 0)
                for name in ['landing_low', 'landing_high']),
            ]

    @classmethod
    def get_invoices(cls, performances):
        """Return the identifiers of the invoices that make the actual

        What is counted is not made of invoices.
        """
        invoices = {}
        cursor = Transaction().connection.cursor()
        by_measure = defaultdict(list)
        for performance in performances:
            if performance.measure not in COUNT_MEASURES:
                by_measure[performance.measure].append(performance)
        for measure, rows in by_measure.items():
            dates = [p.date for p in rows]
            sources, withs = cls.sources(
                measure, list({p.scope for p in rows}),
                Extent(
                    (min(dates), max(dates) + relativedelta(day=31)),
                    companies=list({p.company.id for p in rows})),
                'invoice')
            query = Union(*(
                    source.select(
                        source.invoice,
                        where=reduce(or_, (
                                (source.company == p.company.id)
                                & (getattr(source, scope) == p.subject.id)
                                & (sql_month(source.date) == p.date)
                                for p in rows if p.scope == scope)))
                    for scope, source in sources.items()))
            cursor.execute(*query.select(
                    query.invoice, group_by=[query.invoice], with_=withs))
            invoices.update(dict.fromkeys(invoice for invoice, in cursor))
        return list(invoices)

    @classmethod
    def attributed_amounts(cls, start_date, end_date, employees=None):
        """Return the rows of employee, team, date and actual revenue

        The employee and the team, those of the date, are identifiers or
        None. The rows are all of the companies and the employees if any.
        """
        sources, withs = cls.sources(
            'revenue', ['employee'], Extent((start_date, end_date)))
        source = sources['employee']
        where = Literal(True)
        if employees is not None:
            where = source.employee.in_([e.id for e in employees])
        cursor = Transaction().connection.cursor()
        cursor.execute(*source.select(
                source.employee, source.team, source.date,
                sql_amount(Sum(source.amount)).as_('amount'),
                where=where,
                group_by=[source.employee, source.team, source.date],
                with_=withs))
        return [
            (employee, team, to_date(date), to_decimal(amount))
            for employee, team, date, amount in cursor]

    @classmethod
    def day_amounts(cls, measure, scope, subjects, start_date, end_date):
        """Return the pairs of date and actual by company and subject

        The subjects are records of the scope, the keys identifiers.
        """
        sources, withs = cls.sources(
            measure, [scope], Extent((start_date, end_date)))
        source = sources[scope]
        subject = getattr(source, scope)
        cursor = Transaction().connection.cursor()
        cursor.execute(*source.select(
                source.company, subject, source.date,
                sql_amount(Sum(source.amount)).as_('amount'),
                where=_in(subject, [s.id for s in subjects]),
                group_by=[source.company, subject, source.date],
                with_=withs))
        amounts = defaultdict(list)
        for company, subject, date, amount in cursor:
            amounts[company, subject].append(
                (to_date(date), to_decimal(amount)))
        return amounts

    @classmethod
    def party_amounts(cls, parties, start_date, end_date):
        """Return the rows of company, party, date and actual revenue

        The parties are pairs of identifiers of a company and a party.
        """
        if not parties:
            return []
        lines = cls.actual_query(start_date, end_date)
        cursor = Transaction().connection.cursor()
        cursor.execute(*lines.select(
                lines.company, lines.party, lines.date,
                sql_sum(lines.amount).as_('amount'),
                where=lines.party.in_([party for _, party in parties]),
                group_by=[lines.company, lines.party, lines.date]))
        return [
            (company, party, to_date(date), to_decimal(amount))
            for company, party, date, amount in cursor
            if (company, party) in parties]

    @classmethod
    def company_months(cls, companies, start_date, end_date):
        """Return the list of Month by company, ordered by date

        They are the months of the period that have a revenue target for the
        company.
        """
        with Transaction().set_context(
                start_date=start_date, end_date=end_date,
                scope='company', measure='revenue'):
            query = cls.months_query(companies=[c.id for c in companies])
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.company,
                query.date,
                sql_amount(query.target).as_('target'),
                sql_amount(query.actual).as_('actual'),
                where=query.has_target > 0,
                order_by=[query.date.asc]))
        currencies = {c.id: c.currency for c in companies}
        months = {c.id: [] for c in companies}
        for company, date, target, actual in cursor:
            target, actual = (
                currencies[company].round(to_decimal(amount))
                for amount in [target, actual])
            months[company].append(Month(to_date(date), target, actual))
        return months

    @classmethod
    def smoothing(cls, company, start_date, end_date):
        """Return the Smoothing of the revenue of the company over the period

        See smoothing for the formula.
        """
        months = cls.company_months([company], start_date, end_date)
        return smoothing(months[company.id])


class PerformanceInvoices(Wizard):
    __name__ = 'prm.performance.invoices'
    __string__ = "Invoices of the Performance"

    start_state = 'open_'
    open_ = StateAction('account_invoice.act_invoice_form')

    def do_open_(self, action):
        pool = Pool()
        Performance = pool.get('prm.performance')
        if all(r.measure in COUNT_MEASURES for r in self.records):
            raise PerformanceInvoicesError(gettext(
                    'prm.msg_performance_invoices_measure',
                    performance=self.record.rec_name))
        action['pyson_domain'] = PYSONEncoder().encode([
                ('id', 'in', Performance.get_invoices(self.records)),
                ])
        action['domains'] = []
        action['name'] += f" ({self.record.rec_name})"
        return action, {}
