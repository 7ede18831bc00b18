# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import namedtuple
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql import Cast, Literal, Null, Union, Window, With
from sql.aggregate import Count, Max, Sum
from sql.conditionals import Case, Coalesce
from sql.functions import Extract
from sql.operators import Exists

from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If, PYSONEncoder
from trytond.transaction import Transaction
from trytond.wizard import StateAction, Wizard

from ..model import AmountsMixin
from ..tools import (
    split, sql_amount, sql_exact, sql_local_date, sql_month, sql_ratio)
from .target import MEASURE_SCOPES, MEASURES, SCOPES

Month = namedtuple('Month', ['date', 'target', 'actual'])
Smoothing = namedtuple('Smoothing', ['level', 'smoothing', 'troughs'])

_KEYS = ['company', 'scope', 'subject', 'measure', 'date']
_AMOUNTS = ['target', 'floor', 'stretch', 'actual', 'weighted_pipeline']


def smoothing(months):
    """Return the Smoothing of a sequence of Month

    The level is the highest target of the months, the smoothing is
    Σ min(actual, level) / (n × level) over the n months, rounded to 6
    digits, and the troughs are the pairs of date and of what the actual
    lacks to reach the level. The level and the smoothing are None without
    any target above zero.
    """
    level = max((month.target for month in months), default=0)
    if level <= 0:
        return Smoothing(None, None, [])
    filled = sum(min(month.actual, level) for month in months)
    troughs = [
        (month.date, level - month.actual)
        for month in months if month.actual < level]
    return Smoothing(
        level, round(filled / (len(months) * level), 6), troughs)


