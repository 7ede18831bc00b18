# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql import Cast, Literal, Union, Window
from sql.aggregate import Min, Sum
from sql.conditionals import Case

from trytond.model import fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import (
    sql_amount, sql_exact, sql_reference, sql_round, sql_sum, to_decimal)
from .measure import at_date
from .target import MEASURES

_in = fields.SQL_OPERATORS['in']
_SIZE = 1000  # records of one statement


class WonDealsMixin:
    __slots__ = ()

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.measure.selection += [
            m for m in MEASURES
            if m[0] == 'won_deals' and m not in cls.measure.selection]


class Opportunity(metaclass=PoolMeta):
    __name__ = 'sale.opportunity'

    plan_action = fields.Many2One(
        'prm.plan.action', "Sales Action", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="The action of the plan that has brought the opportunity.\n"
        "The invoices of its sales count for the action, unless they have "
        "one themselves.")


class PlanAction(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    opportunities = fields.One2Many(
        'sale.opportunity', 'plan_action', "Opportunities", readonly=True,
        help="The opportunities that the action has brought.")
    weighted_pipeline = fields.Function(Monetary(
            "Weighted Pipeline", currency='currency', digits='currency',
            help="What the open opportunities of the action promise, each "
            "weighted by its probability."),
        'get_weighted_pipeline')

    @classmethod
    def get_weighted_pipeline(cls, actions, name):
        pool = Pool()
        Pipeline = pool.get('prm.pipeline')
        deals = Pipeline.deals_query()
        cursor = Transaction().connection.cursor()
        amounts = {a.id: a.currency.round(Decimal(0)) for a in actions}
        currencies = {a.id: a.currency for a in actions}
        for sub_actions in grouped_slice(actions, _SIZE):
            opportunity = Union(
                *cls.opportunity_queries(list(sub_actions)), all_=True)
            cursor.execute(*deals
                .join(opportunity,
                    condition=deals.opportunity == opportunity.opportunity)
                .select(
                    opportunity.action,
                    sql_sum(deals.weighted_amount).as_('amount'),
                    group_by=[opportunity.action]))
            for action, amount in cursor:
                amounts[action] = currencies[action].round(to_decimal(amount))
        return amounts

    @classmethod
    def opportunity_queries(cls, actions):
        """Return the SQL queries of the opportunities of the actions

        The columns are action and opportunity; an opportunity has one row.
        """
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        opportunity = Opportunity.__table__()
        return [opportunity.select(
                opportunity.plan_action.as_('action'),
                opportunity.id.as_('opportunity'),
                where=_in(opportunity.plan_action, [a.id for a in actions]))]

    @classmethod
    def sale_queries(cls, actions):
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        Sale = pool.get('sale.sale')
        opportunity = Opportunity.__table__()
        sale = Sale.__table__()
        return [
            *super().sale_queries(actions),
            opportunity
            .join(sale,
                condition=sale.origin == sql_reference(
                    'sale.opportunity', opportunity.id))
            .select(
                opportunity.plan_action.as_('action'),
                sale.id.as_('sale'),
                where=_in(opportunity.plan_action, [a.id for a in actions])),
            ]

    @classmethod
    def copy(cls, actions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('opportunities', None)
        return super().copy(actions, default=default)


class Target(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.target'


class TargetRevision(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.target.revision'


class PerformanceContext(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.performance.context'


class SmoothingMonth(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.smoothing'


class SmoothingContext(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.smoothing.context'


class Performance(WonDealsMixin, metaclass=PoolMeta):
    __name__ = 'prm.performance'

    @classmethod
    def _won_deal_query(cls, extent):
        "Return the query of the won opportunities by end date"
        pool = Pool()
        Member = pool.get('prm.team.member')
        Opportunity = pool.get('sale.opportunity')
        Partner = pool.get('prm.partner')
        member = Member.__table__()
        opportunity = Opportunity.__table__()
        partner = Partner.__table__()
        date = opportunity.end_date
        # A partner may be restarted the day it ends: the last one has it.
        partner = partner.select(
            partner.id,
            where=(partner.company == opportunity.company)
            & (partner.party == opportunity.party)
            & at_date(partner, date),
            order_by=[partner.start_date.desc, partner.id.desc], limit=1)
        return (opportunity
            .join(member, 'LEFT',
                condition=(member.employee == opportunity.employee)
                & at_date(member, date))
            .select(
                opportunity.company.as_('company'),
                date.as_('date'),
                sql_exact(Literal(1)).as_('amount'),
                partner.as_('partner'),
                opportunity.employee.as_('employee'),
                member.team.as_('team'),
                where=(opportunity.state == 'won')
                & extent.where(opportunity.company, date)))

    @classmethod
    def _deal_products_query(cls, deals):
        """Return the SQL query of the amounts of the deals by product

        The lines share the amount by their quantity at list price, or
        equally when one of them has no price. Each amount is the difference
        between the rounded amounts until the line and before it: their sum
        is exactly the amount of the deal.
        """
        pool = Pool()
        Company = pool.get('company.company')
        Currency = pool.get('currency.currency')
        Line = pool.get('sale.opportunity.line')
        ListPrice = pool.get('product.list_price')
        Product = pool.get('product.product')
        Template = pool.get('product.template')
        Unit = pool.get('product.uom')
        company = Company.__table__()
        currency = Currency.__table__()
        line = Line.__table__()
        price = ListPrice.__table__()
        product = Product.__table__()
        template = Template.__table__()
        unit = Unit.__table__()
        default_unit = Unit.__table__()
        value = Cast(
            line.quantity * unit.factor / default_unit.factor,
            'NUMERIC') * price.list_price
        lines = (deals
            .join(company, condition=deals.company == company.id)
            .join(currency, condition=company.currency == currency.id)
            .join(line, condition=line.opportunity == deals.opportunity)
            .join(product, condition=line.product == product.id)
            .join(template, condition=product.template == template.id)
            .join(unit, condition=line.unit == unit.id)
            .join(default_unit,
                condition=template.default_uom == default_unit.id)
            .join(price, 'LEFT',
                condition=(price.template == template.id)
                & (price.company == deals.company))
            .select(
                deals.opportunity.as_('opportunity'),
                deals.amount.as_('amount'),
                currency.rounding.as_('rounding'),
                template.id.as_('template'),
                line.id.as_('line'),
                Case((value > 0, value), else_=0).as_('value')))
        valued = lines.select(
            lines.opportunity, lines.amount, lines.rounding, lines.template,
            lines.line,
            Case(
                (Min(lines.value, window=Window([lines.opportunity])) > 0,
                    lines.value),
                else_=1).as_('value'))
        until = Sum(valued.value, window=Window(
                [valued.opportunity], order_by=[valued.line.asc]))
        shared = valued.select(
            valued.opportunity, valued.rounding, valued.template,
            sql_amount(valued.amount).as_('amount'),
            until.as_('until'),
            (until - valued.value).as_('before'),
            Sum(valued.value, window=Window([valued.opportunity])).as_(
                'total'))

        def part(value):
            return sql_round(
                shared.amount * value / shared.total, shared.rounding)

        return shared.select(
            shared.opportunity.as_('opportunity'),
            shared.template.as_('template'),
            sql_exact(part(shared.until) - part(shared.before)).as_(
                'amount'))
