# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt

from sql import Cast, Literal, Null, Union, Window, With
from sql.aggregate import Sum
from sql.conditionals import Coalesce
from sql.functions import Lead

from trytond.pool import Pool

from ..tools import (
    sql_amount, sql_exact, sql_invoiced, sql_local_date, sql_round)

# What a share of a quantity or of a count is rounded to
_UNIT = 0.01


def at_date(table, date):
    "SQL condition that the dates of the table include the date"
    return (
        ((table.start_date == Null) | (table.start_date <= date))
        & ((table.end_date == Null) | (table.end_date >= date)))


class Extent:
    """The periods and the companies that a query reads

    The periods are pairs of a first and a last date, each maybe None. All
    the companies are read without any.
    """
    __slots__ = ('periods', 'companies')

    def __init__(self, *periods, companies=None):
        self.periods = periods
        self.companies = companies

    def where(self, company, date):
        "SQL condition that the extent includes the company and the date"
        where = Literal(True)
        if self.companies:
            where &= company.in_(self.companies)
        inside = Literal(False)
        for start, end in self.periods:
            period = Literal(True)
            if start:
                period &= date >= start
            if end:
                period &= date <= end
            if len(self.periods) == 1:
                return where & period
            inside |= period
        return where & inside

    def split(self):
        "Return the extents of each period, which an index finds better"
        return [
            self.__class__(period, companies=self.companies)
            for period in self.periods]

    def around(self):
        "Return the extent as UTC timestamps whatever the time zone"
        # The time zone moves a date by one day at most.
        day = dt.timedelta(days=1)
        return self.__class__(*(
                (start and dt.datetime.combine(start - day, dt.time()),
                    end and dt.datetime.combine(end + 2 * day, dt.time()))
                for start, end in self.periods), companies=self.companies)