class _Report(AmountsMixin, ModelSQL, ModelView):

    company = fields.Many2One('company.company', "Company")
    scope = fields.Selection(SCOPES, "Scope", sort=False)
    measure = fields.Selection(MEASURES, "Measure", sort=False)
    team = fields.Many2One(
        'prm.team', "Team",
        states={
            'invisible': Eval('scope') != 'team',
            })
    employee = fields.Many2One(
        'company.employee', "Employee",
        states={
            'invisible': Eval('scope') != 'employee',
            })
    partner = fields.Many2One(
        'prm.partner', "Partner",
        states={
            'invisible': Eval('scope') != 'partner',
            })
    category = fields.Many2One(
        'product.category', "Category",
        states={
            'invisible': Eval('scope') != 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    date = fields.Date("Month", help="The first day of the month.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('date', 'DESC'),
            ('scope', 'ASC'),
            ('id', 'ASC'),
            ]

    @fields.depends('company', 'measure')
    def on_change_with_currency(self, name=None):
        if self.company and self.measure == 'revenue':
            return self.company.currency

    @property
    def subject(self):
        "The record whose result is measured"
        return getattr(self, self.scope)

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return (f"{self.subject.rec_name} "
            f"{Lang.get().strftime(self.date, '%m/%Y')}")

    @classmethod
    def _key_columns(cls, months):
        "The columns of the identifier and the key from the months query"
        return [
            cls._column_id(months).as_('id'),
            months.company.as_('company'),
            months.scope.as_('scope'),
            months.measure.as_('measure'),
            *(Case((months.scope == scope, months.subject),
                    else_=Null).as_(scope)
                for scope, _ in SCOPES if scope != 'company'),
            months.date.as_('date'),
            ]

    @classmethod
    def _column_id(cls, months):
        # Neither the context nor new rows change the identifier of a month:
        # 12 bits for the month, 3 for the measure, 3 for the scope.
        def code(column, selection):
            return Case(*(
                    (column == value, i)
                    for i, (value, _) in enumerate(selection)))
        subject = Cast(months.subject, 'BIGINT')
        # A category may be of several companies.
        identifier = Case(
            (months.scope == 'category',
                Cast(months.company, 'BIGINT') * 2 ** 22 + subject),
            else_=subject)
        identifier = identifier * 8 + code(months.scope, SCOPES)
        identifier = identifier * 8 + code(months.measure, MEASURES)
        return (identifier * 4096
            + (Cast(Extract('YEAR', months.date), 'BIGINT') - 1850) * 12
            + Cast(Extract('MONTH', months.date), 'BIGINT'))

    @classmethod
    def _window(cls, months):
        """Return the partition of the cumulated columns

        It is the range of the context if it has a start date, else each
        calendar year.
        """
        partition = [
            months.company, months.scope, months.subject, months.measure]
        if not Transaction().context.get('start_date'):
            partition.append(Extract('YEAR', months.date))
        return partition


class Performance(_Report):
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
    weighted_pipeline = Monetary(
        "Weighted Pipeline", currency='currency', digits='currency',
        states={
            'invisible': Eval('scope') != 'company',
            },
        help="The amount of the opportunities expected in the month, each "
        "weighted by its probability.")
    coverage = fields.Numeric(
        "Coverage", digits=(16, 4),
        states={
            'invisible': Eval('scope') != 'company',
            },
        help="The weighted pipeline divided by what remains of the target.")

    @classmethod
    def actual_query(cls, start_date=None, end_date=None):
        """Return the SQL query of the actual revenue, one row per line

        The columns are company, invoice, line (of the invoice), party, date
        (of the invoice) and amount: untaxed, in the currency of the company
        as it was posted, negative for a credit note. The dates are
        inclusive.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        MoveLine = pool.get('account.move.line')
        invoice = Invoice.__table__()
        line = MoveLine.__table__()
        where = (
            cls._invoice_where(invoice, start_date, end_date)
            & line.origin.like('account.invoice.line,%'))
        return (invoice
            .join(line, condition=line.move == invoice.move)
            .select(
                invoice.company.as_('company'),
                invoice.id.as_('invoice'),
                MoveLine.origin.sql_id(line.origin, MoveLine).as_('line'),
                invoice.party.as_('party'),
                invoice.invoice_date.as_('date'),
                (line.credit - line.debit).as_('amount'),
                where=where))

    @classmethod
    def quantity_query(cls, start_date=None, end_date=None):
        """Return the SQL query of the quantity sold, one row per line

        The columns are those of actual_query. The amount is the quantity in
        the default unit of the product, a line without product has none.
        """
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        Product = pool.get('product.product')
        Template = pool.get('product.template')
        Unit = pool.get('product.uom')
        invoice = Invoice.__table__()
        line = Line.__table__()
        product = Product.__table__()
        template = Template.__table__()
        unit = Unit.__table__()
        default_unit = Unit.__table__()
        return (invoice
            .join(line, condition=line.invoice == invoice.id)
            .join(product, condition=line.product == product.id)
            .join(template, condition=product.template == template.id)
            .join(unit, condition=line.unit == unit.id)
            .join(default_unit,
                condition=template.default_uom == default_unit.id)
            .select(
                invoice.company.as_('company'),
                invoice.id.as_('invoice'),
                line.id.as_('line'),
                invoice.party.as_('party'),
                invoice.invoice_date.as_('date'),
                Cast(line.quantity * unit.factor / default_unit.factor,
                    'NUMERIC').as_('amount'),
                where=cls._invoice_where(invoice, start_date, end_date)
                & (line.type == 'line')))

    @classmethod
    def _invoice_where(cls, invoice, start_date=None, end_date=None):
        where = (
            (invoice.type == 'out')
            & invoice.state.in_(['posted', 'paid']))
        if start_date:
            where &= invoice.invoice_date >= start_date
        if end_date:
            where &= invoice.invoice_date <= end_date
        return where

    @classmethod
    def table_query(cls):
        months = cls.months_query()
        partition = cls._window(months)

        def cumulate(column):
            return Sum(column, window=Window(
                    partition, order_by=[months.date.asc]))

        cumulative_target = cumulate(months.target)
        cumulative_actual = cumulate(months.actual)
        return months.select(
            *cls._key_columns(months),
            *(sql_amount(getattr(months, name)).as_(name)
                for name in _AMOUNTS),
            sql_amount(months.actual - months.target).as_('gap'),
            sql_amount(cumulative_target).as_('cumulative_target'),
            sql_amount(cumulative_actual).as_('cumulative_actual'),
            sql_amount(cumulative_actual - cumulative_target).as_(
                'cumulative_gap'),
            sql_ratio(months.actual, months.target).as_('attainment'),
            sql_ratio(cumulative_actual, cumulative_target).as_(
                'cumulative_attainment'),
            sql_ratio(
                months.weighted_pipeline,
                months.target - months.actual).as_('coverage'))

    @classmethod
    def months_query(cls):
        """Return the SQL query of the months that have a target or an actual

        The columns are the key (company, scope, subject: the identifier of
        the record of the scope, measure, date), has_target and the amounts
        as sql_exact. The context limits the rows by start_date, end_date,
        scope, measure and team, employee, partner or category. Without a
        scope in the context, all but the company are those with a target,
        and so are the measures but the revenue without a measure.
        """
        context = Transaction().context
        scope = context.get('scope')
        queries = [cls._target_query()]
        withs = []
        for measure, _ in MEASURES:
            if context.get('measure') not in {measure, None}:
                continue
            scopes = [
                name for name in MEASURE_SCOPES[measure]
                if not scope or name == scope]
            if measure in {'revenue', 'quantity'}:
                lines = cls._lines_query(measure)
                actual = With(query=cls._by_party_query(lines))
                sources = dict.fromkeys(
                    scopes, With(query=cls._attributed_query(actual)))
                if 'company' in scopes:
                    sources['company'] = actual
                if 'category' in scopes:
                    sources['category'] = With(
                        query=cls._category_query(lines, withs))
                withs.append(actual)
            else:
                query = {
                    'interactions': cls._interaction_query,
                    'new_partners': cls._new_partner_query,
                    }[measure]()
                sources = dict.fromkeys(scopes, With(query=query))
            for name, source in sources.items():
                if source not in withs:
                    withs.append(source)
                queries.append(cls._actual_query(measure, name, source))
            if measure == 'revenue' and 'company' in scopes:
                queries.append(cls._pipeline_query())
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
        if name in {'target', 'actual'}:
            amount = Coalesce(amount, 0)
        elif name == 'weighted_pipeline':
            amount = Case(
                ((facts.scope == 'company') & (facts.measure == 'revenue'),
                    Coalesce(amount, 0)),
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
    def _target_query(cls):
        pool = Pool()
        Line = pool.get('prm.target.line')
        Target = pool.get('prm.target')
        context = Transaction().context
        line = Line.__table__()
        target = Target.__table__()
        where = cls._month_where(line.date)
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
    def _dates(cls):
        "Return the first and the last day of the months of the context"
        context = Transaction().context
        start_date, end_date = context.get('start_date'), None
        if start_date:
            start_date = start_date.replace(day=1)
        if context.get('end_date'):
            end_date = context['end_date'] + relativedelta(day=31)
        return start_date, end_date

    @classmethod
    def _lines_query(cls, measure):
        start_date, end_date = cls._dates()
        if measure == 'quantity':
            return cls.quantity_query(start_date, end_date)
        return cls.actual_query(start_date, end_date)

    @classmethod
    def _by_party_query(cls, lines):
        "Return the query of the lines by company, party and day"
        return lines.select(
            lines.company.as_('company'),
            lines.party.as_('party'),
            lines.date.as_('date'),
            Sum(sql_exact(lines.amount)).as_('amount'),
            group_by=[lines.company, lines.party, lines.date])

    @classmethod
    def _category_query(cls, lines, withs, *names):
        """Return the query of the lines by category of their product

        A category includes its children. The queries that it needs are added
        to withs, the names are the columns of the lines to keep.
        """
        pool = Pool()
        Category = pool.get('product.category')
        Line = pool.get('account.invoice.line')
        Product = pool.get('product.product')
        TemplateCategory = pool.get('product.template-product.category')

        category, child = Category.__table__(), Category.__table__()
        tree = With('ancestor', 'category', recursive=True)
        tree.query = category.select(category.id, category.id)
        tree.query |= (child
            .join(tree, condition=child.parent == tree.category)
            .select(tree.ancestor, child.id))
        template_category = TemplateCategory.__table__()
        pairs = (tree
            .join(template_category,
                condition=template_category.category == tree.category)
            .select(
                tree.ancestor.as_('category'),
                template_category.template.as_('template'),
                group_by=[tree.ancestor, template_category.template]))
        withs.append(tree)
        line = Line.__table__()
        product = Product.__table__()
        return (lines
            .join(line, condition=line.id == lines.line)
            .join(product, condition=line.product == product.id)
            .join(pairs, condition=pairs.template == product.template)
            .select(
                lines.company.as_('company'),
                lines.date.as_('date'),
                sql_exact(lines.amount).as_('amount'),
                *(getattr(lines, name).as_(name) for name in names),
                pairs.category.as_('category')))

    @classmethod
    def _interaction_query(cls):
        "Return the query of the done interactions, except of the staff"
        pool = Pool()
        Company = pool.get('company.company')
        Interaction = pool.get('prm.interaction')
        Member = pool.get('prm.team.member')
        company = Company.__table__()
        interaction = Interaction.__table__()
        member = Member.__table__()
        start_date, end_date = cls._dates()
        # The time zone moves a date by one day at most.
        where = (
            (interaction.state == 'done')
            & (interaction.population != 'staff'))
        day = dt.timedelta(days=1)
        if start_date:
            where &= interaction.date >= dt.datetime.combine(
                start_date - day, dt.time())
        if end_date:
            where &= interaction.date < dt.datetime.combine(
                end_date + 2 * day, dt.time())
        interactions = (interaction
            .join(company, condition=interaction.company == company.id)
            .select(
                interaction.company.as_('company'),
                sql_local_date(interaction.date, company.timezone).as_('date'),
                interaction.partner.as_('partner'),
                interaction.employee.as_('employee'),
                where=where))
        date = interactions.date
        where = Literal(True)
        if start_date:
            where &= date >= start_date
        if end_date:
            where &= date <= end_date
        return (interactions
            .join(member, 'LEFT',
                condition=(member.employee == interactions.employee)
                & cls._at_date(member, date))
            .select(
                interactions.company.as_('company'),
                date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                interactions.partner.as_('partner'),
                interactions.employee.as_('employee'),
                member.team.as_('team'),
                where=where))

    @classmethod
    def _new_partner_query(cls):
        "Return the query of the partners that start, except the prospects"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Member = pool.get('prm.team.member')
        Partner = pool.get('prm.partner')
        manager = Manager.__table__()
        member = Member.__table__()
        partner = Partner.__table__()
        start_date, end_date = cls._dates()
        where = (partner.state != 'prospect') & (partner.previous == Null)
        if start_date:
            where &= partner.start_date >= start_date
        if end_date:
            where &= partner.start_date <= end_date
        return (partner
            .join(manager, 'LEFT',
                condition=(manager.partner == partner.id)
                & cls._at_date(manager, partner.start_date))
            .join(member, 'LEFT',
                condition=(member.employee == manager.employee)
                & cls._at_date(member, partner.start_date))
            .select(
                partner.company.as_('company'),
                partner.start_date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                manager.employee.as_('employee'),
                member.team.as_('team'),
                where=where))

    @staticmethod
    def _at_date(table, date):
        return (
            ((table.start_date == Null) | (table.start_date <= date))
            & ((table.end_date == Null) | (table.end_date >= date)))

    @classmethod
    def _pipeline_query(cls):
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        pipeline = Pipeline.__table__()
        date = cls.date.sql_cast(pipeline.date)
        amount = Cast(pipeline.weighted_amount, 'NUMERIC')
        return cls._facts(
            pipeline, pipeline.company, 'company', pipeline.company,
            date, known=0, where=cls._month_where(date),
            weighted_pipeline=sql_exact(amount))

    @classmethod
    def _attributed_query(cls, actual, *names):
        """Return the query of the actual with its partner, employee and team

        The names are the columns of actual to keep besides them.

        The partner is the one of the party at the date, the employee its
        manager at the date and the team the one of the employee at the date.
        There is at most one of each so a euro counts once.
        """
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Member = pool.get('prm.team.member')
        Partner = pool.get('prm.partner')

        # A partner may be restarted the day it ends: the last one has it.
        partner = Partner.__table__()
        partner = partner.select(
            partner.id,
            where=(partner.company == actual.company)
            & (partner.party == actual.party)
            & cls._at_date(partner, actual.date),
            order_by=[partner.start_date.desc, partner.id.desc], limit=1)
        by_partner = actual.select(
            actual.company.as_('company'),
            actual.date.as_('date'),
            actual.amount.as_('amount'),
            *(getattr(actual, name).as_(name) for name in names),
            partner.as_('partner'))
        manager = Manager.__table__()
        member = Member.__table__()
        return (by_partner
            .join(manager, 'LEFT',
                condition=(manager.partner == by_partner.partner)
                & cls._at_date(manager, by_partner.date))
            .join(member, 'LEFT',
                condition=(member.employee == manager.employee)
                & cls._at_date(member, by_partner.date))
            .select(
                by_partner.company.as_('company'),
                by_partner.date.as_('date'),
                by_partner.amount.as_('amount'),
                by_partner.partner.as_('partner'),
                *(getattr(by_partner, name).as_(name) for name in names),
                manager.employee.as_('employee'),
                member.team.as_('team')))

    @classmethod
    def _actual_query(cls, measure, scope, source):
        pool = Pool()
        Target = pool.get('prm.target')
        context = Transaction().context
        subject = getattr(source, scope)
        where = subject != Null
        if (measure != (context.get('measure') or 'revenue')
                or scope != (context.get('scope') or 'company')):
            target = Target.__table__()
            condition = (
                (target.scope == scope) & (target.measure == measure))
            # The first one spares the whole source.
            where &= Exists(target.select(Literal(1), where=condition))
            where &= subject.in_(
                target.select(getattr(target, scope), where=condition))
        return cls._facts(
            source, source.company, scope, subject, sql_month(source.date),
            measure=measure, where=where, actual=source.amount)

    @classmethod
    def view_attributes(cls):
        visual = If(Eval('target', 0) > 0,
            If(Eval('actual', 0) >= Eval('target', 0), 'success',
                If(Eval('actual', 0) < Eval('floor', 0), 'danger',
                    'warning')),
            '')
        return super().view_attributes() + [
            (f'/tree/field[@name="{name}"]', 'visual', visual)
            for name in ['gap', 'attainment']]

    @classmethod
    def get_invoices(cls, performances):
        "Return the identifiers of the invoices that make the actual"
        performances = [p for p in performances if p.measure == 'revenue']
        if not performances:
            return []
        dates = [p.date for p in performances]
        lines = cls.actual_query(
            min(dates), max(dates) + relativedelta(day=31))
        withs = []
        scopes = {p.scope for p in performances}
        attributed = cls._attributed_query(lines, 'invoice')
        if 'category' in scopes:
            attributed = cls._category_query(lines, withs, 'invoice')
        cursor = Transaction().connection.cursor()
        where = Literal(False)
        for performance in performances:
            clause = (
                (attributed.company == performance.company.id)
                & (sql_month(attributed.date) == performance.date))
            if performance.scope != 'company':
                clause &= (
                    getattr(attributed, performance.scope)
                    == performance.subject.id)
            where |= clause
        cursor.execute(*attributed.select(
                attributed.invoice, where=where, with_=withs))
        return list({invoice for invoice, in cursor})

    @classmethod
    def attributed_amounts(cls, start_date, end_date, employees=None):
        """Return the rows of employee, team, date and actual revenue

        The employee and the team, those of the date, are identifiers or
        None. The rows are all of the companies and the employees if any.
        """
        lines = cls.actual_query(start_date, end_date)
        query = cls._attributed_query(cls._by_party_query(lines))
        where = Literal(True)
        if employees is not None:
            where = query.employee.in_([e.id for e in employees])
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.employee, query.team, query.date,
                sql_amount(Sum(query.amount)).as_('amount'),
                where=where,
                group_by=[query.employee, query.team, query.date]))
        return [
            (employee, team,
                dt.date.fromisoformat(date) if isinstance(date, str) else date,
                Decimal(str(amount)))
            for employee, team, date, amount in cursor]

    @classmethod
    def party_amounts(cls, parties, start_date, end_date):
        """Return the rows of company, party, date and actual revenue

        The parties are pairs of identifiers of a company and a party.
        """
        if not parties:
            return []
        query = cls._by_party_query(cls.actual_query(start_date, end_date))
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.company, query.party, query.date,
                sql_amount(query.amount).as_('amount'),
                where=query.party.in_([party for _, party in parties])))
        return [
            (company, party,
                dt.date.fromisoformat(date) if isinstance(date, str) else date,
                Decimal(str(amount)))
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
            query = cls.months_query()
        cursor = Transaction().connection.cursor()
        cursor.execute(*query.select(
                query.company,
                query.date,
                sql_amount(query.target).as_('target'),
                sql_amount(query.actual).as_('actual'),
                where=query.company.in_([c.id for c in companies])
                & (query.has_target > 0),
                order_by=[query.date.asc]))
        currencies = {c.id: c.currency for c in companies}
        months = {c.id: [] for c in companies}
        for company, date, target, actual in cursor:
            if isinstance(date, str):
                date = dt.date.fromisoformat(date)
            target, actual = (
                currencies[company].round(Decimal(str(amount)))
                for amount in [target, actual])
            months[company].append(Month(date, target, actual))
        return months

    @classmethod
    def smoothing(cls, company, start_date, end_date):
        """Return the Smoothing of the revenue of the company over the period

        See smoothing for the formula.
        """
        months = cls.company_months([company], start_date, end_date)
        return smoothing(months[company.id])


class PerformanceContext(ModelView):
    __name__ = 'prm.performance.context'
    __string__ = "Sales Performance Context"

    company = fields.Many2One('company.company', "Company", required=True)
    start_date = fields.Date(
        "Start Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ],
        help="The amounts are cumulated from this date, "
        "or from the first of January of each year when empty.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ])
    scope = fields.Selection(
        [(None, "")] + SCOPES, "Scope", sort=False,
        help="Those that have a target when empty.")
    team = fields.Many2One(
        'prm.team', "Team",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'team',
            })
    employee = fields.Many2One(
        'company.employee', "Employee",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'employee',
            })
    partner = fields.Many2One(
        'prm.partner', "Partner",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'partner',
            })
    category = fields.Many2One(
        'product.category', "Category",
        states={
            'invisible': Eval('scope') != 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    measure = fields.Selection(
        [(None, "")] + MEASURES, "Measure", sort=False,
        help="The revenue, and the others that have a target, when empty.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_start_date(cls):
        return cls._default_date('start_date', month=1, day=1)

    @classmethod
    def default_end_date(cls):
        return cls._default_date('end_date', month=12, day=31)

    @classmethod
    def default_scope(cls):
        return Transaction().context.get('scope')

    @classmethod
    def default_measure(cls):
        return Transaction().context.get('measure')

    @classmethod
    def _default_date(cls, name, **replace):
        pool = Pool()
        Date = pool.get('ir.date')
        context = Transaction().context
        if name in context:
            return context[name]
        return Date.today().replace(**replace)


class PerformanceInvoices(Wizard):
    __name__ = 'prm.performance.invoices'
    __string__ = "Invoices of the Performance"

    start_state = 'open_'
    open_ = StateAction('account_invoice.act_invoice_form')

    def do_open_(self, action):
        pool = Pool()
        Performance = pool.get('prm.performance')
        action['pyson_domain'] = PYSONEncoder().encode([
                ('id', 'in', Performance.get_invoices(self.records)),
                ])
        action['domains'] = []
        action['name'] += f" ({self.record.rec_name})"
        return action, {}


class SmoothingMonth(_Report):
    __name__ = 'prm.smoothing'
    __string__ = "Smoothing"

    target = Monetary("Target", currency='currency', digits='currency')
    actual = Monetary(
        "Actual", currency='currency', digits='currency',
        help="The posted invoice lines less the credit notes, by invoice "
        "date.")
    level = Monetary(
        "Level", currency='currency', digits='currency',
        help="The highest monthly target of the period.")
    trough = Monetary(
        "Trough", currency='currency', digits='currency',
        help="What the actual of the month lacks to reach the level.")
    smoothing = fields.Numeric(
        "Smoothing", digits=(16, 6),
        help="The share of the level that the actual of the months of the "
        "period fills; what exceeds the level does not count.")
    actions = fields.Function(
        fields.Many2Many('prm.plan.action', None, None, "Filling Actions"),
        'get_actions')
    expected = fields.Function(Monetary(
            "Expected", currency='currency', digits='currency',
            help="The expected revenue of the filling actions, each split "
            "equally between the months it fills."),
        'get_actions')
    obtained = fields.Function(Monetary(
            "Obtained", currency='currency', digits='currency',
            help="The actual revenue of the filling actions, each split "
            "equally between the months it fills."),
        'get_actions')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [('date', 'ASC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Performance = pool.get('prm.performance')
        months = Performance.months_query()
        window = Window(cls._window(months))
        level = Max(months.target, window=window)
        leveled = months.select(
            *cls._key_columns(months),
            months.target.as_('target'),
            months.actual.as_('actual'),
            level.as_('level'),
            *(expression.as_(f'partition{i}')
                for i, expression in enumerate(cls._window(months))),
            where=months.has_target > 0)
        window = Window([
                getattr(leveled, f'partition{i}')
                for i in range(len(cls._window(months)))])
        filled = Case(
            (leveled.actual < leveled.level, leveled.actual),
            else_=leveled.level)
        return leveled.select(
            *(getattr(leveled, name).as_(name) for name in [
                    'id', 'company', 'scope', 'measure', 'date', 'team',
                    'employee', 'partner', 'category']),
            sql_amount(leveled.target).as_('target'),
            sql_amount(leveled.actual).as_('actual'),
            sql_amount(leveled.level).as_('level'),
            sql_amount(leveled.level - filled).as_('trough'),
            sql_ratio(
                Sum(filled, window=window),
                Count(Literal(1), window=window) * leveled.level,
                6).as_('smoothing'),
            where=leveled.level > 0)

    @classmethod
    def get_actions(cls, months, names):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        result = {
            'actions': {m.id: [] for m in months},
            'expected': {m.id: Decimal(0) for m in months},
            'obtained': {m.id: Decimal(0) for m in months},
            }
        company_months = {
            (m.company, m.date): m for m in months
            if m.scope == 'company' and m.measure == 'revenue'}
        if company_months:
            dates = [date for _, date in company_months]
            actions = Action.search([
                    ('plan.company', 'in',
                        list({c.id for c, _ in company_months})),
                    ('plan.start_date', '<=', max(dates) + relativedelta(
                            day=31)),
                    ('plan.end_date', '>=', min(dates)),
                    ('state', 'in', ['planned', 'running', 'done']),
                    ],
                order=[('expected_revenue', 'DESC NULLS LAST')])
        else:
            actions = []
        for action in actions:
            dates = action.filled_dates
            if not dates:
                continue
            parts = zip(dates, *(
                    split(
                        amount or Decimal(0), len(dates),
                        action.currency.round)
                    for amount in [
                        action.expected_revenue, action.actual_revenue]))
            for date, expected, obtained in parts:
                if month := company_months.get((action.company, date)):
                    result['actions'][month.id].append(action.id)
                    result['expected'][month.id] += expected
                    result['obtained'][month.id] += obtained
        return {name: result[name] for name in names}

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="trough"]', 'visual',
                If(Eval('trough', 0) > 0, 'warning', 'success')),
            ]


class SmoothingContext(PerformanceContext):
    __name__ = 'prm.smoothing.context'
    __string__ = "Smoothing Context"

    @classmethod
    def default_scope(cls):
        return super().default_scope() or 'company'

    @classmethod
    def default_measure(cls):
        return super().default_measure() or 'revenue'