class Measures:
    """The SQL queries of what is measured

    Those of the lines have one row per line with the columns company, party,
    date, amount and line. The sources have the columns company, date,
    amount as sql_exact and one column per scope.
    """
    __slots__ = ()

    @classmethod
    def actual_query(cls, start_date=None, end_date=None):
        """Return the SQL query of the actual revenue, one row per line

        The columns are company, invoice, line (of the invoice), party, date
        (of the invoice) and amount: untaxed, in the currency of the company
        as it was posted, negative for a credit note. The dates are
        inclusive.
        """
        return cls._revenue_query(Extent((start_date, end_date)))

    @classmethod
    def quantity_query(cls, start_date=None, end_date=None):
        """Return the SQL query of the quantity sold, one row per line

        The columns are those of actual_query. The amount is the quantity in
        the default unit of the product, a line without product has none.
        """
        return cls._quantity_query(Extent((start_date, end_date)))

    @classmethod
    def _revenue_query(cls, extent, where=None):
        """Return the query of actual_query

        The where is a function of the table of the invoice, of the company
        and of the line of the move.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Invoice = pool.get('account.invoice')
        MoveLine = pool.get('account.move.line')
        company = Company.__table__()
        invoice = Invoice.__table__()
        line = MoveLine.__table__()
        from_ = invoice.join(line, condition=line.move == invoice.move)
        condition = (
            cls._invoice_where(invoice, extent)
            & line.origin.like('account.invoice.line,%'))
        if where:
            from_ = from_.join(
                company, condition=invoice.company == company.id)
            condition &= where(invoice, company, line)
        return from_.select(
            invoice.company.as_('company'),
            invoice.id.as_('invoice'),
            MoveLine.origin.sql_id(line.origin, MoveLine).as_('line'),
            invoice.party.as_('party'),
            invoice.invoice_date.as_('date'),
            (line.credit - line.debit).as_('amount'),
            where=condition)

    @classmethod
    def _invoices_query(cls, extent):
        """Return the SQL query of the actual revenue, without its lines

        The columns are those of actual_query but line. A posted invoice
        keeps its untaxed amount, which spares its lines when it is in the
        currency of the company.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Invoice = pool.get('account.invoice')
        columns = ['company', 'invoice', 'party', 'date', 'amount']

        def foreign(invoice, company, line):
            return ((line.second_currency != Null)
                & (invoice.currency != company.currency))

        def unknown(invoice, company, line):
            return ((invoice.untaxed_amount_cache == Null)
                & (invoice.currency == company.currency))

        def untaxed(extent):
            company = Company.__table__()
            invoice = Invoice.__table__()
            return (invoice
                .join(company, condition=invoice.company == company.id)
                .select(
                    invoice.company.as_('company'),
                    invoice.id.as_('invoice'),
                    invoice.party.as_('party'),
                    invoice.invoice_date.as_('date'),
                    invoice.untaxed_amount_cache.as_('amount'),
                    where=cls._invoice_where(invoice, extent)
                    & (invoice.currency == company.currency)
                    & (invoice.untaxed_amount_cache != Null)))

        queries = []
        for extent in extent.split():
            queries.append(untaxed(extent))
            for where in [foreign, unknown]:
                lines = cls._revenue_query(extent, where=where)
                queries.append(lines.select(
                        *(getattr(lines, name) for name in columns)))
        return Union(*queries, all_=True)

    @classmethod
    def _quantity_query(cls, extent):
        invoice, line, _, quantity, from_ = cls._product_lines()
        return from_.select(
            invoice.company.as_('company'),
            invoice.id.as_('invoice'),
            line.id.as_('line'),
            invoice.party.as_('party'),
            invoice.invoice_date.as_('date'),
            Cast(quantity, 'NUMERIC').as_('amount'),
            where=cls._invoice_where(invoice, extent)
            & (line.type == 'line'))

    @classmethod
    def _margin_query(cls, extent):
        """Return the SQL query of the margin, two rows per line

        The columns are those of actual_query. The rows are the revenue and,
        negative, the cost: the quantity at the cost price of the product in
        the company, rounded in its currency. A line whose product has no
        cost price, or zero, is left out because its margin is not known.
        """
        pool = Pool()
        Company = pool.get('company.company')
        CostPrice = pool.get('product.cost_price')
        Currency = pool.get('currency.currency')
        InvoiceLine = pool.get('account.invoice.line')
        invoice, line, product, quantity, from_ = cls._product_lines()
        company = Company.__table__()
        cost_price = CostPrice.__table__()
        currency = Currency.__table__()
        costs = (from_
            .join(cost_price,
                condition=(cost_price.product == product.id)
                & (cost_price.company == invoice.company)
                & (sql_exact(cost_price.cost_price) != 0))
            .join(company, condition=invoice.company == company.id)
            .join(currency, condition=company.currency == currency.id)
            .select(
                invoice.company.as_('company'),
                invoice.id.as_('invoice'),
                line.id.as_('line'),
                invoice.party.as_('party'),
                invoice.invoice_date.as_('date'),
                (-sql_round(
                        Cast(quantity, 'NUMERIC') * cost_price.cost_price,
                        currency.rounding)).as_('amount'),
                where=cls._invoice_where(invoice, extent)
                & (line.type == 'line')))
        revenues = cls._revenue_query(extent)
        line = InvoiceLine.__table__()
        cost_price = CostPrice.__table__()
        revenues = (revenues
            .join(line, condition=revenues.line == line.id)
            .join(cost_price,
                condition=(cost_price.product == line.product)
                & (cost_price.company == revenues.company)
                & (sql_exact(cost_price.cost_price) != 0))
            .select(
                revenues.company, revenues.invoice, revenues.line,
                revenues.party, revenues.date, revenues.amount))
        return Union(costs, revenues, all_=True)

    @classmethod
    def _product_lines(cls):
        """Return the tables of the invoice, its line and its product, the
        quantity in the default unit and what joins them"""
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
        from_ = (invoice
            .join(line, condition=line.invoice == invoice.id)
            .join(product, condition=line.product == product.id)
            .join(template, condition=product.template == template.id)
            .join(unit, condition=line.unit == unit.id)
            .join(default_unit,
                condition=template.default_uom == default_unit.id))
        quantity = line.quantity * unit.factor / default_unit.factor
        return invoice, line, product, quantity, from_

    @classmethod
    def _invoice_where(cls, invoice, extent):
        return (
            sql_invoiced(invoice)
            & extent.where(invoice.company, invoice.invoice_date))

    @classmethod
    def _lines_query(cls, measure, extent):
        return {
            'revenue': cls._revenue_query,
            'quantity': cls._quantity_query,
            'margin': cls._margin_query,
            }[measure](extent)

    @classmethod
    def _party_lines_query(cls, measure, extent):
        "Return the query of the rows to attribute to a party and a seller"
        if measure == 'revenue' and not cls._seller_companies():
            return cls._invoices_query(extent)
        return cls._lines_query(measure, extent)

    @classmethod
    def _seller_companies(cls):
        "Return the companies whose lines may have a seller"
        return []

    @classmethod
    def _count_query(cls, measure, extent):
        return {
            'interactions': cls._interaction_query,
            'new_partners': cls._new_partner_query,
            'won_deals': cls._won_deal_query,
            }[measure](extent)

    @classmethod
    def sources(cls, measure, scopes, extent, *names):
        """Return the source of each scope and the queries that they need

        The sources are With of the actual of the measure over the extent.
        The names are the columns of the lines to keep, among company,
        invoice, party and date.
        """
        withs = []

        def add(query):
            with_ = query if isinstance(query, With) else With(query=query)
            withs.append(with_)
            return with_

        if measure not in {'revenue', 'quantity', 'margin'}:
            source = add(cls._count_query(measure, extent))
            sources = dict.fromkeys(scopes, source)
            if 'territory' in scopes:
                sources['territory'] = add(cls._territory_query(source, add))
            return sources, withs
        sources = {}
        by_party = None
        if set(scopes) - {'category', 'company'}:
            by_party = add(cls._by_party_query(
                    cls._party_lines_query(measure, extent), *names))
            attributed = cls._attribute(measure, by_party, add, *names)
            sources = dict.fromkeys(scopes, attributed)
            if 'territory' in scopes:
                sources['territory'] = add(
                    cls._territory_query(attributed, add, *names))
        if 'company' in scopes:
            sources['company'] = by_party or add(
                cls._by_day_query(measure, extent, *names))
        if 'category' in scopes:
            sources['category'] = add(cls._category_query(
                    cls._lines_query(measure, extent), add, *names))
        return sources, withs

    @classmethod
    def _by_day_query(cls, measure, extent, *names):
        """Return the query of the lines by company and day

        The names are the other columns to group by.
        """
        if measure == 'revenue':
            lines = cls._invoices_query(extent)
        else:
            lines = cls._lines_query(measure, extent)
        key = [getattr(lines, name) for name in ['company', 'date', *names]]
        return lines.select(
            *key, Sum(sql_exact(lines.amount)).as_('amount'), group_by=key)

    @classmethod
    def _by_party_query(cls, lines, *names):
        """Return the query of the lines by company, party, seller and day

        The seller is the employee who gets the amount instead of the manager
        of the partner. The names are the other columns to group by.
        """
        lines = cls._seller_query(lines, *names)
        key = [
            getattr(lines, name)
            for name in ['company', 'party', 'seller', 'date', *names]]
        return lines.select(
            *key, Sum(sql_exact(lines.amount)).as_('amount'), group_by=key)

    @classmethod
    def _seller_query(cls, lines, *names):
        """Return the query of the lines with their seller

        The names are the other columns of the lines to keep.
        """
        return lines.select(
            lines.company.as_('company'),
            lines.party.as_('party'),
            Cast(Null, 'INTEGER').as_('seller'),
            lines.date.as_('date'),
            lines.amount.as_('amount'),
            *(getattr(lines, name).as_(name) for name in names))

    @classmethod
    def _attribute(cls, measure, actual, add, *names):
        """Return the source of the actual by partner, employee and team

        The actual has the columns of _by_party_query, the names are those to
        keep besides them. The partner is the one of the party at the date,
        the employee its seller or else the manager of the partner at the
        date, and the team the one of the employee at the date. There is at
        most one of each so a euro counts once. What is shared moves from this
        employee to those who share.
        """
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Member = pool.get('prm.team.member')
        Partner = pool.get('prm.partner')

        # A partner may be restarted the day it ends: the last one has it.
        partner = Partner.__table__()
        period = partner.select(
            partner.id, partner.company, partner.party,
            partner.start_date, partner.end_date,
            Lead(partner.start_date, window=Window(
                    [partner.company, partner.party],
                    order_by=[partner.start_date.asc, partner.id.asc])
                ).as_('next_date'))
        by_partner = (actual
            .join(period, 'LEFT',
                condition=(period.company == actual.company)
                & (period.party == actual.party)
                & at_date(period, actual.date)
                & ((period.next_date == Null)
                    | (period.next_date > actual.date)))
            .select(
                actual.company.as_('company'),
                actual.date.as_('date'),
                actual.amount.as_('amount'),
                actual.seller.as_('seller'),
                *(getattr(actual, name).as_(name) for name in names),
                period.id.as_('partner')))
        manager = Manager.__table__()
        by_employee = add(by_partner
            .join(manager, 'LEFT',
                condition=(by_partner.seller == Null)
                & (manager.partner == by_partner.partner)
                & at_date(manager, by_partner.date))
            .select(
                by_partner.company.as_('company'),
                by_partner.date.as_('date'),
                by_partner.amount.as_('amount'),
                by_partner.partner.as_('partner'),
                *(getattr(by_partner, name).as_(name) for name in names),
                Coalesce(by_partner.seller, manager.employee).as_(
                    'employee')))
        shares = add(cls._share_query(measure, by_employee, names))
        columns = ['company', 'date', 'amount', 'partner', *names, 'employee']
        rows = Union(
            by_employee.select(*(getattr(by_employee, c) for c in columns)),
            shares.select(*(getattr(shares, c) for c in columns)),
            shares.select(*(
                    -shares.amount if c == 'amount'
                    else shares.base if c == 'employee'
                    else getattr(shares, c) for c in columns)),
            all_=True)
        member = Member.__table__()
        return add(rows
            .join(member, 'LEFT',
                condition=(member.employee == rows.employee)
                & at_date(member, rows.date))
            .select(
                *(getattr(rows, column).as_(column) for column in columns),
                member.team.as_('team')))

    @classmethod
    def _share_query(cls, measure, rows, names):
        """Return the query of what the rows give to those who share

        The base is the employee who gives. Each share is the difference
        between the rounded amounts of the shares until it and before it:
        when the shares total 100 %, nothing remains to the base.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Currency = pool.get('currency.currency')
        Share = pool.get('prm.revenue.share')
        company = Company.__table__()
        currency = Currency.__table__()
        share = Share.__table__()
        # The lines of the sales of the manager and the others are one amount.
        key = [
            getattr(rows, name).as_(name)
            for name in ['company', 'partner', 'employee', 'date', *names]]
        shared = (rows
            .join(share,
                condition=(share.partner == rows.partner)
                & (share.start_date <= rows.date)
                & ((share.end_date == Null) | (share.end_date >= rows.date)))
            .select(
                *key,
                share.id.as_('share'),
                share.employee.as_('to'),
                share.percentage.as_('percentage'),
                Sum(rows.amount).as_('amount'),
                group_by=[
                    *(column.expression for column in key),
                    share.id, share.employee, share.percentage]))
        window = Window(
            [shared.company, shared.partner, shared.employee, shared.date,
                *(getattr(shared, name) for name in names)],
            order_by=[shared.share.asc])
        until = Sum(sql_exact(shared.percentage), window=window)
        shared = shared.select(
            shared.company.as_('company'),
            shared.date.as_('date'),
            sql_amount(shared.amount).as_('amount'),
            shared.partner.as_('partner'),
            *(getattr(shared, name).as_(name) for name in names),
            shared.employee.as_('base'),
            shared.to.as_('employee'),
            sql_amount(until).as_('until'),
            sql_amount(until - sql_exact(shared.percentage)).as_('before'))
        rounding = currency.rounding
        if measure not in {'revenue', 'margin'}:
            rounding = Cast(Literal(_UNIT), 'NUMERIC')

        def part(percentage):
            return sql_round(shared.amount * percentage, rounding)

        return (shared
            .join(company, condition=shared.company == company.id)
            .join(currency, condition=company.currency == currency.id)
            .select(
                shared.company.as_('company'),
                shared.date.as_('date'),
                sql_exact(part(shared.until) - part(shared.before)
                    ).as_('amount'),
                shared.partner.as_('partner'),
                *(getattr(shared, name).as_(name) for name in names),
                shared.base.as_('base'),
                shared.employee.as_('employee')))

    @classmethod
    def _descendants(cls, model, add):
        """Return the With of the pairs of ancestor and record of a tree

        A record is its own ancestor.
        """
        pool = Pool()
        Model = pool.get(model)
        record, child = Model.__table__(), Model.__table__()
        tree = With('ancestor', 'record', recursive=True)
        tree.query = record.select(record.id, record.id)
        tree.query |= (child
            .join(tree, condition=child.parent == tree.record)
            .select(tree.ancestor, child.id))
        add(tree)
        return tree

    @classmethod
    def _category_pairs(cls, add):
        "Return the query of the pairs of category and template, once each"
        pool = Pool()
        TemplateCategory = pool.get('product.template-product.category')
        tree = cls._descendants('product.category', add)
        template_category = TemplateCategory.__table__()
        return (tree
            .join(template_category,
                condition=template_category.category == tree.record)
            .select(
                tree.ancestor.as_('category'),
                template_category.template.as_('template'),
                group_by=[tree.ancestor, template_category.template]))

    @classmethod
    def _category_query(cls, lines, add, *names):
        """Return the query of the lines by category of their product

        A category includes its children. The names are the columns of the
        lines to keep.
        """
        pool = Pool()
        Line = pool.get('account.invoice.line')
        Product = pool.get('product.product')
        pairs = cls._category_pairs(add)
        line = Line.__table__()
        product = Product.__table__()
        key = [getattr(lines, name) for name in ['company', 'date', *names]]
        # The sum comes first: there are many lines and few products.
        by_template = add(lines
            .join(line, condition=line.id == lines.line)
            .join(product, condition=line.product == product.id)
            .select(
                *key,
                product.template.as_('template'),
                Sum(sql_exact(lines.amount)).as_('amount'),
                group_by=[*key, product.template]))
        return (by_template
            .join(pairs, condition=pairs.template == by_template.template)
            .select(
                by_template.company.as_('company'),
                by_template.date.as_('date'),
                by_template.amount.as_('amount'),
                *(getattr(by_template, name).as_(name) for name in names),
                pairs.category.as_('category')))

    @classmethod
    def _territory_query(cls, source, add, *names):
        "Return the query of the source by territory with its ancestors"
        pool = Pool()
        Partner = pool.get('prm.partner')
        partner = Partner.__table__()
        tree = cls._descendants('prm.territory', add)
        return (source
            .join(partner, condition=source.partner == partner.id)
            .join(tree, condition=partner.territory == tree.record)
            .select(
                source.company.as_('company'),
                source.date.as_('date'),
                source.amount.as_('amount'),
                *(getattr(source, name).as_(name) for name in names),
                tree.ancestor.as_('territory')))

    @classmethod
    def _interaction_query(cls, extent):
        "Return the query of the done interactions, except of the staff"
        pool = Pool()
        Company = pool.get('company.company')
        Interaction = pool.get('prm.interaction')
        Member = pool.get('prm.team.member')
        company = Company.__table__()
        interaction = Interaction.__table__()
        member = Member.__table__()
        interactions = (interaction
            .join(company, condition=interaction.company == company.id)
            .select(
                interaction.company.as_('company'),
                sql_local_date(interaction.date, company.timezone).as_('date'),
                interaction.partner.as_('partner'),
                interaction.employee.as_('employee'),
                where=(interaction.state == 'done')
                & (interaction.population != 'staff')
                & extent.around().where(
                    interaction.company, interaction.date)))
        date = interactions.date
        return (interactions
            .join(member, 'LEFT',
                condition=(member.employee == interactions.employee)
                & at_date(member, date))
            .select(
                interactions.company.as_('company'),
                date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                interactions.partner.as_('partner'),
                interactions.employee.as_('employee'),
                member.team.as_('team'),
                where=extent.where(interactions.company, date)))

    @classmethod
    def _new_partner_query(cls, extent):
        "Return the query of the partners that start, except the prospects"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        Member = pool.get('prm.team.member')
        Partner = pool.get('prm.partner')
        manager = Manager.__table__()
        member = Member.__table__()
        partner = Partner.__table__()
        return (partner
            .join(manager, 'LEFT',
                condition=(manager.partner == partner.id)
                & at_date(manager, partner.start_date))
            .join(member, 'LEFT',
                condition=(member.employee == manager.employee)
                & at_date(member, partner.start_date))
            .select(
                partner.company.as_('company'),
                partner.start_date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                partner.id.as_('partner'),
                manager.employee.as_('employee'),
                member.team.as_('team'),
                where=(partner.state != 'prospect')
                & (partner.previous == Null)
                & extent.where(partner.company, partner.start_date)))

    @classmethod
    def _won_deal_query(cls, extent):
        "Without opportunities, no deal is won"
        pool = Pool()
        Company = pool.get('company.company')
        company = Company.__table__()
        return company.select(
            company.id.as_('company'),
            Cast(Null, 'DATE').as_('date'),
            Cast(Null, 'NUMERIC').as_('amount'),
            *(Cast(Null, 'INTEGER').as_(name)
                for name in ['partner', 'employee', 'team']),
            where=Literal(False))
